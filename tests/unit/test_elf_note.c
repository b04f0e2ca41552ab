/* SPDX-License-Identifier: MIT */
/* Notes of ELF files: version note, confinement note, build id. */
#include "elf_case.h"

#include <stdio.h>

#define PLACE_SECTION ".note.hyperlight-version"

static void start_good(void)
{
	elf_maker_guest(&maker, 64, ET_DYN, 0);
}

/* A section of notes with one note. */
static Elf64_Shdr *add_section_note(const char *section, size_t align, const char *name,
				    uint32_t type, const void *desc, size_t desc_bytes)
{
	size_t bytes;
	size_t at = elf_maker_note(&maker, align, name, type, desc, desc_bytes, &bytes);
	Elf64_Shdr *header = elf_maker_section(&maker, section, SHT_NOTE, at, bytes);
	header->sh_addralign = align;
	return header;
}

static Elf64_Phdr *add_segment_note(size_t align, const char *name, uint32_t type, const void *desc,
				    size_t desc_bytes)
{
	size_t bytes;
	size_t at = elf_maker_note(&maker, align, name, type, desc, desc_bytes, &bytes);
	Elf64_Phdr *header = elf_maker_header(&maker, PT_NOTE, at, bytes);
	header->p_align = align;
	return header;
}

static Elf64_Shdr *add_version(const char *version)
{
	return add_section_note(PLACE_SECTION, 8, "Hyperlight", 1, version, strlen(version) + 1);
}

TEST(elf_note__reads_the_version_note_of_the_abi)
{
	static const uint8_t bytes[32] = {0x0b, 0,    0,    0,    7,    0,    0,    0,
					  1,    0,    0,    0,    0x48, 0x79, 0x70, 0x65,
					  0x72, 0x6c, 0x69, 0x67, 0x68, 0x74, 0,    0,
					  0x30, 0x2e, 0x31, 0x35, 0x2e, 0x30, 0,    0};
	start_good();
	size_t at = elf_maker_put(&maker, bytes, sizeof bytes, 8);
	elf_maker_section(&maker, PLACE_SECTION, SHT_NOTE, at, sizeof bytes);
	CHECK_PARSES();
	CHECK_STR(elf.version, "0.15.0");
}

TEST(elf_note__accepts_the_versions_of_family_s)
{
	start_good();
	add_version("0.16.0");
	CHECK_PARSES();
	CHECK_STR(elf.version, "0.16.0");
}

TEST(elf_note__refuses_other_versions_by_name)
{
	static const char *const others[] = {"0.18.0", "0.15.1", "0.15", "0.15.0 ", "", "0.15.00"};
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		start_good();
		add_version(others[i]);
		CHECK_REFUSED(parse(), "Guest binary was built with hyperlight-guest-bin");
		CHECK_HAS(err.message, others[i]);
		CHECK_HAS(err.message, "0.15.0 and 0.16.0");
	}
}

TEST(elf_note__shows_odd_versions_safely)
{
	char text[200];
	start_good();
	add_version("1\n\033[2J\xc3\xa9");
	CHECK_REFUSED(parse(), "hyperlight-guest-bin 1??[2J??,");
	start_good();
	add_section_note(PLACE_SECTION, 8, "Hyperlight", 1,
			 "0.15.0\0"
			 "1",
			 8);
	CHECK_REFUSED(parse(), "hyperlight-guest-bin 0.15.0?1,");
	memset(text, 'v', sizeof text);
	start_good();
	add_section_note(PLACE_SECTION, 8, "Hyperlight", 1, text, sizeof text);
	CHECK_REFUSED(parse(), "vvv...,");
}

TEST(elf_note__cuts_the_version_at_trailing_nuls)
{
	start_good();
	add_section_note(PLACE_SECTION, 8, "Hyperlight", 1, "0.15.0\0\0\0\0\0", 12);
	CHECK_PARSES();
	CHECK_STR(elf.version, "0.15.0");
	start_good();
	add_section_note(PLACE_SECTION, 8, "Hyperlight", 1, "0.15.0", 6);
	CHECK_PARSES();
	CHECK_STR(elf.version, "0.15.0");
}

