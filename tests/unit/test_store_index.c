/* SPDX-License-Identifier: MIT */
/* The index: tags, digests, entries of other programs, damage, and many writers at once. */
#include "store_files.h"

#include <pthread.h>
#include <sys/wait.h>

#define DIGEST(digit) "sha256:" digit digit digit digit digit digit digit digit
#define D0            DIGEST("00000000")
#define D1            DIGEST("11111111")
#define LIST(entries) "{\"schemaVersion\":2,\"manifests\":[" entries "]}"
#define ENTRY(digest, rest)                                                                    \
	"{\"mediaType\":\"" MOTE__MEDIA_MANIFEST "\",\"artifactType\":\"" MOTE__MEDIA_ARTIFACT \
	"\",\"digest\":\"" digest "\",\"size\":7" rest "}"
#define TAGGED(digest, tag) \
	ENTRY(digest, ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" tag "\"}")

static struct mote__blob blob_of(uint8_t first)
{
	struct mote__blob blob = {.bytes = 7};
	memset(blob.digest, first, sizeof blob.digest);
	return blob;
}

static void set(uint8_t first, const char *tag)
{
	const struct mote__blob blob = blob_of(first);
	int rc = mote__index_set(&f.store, &blob, tag, &f.err);
	if (rc < 0)
		check_failed(__FILE__, __LINE__, "%d: %s", rc, f.err.message);
}

static int find(const char *reference)
{
	struct mote__blob blob;
	int rc = mote__index_find(&f.store, reference, &blob, &f.err);
	return rc < 0 ? rc : blob.digest[0];
}

static int drop(const char *reference)
{
	return mote__index_remove(&f.store, reference, &f.err);
}

/* The list as one text: first byte of each digest, and its tag. */
static const char *list(void)
{
	static char text[4096];
	struct mote__index_entry *entries = NULL;
	uint32_t count = 0;
	size_t len = 0;
	int rc = mote__index_read(&f.store, &entries, &count, &f.err);
	if (rc < 0)
		return f.err.message;
	text[0] = 0;
	for (uint32_t i = 0; i < count && len < 4000; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%u%s%s", i ? " " : "",
					entries[i].manifest.digest[0], entries[i].tag[0] ? ":" : "",
					entries[i].tag);
	mote__free(entries);
	return text;
}

TEST(store_index__tags_move)
{
	char digest[MOTE_REFERENCE_BYTES];
	files_make();
	CHECK_STR(list(), "");
	CHECK_ERROR(find("latest"), MOTE_ENOTFOUND, "there is no latest");
	set(1, "latest");
	set(1, "v1");
	set(2, "v2");
	CHECK_STR(list(), "1:latest 1:v1 2:v2");
	CHECK_EQ(find("latest"), 1);
	set(2, "latest");
	CHECK_STR(list(), "1:v1 2:v2 2:latest");
	CHECK_EQ(find("latest"), 2);
	set(2, "latest"); /* as it is */
	CHECK_STR(list(), "1:v1 2:v2 2:latest");
	set(2, "v1"); /* 1 loses its only one */
	CHECK_STR(list(), "2:v2 2:latest 2:v1");
	mote__reference_print(blob_of(1).digest, digest);
	CHECK_ERROR(find(digest), MOTE_ENOTFOUND, digest);
	mote__reference_print(blob_of(2).digest, digest);
	CHECK_EQ(find(digest), 2);
	CHECK_EQ(tree_count(f.directory, ".mote-"), 0);
	files_end();
}

TEST(store_index__without_a_tag_it_stays_listed)
{
	files_make();
	set(1, NULL);
	set(1, NULL);
	CHECK_STR(list(), "1");
	set(1, "a");
	CHECK_STR(list(), "1 1:a");
	set(2, "a");
	CHECK_STR(list(), "1 2:a");
	set(2, NULL);
	set(1, "a");
	CHECK_STR(list(), "1 2 1:a");
	files_end();
}

TEST(store_index__removes_a_tag_or_all_of_a_digest)
{
	char digest[MOTE_REFERENCE_BYTES];
	files_make();
	set(1, "a");
	set(1, "b");
	set(2, "c");
	CHECK_EQ(drop("a"), MOTE_OK);
	CHECK_STR(list(), "1:b 2:c");
	CHECK_ERROR(drop("a"), MOTE_ENOTFOUND, "there is no a");
	set(1, "a");
	set(1, NULL);
	mote__reference_print(blob_of(1).digest, digest);
	CHECK_EQ(drop(digest), MOTE_OK);
	CHECK_STR(list(), "2:c");
	CHECK_ERROR(drop(digest), MOTE_ENOTFOUND, digest);
	CHECK_ERROR(drop("sha512:00"), MOTE_EINVAL, "a digest is \"sha256:\"");
	CHECK_ERROR(drop("a/b"), MOTE_EINVAL, "a tag is letters");
	CHECK_ERROR(find("SHA256:00"), MOTE_EINVAL, "a digest is \"sha256:\"");
	CHECK_ERROR(find(""), MOTE_EINVAL, "1 to 128 bytes");
	struct mote__blob blob = blob_of(1);
	CHECK_ERROR(mote__index_set(&f.store, &blob, "a b", &f.err), MOTE_EINVAL, "a tag is");
	CHECK_STR(list(), "2:c");
	files_end();
}

