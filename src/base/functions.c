/* SPDX-License-Identifier: MIT */
#include "base/functions.h"

#include "base/sys.h"

void mote__functions_free(struct mote__functions *functions)
{
	mote__free(functions->function);
	mote__free(functions->text);
	*functions = (struct mote__functions){0};
}
