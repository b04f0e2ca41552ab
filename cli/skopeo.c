/* SPDX-License-Identifier: MIT */
/* One run of skopeo: its pipes, its end, and what it had to say. See skopeo.h. */
#include "skopeo.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TICK_MS = 100, LINE_BYTES = 2048, MAX_ARGUMENTS = 24, READ_BYTES = 4096 };

extern char **environ;

/** A run. */
struct run {
	struct skopeo *skopeo;
	pid_t pid;
	int output, log;       /* pipes; -1: at their end */
	char line[LINE_BYTES]; /* that is being read, cut */
	size_t line_bytes;
	char last[LINE_BYTES]; /* line that says why it failed, or just the last one */
	bool has_reason;
	bool is_ended; /* by us */
	bool is_too_long;
};

__attribute__((format(printf, 3, 4))) static int fail(struct mote_error *err, int code,
						      const char *format, ...)
{
	va_list arguments;
	*err = (struct mote_error){.code = code, .category = MOTE_CATEGORY_HOST};
	va_start(arguments, format);
	(void)vsnprintf(err->message, sizeof err->message, format, arguments);
	va_end(arguments);
	return code;
}

const char *mote__skopeo_message(char *line)
{
	char *from = strstr(line, " msg=\""), *to;
	if (!from)
		return line;
	from += 6;
	to = from;
	const char *message = from;
	for (; *from && *from != '"'; from++) {
		if (*from == '\\' && from[1])
			from++;
		*to++ = *from;
	}
	*to = 0;
	return message;
}

static void end_line(struct run *run)
{
	run->line[run->line_bytes] = 0;
	run->line_bytes = 0;
	if (run->line[0] == 0)
		return;
	bool is_reason = strstr(run->line, "level=fatal") != NULL;
	if (is_reason || !run->has_reason)
		memcpy(run->last, run->line, sizeof run->last);
	run->has_reason |= is_reason;
	if (run->skopeo->line)
		run->skopeo->line(run->skopeo->cookie, run->line);
}

static void take_log(struct run *run, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n')
			end_line(run);
		else if (run->line_bytes < sizeof run->line - 1)
			run->line[run->line_bytes++] = data[i];
	}
}

static void take_output(struct run *run, const char *data, size_t len)
{
	struct skopeo *skopeo = run->skopeo;
	if (len > SKOPEO_MAX_OUTPUT - skopeo->output_bytes) {
		run->is_too_long = true;
		return;
	}
	memcpy(skopeo->output + skopeo->output_bytes, data, len);
	skopeo->output_bytes += len;
	skopeo->output[skopeo->output_bytes] = 0;
}

/** Read what is there from *fd, which is closed at its end. */
static void take(struct run *run, int *fd, void (*sink)(struct run *, const char *, size_t))
{
	char data[READ_BYTES];
	ssize_t len = read(*fd, data, sizeof data);
	if (len > 0) {
		sink(run, data, (size_t)len);
	} else if (len == 0 || errno != EINTR) {
		(void)close(*fd);
		*fd = -1;
	}
}

/** True when a signal that ends programs waits to be unblocked. */
static bool is_interrupted(void)
{
	sigset_t pending;
	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1 ||
		sigismember(&pending, SIGHUP) == 1);
}

static void watch(struct run *run)
{
	while (run->output >= 0 || run->log >= 0) {
		struct pollfd fds[] = {{.fd = run->output, .events = POLLIN},
				       {.fd = run->log, .events = POLLIN}};
		if (poll(fds, 2, TICK_MS) > 0) {
			if (fds[0].revents)
				take(run, &run->output, take_output);
			if (fds[1].revents)
				take(run, &run->log, take_log);
		}
		bool goes_on = !run->skopeo->tick || run->skopeo->tick(run->skopeo->cookie);
		if ((goes_on && !run->is_too_long && !is_interrupted()) || run->is_ended)
			continue;
		run->is_ended = true;
		(void)kill(run->pid, SIGTERM);
	}
	if (run->line_bytes)
		end_line(run);
}

/** What happens between fork and exec. Returns an errno. */
static int set_up(const struct run *run, posix_spawn_file_actions_t *actions, int output, int log)
{
	int error =
		posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!error)
		error = posix_spawn_file_actions_adddup2(actions, output, STDOUT_FILENO);
	if (!error)
		error = posix_spawn_file_actions_adddup2(actions, log, STDERR_FILENO);
	if (!error && run->skopeo->directory)
		error = posix_spawn_file_actions_addchdir_np(actions, run->skopeo->directory);
	return error;
}

