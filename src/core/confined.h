/* SPDX-License-Identifier: MIT */
/*
 * Confined guests on x86-64: where the library's system pages and a sandbox's own pages lie, what
 * their words mean, and the ports that ring 0 uses. Shared by the assembly of the system pages, by
 * the layout and by the run loop: numbers only, valid in C and in assembly.
 *
 * Everything here is seen by ring 0 of the guest. Ring 0 runs only the library's own bytes.
 */
#ifndef MOTE_CORE_CONFINED_H
#define MOTE_CORE_CONFINED_H

#ifdef __ASSEMBLER__
#define MOTE_U64(x) x
#else
#define MOTE_U64(x) x##ull
#endif

/* Recursive entry: top-level slot 256 of every root points to the root itself, so that the leaf
 * entry of virtual page n is the u64 at SELF_GVA + 8 n. Supervisor only. */
#define MOTE__SELF_SLOT 256
#define MOTE__SELF_GVA  MOTE_U64(0xFFFF800000000000)

/* The library's object: read-only memory of the process, one read-only slot at SYSTEM_GPA. */
#define MOTE__SYSTEM_GPA        MOTE_U64(0x800000000)
#define MOTE__SYSTEM_GVA        MOTE_U64(0xFFFF808000000000)
#define MOTE__SYSTEM_PAGES      4
#define MOTE__SYSTEM_STUB_PAGE  0 /* supervisor, execute: exception entries */
#define MOTE__SYSTEM_TABLE_PAGE 1 /* supervisor, read: GDT, TSS, I/O bitmap, frames */
#define MOTE__SYSTEM_IDT_PAGE   2 /* supervisor, read */
#define MOTE__SYSTEM_USER_PAGE  3 /* user, execute: prologue, copy routine, SYSCALL entry */

/* Memory of the embedder's, between the snapshot and the library's object. */
#define MOTE__MAPPING_GPA MOTE_U64(0x400000000)

/* Pages of the sandbox, in scratch, mapped behind the library's. */
#define MOTE__PARAMS_PAGE   4 /* supervisor, read and write: struct mote__params */
#define MOTE__IST_PAGE      5 /* user, read and write: interrupt stack, SYSCALL word */
#define MOTE__RUN_INFO_PAGE 6 /* user, read: struct mote__run_info */
#define MOTE__WINDOW_PAGE   7 /* user, read: the page that is being copied */
#define MOTE__LEAVES_PAGE   8 /* supervisor, read and write: the table that maps these pages */
#define MOTE__MAPPED_PAGES  9

#define MOTE__PAGE_GVA(page)   (MOTE__SYSTEM_GVA + (page)*MOTE_U64(0x1000))
#define MOTE__IST_TOP          (MOTE__PAGE_GVA(MOTE__IST_PAGE) + 0x1000)
#define MOTE__SYSCALL_WORD_GVA MOTE__PAGE_GVA(MOTE__IST_PAGE)

/* Selectors. STAR = SYSRET base 0x23, SYSCALL base 0x10. */
#define MOTE__CS0           0x10
#define MOTE__SS0           0x18
#define MOTE__SS3           0x2b
#define MOTE__CS3           0x33
#define MOTE__CS32          0x23 /* none of ours: Linux's, which must not be reachable */
#define MOTE__TR            0x38
#define MOTE__GDT_LIMIT     0x47
#define MOTE__TSS_OFFSET    0x100 /* in the table page */
#define MOTE__TSS_LIMIT     118   /* 104 bytes, bitmap of ports 0-111, one byte of ones */
#define MOTE__FRAMES_OFFSET 0x400 /* in the table page: frames that the stub returns through */

/* Entry points inside the system pages. */
#define MOTE__EXCEPTION_OFFSET 0x400 /* in the stub page: 32 entries of 16 bytes */
#define MOTE__PROLOGUE_GVA     MOTE__PAGE_GVA(MOTE__SYSTEM_USER_PAGE)
#define MOTE__SYSCALL_GVA      (MOTE__PROLOGUE_GVA + 0x80)
#define MOTE__COPY_GVA         (MOTE__PROLOGUE_GVA + 0x100)
#define MOTE__RETURN_GVA       (MOTE__PROLOGUE_GVA + 0x140)
#define MOTE__PROBE_GVA        (MOTE__PROLOGUE_GVA + 0x180)
#define MOTE__RESET_GVA        (MOTE__PROLOGUE_GVA + 0x1C0)
#define MOTE__PROBE_FAR_GVA    (MOTE__PROLOGUE_GVA + 0x200)
#define MOTE__PROBE_STACK      0x800 /* bytes below the top of the IST page: the probes' stack */
#define MOTE__FPU_IMAGE_OFFSET 0x400 /* in the user page */

/* Ports of ring 0. They lie beyond the I/O bitmap: ring 3 gets #GP. */
#define MOTE__PORT_EXCEPTION 0xE0 /* EAX = vector; the frame stands at the top of the IST page */
#define MOTE__PORT_FRAMES    0xE1 /* out of frames: raise params.limit and run on, or give up */

/* struct mote__params, offsets. A "frame word" is frame address | flags of a new leaf. */
#define MOTE__PARAMS_NEXT        0x00 /* frame word of the next free frame */
#define MOTE__PARAMS_LIMIT       0x08 /* frame word behind the last frame */
#define MOTE__PARAMS_LOG_BIAS    0x10 /* log entry of frame word w: LOG_BIAS + (w >> 9) */
#define MOTE__PARAMS_COW_END     0x18 /* first virtual page number that is never copy-on-write */
#define MOTE__PARAMS_HEAP_FIRST  0x20 /* demand-zero: first page number */
#define MOTE__PARAMS_HEAP_PAGES  0x28
#define MOTE__PARAMS_STACK_FIRST 0x30
#define MOTE__PARAMS_STACK_PAGES 0x38
#define MOTE__PARAMS_COW_FIRST   0x40 /* first virtual page number that may be copy-on-write */

/* struct mote__run_info, the offset that assembly needs. */
#define MOTE__RUN_INFO_SYSCALL 0x00 /* guest's SYSCALL handler */

/* Flags of a new leaf: present, writable, user, accessed, dirty, no-execute (Intel SDM volume 3,
 * 4.5; AMD64 APM volume 2, 5.3). */
#define MOTE__LEAF_NEW     MOTE_U64(0x8000000000000067)
#define MOTE__LEAF_COW_BIT 0x200

#endif