TEST(elf_note__takes_a_version_that_is_not_utf8_as_no_note)
{
	static const char *const bad[] = {"\x80",
					  "\xff",
					  "a\xc3",
					  "\xc0\xaf",
					  "\xc1\xbf",
					  "\xe0\x9f\xbf",
					  "\xed\xa0\x80",
					  "\xf0\x8f\xbf\xbf",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\xe2\x82",
					  "\xe2\x82(",
					  "\xf0\x9f\x98("};
	static const char *const good[] = {"\xc2\x80",     "\xe0\xa0\x80",     "\xed\x9f\xbf",
					   "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		start_good();
		add_version(bad[i]);
		CHECK_PARSES();
		CHECK_STR(elf.version, "");
	}
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		start_good();
		add_version(good[i]);
		CHECK_REFUSED(parse(), "hyperlight-guest-bin");
	}
}

TEST(elf_note__reads_version_notes_of_alignment_4_and_8_only)
{
	static const uint64_t good[] = {0, 1, 2, 3, 4, 8};
	static const uint64_t bad[] = {5, 6, 7, 12, 16, 4096, UINT64_MAX};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		start_good();
		add_version("0.15.0")->sh_addralign = good[i];
		CHECK_PARSES();
		CHECK_STR(elf.version, "0.15.0");
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		start_good();
		add_version("0.18.0")->sh_addralign = bad[i];
		CHECK_PARSES();
		CHECK_STR(elf.version, "");
	}
}

TEST(elf_note__takes_a_malformed_version_note_as_no_note)
{
	/* Sizes of name and descriptor, as they stand in the note, and bytes of the section. */
	static const struct {
		uint32_t name_bytes, desc_bytes;
		uint64_t bytes;
	} bad[] = {{UINT32_MAX, 7, 32}, {11, UINT32_MAX, 32}, {11, 9, 32}, {21, 7, 32}, {11, 7, 11},
		   {11, 7, 30},         {11, 7, 0},           {10, 7, 32}, {12, 7, 32}, {0, 0, 12}};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		start_good();
		Elf64_Shdr *section = add_version("0.18.0");
		section->sh_size = bad[i].bytes;
		memcpy(maker.bytes + section->sh_offset, &bad[i].name_bytes, 4);
		memcpy(maker.bytes + section->sh_offset + 4, &bad[i].desc_bytes, 4);
		CHECK_PARSES();
		CHECK_STR(elf.version, "");
	}
}

TEST(elf_note__does_not_need_padding_behind_the_last_note)
{
	start_good();
	add_version("0.15.0")->sh_size = 31;
	CHECK_PARSES();
	CHECK_STR(elf.version, "0.15.0");
}

TEST(elf_note__takes_a_version_section_outside_the_file_as_no_note)
{
	start_good();
	add_version("0.18.0")->sh_size = 1 << 20;
	CHECK_PARSES();
	start_good();
	add_version("0.18.0")->sh_offset = UINT64_MAX;
	CHECK_PARSES();
	CHECK_STR(elf.version, "");
}

TEST(elf_note__wants_section_type_note_type_and_name_of_a_version)
{
	start_good();
	add_version("0.18.0")->sh_type = SHT_PROGBITS;
	CHECK_PARSES();
	start_good();
	add_section_note(PLACE_SECTION, 8, "Hyperlight", 2, "0.18.0", 7);
	CHECK_PARSES();
	start_good();
	add_section_note(PLACE_SECTION, 8, "hyperlight", 1, "0.18.0", 7);
	CHECK_PARSES();
	start_good();
	add_section_note(".note.hyperlight-versio", 8, "Hyperlight", 1, "0.18.0", 7);
	CHECK_PARSES();
	start_good();
	add_segment_note(8, "Hyperlight", 1, "0.18.0", 7);
	CHECK_PARSES();
	CHECK_STR(elf.version, "");
}

