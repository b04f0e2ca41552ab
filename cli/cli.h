/* SPDX-License-Identifier: MIT */
/*
 * The mote command: what its parts share. Everything else stands in the header of its part.
 *
 * The command uses the public interface of the library only. What comes out of a guest or a guest
 * image is printed through output.h, which escapes what a terminal would act on.
 */
#ifndef MOTE_CLI_H
#define MOTE_CLI_H

/** Exit status of the command; documented in mote(1) and by --help. */
enum exit_status {
	EXIT_OK = 0,
	EXIT_GUEST_ERROR = 1, /* the guest's function returned an error */
	EXIT_USAGE = 2,       /* the command line is wrong */
	EXIT_REFUSED = 3,     /* the guest, a store, an option or the arguments were refused */
	EXIT_GUEST_DIED = 4,  /* the guest aborted, faulted or broke the protocol */
	EXIT_CANCELLED = 5,   /* the timeout ended the call */
	EXIT_NO_KVM = 6,      /* no usable hypervisor */
	EXIT_HOST = 7,        /* any other failure of the host */
};

struct options;

/* The commands. Each prints its own errors and returns an exit status. */
int mote__command_run(const struct options *options);
int mote__command_call(const struct options *options);
int mote__command_inspect(const struct options *options);
int mote__command_doctor(const struct options *options);
int mote__command_bench(const struct options *options);
int mote__command_snapshot_take(const struct options *options);
int mote__command_snapshot_inspect(const struct options *options);
int mote__command_snapshot_diff(const struct options *options);
int mote__command_snapshot_flatten(const struct options *options);
int mote__command_snapshot_save(const struct options *options);
int mote__command_snapshot_load(const struct options *options);
int mote__command_snapshot_list(const struct options *options);
int mote__command_snapshot_verify(const struct options *options);
int mote__command_snapshot_tag(const struct options *options);
int mote__command_snapshot_remove(const struct options *options);
int mote__command_snapshot_gc(const struct options *options);
int mote__command_snapshot_push(const struct options *options);
int mote__command_snapshot_pull(const struct options *options);

#endif
