/* SPDX-License-Identifier: MIT */
/* The mote command: finds the command that is wanted, and helps. */
#include "cli.h"

#include <locale.h>
#include <string.h>

#include "options.h"
#include "output.h"
#include "report.h"
#include "suggest.h"

#include <mote.h>

struct command_row {
	const char *name; /* behind that of its group */
	enum command command;
	int (*run)(const struct options *options);
	const char *summary;
	const char *help; /* usage and what it does */
	/* A group of commands instead: run is NULL. */
	const struct command_row *members;
	size_t member_count;
};

static const struct command_row snapshot_commands[] = {
	{"take", COMMAND_SNAPSHOT_TAKE, mote__command_snapshot_take,
	 "run a guest, take a snapshot behind each call",
	 "Usage: mote snapshot take GUEST [--call 'NAME(ARGUMENT, ...)']... [OPTION...]\n\n"
	 "Start the guest, make the calls, and take a snapshot behind each step. Show what each\n"
	 "of them added to the one before: pages, memory, layers, time and digest.\n",
	 NULL, 0},
	{"inspect", COMMAND_SNAPSHOT_INSPECT, mote__command_snapshot_inspect,
	 "show what a snapshot is made of; a drawing of it",
	 "Usage: mote snapshot inspect GUEST [--call 'NAME(ARGUMENT, ...)']... [OPTION...]\n\n"
	 "Start the guest, make the calls, and show the last snapshot: its layers, the regions of\n"
	 "memory and which of their pages hold something, and what it needs of its host.\n",
	 NULL, 0},
	{"diff", COMMAND_SNAPSHOT_DIFF, mote__command_snapshot_diff,
	 "show which bytes a call changed",
	 "Usage: mote snapshot diff GUEST --call 'NAME(ARGUMENT, ...)'... [OPTION...]\n\n"
	 "Start the guest, make the calls, and compare the snapshot behind the last one with the\n"
	 "one before it. Steps are numbered as mote snapshot take shows them.\n",
	 NULL, 0},
	{"flatten", COMMAND_SNAPSHOT_FLATTEN, mote__command_snapshot_flatten,
	 "put the layers of a snapshot into one",
	 "Usage: mote snapshot flatten GUEST [--call 'NAME(ARGUMENT, ...)']... [OPTION...]\n\n"
	 "Start the guest, make the calls, and put the layers of the last snapshot into one. Show\n"
	 "both, and that they are the same to a guest: the digest does not change.\n",
	 NULL, 0},
	{"save", COMMAND_SNAPSHOT_SAVE, mote__command_snapshot_save,
	 "run a guest, save its last snapshot in a store",
	 "Usage: mote snapshot save GUEST STORE[:TAG] [--call 'NAME(ARGUMENT, ...)']... "
	 "[OPTION...]\n"
	 "       mote snapshot save --new GUEST STORE[:TAG] [OPTION...]\n\n"
	 "Start the guest, make the calls, and save the last snapshot in the directory STORE, "
	 "which\n"
	 "is made if need be. Without TAG it is \"latest\". GUEST may be a stored snapshot: it "
	 "goes\n"
	 "on from there, and only what changed is written.\n",
	 NULL, 0},
	{"load", COMMAND_SNAPSHOT_LOAD, mote__command_snapshot_load,
	 "load and verify a stored snapshot, show what it is",
	 "Usage: mote snapshot load REF [OPTION...]\n\n"
	 "Load a stored snapshot as a program would, and show what it is, what it needs of its "
	 "host\n"
	 "and how long that took. Runs nothing of it and needs no KVM.\n",
	 NULL, 0},
	{"list", COMMAND_SNAPSHOT_LIST, mote__command_snapshot_list, "show what is in a store",
	 "Usage: mote snapshot list STORE [OPTION...]\n\n"
	 "List tags, sizes and digests of what is in the directory STORE.\n",
	 NULL, 0},
	{"verify", COMMAND_SNAPSHOT_VERIFY, mote__command_snapshot_verify,
	 "read and check all that is in a store",
	 "Usage: mote snapshot verify STORE[:TAG|@DIGEST] [OPTION...]\n\n"
	 "Read every byte of one snapshot, or of all of them, and check it against its digest and\n"
	 "the rules of the format. Tells the first damage, changes nothing.\n",
	 NULL, 0},
	{"tag", COMMAND_SNAPSHOT_TAG, mote__command_snapshot_tag, "give a stored snapshot a tag",
	 "Usage: mote snapshot tag STORE:TAG|STORE@DIGEST NEWTAG [OPTION...]\n\n"
	 "Give a stored snapshot one more tag. What had that tag before loses it.\n",
	 NULL, 0},
	{"remove", COMMAND_SNAPSHOT_REMOVE, mote__command_snapshot_remove,
	 "take a snapshot out of a store's list",
	 "Usage: mote snapshot remove STORE:TAG|STORE@DIGEST [OPTION...]\n\n"
	 "Take a tag, or a manifest with all its tags, out of the list. The space becomes free "
	 "with\n"
	 "mote snapshot gc.\n",
	 NULL, 0},
	{"gc", COMMAND_SNAPSHOT_GC, mote__command_snapshot_gc,
	 "remove from a store what nothing listed needs",
	 "Usage: mote snapshot gc STORE [OPTION...]\n\n"
	 "Remove blobs that no listed snapshot needs, and what unfinished writers left. Waits "
	 "until\n"
	 "nobody uses the store.\n",
	 NULL, 0},
	{"push", COMMAND_SNAPSHOT_PUSH, mote__command_snapshot_push,
	 "send a stored snapshot to a registry",
	 "Usage: mote snapshot push STORE[:TAG|@DIGEST] docker://HOST/NAME:TAG [OPTION...]\n\n"
	 "Send what the registry does not have, through skopeo, which has the credentials (skopeo\n"
	 "login HOST).\n",
	 NULL, 0},
	{"pull", COMMAND_SNAPSHOT_PULL, mote__command_snapshot_pull,
	 "bring a snapshot from a registry into a store",
	 "Usage: mote snapshot pull docker://HOST/NAME[:TAG|@DIGEST] STORE[:TAG] [OPTION...]\n\n"
	 "Bring what the store does not have, through skopeo, verify all of it and give it a tag:\n"
	 "that of the registry where none is said.\n",
	 NULL, 0},
};