TEST(elf_note__finds_a_version_behind_other_notes)
{
	size_t first, second, third;
	start_good();
	size_t at = elf_maker_note(&maker, 8, "GNU", 1, "abcde", 5, &first);
	elf_maker_note(&maker, 8, "Hyperlight", 7, "0.18.0", 7, &second);
	elf_maker_note(&maker, 8, "Hyperlight", 1, "0.15.0", 7, &third);
	elf_maker_section(&maker, PLACE_SECTION, SHT_NOTE, at, first + second + third);
	CHECK_PARSES();
	CHECK_STR(elf.version, "0.15.0");
}

TEST(elf_note__stops_after_4096_notes)
{
	for (unsigned before = 4095; before <= 4096; before++) {
		size_t bytes;
		start_good();
		/* A header of zeros is a note without name and descriptor. */
		size_t at = elf_maker_put(&maker, NULL, 12 * (size_t)before, 4);
		elf_maker_note(&maker, 4, "Hyperlight", 1, "0.15.0", 7, &bytes);
		elf_maker_section(&maker, PLACE_SECTION, SHT_NOTE, at, 12 * before + bytes)
			->sh_addralign = 4;
		CHECK_PARSES();
		CHECK_STR(elf.version, before == 4095 ? "0.15.0" : "");
	}
}

/* The descriptor of a confinement note; tests change it. */
struct desc {
	uint32_t version, size;
	uint64_t required, optional;
	uint32_t family, baseline;
	uint64_t stack_bytes, entry, dispatch, syscall_handler, exports, imports;
};

static struct desc good_desc(void)
{
	return (struct desc){
		.version = 1,
		.size = sizeof(struct desc),
		.required = MOTE__NOTE_RING3,
		.optional = MOTE__NOTE_DEMAND_ZERO | 1ull << 63,
		.baseline = 2,
		.stack_bytes = 0x10000,
		.entry = 0x1008,
		.dispatch = 0x1000,
		.syscall_handler = 0x103f,
		.exports = 0x2080,
		.imports = 0x3800,
	};
}

/* Parse a good file with this note in a segment. */
static int parse_desc(struct desc desc)
{
	start_good();
	add_segment_note(8, "mote", 1, &desc, sizeof desc);
	return parse();
}

TEST(elf_note__reads_the_confinement_note_of_a_segment)
{
	CHECK_EQ(parse_desc(good_desc()), MOTE_OK);
	CHECK(elf.note.present);
	CHECK_EQ(elf.note.version, 1);
	CHECK_EQ(elf.note.size, 80);
	CHECK_EQ(elf.note.required, 1);
	CHECK(elf.note.optional == (2 | 1ull << 63));
	CHECK_EQ(elf.note.family, MOTE__FAMILY_S);
	CHECK_EQ(elf.note.baseline, 2);
	CHECK_EQ(elf.note.stack_bytes, 0x10000);
	CHECK_EQ(elf.note.entry, 0x1008);
	CHECK_EQ(elf.note.dispatch, 0x1000);
	CHECK_EQ(elf.note.syscall_handler, 0x103f);
	CHECK_EQ(elf.note.exports, 0x2080);
	CHECK_EQ(elf.note.imports, 0x3800);
}

TEST(elf_note__reads_the_confinement_note_of_a_section)
{
	struct desc desc = good_desc();
	start_good();
	add_section_note(".note.mote", 8, "mote", 1, &desc, sizeof desc);
	CHECK_PARSES();
	CHECK(elf.note.present);
	CHECK_EQ(elf.note.entry, 0x1008);
}