/* Values of other programs, compared as they are written by one who sorts names. */
TEST(store_index__keeps_what_other_programs_wrote)
{
	static const char foreign[] =
		"{\"annotations\":{\"a.b\":\"\\u0001 "
		"\xc3\xa4\",\"org.opencontainers.image.ref.name\":"
		"\"docker.io/library/x:1\"},\"data\":\"e30=\",\"digest\":\"" D1 "\",\"mediaType\":"
		"\"application/vnd.oci.image.manifest.v1+json\",\"n\":[1,-2,1.5,null,true,{}],"
		"\"platform\":{\"architecture\":\"amd64\",\"os\":\"linux\"},\"size\":"
		"9007199254740993}";
	char text[2048];
	size_t len = 0;
	files_make();
	(void)snprintf(text, sizeof text,
		       "{\"schemaVersion\":2,\"manifests\":[%s],\"annotations\":{\"z\":\"y\"}}",
		       foreign);
	files_write("index.json", text);
	set(1, "latest");
	set(2, "latest");
	CHECK_EQ(drop("latest"), MOTE_OK);
	set(3, "v3");
	char *got = tree_read(files_path("index.json"), &len);
	CHECK_HAS(got, foreign);
	CHECK_HAS(got, "\"annotations\":{\"z\":\"y\"}");
	free(got);
	CHECK_STR(list(), "17 3:v3");
	files_end();
}

/* skopeo writes no artifactType into the index: the manifest says what it is. */
TEST(store_index__the_manifest_says_what_it_is_of)
{
	static const struct {
		const char *manifest;
		bool is_snapshot;
	} cases[] = {
		{"{\"artifactType\":\"" MOTE__MEDIA_ARTIFACT "\"}", true},
		{"{\"config\":{\"mediaType\":\"" MOTE__MEDIA_CONFIG "\"}}", true},
		{"{\"artifactType\":\"x\",\"config\":{\"mediaType\":\"" MOTE__MEDIA_CONFIG "\"}}",
		 false},
		{"{\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\"}}",
		 false},
		{"{}", false},
		{"[[]]", false},
	};
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[512], digest[MOTE_REFERENCE_BYTES];
		files_make();
		struct mote__blob found, blob = files_put(cases[i].manifest);
		mote__reference_print(blob.digest, digest);
		(void)snprintf(text, sizeof text,
			       LIST("{\"mediaType\":\"" MOTE__MEDIA_MANIFEST
				    "\",\"digest\":\"%s\",\"size\":%llu}"),
			       digest, (unsigned long long)blob.bytes);
		files_write("index.json", text);
		struct mote__index_entry *entries = NULL;
		uint32_t count = 0;
		CHECK_EQ(mote__index_read(&f.store, &entries, &count, &f.err), MOTE_OK);
		CHECK(count == 1 && entries[0].is_snapshot == cases[i].is_snapshot);
		CHECK_STR(entries[0].media_type, MOTE__MEDIA_MANIFEST);
		mote__free(entries);
		int rc = mote__index_find(&f.store, digest, &found, &f.err);
		if (cases[i].is_snapshot)
			CHECK_MEM(&found, &blob, sizeof found);
		else
			CHECK_ERROR(rc, MOTE_ESTORE, "is no snapshot, but something else");
		/* One that is missing is somebody else's message. */
		CHECK_EQ(unlink(files_blob_path(&blob)), 0);
		CHECK_EQ(mote__index_find(&f.store, digest, &found, &f.err), MOTE_OK);
		/* So that who looks at all snapshots comes to it. */
		CHECK_EQ(mote__index_read(&f.store, &entries, &count, &f.err), MOTE_OK);
		CHECK(count == 1 && entries[0].is_snapshot);
		mote__free(entries);
	}
	files_write("index.json", LIST("{\"mediaType\":\"x\",\"digest\":\"" D1 "\",\"size\":7}"));
	CHECK_ERROR(find(D1), MOTE_ESTORE, "is no snapshot, but something else (x)");
	files_end();
}

