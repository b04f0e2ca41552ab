/* SPDX-License-Identifier: MIT */
/* What drawings have in common: fonts, colours, and text that may be hostile. */
#ifndef MOTE_CLI_SVG_H
#define MOTE_CLI_SVG_H

#include <stdio.h>

/** For the style element. */
extern const char mote__svg_style[];

/** Print text, escaped for XML. */
void mote__svg_text(FILE *out, const char *text);

#endif