TEST(elf_note__prefers_the_segment_to_the_section)
{
	struct desc desc = good_desc(), other = desc;
	other.entry = 0x1020;
	start_good();
	add_segment_note(8, "mote", 1, &desc, sizeof desc);
	add_section_note(".note.mote", 8, "mote", 1, &other, sizeof other);
	CHECK_PARSES();
	CHECK_EQ(elf.note.entry, 0x1008);
}

TEST(elf_note__takes_confined_addresses_from_the_base)
{
	struct desc desc = good_desc();
	elf_maker_guest(&maker, 64, ET_EXEC, 0x400000);
	add_segment_note(8, "mote", 1, &desc, sizeof desc);
	CHECK_PARSES();
	desc.entry += 0x400000;
	elf_maker_guest(&maker, 64, ET_EXEC, 0x400000);
	add_segment_note(8, "mote", 1, &desc, sizeof desc);
	CHECK_REFUSED(parse(), "ring-3 entry 0x401008 is not in an executable segment");
}

TEST(elf_note__refuses_two_confinement_notes)
{
	struct desc desc = good_desc();
	start_good();
	add_segment_note(8, "mote", 1, &desc, sizeof desc);
	add_segment_note(8, "mote", 1, &desc, sizeof desc);
	CHECK_REFUSED(parse(), "is the second one");
	size_t bytes;
	start_good();
	Elf64_Phdr *header = add_segment_note(8, "mote", 1, &desc, sizeof desc);
	elf_maker_note(&maker, 8, "mote", 1, &desc, sizeof desc, &bytes);
	header->p_filesz += bytes;
	CHECK_REFUSED(parse(), "is the second one");
	start_good();
	add_section_note(".note.mote", 8, "mote", 1, &desc, sizeof desc);
	add_section_note(".note.mote", 8, "mote", 1, &desc, sizeof desc);
	CHECK_REFUSED(parse(), "is the second one");
}

TEST(elf_note__refuses_other_versions_of_the_confinement_note)
{
	struct desc desc = good_desc();
	desc.version = 0;
	CHECK_REFUSED(parse_desc(desc), "version 0x0 is not 1");
	desc.version = 2;
	CHECK_REFUSED(parse_desc(desc), "version 0x2 is not 1");
}

TEST(elf_note__says_where_a_bad_field_is)
{
	char place[64];
	struct desc desc = good_desc();
	desc.family = 7;
	CHECK_EQ(parse_desc(desc), MOTE_EIMAGE);
	/* The note stands at the end of the content; the family is 24 bytes into its descriptor. */
	(void)snprintf(place, sizeof place, "file offset 0x%llx: family 0x7",
		       (unsigned long long)maker.headers[ELF_MAKER_FIRST_FREE].p_offset + 24 + 24);
	CHECK_HAS(err.message, place);
}

TEST(elf_note__refuses_wrong_sizes_of_the_confinement_note)
{
	struct desc desc = good_desc();
	desc.size = 79;
	CHECK_REFUSED(parse_desc(desc), "size 0x4f is under 0x50");
	desc.size = 81;
	CHECK_REFUSED(parse_desc(desc), "size 0x51 is not the size of the descriptor");
	desc = good_desc();
	start_good();
	add_segment_note(8, "mote", 1, &desc, sizeof desc - 1);
	CHECK_REFUSED(parse(), "descriptor of 79 bytes, 80 needed");
}

TEST(elf_note__accepts_zeros_behind_the_known_fields)
{
	struct {
		struct desc desc;
		uint8_t more[16];
	} longer = {.desc = good_desc()};
	longer.desc.size = sizeof longer;
	start_good();
	add_segment_note(8, "mote", 1, &longer, sizeof longer);
	CHECK_PARSES();
	CHECK_EQ(elf.note.size, 96);
	longer.more[15] = 3;
	start_good();
	add_segment_note(8, "mote", 1, &longer, sizeof longer);
	CHECK_REFUSED(parse(), "byte 0x3 behind the known fields is not zero");
}

