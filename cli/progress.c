/* SPDX-License-Identifier: MIT */
/* One line about long work. See progress.h. */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output.h"
#include "session.h"

#define REDRAW_NS 100000000u
#define SECOND_NS 1000000000u

static const char erase[] = "\r\033[K";

struct progress mote__progress_begin(const struct options *options, const char *verb)
{
	const char *terminal = getenv("TERM");
	bool can_erase = terminal && strcmp(terminal, "dumb") != 0;
	uint64_t now = mote__clock_ns();
	return (struct progress){
		.verb = verb,
		.is_on = !options->json && !options->quiet && can_erase && isatty(STDERR_FILENO),
		.start_ns = now,
		.drawn_ns = now, /* short work draws nothing */
	};
}

void mote__progress_line(char *line, size_t size, const char *verb, uint64_t done, uint64_t total,
			 uint64_t ns)
{
	double seconds = (double)ns / SECOND_NS;
	double rate = seconds > 0 ? (double)done / seconds : 0;
	char left[40] = "";
	/* Beyond a day nobody wants to know. */
	if (rate > 0 && done <= total && (double)(total - done) / rate < 86400)
		(void)snprintf(left, sizeof left, ", %.0f s left", (double)(total - done) / rate);
	(void)snprintf(line, size, "%s: %s of %s, %s/s%s", verb, mote__size_text(done).text,
		       mote__size_text(total).text, mote__size_text((uint64_t)rate).text, left);
}

int mote__progress_show(void *cookie, uint64_t done, uint64_t total)
{
	struct progress *progress = cookie;
	char line[160];
	if (!progress->is_on)
		return 0;
	uint64_t now = mote__clock_ns();
	if (now - progress->drawn_ns < REDRAW_NS)
		return 0;
	progress->drawn_ns = now;
	progress->is_drawn = true;
	mote__progress_line(line, sizeof line, progress->verb, done, total,
			    now - progress->start_ns);
	(void)fprintf(stderr, "%s%s", erase, line);
	(void)fflush(stderr);
	return 0;
}

int mote__progress_warn(void *cookie, const char *text)
{
	mote__progress_end(cookie);
	(void)fflush(stdout);
	(void)fputs("mote: warning: ", stderr);
	mote__output_name(stderr, text);
	(void)fputc('\n', stderr);
	return 0;
}

void mote__progress_end(struct progress *progress)
{
	if (progress->is_drawn)
		(void)fputs(erase, stderr);
	(void)fflush(stderr);
	progress->is_drawn = false;
}
