/* SPDX-License-Identifier: MIT */
/* Names of stored snapshots. See place.h. */
#include "place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char registry_scheme[] = "docker://";
static const char digest_start[] = "@sha256:";

static bool is_directory(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/** Where the name behind text's store starts, with the character before it; NULL: nowhere. */
static char *separator_of(char *text)
{
	char *at = NULL;
	for (char *next = strstr(text, digest_start); next; next = strstr(next + 1, digest_start))
		at = next;
	if (at)
		return at;
	at = strrchr(text, ':');
	return at && !strchr(at, '/') ? at : NULL;
}

bool mote__place_parse(const char *text, struct place *place)
{
	*place = (struct place){.directory = strdup(text)};
	if (!place->directory)
		return false;
	if (strncmp(text, registry_scheme, sizeof registry_scheme - 1) == 0) {
		place->is_registry = true;
		return true;
	}
	if (is_directory(text))
		return true;
	char *at = separator_of(place->directory);
	/* ":v1" names no store: it is somebody's mistake. Who makes stores tells it, to others
	 * there is no such directory. */
	if (!at || at == place->directory)
		return true;
	place->is_digest = *at == '@';
	place->name = at + 1;
	*at = 0;
	return true;
}

void mote__place_free(struct place *place)
{
	free(place->directory);
	*place = (struct place){0};
}

static bool is_store(const char *directory)
{
	struct stat status;
	char *path = NULL;
	if (asprintf(&path, "%s/oci-layout", directory) < 0)
		return false;
	bool is_there = lstat(path, &status) == 0;
	free(path);
	return is_there;
}

bool mote__place_is_stored(const char *text)
{
	struct place place;
	struct stat status;
	if (stat(text, &status) == 0 && !S_ISDIR(status.st_mode))
		return false;
	if (!mote__place_parse(text, &place))
		return false;
	bool is_stored = place.is_registry || is_store(place.directory);
	mote__place_free(&place);
	return is_stored;
}

const char *mote__place_tag_of(const char *name)
{
	const char *slash = strrchr(name, '/');
	const char *colon = strrchr(slash ? slash : name, ':');
	if (strstr(name, digest_start) || !colon)
		return NULL;
	return colon + 1;
}