/** Start skopeo, with no signal blocked. Returns an errno. */
static int spawn_with(struct run *run, const posix_spawn_file_actions_t *actions)
{
	char *argv[MAX_ARGUMENTS + 2] = {(char[]){"skopeo"}};
	posix_spawnattr_t attributes;
	sigset_t none;
	for (int i = 0; i < MAX_ARGUMENTS && run->skopeo->arguments[i]; i++)
		argv[i + 1] = (char *)(uintptr_t)run->skopeo->arguments[i];
	(void)sigemptyset(&none);
	int error = posix_spawnattr_init(&attributes);
	if (error)
		return error;
	error = posix_spawnattr_setsigmask(&attributes, &none);
	if (!error)
		error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	if (!error)
		error = posix_spawnp(&run->pid, argv[0], actions, &attributes, argv, environ);
	(void)posix_spawnattr_destroy(&attributes);
	return error;
}

/** Start skopeo with its output in the pipes' writing ends. Returns an errno. */
static int spawn(struct run *run, int output, int log)
{
	posix_spawn_file_actions_t actions;
	int error = posix_spawn_file_actions_init(&actions);
	if (error)
		return error;
	error = set_up(run, &actions, output, log);
	if (!error)
		error = spawn_with(run, &actions);
	(void)posix_spawn_file_actions_destroy(&actions);
	return error;
}

static int start(struct run *run, struct mote_error *err)
{
	int output[2], log[2];
	if (pipe2(output, O_CLOEXEC) != 0)
		return fail(err, MOTE_ESYSTEM, "no pipe: %s", strerror(errno));
	if (pipe2(log, O_CLOEXEC) != 0) {
		(void)close(output[0]);
		(void)close(output[1]);
		return fail(err, MOTE_ESYSTEM, "no pipe: %s", strerror(errno));
	}
	int error = spawn(run, output[1], log[1]);
	(void)close(output[1]);
	(void)close(log[1]);
	if (error == 0) {
		run->output = output[0];
		run->log = log[0];
		return MOTE_OK;
	}
	(void)close(output[0]);
	(void)close(log[0]);
	if (error == ENOENT)
		return fail(err, MOTE_ESYSTEM,
			    "skopeo is not in PATH, and mote speaks with registries through it: "
			    "install the package skopeo");
	return fail(err, MOTE_ESYSTEM, "skopeo cannot be started: %s", strerror(error));
}

static bool is_not_found(const char *message)
{
	static const char *const words[] = {"manifest unknown", "name unknown", "not found",
					    "StatusCode: 404"};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strstr(message, words[i]))
			return true;
	return false;
}

/** What its end means. */
static int judge(struct run *run, int status, struct mote_error *err)
{
	if (run->is_too_long)
		return fail(err, MOTE_ESTORE, "the registry answers with more than %u bytes",
			    SKOPEO_MAX_OUTPUT);
	if (run->is_ended)
		return fail(err, MOTE_ECANCELED, "interrupted");
	if (WIFSIGNALED(status))
		return fail(err, MOTE_ESYSTEM, "skopeo was ended by signal %d", WTERMSIG(status));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return MOTE_OK;
	const char *message = mote__skopeo_message(run->last);
	/* What registries on one's own machine often lack. */
	bool is_plain = strstr(message, "HTTP response to HTTPS client") != NULL;
	return fail(err, is_not_found(message) ? MOTE_ENOTFOUND : MOTE_ESYSTEM, "skopeo: %.400s%s",
		    message[0] ? message : "ended without a word",
		    is_plain ? " (for a registry without TLS: --tls-verify=false)" : "");
}

int mote__skopeo_run(struct skopeo *skopeo, struct mote_error *err)
{
	struct run run = {.skopeo = skopeo, .output = -1, .log = -1};
	int status = 0;
	skopeo->output_bytes = 0;
	skopeo->output = calloc(1, SKOPEO_MAX_OUTPUT + 1);
	if (!skopeo->output)
		return fail(err, MOTE_ENOMEM, "out of memory");
	int rc = start(&run, err);
	if (rc != MOTE_OK)
		return rc;
	watch(&run);
	while (waitpid(run.pid, &status, 0) < 0 && errno == EINTR)
		;
	return judge(&run, status, err);
}
