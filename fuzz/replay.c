/* SPDX-License-Identifier: MIT */
/*
 * Runs the fuzz target that it is linked with on each file of the directories named on the command
 * line, and prints TAP. An input that breaks a property ends the program, as it ends the fuzzer.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Returns the bytes of a file, exactly as long as it is, or NULL. */
static uint8_t *read_file(const char *path, size_t *len)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	long end;
	if (!file)
		return NULL;
	if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) >= 0 &&
	    fseek(file, 0, SEEK_SET) == 0) {
		*len = (size_t)end;
		data = malloc(*len ? *len : 1);
		if (data && fread(data, 1, *len, file) != *len) {
			free(data);
			data = NULL;
		}
	}
	fclose(file);
	return data;
}

/* The line is printed before the input runs and its result after, so that a crash shows the name.
 */
static int replay(int number, const char *path)
{
	size_t len = 0;
	printf("# %s\n", path);
	fflush(stdout);
	uint8_t *data = read_file(path, &len);
	if (!data) {
		printf("not ok %d - %s: %s\n", number, path, strerror(errno));
		return 1;
	}
	LLVMFuzzerTestOneInput(data, len);
	free(data);
	printf("ok %d - %s\n", number, path);
	return 0;
}

static int replay_directory(const char *directory, int *number)
{
	DIR *entries = opendir(directory);
	int failed = 0;
	if (!entries) {
		printf("Bail out! %s: %s\n", directory, strerror(errno));
		return 1;
	}
	for (const struct dirent *entry; (entry = readdir(entries));) {
		char path[4096];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
		failed |= replay(++*number, path);
	}
	closedir(entries);
	return failed;
}

int main(int argc, char **argv)
{
	int number = 0, failed = 0;
	for (int i = 1; i < argc; i++)
		failed |= replay_directory(argv[i], &number);
	printf("1..%d\n", number);
	return failed;
}
