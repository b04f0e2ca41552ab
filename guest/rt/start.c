/* SPDX-License-Identifier: MIT */
/*
 * Initialise: hand the C library what a kernel would (arguments, auxiliary vector), let it run the
 * constructors, run the program's own part, halt. Everything the C library keeps pointers to is
 * static, because the first call starts again at the top of the stack.
 */
#include "rt.h"

#include <elf.h>
#include <string.h>

struct mote__guest_state mote__guest;

/* The file header, which the linker script puts at the start of the image. */
extern const Elf64_Ehdr __ehdr_start __attribute__((visibility("hidden")));
extern const char mote__guest_fallback_entry[], mote__guest_fallback_dispatch_entry[];

int __libc_start_main(int (*program)(int, char **, char **), int argc, char **argv,
		      void (*init)(void), void (*fini)(void), void (*loader)(void));

struct auxiliary {
	uint64_t type, value;
};

/* The initial stack of a process: count, arguments, NULL, environment, NULL, auxiliary vector. */
struct process {
	char *argv[2];
	char *environment[1];
	struct auxiliary auxiliary[8];
};

static void describe(struct process *process)
{
	static char name[] = "guest";
	static uint8_t random[16];
	const Elf64_Ehdr *image = &__ehdr_start;
	mote_guest_random(random, sizeof random);
	*process = (struct process){
		.argv = {name, NULL},
		.environment = {NULL},
		.auxiliary =
			{
				{AT_PHDR, (uint64_t)image + image->e_phoff},
				{AT_PHENT, image->e_phentsize},
				{AT_PHNUM, image->e_phnum},
				{AT_PAGESZ, MOTE__GUEST_PAGE_BYTES},
				{AT_ENTRY, (uint64_t)mote__guest_fallback_entry},
				{AT_RANDOM, (uint64_t)random},
				{AT_NULL, 0},
			},
	};
}

/* The stack protector's canary lies at a fixed place of the thread's block (System V ABI, x86-64).
 * A NUL in it stops string functions. */
static void set_canary(void)
{
	uint64_t canary;
	mote_guest_random(&canary, sizeof canary);
	canary &= ~0xFFull;
	__asm__ volatile("mov %0, %%fs:0x28" : : "r"(canary) : "memory");
}

static int program(int argc, char **argv, char **environment)
{
	(void)argc;
	(void)argv;
	(void)environment;
	mote_guest_init();
	mote__guest_flush();
	mote__guest_scratch_reset();
	mote__guest.is_ready = true;
	mote__guest_halt();
}

/* The C library calls this between setting up the thread and the constructors. */
void _init(void);
void _init(void)
{
	set_canary();
}

_Noreturn void mote__guest_start(const struct mote_abi_run_info *run)
{
	static struct process process;
	mote__guest.run = run;
	describe(&process);
	__libc_start_main(program, 1, process.argv, NULL, NULL, NULL);
	__builtin_trap();
}

_Noreturn void mote__guest_halt(void)
{
	/* A host that knows no confinement takes these from the end of initialise for every call;
	 * others look at neither. */
	__asm__ volatile("mov %1, %%rsp\n\t"
			 "out %%eax, $108\n\t"
			 "ud2"
			 :
			 : "a"(mote__guest_fallback_dispatch_entry), "r"(mote__guest.run->stack_top)
			 : "memory");
	__builtin_unreachable();
}

struct mote_bytes mote_guest_init_data(void)
{
	const struct mote_abi_run_info *run = mote__guest.run;
	return (struct mote_bytes){(const void *)run->init_data, run->init_data_bytes};
}
