/* SPDX-License-Identifier: MIT */
/* What -fstack-protector calls. The canary itself is set in start.c. */
#include "rt.h"

_Noreturn void __stack_chk_fail(void);

_Noreturn void __stack_chk_fail(void)
{
	static const char text[] = "Stack smashing detected";
	mote__guest_abort(MOTE_GUEST_STACK_COOKIE, text, sizeof text - 1);
}