TEST(elf_note__refuses_unknown_required_bits)
{
	struct desc desc = good_desc();
	desc.required = 7;
	CHECK_EQ(parse_desc(desc), MOTE_OK);
	desc.required = 8 | 1;
	CHECK_REFUSED(parse_desc(desc), "required bits 0x9 contain unknown ones");
	desc.required = 1ull << 32;
	CHECK_REFUSED(parse_desc(desc), "required bits 0x100000000");
}

TEST(elf_note__refuses_unknown_families_and_baselines)
{
	struct desc desc = good_desc();
	desc.family = 1;
	CHECK_REFUSED(parse_desc(desc), "family 0x1 is unknown");
	for (uint32_t baseline = 0; baseline <= 5; baseline++) {
		desc = good_desc();
		desc.baseline = baseline;
		if (baseline >= 1 && baseline <= 4)
			CHECK_EQ(parse_desc(desc), MOTE_OK);
		else
			CHECK_REFUSED(parse_desc(desc), "is not x86-64-v1 to v4");
	}
}

TEST(elf_note__bounds_the_stack)
{
	struct desc desc = good_desc();
	desc.stack_bytes = 0;
	CHECK_EQ(parse_desc(desc), MOTE_OK);
	desc.stack_bytes = 0x3FFFFF000;
	CHECK_EQ(parse_desc(desc), MOTE_OK);
	desc.stack_bytes++;
	CHECK_REFUSED(parse_desc(desc), "stack bytes 0x3fffff001");
}

TEST(elf_note__wants_entries_in_code)
{
	static const uint64_t bad[] = {0xfff, 0x1040, 0x2000, 0x3801, 1ull << 40, UINT64_MAX};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct desc desc = good_desc();
		desc.entry = bad[i];
		CHECK_REFUSED(parse_desc(desc), "is not in an executable segment");
		CHECK_HAS(err.message, "ring-3 entry");
		desc = good_desc();
		desc.dispatch = bad[i];
		CHECK_REFUSED(parse_desc(desc), "is not in an executable segment");
		CHECK_HAS(err.message, "dispatch entry");
		desc = good_desc();
		desc.syscall_handler = bad[i];
		CHECK_REFUSED(parse_desc(desc), "is not in an executable segment");
		CHECK_HAS(err.message, "SYSCALL handler");
	}
}

TEST(elf_note__needs_entries_when_ring_3_is_asked_for)
{
	struct desc desc = good_desc();
	desc.entry = 0;
	CHECK_REFUSED(parse_desc(desc), "ring-3 entry 0x0 is missing");
	desc = good_desc();
	desc.dispatch = 0;
	CHECK_REFUSED(parse_desc(desc), "dispatch entry 0x0 is missing");
	desc.required = 0;
	desc.optional = MOTE__NOTE_RING3;
	CHECK_REFUSED(parse_desc(desc), "dispatch entry 0x0 is missing");
	desc.optional = 0;
	CHECK_EQ(parse_desc(desc), MOTE_OK);
	desc = good_desc();
	desc.syscall_handler = 0;
	CHECK_EQ(parse_desc(desc), MOTE_OK);
}

TEST(elf_note__wants_tables_in_the_image)
{
	struct desc desc = good_desc();
	desc.exports = desc.imports = 0;
	CHECK_EQ(parse_desc(desc), MOTE_OK);
	desc.exports = 0x3808;
	CHECK_REFUSED(parse_desc(desc), "export table 0x3808 is outside the image");
	desc.exports = 0x2084;
	CHECK_REFUSED(parse_desc(desc), "export table 0x2084 is not a multiple of 8");
	desc.exports = 0;
	desc.imports = UINT64_MAX - 7;
	CHECK_REFUSED(parse_desc(desc), "import table 0xfffffffffffffff8 is outside the image");
	start_good();
	maker.headers[ELF_MAKER_DATA].p_memsz = 0x1800;
	desc.imports = 0;
	desc.exports = 0x3800;
	add_segment_note(8, "mote", 1, &desc, sizeof desc);
	CHECK_REFUSED(parse(), "export table 0x3800 is outside the image");
	desc.exports = 0;
	desc.imports = 0x2001;
	CHECK_REFUSED(parse_desc(desc), "import table 0x2001 is not a multiple of 8");
}

