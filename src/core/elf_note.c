/* SPDX-License-Identifier: MIT */
/*
 * Notes of an image: the version note of family S (a section), the confinement note `.note.mote`
 * (a PT_NOTE segment, else a section) and the build id (the same).
 *
 * Foreign notes may be malformed without harm, they end the scan of their segment or section; what
 * is recognisably ours must be right.
 */
#include "core/elf_format.h"

#include "base/error.h"
#include "base/math.h"

#include <inttypes.h>
#include <string.h>

#define NOTE_HEADER_BYTES 12u
/* Notes looked at in one segment or section: bounds the work on 256 segments that overlap. */
#define NOTES_MAX       4096u
#define NOTE_BUILD_ID   3u /* type, of name GNU */
#define NOTE_VERSION    1u /* type, of name Hyperlight */
#define NOTE_MOTE       1u /* type, of name mote */
#define MOTE_NOTE_ALIGN 8u

/* Offsets of the fields of a confinement note in its descriptor. */
enum {
	FIELD_VERSION = 0,
	FIELD_SIZE = 4,
	FIELD_REQUIRED = 8,
	FIELD_OPTIONAL = 16,
	FIELD_FAMILY = 24,
	FIELD_BASELINE = 28,
	FIELD_STACK_BYTES = 32,
	FIELD_ENTRY = 40,
	FIELD_DISPATCH = 48,
	FIELD_SYSCALL_HANDLER = 56,
	FIELD_EXPORTS = 64,
	FIELD_IMPORTS = 72,
	FIELDS_BYTES = 80,
};

/* One note. name and desc are inside the file unless note_next() says otherwise. */
struct note {
	uint64_t offset; /* in the file */
	uint32_t name_bytes, desc_bytes, type;
	const uint8_t *name, *desc;
	uint64_t desc_offset; /* in the file */
};

/* A place in a sequence of notes. */
struct cursor {
	const uint8_t *file;
	uint64_t at, end; /* file offsets */
	uint64_t align;   /* 4 or 8, else the sequence reads as malformed */
	uint32_t count;
};

enum found { NOTE_FOUND, NOTE_END, NOTE_MALFORMED };

static struct cursor cursor_make(const struct mote__elf *elf, uint64_t offset, uint64_t bytes,
				 uint64_t align)
{
	return (struct cursor){
		.file = elf->file,
		.at = offset,
		.end = offset + bytes,
		.align = align < 4 ? 4 : align,
	};
}

/* When the descriptor is what is malformed, all of *note but desc is valid, else name is NULL. */
static enum found note_next(struct cursor *cursor, struct note *note)
{
	uint64_t left = cursor->end - cursor->at;
	const uint8_t *at = cursor->file + cursor->at;
	memset(note, 0, sizeof *note);
	if (cursor->align != 4 && cursor->align != 8)
		return NOTE_MALFORMED;
	if (!at || left < NOTE_HEADER_BYTES)
		return NOTE_END;
	if (cursor->count++ == NOTES_MAX)
		return NOTE_MALFORMED;
	note->offset = cursor->at;
	note->name_bytes = mote__elf_get32(at);
	note->desc_bytes = mote__elf_get32(at + 4);
	note->type = mote__elf_get32(at + 8);
	if (note->name_bytes > left - NOTE_HEADER_BYTES)
		return NOTE_MALFORMED;
	note->name = at + NOTE_HEADER_BYTES;
	/* 32-bit sizes and a file offset: no sum here comes near 2^64. */
	uint64_t desc =
		mote__round_up((uint64_t)NOTE_HEADER_BYTES + note->name_bytes, cursor->align);
	note->desc_offset = cursor->at + desc;
	if (!mote__in_range(desc, note->desc_bytes, left))
		return NOTE_MALFORMED;
	note->desc = at + desc;
	/* The last note need not be padded. */
	uint64_t next = mote__round_up(desc + note->desc_bytes, cursor->align);
	cursor->at = next < left ? cursor->at + next : cursor->end;
	return NOTE_FOUND;
}

static bool note_is(const struct note *note, const char *name, uint32_t type)
{
	size_t len = strlen(name) + 1;
	return note->name && note->type == type && note->name_bytes == len &&
	       memcmp(note->name, name, len) == 0;
}

/* The first note section of that name. */
static bool find_section(const struct mote__elf *elf, const char *name, struct elf_section *section)
{
	for (uint32_t i = 0; i < mote__elf_section_count(elf); i++) {
		*section = mote__elf_section(elf, i);
		if (section->type == ELF_SHT_NOTE && mote__elf_section_is(elf, section, name))
			return true;
	}
	return false;
}