static const struct command_row commands[] = {
	{"run", COMMAND_RUN, mote__command_run, "start a guest, perhaps call a function of it",
	 "Usage: mote run GUEST [--call NAME [ARGUMENT...]] [OPTION...]\n"
	 "       mote run --from REF [--call NAME [ARGUMENT...]] [OPTION...]\n\n"
	 "Start the guest in a fresh sandbox and call NAME. Without --call, call its function\n"
	 "\"run\" or \"main\" if it has one without parameters; else list what can be called.\n",
	 NULL, 0},
	{"call", COMMAND_CALL, mote__command_call, "call a function of a guest, print the result",
	 "Usage: mote call GUEST NAME [ARGUMENT...] [OPTION...]\n"
	 "       mote call --from REF NAME [ARGUMENT...] [OPTION...]\n\n"
	 "Start the guest in a fresh sandbox, call NAME and print what it returns.\n",
	 NULL, 0},
	{"inspect", COMMAND_INSPECT, mote__command_inspect,
	 "show a guest image: functions, layout, a drawing of its memory",
	 "Usage: mote inspect GUEST [OPTION...]\n\n"
	 "Show what is in a guest image and how it would lie in memory. Runs nothing of it and\n"
	 "needs no KVM.\n",
	 NULL, 0},
	{"snapshot", 0, NULL, "take snapshots of a running guest; save, load and ship them",
	 "Usage: mote snapshot COMMAND GUEST [--call 'NAME(ARGUMENT, ...)']... [OPTION...]\n"
	 "       mote snapshot COMMAND STORE[:TAG|@DIGEST] [OPTION...]\n\n"
	 "Run a guest and freeze what becomes of it; keep that in stores, which are directories,\n"
	 "and in registries.\n",
	 snapshot_commands, sizeof snapshot_commands / sizeof snapshot_commands[0]},
	{"doctor", COMMAND_DOCTOR, mote__command_doctor, "tell whether mote can run guests here",
	 "Usage: mote doctor [OPTION...]\n\n"
	 "Look at this machine's KVM: is it there, which kind is it, what is missing, and what\n"
	 "to type to mend it.\n",
	 NULL, 0},
	{"bench", COMMAND_BENCH, mote__command_bench,
	 "measure creation, start, calls, restores and forks",
	 "Usage: mote bench GUEST NAME [ARGUMENT...] [-n N] [OPTION...]\n"
	 "       mote bench --from REF NAME [ARGUMENT...] [-n N] [OPTION...]\n\n"
	 "Measure how long it takes to make and start a sandbox, to call NAME in one, to restore\n"
	 "it to what it was, alone and with the next call, and to make a fork of it, call NAME\n"
	 "there and destroy it.\n",
	 NULL, 0},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static const char arguments_help[] =
	"\nArguments have the types that the guest's table of functions says. For a guest without\n"
	"one, or to be clear, the type stands in front:\n"
	"  i32:-2  u32:7  i64:0x10  u64:0xff  f32:0.5  f64:1e9  bool:true  str:hello\n"
	"  bytes:hex:00ff  bytes:@file (@- is standard input)  bytes:text:hello\n";

static const char dash_help[] = "Write -- before arguments that start with a dash and a letter.\n";

static const char calls_help[] =
	"\nA call is one word for the shell: --call 'add(2, 3)' or --call count_up. A text with\n"
	"commas, parentheses or blanks at its ends stands in double quotes.\n";

static const char places_help[] =
	"\nA stored snapshot (REF) is STORE, which means the tag \"latest\" in that directory,\n"
	"STORE:TAG, STORE@sha256:DIGEST, or docker://HOST/NAME:TAG, which is pulled to the store\n"
	"~/.cache/mote/store first. It may stand wherever GUEST does.\n";

static const char status_help[] =
	"\nExit status:\n"
	"  0  done\n"
	"  1  the guest's function returned an error\n"
	"  2  the command line is wrong\n"
	"  3  the guest, a store, an option or the arguments were refused\n"
	"  4  the guest aborted, faulted or broke the protocol\n"
	"  5  ended by the timeout\n"
	"  6  no usable hypervisor (see mote doctor)\n"
	"  7  any other failure of the host\n";

static void print_commands(FILE *out, const struct command_row *rows, size_t count)
{
	(void)fputs("Commands:\n", out);
	for (size_t i = 0; i < count; i++)
		(void)fprintf(out, "  %-8s  %s\n", rows[i].name, rows[i].summary);
}

static void print_help(FILE *out)
{
	(void)fputs("mote runs untrusted code in micro virtual machines.\n\n"
		    "Usage: mote COMMAND [OPTION...]\n\n",
		    out);
	print_commands(out, commands, COMMANDS);
	(void)fputs("  help      show the help of a command: mote help call\n"
		    "  version   show the version of the library\n",
		    out);
	(void)fputs(status_help, out);
	(void)fputs("\nMore: mote COMMAND --help, man mote\n", out);
}

static void print_group_help(FILE *out, const struct command_row *group)
{
	(void)fputs(group->help, out);
	(void)fputc('\n', out);
	print_commands(out, group->members, group->member_count);
	(void)fprintf(out, "\nMore: mote %s COMMAND --help, man mote\n", group->name);
}

static void print_command_help(const struct command_row *row)
{
	(void)fputs(row->help, stdout);
	if (row->command & COMMANDS_SNAPSHOT)
		(void)fputs(calls_help, stdout);
	if (row->command & COMMANDS_RUNNING)
		(void)fputs(arguments_help, stdout);
	if (row->command & (COMMAND_RUN | COMMAND_CALL | COMMAND_BENCH))
		(void)fputs(dash_help, stdout);
	if (row->command & COMMANDS_GUEST)
		(void)fputs(places_help, stdout);
	(void)fputc('\n', stdout);
	mote__options_help(stdout, row->command);
	(void)fputs("\nSizes are bytes, or end in K, M or G. Times end in ns, us, ms, s, m or h.\n"
		    "Exit status and more: mote --help, man mote\n",
		    stdout);
}

static const struct command_row *find(const struct command_row *rows, size_t count,
				      const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

static int refuse_unknown(const char *name)
{
	struct suggestion suggestion = {.word = name};
	for (size_t i = 0; i < COMMANDS; i++)
		mote__suggest_offer(&suggestion, commands[i].name);
	mote__suggest_offer(&suggestion, "help");
	mote__suggest_offer(&suggestion, "version");
	(void)mote__report_usage(NULL, "unknown command \"%s\"", name);
	if (suggestion.best)
		mote__report_hint("did you mean mote %s?", suggestion.best);
	return EXIT_USAGE;
}

static int refuse_unknown_member(const struct command_row *group, const char *name)
{
	struct suggestion suggestion = {.word = name};
	for (size_t i = 0; i < group->member_count; i++)
		mote__suggest_offer(&suggestion, group->members[i].name);
	(void)mote__report_usage(group->name, "unknown command \"%s\"", name);
	if (suggestion.best)
		mote__report_hint("did you mean mote %s %s?", group->name, suggestion.best);
	return EXIT_USAGE;
}

/** group: NULL, or what row is a member of. */
static int run_command(const struct command_row *group, const struct command_row *row, int argc,
		       char **argv)
{
	char name[64];
	(void)snprintf(name, sizeof name, "%s%s%s", group ? group->name : "", group ? " " : "",
		       row->name);
	struct options options = {.command = row->command, .command_name = name};
	int status = mote__options_parse(&options, argc, argv);
	if (status == EXIT_OK && options.help)
		print_command_help(row);
	else if (status == EXIT_OK)
		status = row->run(&options);
	mote__options_free(&options);
	return status;
}

/** Help for the words behind "help". */
static int help(int argc, char **argv)
{
	const struct command_row *row = argc > 0 ? find(commands, COMMANDS, argv[0]) : NULL;
	if (argc > 0 && !row)
		return refuse_unknown(argv[0]);
	if (row && row->members && argc > 1) {
		const struct command_row *member = find(row->members, row->member_count, argv[1]);
		if (!member)
			return refuse_unknown_member(row, argv[1]);
		row = member;
	}
	if (!row)
		print_help(stdout);
	else if (row->members)
		print_group_help(stdout, row);
	else
		print_command_help(row);
	return EXIT_OK;
}

static bool is_one_of(const char *text, const char *a, const char *b, const char *c)
{
	return strcmp(text, a) == 0 || strcmp(text, b) == 0 || strcmp(text, c) == 0;
}

/** argv[0] is the command of group that is wanted. */
static int dispatch_group(const struct command_row *group, int argc, char **argv)
{
	if (argc < 1) {
		print_group_help(stderr, group);
		return EXIT_USAGE;
	}
	if (is_one_of(argv[0], "--help", "-h", "help")) {
		print_group_help(stdout, group);
		return EXIT_OK;
	}
	const struct command_row *row = find(group->members, group->member_count, argv[0]);
	if (row)
		return run_command(group, row, argc - 1, argv + 1);
	if (argv[0][0] == '-')
		return mote__report_usage(group->name, "unknown option %s", argv[0]);
	return refuse_unknown_member(group, argv[0]);
}

static int dispatch(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (is_one_of(argv[1], "--help", "-h", "help"))
		return help(argc - 2, argv + 2);
	if (is_one_of(argv[1], "--version", "-V", "version")) {
		(void)printf("mote %s\n", mote_version());
		return EXIT_OK;
	}
	const struct command_row *row = find(commands, COMMANDS, argv[1]);
	if (row && row->members)
		return dispatch_group(row, argc - 2, argv + 2);
	if (row)
		return run_command(NULL, row, argc - 2, argv + 2);
	if (argv[1][0] == '-')
		return mote__report_usage(NULL, "unknown option %s", argv[1]);
	return refuse_unknown(argv[1]);
}

int main(int argc, char **argv)
{
	/* For what the terminal can show only: numbers stay as in C. */
	(void)setlocale(LC_CTYPE, "");
	int status = dispatch(argc, argv);
	if (!mote__output_finish(stdout, "standard output") && status == EXIT_OK)
		status = EXIT_HOST;
	return status;
}