TEST(elf_note__wants_a_confinement_note_of_alignment_8)
{
	struct desc desc = good_desc();
	start_good();
	add_segment_note(4, "mote", 1, &desc, sizeof desc);
	CHECK_REFUSED(parse(), "alignment 4, not 8");
	start_good();
	add_section_note(".note.mote", 4, "mote", 1, &desc, sizeof desc);
	CHECK_REFUSED(parse(), "alignment 4, not 8");
	start_good();
	add_section_note(".note.mote", 16, "mote", 1, &desc, sizeof desc);
	CHECK_REFUSED(parse(), "no well-formed note of name mote");
}

TEST(elf_note__refuses_a_confinement_note_of_32_bits)
{
	struct desc desc = good_desc();
	elf_maker_guest(&maker, 32, ET_DYN, 0);
	add_segment_note(8, "mote", 1, &desc, sizeof desc);
	CHECK_REFUSED(parse(), "only 64-bit images can be confined");
	elf_maker_guest(&maker, 32, ET_EXEC, 0x8048000);
	add_section_note(".note.mote", 8, "mote", 1, &desc, sizeof desc);
	CHECK_REFUSED(parse(), "only 64-bit images can be confined");
}

TEST(elf_note__refuses_a_confinement_note_that_ends_outside)
{
	struct desc desc = good_desc();
	start_good();
	add_segment_note(8, "mote", 1, &desc, sizeof desc)->p_filesz -= 1;
	CHECK_REFUSED(parse(), "descriptor of 80 bytes ends outside");
	start_good();
	add_section_note(".note.mote", 8, "mote", 1, &desc, sizeof desc)->sh_size = 24;
	CHECK_REFUSED(parse(), "descriptor of 80 bytes ends outside");
}

TEST(elf_note__refuses_bad_sections_of_the_confinement_note)
{
	struct desc desc = good_desc();
	start_good();
	add_section_note(".note.mote", 8, "mote", 1, &desc, sizeof desc)->sh_type = SHT_PROGBITS;
	CHECK_REFUSED(parse(), "section 2, .note.mote: type 1 is not 7");
	start_good();
	add_section_note(".note.mote", 8, "mote", 1, &desc, sizeof desc)->sh_size = 1 << 20;
	CHECK_REFUSED(parse(), "section 2, .note.mote: 0x100000 bytes");
	start_good();
	add_section_note(".note.mote", 8, "mote", 2, &desc, sizeof desc);
	CHECK_REFUSED(parse(), "no well-formed note of name mote and type 1");
	start_good();
	add_section_note(".note.mote", 8, "moto", 1, &desc, sizeof desc);
	CHECK_REFUSED(parse(), "no well-formed note of name mote and type 1");
}

TEST(elf_note__ignores_foreign_and_malformed_notes_of_segments)
{
	struct desc desc = good_desc();
	start_good();
	add_segment_note(8, "mote", 2, &desc, sizeof desc);
	add_segment_note(8, "Mote", 1, &desc, sizeof desc);
	add_segment_note(16, "mote", 1, &desc, sizeof desc);
	add_segment_note(8, "GNU", 1, "abc", 3)->p_filesz = 15;
	add_segment_note(8, "mote", 1, &desc, sizeof desc)->p_filesz = 16;
	add_segment_note(8, "mote", 1, &desc, sizeof desc)->p_filesz = 11;
	CHECK_PARSES();
	CHECK(!elf.note.present);
	start_good();
	add_segment_note(4, "GNU", 5, "abc", 3);
	add_segment_note(8, "mote", 1, &desc, sizeof desc);
	CHECK_PARSES();
	CHECK(elf.note.present);
}

