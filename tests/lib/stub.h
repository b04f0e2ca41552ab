/* SPDX-License-Identifier: MIT */
/*
 * What a processor and the library's ring-0 code do when a confined guest touches a page, in C:
 * look into the translations that are cached, walk the guest's tables, and on a fault copy a page
 * or take a zero one as src/core/x86_64/system.S does, edit for edit.
 *
 * Translations stay cached until something makes a processor or KVM forget them: INVLPG by that
 * code, a change of the machine's slots, or the process letting go of the page (link with
 * -Wl,--wrap=madvise, or such pages are remembered too long). A host that edits tables and forgets
 * to make the machine forget shows as a guest that sees an old page.
 */
#ifndef MOTE_TESTS_STUB_H
#define MOTE_TESTS_STUB_H

#include "double.h"

enum stub_outcome {
	STUB_DONE,
	STUB_FULL,  /* no frame is left: exit by stub_ask(), then touch again */
	STUB_FAULT, /* not the guest's, or not for writing: the library is told */
};

/** Read or write the page at gva: *page is where its bytes are. */
enum stub_outcome stub_touch(struct double_machine *m, uint64_t gva, bool is_write, uint8_t **page);
/** The exit that asks for frames. */
void stub_ask(struct mote__exit *exit);
/** The processor forgets what it cached for m, as it may at any time. */
void stub_flush(const struct double_machine *m);

#endif