/* The first note of that name and type in a sequence. */
static bool find_note(struct cursor cursor, const char *name, uint32_t type, struct note *note)
{
	while (note_next(&cursor, note) == NOTE_FOUND)
		if (note_is(note, name, type))
			return true;
	return false;
}

static bool find_section_note(const struct mote__elf *elf, const char *section_name,
			      const char *name, uint32_t type, struct note *note)
{
	struct elf_section section;
	if (!find_section(elf, section_name, &section) ||
	    !mote__in_range(section.offset, section.bytes, elf->file_bytes))
		return false;
	return find_note(cursor_make(elf, section.offset, section.bytes, section.align), name, type,
			 note);
}

/* Well-formed UTF-8: no overlong forms, no surrogates, nothing over U+10FFFF. */
static bool is_utf8(const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		uint8_t first = text[i++];
		unsigned more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
		if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || more > len - i)
			return false;
		if (more == 0)
			continue;
		uint8_t second = text[i];
		if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
		    (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
			return false;
		for (; more > 0; more--, i++)
			if ((text[i] & 0xc0) != 0x80)
				return false;
	}
	return true;
}

/*
 * The version note. What is not a note of the right form is no note, as the ABI says; a version
 * without a row in the table is refused.
 */
static int read_version(struct mote__elf *elf, struct mote_error *err)
{
	static const char *const accepted[] = {"0.15.0", "0.16.0"};
	struct note note;
	if (!find_section_note(elf, ".note.hyperlight-version", "Hyperlight", NOTE_VERSION, &note))
		return MOTE_OK;
	size_t len = note.desc_bytes;
	while (len > 0 && note.desc[len - 1] == 0)
		len--;
	if (!is_utf8(note.desc, len))
		return MOTE_OK;
	for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++)
		if (len == strlen(accepted[i]) && memcmp(note.desc, accepted[i], len) == 0) {
			memcpy(elf->version, accepted[i], len + 1);
			return MOTE_OK;
		}
	char text[MOTE__ELF_VERSION_BYTES];
	size_t shown = len < sizeof text ? len : sizeof text - 1;
	for (size_t i = 0; i < shown; i++)
		text[i] = (char)(note.desc[i] >= ' ' && note.desc[i] <= '~' ? note.desc[i] : '?');
	text[shown] = 0;
	return mote__fail(err, MOTE_EIMAGE,
			  "Guest binary was built with hyperlight-guest-bin %s%s, but this host "
			  "runs guests of 0.15.0 and 0.16.0 (version note at file offset 0x%" PRIx64
			  ")",
			  text, shown < len ? "..." : "", note.offset);
}

/* A failing check of the confinement note: which field, where, and what is wrong. */
static int bad_field(struct mote_error *err, const struct note *note, uint32_t field,
		     const char *what, uint64_t value, const char *rule)
{
	return mote__fail(err, MOTE_EIMAGE,
			  "note .note.mote, file offset 0x%" PRIx64 ": %s 0x%" PRIx64 " %s",
			  note->desc_offset + field, what, value, rule);
}

/* Everything that does not depend on the rest of the image. */
static int check_values(const struct mote__elf_note *values, const struct note *note,
			struct mote_error *err)
{
	if (values->required & ~(uint64_t)MOTE__NOTE_KNOWN)
		return bad_field(err, note, FIELD_REQUIRED, "required bits", values->required,
				 "contain unknown ones; known are 0x7");
	if (values->family != MOTE__FAMILY_S)
		return bad_field(err, note, FIELD_FAMILY, "family", values->family,
				 "is unknown; known is 0");
	if (values->baseline < 1 || values->baseline > 4)
		return bad_field(err, note, FIELD_BASELINE, "processor baseline", values->baseline,
				 "is not x86-64-v1 to v4 (1 to 4)");
	if (values->stack_bytes > MOTE__ELF_IMAGE_BYTES_MAX)
		return bad_field(err, note, FIELD_STACK_BYTES, "stack bytes", values->stack_bytes,
				 "are over 0x3fffff000");
	return MOTE_OK;
}

/* Size of the descriptor; a longer one than we know may only add zeros. */
static int check_size(uint32_t size, const struct note *note, struct mote_error *err)
{
	if (size < FIELDS_BYTES)
		return bad_field(err, note, FIELD_SIZE, "size", size, "is under 0x50");
	if (size != note->desc_bytes)
		return bad_field(err, note, FIELD_SIZE, "size", size,
				 "is not the size of the descriptor");
	for (uint32_t i = FIELDS_BYTES; i < size; i++)
		if (note->desc[i] != 0)
			return bad_field(err, note, i, "byte", note->desc[i],
					 "behind the known fields is not zero");
	return MOTE_OK;
}