TEST(store_index__two_manifests_of_a_tag_are_damage_and_can_be_mended)
{
	files_make();
	files_write("index.json", LIST(TAGGED(D0, "a") "," TAGGED(D1, "a") "," TAGGED(D1, "b")));
	CHECK_STR(list(), "0:a 17:a 17:b");
	CHECK_ERROR(find("a"), MOTE_ESTORE, "two different entries for \"a\"");
	CHECK_EQ(find("b"), 17);
	CHECK_EQ(find(D1), 17);
	set(3, "a");
	CHECK_STR(list(), "17:b 3:a");
	files_write("index.json", LIST(TAGGED(D0, "a") "," TAGGED(D1, "a")));
	CHECK_EQ(drop("a"), MOTE_OK);
	CHECK_STR(list(), "");
	/* Twice the same is no damage, but one is enough. */
	files_write("index.json", LIST(TAGGED(D1, "a") "," TAGGED(D1, "a")));
	CHECK_EQ(find("a"), 17);
	set(17, "a");
	CHECK_STR(list(), "17:a");
	files_end();
}

/* Every change of a damaged index is refused, and leaves it. */
TEST(store_index__says_what_is_wrong_and_where)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"", "index.json: "},
		{"{\"schemaVersion\":2}", "index.json: manifests is missing"},
		{"{\"manifests\":[]}", "index.json: schemaVersion is missing"},
		{"{\"schemaVersion\":3,\"manifests\":[]}", "schemaVersion is 3"},
		{"{\"schemaVersion\":2,\"mediaType\":\"x\",\"manifests\":[]}",
		 "mediaType is \"x\", expected \"application/vnd.oci.image.index.v1+json\""},
		{"{\"schemaVersion\":2,\"manifests\":{}}", "manifests is an object"},
		{LIST("1"), "manifests[0] is 1, expected an object"},
		{LIST(ENTRY(D0, "") ",{}"), "manifests[1].mediaType is missing"},
		{LIST("{\"mediaType\":\"x\",\"digest\":1}"), "manifests[0].digest is 1"},
		{LIST(ENTRY("sha512:00", "")),
		 "manifests[0].digest is of the algorithm \"sha512\""},
		{LIST(ENTRY("sha256:00", "")), "manifests[0].digest is \"sha256:00\""},
		{LIST(ENTRY(DIGEST("ABCDABCD"), "")), "manifests[0].digest is \"sha256:ABCD"},
		{LIST("{\"mediaType\":\"x\",\"digest\":\"" D0 "\",\"size\":-1}"), "size is -1"},
		{LIST("{\"mediaType\":\"x\",\"digest\":\"" D0 "\",\"size\":1.0}"),
		 "size is a fraction"},
		{LIST("{\"mediaType\":\"x\",\"digest\":\"" D0 "\",\"size\":9223372036854775808}"),
		 "too big integer"},
		{LIST(ENTRY(D0, ",\"annotations\":[]")), "annotations is an array"},
		{LIST(ENTRY(D0, ",\"annotations\":{\"org.opencontainers.image.ref.name\":1}")),
		 "ref.name is 1, expected a string"},
		{LIST(ENTRY(D0, ",\"size\":8")), "duplicate"},
		{LIST(TAGGED(D0, "\xff")), "unable to decode byte 0xff"},
		{LIST(TAGGED(D0, "a\\u0000b")), "\\u0000"},
	};
	files_make();
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct mote__blob blob = blob_of(1);
		size_t len = 0;
		files_write("index.json", cases[i].text);
		CHECK_ERROR(find("latest"), MOTE_ESTORE, cases[i].message);
		CHECK_HAS(list(), cases[i].message);
		CHECK_ERROR(drop("latest"), MOTE_ESTORE, cases[i].message);
		CHECK_ERROR(mote__index_set(&f.store, &blob, "latest", &f.err), MOTE_ESTORE,
			    cases[i].message);
		char *text = tree_read(files_path("index.json"), &len);
		CHECK_STR(text, cases[i].text);
		free(text);
	}
	CHECK_EQ(tree_count(f.directory, ".mote-"), 0);
	files_end();
}

TEST(store_index__refuses_what_is_no_plain_file)
{
	const struct mote__blob blob = blob_of(1);
	files_make();
	const char *path = files_path("index.json");
	CHECK_EQ(truncate(path, 1L << 40), 0);
	CHECK_ERROR(find("a"), MOTE_ESTORE, "index.json has 1099511627776 bytes, at most 16777216");
	CHECK_EQ(truncate(path, MOTE__INDEX_BYTES_MAX), 0);
	CHECK_ERROR(find("a"), MOTE_ESTORE, "index.json: line 1");
	CHECK_EQ(unlink(path), 0);
	CHECK_ERROR(find("a"), MOTE_ESTORE, "index.json is missing");
	CHECK_ERROR(mote__index_set(&f.store, &blob, "a", &f.err), MOTE_ESTORE,
		    "index.json is missing");
	CHECK_EQ(symlink("oci-layout", path), 0);
	CHECK_ERROR(find("a"), MOTE_ESTORE, "index.json is a symbolic link");
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(mkfifo(path, 0666), 0);
	CHECK_ERROR(find("a"), MOTE_ESTORE, "index.json is no regular file");
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(mkdir(path, 0755), 0);
	CHECK_ERROR(find("a"), MOTE_ESTORE, "index.json is no regular file");
	files_end();
}

