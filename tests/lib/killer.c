/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "killer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define REFUSED    120 /* exit statuses of the child, beyond those of jobs */
#define UNPREPARED 121
#define SECONDS    60
/* What a stop at a system call looks like, with PTRACE_O_TRACESYSGOOD. */
#define AT_CALL (SIGTRAP | 0x80)

static _Noreturn void be_the_child(const struct killer_job *job)
{
	(void)alarm(SECONDS);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(REFUSED);
	if (job->prepare && job->prepare(job->cookie) != 0)
		_exit(UNPREPARED);
	(void)raise(SIGSTOP);
	_exit(job->run(job->cookie));
}

/* ---- what a call is about -------------------------------------------------------------------- */

/* Which arguments of a call are descriptors and names; -1: none. */
struct shape {
	long number;
	int fd, name, to_fd, to_name;
};

static const struct shape shapes[] = {
	{SYS_open, -1, 0, -1, -1},      {SYS_openat, 0, 1, -1, -1},
	{SYS_openat2, 0, 1, -1, -1},    {SYS_creat, -1, 0, -1, -1},
	{SYS_write, 0, -1, -1, -1},     {SYS_pwrite64, 0, -1, -1, -1},
	{SYS_writev, 0, -1, -1, -1},    {SYS_pwritev, 0, -1, -1, -1},
	{SYS_pwritev2, 0, -1, -1, -1},  {SYS_sendfile, 0, -1, -1, -1},
	{SYS_ftruncate, 0, -1, -1, -1}, {SYS_fallocate, 0, -1, -1, -1},
	{SYS_fsync, 0, -1, -1, -1},     {SYS_fdatasync, 0, -1, -1, -1},
	{SYS_syncfs, 0, -1, -1, -1},    {SYS_fchmod, 0, -1, -1, -1},
	{SYS_mkdir, -1, 0, -1, -1},     {SYS_mkdirat, 0, 1, -1, -1},
	{SYS_unlink, -1, 0, -1, -1},    {SYS_unlinkat, 0, 1, -1, -1},
	{SYS_rename, -1, 0, -1, 1},     {SYS_renameat, 0, 1, 2, 3},
	{SYS_renameat2, 0, 1, 2, 3},    {SYS_link, -1, 0, -1, 1},
	{SYS_linkat, 0, 1, 2, 3},       {SYS_copy_file_range, 2, -1, -1, -1},
	{SYS_flock, 0, -1, -1, -1},
};

static uint64_t argument(const struct user_regs_struct *r, int index)
{
	const uint64_t arguments[] = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9};
	return arguments[index];
}

static void read_text(pid_t child, uint64_t at, char *text, size_t bytes)
{
	struct iovec to = {text, bytes - 1}, from = {(void *)(uintptr_t)at, bytes - 1};
	/* The text may end before an unmapped page. */
	size_t in_page = 4096 - at % 4096;
	if (from.iov_len > in_page)
		to.iov_len = from.iov_len = in_page;
	ssize_t len = process_vm_readv(child, &to, 1, &from, 1, 0);
	text[len > 0 ? len : 0] = 0;
}

static void read_descriptor(pid_t child, int fd, char *text, size_t bytes)
{
	char link[64];
	(void)snprintf(link, sizeof link, fd == AT_FDCWD ? "/proc/%d/cwd" : "/proc/%d/fd/%d", child,
		       fd);
	ssize_t len = readlink(link, text, bytes - 1);
	text[len > 0 ? len : 0] = 0;
}

static void find_path(pid_t child, const struct user_regs_struct *r, int fd, int name,
		      char path[KILLER_PATH_BYTES])
{
	char text[KILLER_PATH_BYTES] = "";
	path[0] = 0;
	if (name >= 0)
		read_text(child, argument(r, name), text, sizeof text);
	if (text[0] != '/')
		read_descriptor(child, fd < 0 ? AT_FDCWD : (int)argument(r, fd), path,
				KILLER_PATH_BYTES);
	size_t len = strlen(path);
	if (name >= 0)
		(void)snprintf(path + len, KILLER_PATH_BYTES - len, "%s%s", len ? "/" : "", text);
}