/* An entry point must be code. offset 0 is no entry, right only where none is needed. */
static int check_entry(const struct mote__elf *elf, const struct note *note, uint32_t field,
		       const char *what, bool is_needed, struct mote_error *err)
{
	uint64_t offset = mote__elf_get64(note->desc + field);
	if (offset == 0)
		return is_needed ? bad_field(err, note, field, what, offset,
					     "is missing, but ring 3 is asked for")
				 : MOTE_OK;
	if (offset >= elf->image_bytes ||
	    !mote__elf_in_segment(elf, elf->base_va + offset, 1, MOTE__ELF_EXECUTE))
		return bad_field(err, note, field, what, offset, "is not in an executable segment");
	return MOTE_OK;
}

static int check_table(const struct mote__elf *elf, const struct note *note, uint32_t field,
		       const char *what, struct mote_error *err)
{
	uint64_t offset = mote__elf_get64(note->desc + field);
	if (offset % 8 != 0)
		return bad_field(err, note, field, what, offset, "is not a multiple of 8");
	if (offset != 0 && offset >= elf->image_bytes)
		return bad_field(err, note, field, what, offset, "is outside the image");
	return MOTE_OK;
}

static int check_addresses(const struct mote__elf *elf, const struct note *note, bool ring3,
			   struct mote_error *err)
{
	int rc = check_entry(elf, note, FIELD_ENTRY, "ring-3 entry", ring3, err);
	if (rc == MOTE_OK)
		rc = check_entry(elf, note, FIELD_DISPATCH, "dispatch entry", ring3, err);
	if (rc == MOTE_OK)
		rc = check_entry(elf, note, FIELD_SYSCALL_HANDLER, "SYSCALL handler", false, err);
	if (rc == MOTE_OK)
		rc = check_table(elf, note, FIELD_EXPORTS, "export table", err);
	return rc < 0 ? rc : check_table(elf, note, FIELD_IMPORTS, "import table", err);
}

static int read_mote(struct mote__elf *elf, const struct note *note, struct mote_error *err)
{
	const uint8_t *desc = note->desc;
	if (elf->bits != 64)
		return mote__fail(err, MOTE_EIMAGE,
				  "note .note.mote at file offset 0x%" PRIx64
				  ": only 64-bit images can be confined",
				  note->offset);
	if (note->desc_bytes < FIELDS_BYTES)
		return mote__fail(err, MOTE_EIMAGE,
				  "note .note.mote at file offset 0x%" PRIx64
				  ": descriptor of %" PRIu32 " bytes, %u needed",
				  note->offset, note->desc_bytes, FIELDS_BYTES);
	struct mote__elf_note values = {
		.present = true,
		.version = mote__elf_get32(desc + FIELD_VERSION),
		.size = mote__elf_get32(desc + FIELD_SIZE),
		.required = mote__elf_get64(desc + FIELD_REQUIRED),
		.optional = mote__elf_get64(desc + FIELD_OPTIONAL),
		.family = mote__elf_get32(desc + FIELD_FAMILY),
		.baseline = mote__elf_get32(desc + FIELD_BASELINE),
		.stack_bytes = mote__elf_get64(desc + FIELD_STACK_BYTES),
		.entry = mote__elf_get64(desc + FIELD_ENTRY),
		.dispatch = mote__elf_get64(desc + FIELD_DISPATCH),
		.syscall_handler = mote__elf_get64(desc + FIELD_SYSCALL_HANDLER),
		.exports = mote__elf_get64(desc + FIELD_EXPORTS),
		.imports = mote__elf_get64(desc + FIELD_IMPORTS),
	};
	if (values.version != 1)
		return bad_field(err, note, FIELD_VERSION, "version", values.version, "is not 1");
	int rc = check_size(values.size, note, err);
	if (rc == MOTE_OK)
		rc = check_values(&values, note, err);
	if (rc == MOTE_OK)
		rc = check_addresses(elf, note,
				     (values.required | values.optional) & MOTE__NOTE_RING3, err);
	if (rc == MOTE_OK)
		elf->note = values;
	return rc;
}