/* count times part, between head and tail. */
static void write_many(const char *head, const char *part, unsigned count, const char *tail)
{
	size_t each = strlen(part), len = strlen(head);
	char *text = malloc(len + each * count + strlen(tail) + 1);
	CHECK(text != NULL);
	memcpy(text, head, len);
	for (unsigned i = 0; i < count; i++, len += each)
		memcpy(text + len, part, each);
	strcpy(text + len, tail);
	files_write("index.json", text);
	free(text);
}

TEST(store_index__entries_and_depth_have_limits)
{
	static const char head[] = "{\"schemaVersion\":2,\"manifests\":[";
	files_make();
	write_many(head, "1,", 1000000, "1]}");
	CHECK_ERROR(find("a"), MOTE_ESTORE, "at most 16384");
	write_many(head, "{},", 1000000, "1]}");
	CHECK_ERROR(find("a"), MOTE_ESTORE, "at most");
	write_many(head, "[", 1000000, "");
	CHECK_ERROR(find("a"), MOTE_ESTORE, "in each other");
	/* The last entry that fits, and one more. */
	write_many(head, ENTRY(D0, "") ",", MOTE__ENTRIES_MAX - 1, ENTRY(D0, "") "]}");
	const struct mote__blob blob = blob_of(1);
	CHECK_EQ(find(D0), 0);
	CHECK_ERROR(mote__index_set(&f.store, &blob, "a", &f.err), MOTE_ETOOBIG,
		    "more than 16384 entries");
	CHECK_EQ(drop(D0), MOTE_OK);
	CHECK_STR(list(), "");
	files_end();
}

/* ---- many writers ---------------------------------------------------------------------------- */

#define WRITERS 4u
#define TAGS    12u

/* Tags of its own, and one that all have. */
static int write_tags(unsigned writer, const struct mote__store *store)
{
	for (unsigned i = 0; i < TAGS; i++) {
		char tag[32];
		const struct mote__blob blob = blob_of((uint8_t)(writer + 1));
		(void)snprintf(tag, sizeof tag, "w%u.%u", writer, i);
		if (mote__index_set(store, &blob, tag, NULL) < 0 ||
		    mote__index_set(store, &blob, "common", NULL) < 0 ||
		    (i % 2 && mote__index_remove(store, tag, NULL) < 0))
			return 1;
	}
	return 0;
}

static void *write_tags_thread(void *writer)
{
	return write_tags(*(unsigned *)writer, &f.store) ? writer : NULL;
}

static void check_tags(void)
{
	char tag[32];
	int common = find("common");
	CHECK(common >= 1 && common <= (int)WRITERS);
	for (unsigned w = 0; w < WRITERS; w++)
		for (unsigned i = 0; i < TAGS; i++) {
			(void)snprintf(tag, sizeof tag, "w%u.%u", w, i);
			CHECK_EQ(find(tag), i % 2 ? MOTE_ENOTFOUND : (int)w + 1);
		}
	CHECK_EQ(tree_count(f.directory, ".mote-"), 0);
}

TEST(store_index__threads_that_share_a_store_lose_nothing)
{
	pthread_t threads[WRITERS];
	unsigned numbers[WRITERS];
	files_make();
	for (unsigned i = 0; i < WRITERS; i++) {
		numbers[i] = i;
		CHECK_EQ(pthread_create(&threads[i], NULL, write_tags_thread, &numbers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		void *failed = NULL;
		CHECK_EQ(pthread_join(threads[i], &failed), 0);
		CHECK(failed == NULL);
	}
	check_tags();
	files_end();
}

/* The first of them makes the store. */
TEST(store_index__processes_lose_nothing)
{
	pid_t children[WRITERS];
	files_begin();
	for (unsigned i = 0; i < WRITERS; i++) {
		children[i] = fork();
		CHECK(children[i] >= 0);
		if (children[i])
			continue;
		struct mote__store store;
		if (mote__store_open(f.directory, MOTE__STORE_CREATE, &store, NULL) < 0)
			_exit(2);
		_exit(write_tags(i, &store));
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		int status = 0;
		CHECK(waitpid(children[i], &status, 0) == children[i]);
		CHECK_EQ(status, 0);
	}
	files_open(MOTE__STORE_READ);
	check_tags();
	files_end();
}
