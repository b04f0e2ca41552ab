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

static const struct command_row {
	const char *name;
	enum command command;
	int (*run)(const struct options *options);
	const char *summary;
	const char *help; /* usage and what it does */
} commands[] = {
	{"run", COMMAND_RUN, mote__command_run, "start a guest, perhaps call a function of it",
	 "Usage: mote run GUEST [--call NAME [ARGUMENT...]] [OPTION...]\n\n"
	 "Start the guest in a fresh sandbox and call NAME. Without --call, call its function\n"
	 "\"run\" or \"main\" if it has one without parameters; else list what can be called.\n"},
	{"call", COMMAND_CALL, mote__command_call, "call a function of a guest, print the result",
	 "Usage: mote call GUEST NAME [ARGUMENT...] [OPTION...]\n\n"
	 "Start the guest in a fresh sandbox, call NAME and print what it returns.\n"},
	{"inspect", COMMAND_INSPECT, mote__command_inspect,
	 "show a guest image: functions, layout, a drawing of its memory",
	 "Usage: mote inspect GUEST [OPTION...]\n\n"
	 "Show what is in a guest image and how it would lie in memory. Runs nothing of it and\n"
	 "needs no KVM.\n"},
	{"doctor", COMMAND_DOCTOR, mote__command_doctor, "tell whether mote can run guests here",
	 "Usage: mote doctor [OPTION...]\n\n"
	 "Look at this machine's KVM: is it there, which kind is it, what is missing, and what\n"
	 "to type to mend it.\n"},
	{"bench", COMMAND_BENCH, mote__command_bench, "measure creation, start and calls",
	 "Usage: mote bench GUEST NAME [ARGUMENT...] [-n N] [OPTION...]\n\n"
	 "Measure how long it takes to make and start a sandbox, and to call NAME in one.\n"},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static const char arguments_help[] =
	"\nArguments have the types that the guest's table of functions says. For a guest without\n"
	"one, or to be clear, the type stands in front:\n"
	"  i32:-2  u32:7  i64:0x10  u64:0xff  f32:0.5  f64:1e9  bool:true  str:hello\n"
	"  bytes:hex:00ff  bytes:@file (@- is standard input)  bytes:text:hello\n"
	"Write -- before arguments that start with a dash and a letter.\n";

static const char status_help[] = "\nExit status:\n"
				  "  0  done\n"
				  "  1  the guest's function returned an error\n"
				  "  2  the command line is wrong\n"
				  "  3  the guest image, an option or the arguments were refused\n"
				  "  4  the guest aborted, faulted or broke the protocol\n"
				  "  5  ended by the timeout\n"
				  "  6  no usable hypervisor (see mote doctor)\n"
				  "  7  any other failure of the host\n";

static void print_help(FILE *out)
{
	(void)fputs("mote runs untrusted code in micro virtual machines.\n\n"
		    "Usage: mote COMMAND [OPTION...]\n\nCommands:\n",
		    out);
	for (size_t i = 0; i < COMMANDS; i++)
		(void)fprintf(out, "  %-8s  %s\n", commands[i].name, commands[i].summary);
	(void)fputs("  help      show the help of a command: mote help call\n"
		    "  version   show the version of the library\n",
		    out);
	(void)fputs(status_help, out);
	(void)fputs("\nMore: mote COMMAND --help, man mote\n", out);
}

static void print_command_help(const struct command_row *row)
{
	(void)fputs(row->help, stdout);
	if (row->command & (COMMAND_RUN | COMMAND_CALL | COMMAND_BENCH))
		(void)fputs(arguments_help, stdout);
	(void)fputc('\n', stdout);
	mote__options_help(stdout, row->command);
	(void)fputs("\nSizes are bytes, or end in K, M or G. Times end in ns, us, ms, s, m or h.\n"
		    "Exit status and more: mote --help, man mote\n",
		    stdout);
}

static const struct command_row *find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
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

static int run_command(const struct command_row *row, int argc, char **argv)
{
	struct options options = {.command = row->command, .command_name = row->name};
	int status = mote__options_parse(&options, argc, argv);
	if (status != EXIT_OK)
		return status;
	if (options.help) {
		print_command_help(row);
		return EXIT_OK;
	}
	return row->run(&options);
}

static int help(const char *name)
{
	const struct command_row *row = name ? find(name) : NULL;
	if (name && !row)
		return refuse_unknown(name);
	if (row)
		print_command_help(row);
	else
		print_help(stdout);
	return EXIT_OK;
}

static bool is_one_of(const char *text, const char *a, const char *b, const char *c)
{
	return strcmp(text, a) == 0 || strcmp(text, b) == 0 || strcmp(text, c) == 0;
}

static int dispatch(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (is_one_of(argv[1], "--help", "-h", "help"))
		return help(argc > 2 ? argv[2] : NULL);
	if (is_one_of(argv[1], "--version", "-V", "version")) {
		(void)printf("mote %s\n", mote_version());
		return EXIT_OK;
	}
	const struct command_row *row = find(argv[1]);
	if (row)
		return run_command(row, argc - 2, argv + 2);
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