TEST(elf_note__finds_the_build_id_of_a_segment)
{
	static const uint8_t id[20] = "0123456789abcdefghi";
	start_good();
	add_segment_note(4, "GNU", 1, "abc", 3);
	add_segment_note(4, "GNU", 3, id, sizeof id);
	CHECK_PARSES();
	CHECK_EQ(elf.build_id.bytes, 20);
	CHECK_MEM(file + elf.build_id.offset, id, 20);
}

TEST(elf_note__finds_the_build_id_of_a_section)
{
	start_good();
	add_section_note(".note.gnu.build-id", 4, "GNU", 3, "abcdefgh", 8);
	CHECK_PARSES();
	CHECK_EQ(elf.build_id.bytes, 8);
	CHECK_MEM(file + elf.build_id.offset, "abcdefgh", 8);
}

TEST(elf_note__bounds_the_build_id)
{
	static const uint8_t id[65];
	start_good();
	add_segment_note(4, "GNU", 3, id, 64);
	CHECK_PARSES();
	CHECK_EQ(elf.build_id.bytes, 64);
	start_good();
	add_segment_note(4, "GNU", 3, id, 65);
	CHECK_PARSES();
	CHECK_EQ(elf.build_id.bytes, 0);
}

TEST(elf_note__an_image_without_a_build_id_has_none)
{
	start_good();
	add_segment_note(4, "GNU", 1, "abcd", 4);
	add_segment_note(4, "GNV", 3, "abcd", 4);
	add_section_note(".note.ABI-tag", 4, "GNU", 3, "abcd", 4);
	CHECK_PARSES();
	CHECK_EQ(elf.build_id.bytes, 0);
	start_good();
	add_segment_note(4, "GNU", 3, "", 0);
	CHECK_PARSES();
	CHECK_EQ(elf.build_id.bytes, 0);
}

/* Spoils word i of the header of the note at the file offset at. */
static void spoil(size_t at, unsigned i, uint32_t value)
{
	memcpy(maker.bytes + at + i * sizeof value, &value, sizeof value);
}

TEST(elf_note__takes_a_malformed_build_id_as_none)
{
	static const struct {
		unsigned word;
		uint32_t value;
	} bad[] = {{0, 3},          {0, 5},          {0, 0}, {0, UINT32_MAX}, {1, 21},
		   {1, UINT32_MAX}, {1, 0xFFFFFFFC}, {2, 0}, {2, UINT32_MAX}};
	static const uint8_t id[20] = "0123456789abcdefghi";
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		for (int is_section = 0; is_section < 2; is_section++) {
			start_good();
			if (is_section)
				spoil(add_section_note(".note.gnu.build-id", 4, "GNU", 3, id, 20)
					      ->sh_offset,
				      bad[i].word, bad[i].value);
			else
				spoil(add_segment_note(4, "GNU", 3, id, 20)->p_offset, bad[i].word,
				      bad[i].value);
			CHECK_PARSES();
			CHECK_EQ(elf.build_id.bytes, 0);
		}
	/* A section that says it is where there is no file. */
	start_good();
	add_section_note(".note.gnu.build-id", 4, "GNU", 3, id, 20)->sh_size = UINT64_MAX;
	CHECK_PARSES();
	CHECK_EQ(elf.build_id.bytes, 0);
}

TEST(elf_note__finds_a_build_id_behind_malformed_notes)
{
	start_good();
	spoil(add_segment_note(4, "GNU", 3, "abcd", 4)->p_offset, 1, UINT32_MAX);
	add_segment_note(4, "GNU", 3, "efgh", 4);
	CHECK_PARSES();
	CHECK_EQ(elf.build_id.bytes, 4);
	CHECK_MEM(file + elf.build_id.offset, "efgh", 4);
}