/* Read the confinement note of a sequence, if it has one; a second one is refused. */
static int read_mote_from(struct mote__elf *elf, struct cursor cursor, struct mote_error *err)
{
	struct note note;
	enum found found;
	do {
		found = note_next(&cursor, &note);
		if (!note_is(&note, "mote", NOTE_MOTE))
			continue;
		if (cursor.align != MOTE_NOTE_ALIGN)
			return mote__fail(err, MOTE_EIMAGE,
					  "note .note.mote at file offset 0x%" PRIx64
					  ": alignment %" PRIu64 ", not %u",
					  note.offset, cursor.align, MOTE_NOTE_ALIGN);
		if (found == NOTE_MALFORMED)
			return mote__fail(err, MOTE_EIMAGE,
					  "note .note.mote at file offset 0x%" PRIx64
					  ": descriptor of %" PRIu32 " bytes ends outside",
					  note.offset, note.desc_bytes);
		if (elf->note.present)
			return mote__fail(err, MOTE_EIMAGE,
					  "note .note.mote at file offset 0x%" PRIx64
					  " is the second one",
					  note.offset);
		int rc = read_mote(elf, &note, err);
		if (rc < 0)
			return rc;
	} while (found == NOTE_FOUND);
	return MOTE_OK;
}

/* A section `.note.mote` must hold the note, whether or not it is a note section. */
static int read_mote_section(struct mote__elf *elf, uint32_t i, struct mote_error *err)
{
	struct elf_section section = mote__elf_section(elf, i);
	bool was_present = elf->note.present;
	if (section.type != ELF_SHT_NOTE)
		return mote__fail(err, MOTE_EIMAGE,
				  "section %u, .note.mote: type %" PRIu32 " is not %u (SHT_NOTE)",
				  i, section.type, ELF_SHT_NOTE);
	if (!mote__in_range(section.offset, section.bytes, elf->file_bytes))
		return mote__fail(err, MOTE_EIMAGE,
				  "section %u, .note.mote: 0x%" PRIx64
				  " bytes at file offset 0x%" PRIx64
				  " end outside the file of 0x%zx bytes",
				  i, section.bytes, section.offset, elf->file_bytes);
	int rc = read_mote_from(elf, cursor_make(elf, section.offset, section.bytes, section.align),
				err);
	if (rc == MOTE_OK && elf->note.present == was_present)
		return mote__fail(err, MOTE_EIMAGE,
				  "section %u, .note.mote at file offset 0x%" PRIx64
				  ": no well-formed note of name mote and type 1",
				  i, section.offset);
	return rc;
}

/* A program header of type PT_NOTE as a sequence of notes. Ranges of these are checked. */
static bool note_segment(const struct mote__elf *elf, uint32_t i, struct cursor *cursor)
{
	struct elf_header header = mote__elf_header(elf, i);
	*cursor = cursor_make(elf, header.offset, header.file_bytes, header.align);
	return header.type == ELF_PT_NOTE;
}

static int read_mote_note(struct mote__elf *elf, struct mote_error *err)
{
	struct cursor cursor;
	for (uint32_t i = 0; i < mote__elf_header_count(elf); i++) {
		int rc = note_segment(elf, i, &cursor) ? read_mote_from(elf, cursor, err) : MOTE_OK;
		if (rc < 0)
			return rc;
	}
	if (elf->note.present)
		return MOTE_OK;
	for (uint32_t i = 0; i < mote__elf_section_count(elf); i++) {
		struct elf_section section = mote__elf_section(elf, i);
		if (!mote__elf_section_is(elf, &section, ".note.mote"))
			continue;
		int rc = read_mote_section(elf, i, err);
		if (rc < 0)
			return rc;
	}
	return MOTE_OK;
}

static void read_build_id(struct mote__elf *elf)
{
	struct cursor cursor;
	struct note note;
	bool found = false;
	for (uint32_t i = 0; i < mote__elf_header_count(elf) && !found; i++)
		found = note_segment(elf, i, &cursor) &&
			find_note(cursor, "GNU", NOTE_BUILD_ID, &note);
	if (!found)
		found = find_section_note(elf, ".note.gnu.build-id", "GNU", NOTE_BUILD_ID, &note);
	if (found && note.desc_bytes <= MOTE__ELF_BUILD_ID_MAX)
		elf->build_id = (struct mote__elf_range){note.desc_offset, note.desc_bytes};
}

int mote__elf_read_notes(struct mote__elf *elf, struct mote_error *err)
{
	int rc = read_version(elf, err);
	if (rc == MOTE_OK)
		rc = read_mote_note(elf, err);
	if (rc == MOTE_OK)
		read_build_id(elf);
	return rc;
}