static void describe(pid_t child, const struct user_regs_struct *r, struct killer_call *call)
{
	memset(call, 0, sizeof *call);
	call->number = (long)r->orig_rax;
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		const struct shape *s = &shapes[i];
		if (s->number != call->number)
			continue;
		find_path(child, r, s->fd, s->name, call->path);
		if (s->to_name >= 0)
			find_path(child, r, s->to_fd, s->to_name, call->to);
		if (call->number == SYS_openat || call->number == SYS_open)
			call->flags = argument(r, s->name + 1);
	}
}

/* ---- the tracer ------------------------------------------------------------------------------ */

struct tracer {
	pid_t child;
	struct killer_log *log;
	struct killer_call *open_call; /* that has been entered; NULL: not in one */
	bool is_inside;
	unsigned calls;
};

/* Let the child go on to its next stop at a system call: false when it has ended. */
static bool next_stop(struct tracer *t, int *status)
{
	int signal_number = 0;
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, t->child, NULL, (void *)(intptr_t)signal_number) < 0)
			CHECK(errno == ESRCH);
		CHECK(waitpid(t->child, status, 0) == t->child);
		if (!WIFSTOPPED(*status))
			return false;
		if (WSTOPSIG(*status) == AT_CALL)
			return true;
		signal_number = WSTOPSIG(*status) == SIGTRAP ? 0 : WSTOPSIG(*status);
	}
}

static void kill_child(const struct tracer *t)
{
	int status;
	CHECK(kill(t->child, SIGKILL) == 0);
	CHECK(waitpid(t->child, &status, 0) == t->child);
	CHECK(WIFSIGNALED(status));
}

/* A write that is entered becomes one of half the bytes, which is let happen. */
static void tear(struct tracer *t, struct user_regs_struct *r)
{
	int status;
	if ((r->orig_rax != SYS_write && r->orig_rax != SYS_pwrite64) || r->rdx < 2)
		return;
	r->rdx /= 2;
	CHECK(ptrace(PTRACE_SETREGS, t->child, NULL, r) == 0);
	CHECK(next_stop(t, &status));
}

static void enter(struct tracer *t, const struct user_regs_struct *r)
{
	t->calls++;
	t->is_inside = true;
	t->open_call = NULL;
	if (!t->log)
		return;
	CHECK(t->log->count < KILLER_CALLS_MAX);
	t->open_call = &t->log->call[t->log->count++];
	describe(t->child, r, t->open_call);
}

static void leave(struct tracer *t, const struct user_regs_struct *r)
{
	t->is_inside = false;
	if (t->open_call)
		t->open_call->result = (int64_t)r->rax;
}

static void begin(struct tracer *t)
{
	int status;
	CHECK(waitpid(t->child, &status, 0) == t->child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == REFUSED)
		check_skip("processes may not be traced here");
	if (!WIFSTOPPED(status))
		check_failed(__FILE__, __LINE__, "the job was not prepared: status 0x%x", status);
	CHECK(ptrace(PTRACE_SETOPTIONS, t->child, NULL,
		     (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) == 0);
}

struct killer_outcome killer_run(const struct killer_job *job, unsigned n, enum killer_way way,
				 struct killer_log *log)
{
	struct tracer t = {.log = log};
	struct user_regs_struct r;
	int status;
	(void)fflush(stdout);
	t.child = fork();
	CHECK(t.child >= 0);
	if (t.child == 0)
		be_the_child(job);
	if (log)
		log->count = 0;
	begin(&t);
	while (next_stop(&t, &status)) {
		CHECK(ptrace(PTRACE_GETREGS, t.child, NULL, &r) == 0);
		if (t.is_inside) {
			leave(&t, &r);
			continue;
		}
		if (r.orig_rax == SYS_exit_group)
			continue;
		enter(&t, &r);
		if (t.calls != n)
			continue;
		if (way == KILLER_TORN)
			tear(&t, &r);
		kill_child(&t);
		return (struct killer_outcome){.calls = t.calls};
	}
	if (!WIFEXITED(status))
		check_failed(__FILE__, __LINE__, "the job died: status 0x%x", status);
	return (struct killer_outcome){
		.is_finished = true, .status = WEXITSTATUS(status), .calls = t.calls};
}
