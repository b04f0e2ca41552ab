/* SPDX-License-Identifier: MIT */
/* Images in memory: segments, relocations, access of pages. */
#include "elf_case.h"

static uint8_t *image;

static Elf64_Phdr *start(unsigned bits, unsigned type, uint64_t base_va)
{
	elf_maker_guest(&maker, bits, type, base_va);
	return maker.headers;
}

static Elf64_Phdr *start_good(void)
{
	return start(64, ET_DYN, 0);
}

/* Parse and load into a block of exactly the image's size. */
static int load(void)
{
	CHECK_PARSES();
	free(image);
	image = calloc(1, elf.image_bytes);
	return mote__elf_load(&elf, image, elf.image_bytes, &err);
}

static uint64_t word_at(uint64_t offset)
{
	uint64_t word;
	memcpy(&word, image + offset, sizeof word);
	return word;
}

TEST(elf_load__copies_segments_and_leaves_the_rest_zero)
{
	const Elf64_Phdr *headers = start_good();
	CHECK_EQ(load(), MOTE_OK);
	uint64_t rodata = headers[ELF_MAKER_RODATA].p_filesz;
	CHECK_MEM(image, file, rodata);
	CHECK_MEM(image + 0x1000, file + headers[ELF_MAKER_TEXT].p_offset, 0x40);
	CHECK_MEM(image + 0x2000, file + headers[ELF_MAKER_DATA].p_offset, ELF_MAKER_DATA_FILE);
	for (uint64_t i = rodata; i < elf.image_bytes; i++)
		if (i < 0x1000 || (i >= 0x1040 && i < 0x2000) || i >= 0x2000 + ELF_MAKER_DATA_FILE)
			CHECK_EQ(image[i], 0);
}

TEST(elf_load__keeps_the_offset_of_an_unaligned_base)
{
	start(64, ET_EXEC, 0x400000)[ELF_MAKER_RODATA].p_vaddr += 0x40;
	elf_maker_dynamic(&maker, DT_RELA, 0x400040 + maker.rela_offset);
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ(image[0], 0);
	CHECK_EQ(image[0x40], 0x7f);
	CHECK_EQ(image[0x1000], 1);
}

TEST(elf_load__refuses_too_small_a_place)
{
	start_good();
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ(mote__elf_load(&elf, image, elf.image_bytes - 1, &err), MOTE_EINVAL);
	CHECK_HAS(err.message, "0x3800 bytes for an image of 0x3801");
}

TEST(elf_load__applies_relative_relocations)
{
	start_good();
	elf_maker_rela(&maker, 0, 0x2100, R_X86_64_RELATIVE, 0x1010);
	elf_maker_rela(&maker, 1, 0x3000, R_X86_64_RELATIVE, 0);
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ(word_at(0x2100), 0x2010);
	CHECK_EQ(word_at(0x3000), 0x1000);
	CHECK_EQ(image[0x2108], (uint8_t)(0x108 + 1));
}

TEST(elf_load__relocates_modulo_the_size_of_an_address)
{
	start_good();
	elf_maker_rela(&maker, 0, 0x2100, R_X86_64_RELATIVE, 0 - 0x1008ull);
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ(word_at(0x2100), UINT64_MAX - 7);
}

TEST(elf_load__relocates_a_pie_with_a_base)
{
	start(64, ET_DYN, 0x40000000);
	elf_maker_rela(&maker, 0, 0x40002100, R_X86_64_RELATIVE, 0x40001010);
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ(word_at(0x2100), 0x2010);
	start(64, ET_DYN, 0x40000000);
	elf_maker_rela(&maker, 0, 0x2100, R_X86_64_RELATIVE, 0);
	CHECK_REFUSED(load(), "address 0x2100 is outside the image, 0x3801 bytes at 0x40000000");
}

TEST(elf_load__relocates_an_executable_by_nothing)
{
	start(64, ET_EXEC, 0x400000);
	elf_maker_rela(&maker, 0, 0x402100, R_X86_64_RELATIVE, 0x401010);
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ(word_at(0x2100), 0x401010);
}

TEST(elf_load__stores_4_bytes_in_a_32_bit_image)
{
	start(32, ET_DYN, 0);
	elf_maker_rela(&maker, 0, 0x2100, R_386_RELATIVE, 0x1010);
	elf_maker_rela(&maker, 1, 0x37fd, R_386_RELATIVE, 0xfffff004);
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ((uint32_t)word_at(0x2100), 0x2010);
	CHECK_EQ(image[0x2104], (uint8_t)(0x104 + 1));
	CHECK_EQ(image[0x37fd], 4);
	CHECK_EQ(image[0x3800], 0);
}

TEST(elf_load__refuses_relocations_outside_the_image)
{
	uint64_t end = ELF_MAKER_DATA_VA + ELF_MAKER_DATA_BYTES;
	start_good();
	elf_maker_rela(&maker, 3, end - 8, R_X86_64_RELATIVE, 5);
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ(word_at(end - 8), 0x1005);
	static const uint64_t beyond[] = {7, 1, 0};
	for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
		start_good();
		elf_maker_rela(&maker, 3, end - beyond[i], R_X86_64_RELATIVE, 5);
		CHECK_REFUSED(load(), "DT_RELA relocation 3: address 0x3");
	}
	start_good();
	elf_maker_rela(&maker, 0, UINT64_MAX - 3, R_X86_64_RELATIVE, 5);
	CHECK_REFUSED(load(), "is outside the image");
	start(64, ET_DYN, 0x10000);
	elf_maker_rela(&maker, 0, 0xffff, R_X86_64_RELATIVE, 5);
	CHECK_REFUSED(load(), "is outside the image");
}

TEST(elf_load__ignores_relocations_of_type_none)
{
	start_good();
	elf_maker_rela(&maker, 0, UINT64_MAX, R_X86_64_NONE, 5);
	CHECK_EQ(load(), MOTE_OK);
}

TEST(elf_load__refuses_other_relocations)
{
	static const uint32_t types[] = {R_X86_64_64,        R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT,
					 R_X86_64_IRELATIVE, 0x80000008,        UINT32_MAX};
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		start_good();
		elf_maker_rela(&maker, 2, 0x2100, types[i], 0);
		CHECK_REFUSED(load(), "DT_RELA relocation 2 at address 0x2100: unsupported x86_64");
	}
	start_good();
	elf_maker_rela(&maker, 2, 0x2100, R_X86_64_IRELATIVE, 0);
	CHECK_REFUSED(load(), "unsupported x86_64 relocation 37");
}

/* A file whose DT_RELA table is read as one of another tag, with entries of that many bytes. */
static void start_table(int64_t table, int64_t size, int64_t entry, uint64_t entry_bytes)
{
	start_good();
	memset(maker.bytes + maker.dynamic_offset, 0, (size_t)ELF_MAKER_DYNAMIC * 16);
	elf_maker_dynamic(&maker, table, maker.rela_offset);
	elf_maker_dynamic(&maker, size, 2 * entry_bytes);
	elf_maker_dynamic(&maker, entry, entry_bytes);
}

TEST(elf_load__refuses_relative_relocations_without_addend)
{
	uint64_t entry[2] = {0x2100, R_X86_64_RELATIVE};
	start_table(DT_REL, DT_RELSZ, DT_RELENT, 16);
	CHECK_EQ(load(), MOTE_OK);
	start_table(DT_REL, DT_RELSZ, DT_RELENT, 16);
	memcpy(maker.bytes + maker.rela_offset + 16, entry, sizeof entry);
	CHECK_REFUSED(load(), "DT_REL relocation 1 at address 0x2100: R_X86_64_RELATIVE missing");
	start_table(DT_REL, DT_RELSZ, DT_RELENT, 16);
	entry[1] = 1;
	memcpy(maker.bytes + maker.rela_offset, entry, sizeof entry);
	CHECK_REFUSED(load(), "DT_REL relocation 0 at address 0x2100: unsupported x86_64");
}

/* ---- DT_REL of 32-bit images: the addend is in the place ---- */

/* A 32-bit guest whose table of relocations is DT_REL, with count entries; all are R_386_NONE. */
static void start_rel(unsigned type, uint64_t base_va, unsigned count)
{
	start(32, type, base_va);
	memset(maker.bytes + maker.dynamic_offset, 0, (size_t)ELF_MAKER_DYNAMIC * 8);
	elf_maker_dynamic(&maker, DT_REL, base_va + maker.rela_offset);
	elf_maker_dynamic(&maker, DT_RELSZ, count * sizeof(Elf32_Rel));
	elf_maker_dynamic(&maker, DT_RELENT, sizeof(Elf32_Rel));
}

static void put_rel(unsigned i, uint32_t va, uint32_t info)
{
	const Elf32_Rel rel = {.r_offset = va, .r_info = info};
	memcpy(maker.bytes + maker.rela_offset + i * sizeof rel, &rel, sizeof rel);
}

/* What the file has at an address of the data segment, from its base. */
static void put_data(uint32_t offset, uint32_t value)
{
	size_t at = maker.headers[ELF_MAKER_DATA].p_offset + (offset - ELF_MAKER_DATA_VA);
	memcpy(maker.bytes + at, &value, sizeof value);
}

TEST(elf_load__adds_to_what_stands_in_a_32_bit_image)
{
	start_rel(ET_DYN, 0, 4);
	put_data(0x2100, 0x1010);
	put_data(0x2106, 0xFFFFFFF8); /* unaligned; wraps */
	put_rel(0, 0x2100, R_386_RELATIVE);
	put_rel(1, 0x2106, R_386_RELATIVE);
	put_rel(2, 0x3000, R_386_RELATIVE); /* behind the file's bytes: zero stands there */
	put_rel(3, 0x37FD, R_386_RELATIVE); /* the last four bytes */
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ((uint32_t)word_at(0x2100), 0x2010);
	CHECK_EQ(image[0x2104], 0x05);
	CHECK_EQ((uint32_t)word_at(0x2106), 0x0FF8);
	CHECK_EQ(image[0x210A], 0x0B);
	CHECK_EQ((uint32_t)word_at(0x3000), 0x1000);
	CHECK_EQ(image[0x3004], 0);
	CHECK_EQ(image[0x37FD] | image[0x37FE] << 8, 0x1000);
}

TEST(elf_load__relocates_a_32_bit_pie_with_a_base)
{
	start_rel(ET_DYN, 0xC0000000, 1);
	put_data(0x2100, 0xC0001010);
	put_rel(0, 0xC0002100, R_386_RELATIVE);
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ((uint32_t)word_at(0x2100), 0x2010);
	/* An executable stays where it is. */
	start_rel(ET_EXEC, 0xC0000000, 1);
	put_data(0x2100, 0xC0001010);
	put_rel(0, 0xC0002100, R_386_RELATIVE);
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ((uint32_t)word_at(0x2100), 0xC0001010);
}

TEST(elf_load__refuses_places_outside_a_32_bit_image)
{
	static const uint32_t places[] = {0x37FE, 0x3801, 0x10000, 0xFFFFFFFC, 0xFFFFFFFF};
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		start_rel(ET_DYN, 0, 2);
		put_rel(1, places[i], R_386_RELATIVE);
		CHECK_REFUSED(load(), "DT_REL relocation 1: address 0x");
		CHECK_HAS(err.message, "is outside the image, 0x3801 bytes at 0x0");
	}
	start_rel(ET_DYN, 0x40000000, 1);
	put_rel(0, 0x3FFFFFFE, R_386_RELATIVE);
	CHECK_REFUSED(load(), "address 0x3ffffffe is outside the image");
}

TEST(elf_load__refuses_other_relocations_of_32_bit_images)
{
	static const uint32_t types[] = {R_386_32, R_386_PC32, R_386_GLOB_DAT, R_386_JMP_SLOT,
					 R_386_IRELATIVE};
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		start_rel(ET_DYN, 0, 2);
		put_rel(1, 0x2100, types[i]);
		CHECK_REFUSED(load(), "DT_REL relocation 1 at address 0x2100: unsupported i386");
	}
	/* The number of a symbol is above the type's 8 bits. */
	start_rel(ET_DYN, 0, 1);
	put_data(0x2100, 0x1010);
	put_rel(0, 0x2100, 7u << 8 | R_386_RELATIVE);
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ((uint32_t)word_at(0x2100), 0x2010);
	start_rel(ET_DYN, 0, 1);
	put_rel(0, 0xFFFFFFFF, 7u << 8 | R_386_NONE);
	CHECK_EQ(load(), MOTE_OK);
}

TEST(elf_load__wants_32_bit_entries_of_relocations)
{
	start_rel(ET_DYN, 0, 1);
	elf_maker_dynamic(&maker, DT_RELENT, 16);
	CHECK_REFUSED(parse(), "an entry of DT_REL has 16 bytes, not 8");
	start_rel(ET_DYN, 0, 1);
	elf_maker_dynamic(&maker, DT_RELSZ, 12);
	CHECK_REFUSED(parse(), "0xc bytes of DT_REL are not a multiple of 8");
	start_rel(ET_DYN, 0, 1);
	elf_maker_dynamic(&maker, DT_REL, 0xFFFFFFFC);
	CHECK_REFUSED(parse(), "are not in one segment of the file");
	start_rel(ET_DYN, 0, 1);
	elf_maker_dynamic(&maker, DT_RELSZ, 0xFFFFFFF8);
	CHECK_REFUSED(parse(), "are not in one segment of the file");
}

TEST(elf_load__refuses_procedure_linkage)
{
	uint64_t entry[2] = {0x2100, R_X86_64_JUMP_SLOT};
	start_table(DT_JMPREL, DT_PLTRELSZ, DT_PLTREL, DT_RELA);
	elf_maker_dynamic(&maker, DT_PLTRELSZ, 48);
	CHECK_EQ(load(), MOTE_OK);
	start_table(DT_JMPREL, DT_PLTRELSZ, DT_PLTREL, DT_RELA);
	elf_maker_dynamic(&maker, DT_PLTRELSZ, 48);
	memcpy(maker.bytes + maker.rela_offset + 24, entry, sizeof entry);
	CHECK_REFUSED(load(), "DT_JMPREL relocation 1 at address 0x2100: type 7");
	start_table(DT_JMPREL, DT_PLTRELSZ, DT_PLTREL, DT_REL);
	elf_maker_dynamic(&maker, DT_PLTRELSZ, 32);
	memcpy(maker.bytes + maker.rela_offset + 16, entry, sizeof entry);
	CHECK_REFUSED(load(), "DT_JMPREL relocation 1 at address 0x2100: type 7");
	CHECK_EQ(image[0x2000 + ELF_MAKER_DATA_FILE - 1], 0);
}

TEST(elf_load__refuses_packed_relocations)
{
	start_good();
	elf_maker_dynamic(&maker, 36, 0x100);
	elf_maker_dynamic(&maker, 35, 0);
	CHECK_EQ(load(), MOTE_OK);
	start_good();
	elf_maker_dynamic(&maker, 35, 8);
	CHECK_REFUSED(parse(), "0x8 bytes of packed relocations (DT_RELR)");
}

TEST(elf_load__refuses_wrong_sizes_of_tables)
{
	start_good();
	elf_maker_dynamic(&maker, DT_RELAENT, 16);
	CHECK_REFUSED(parse(), "an entry of DT_RELA has 16 bytes, not 24");
	start_good();
	elf_maker_dynamic(&maker, DT_RELAENT, 0);
	CHECK_REFUSED(parse(), "an entry of DT_RELA has 0 bytes, not 24");
	start_good();
	elf_maker_dynamic(&maker, DT_RELASZ, 47);
	CHECK_REFUSED(parse(), "0x2f bytes of DT_RELA are not a multiple of 24");
	start_table(DT_REL, DT_RELSZ, DT_RELENT, 24);
	CHECK_REFUSED(parse(), "an entry of DT_REL has 24 bytes, not 16");
	start(32, ET_DYN, 0);
	elf_maker_dynamic(&maker, DT_RELAENT, 24);
	CHECK_REFUSED(parse(), "an entry of DT_RELA has 24 bytes, not 12");
}

TEST(elf_load__wants_tables_in_the_file)
{
	/* Zeros that are not in the file, the end of the bytes from the file, nowhere. */
	static const uint64_t bad[] = {0x3000, 0x2000 + ELF_MAKER_DATA_FILE - 95, 0x10000,
				       UINT64_MAX - 95, UINT64_MAX};
	start_good();
	elf_maker_dynamic(&maker, DT_RELA, 0x2000 + ELF_MAKER_DATA_FILE - 96);
	CHECK_PARSES();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		start_good();
		elf_maker_dynamic(&maker, DT_RELA, bad[i]);
		CHECK_REFUSED(parse(), "bytes of DT_RELA at address 0x");
	}
	start_good();
	elf_maker_dynamic(&maker, DT_RELASZ, UINT64_MAX / 24 * 24);
	CHECK_REFUSED(parse(), "are not in one segment of the file");
	start_good();
	elf_maker_dynamic(&maker, DT_RELA, 0x100000);
	elf_maker_dynamic(&maker, DT_RELASZ, 0);
	CHECK_EQ(load(), MOTE_OK);
}

TEST(elf_load__reads_relocations_from_the_file_not_from_the_image)
{
	start_good();
	/* The first would turn the second into another relocation. */
	elf_maker_rela(&maker, 0, maker.rela_offset + 24, R_X86_64_RELATIVE, 0x1234);
	elf_maker_rela(&maker, 1, 0x2100, R_X86_64_RELATIVE, 7);
	CHECK_EQ(load(), MOTE_OK);
	CHECK_EQ(word_at(maker.rela_offset + 24), 0x2234);
	CHECK_EQ(word_at(0x2100), 0x1007);
}

TEST(elf_load__stops_at_the_end_of_the_dynamic_section)
{
	start_good();
	uint64_t relr[2] = {35, 8};
	memcpy(maker.bytes + maker.dynamic_offset + 16 * 7, relr, sizeof relr);
	CHECK_PARSES();
	start_good();
	for (int64_t tag = 100; tag < 104; tag++)
		elf_maker_dynamic(&maker, tag, 1);
	memcpy(maker.bytes + maker.dynamic_offset + 16 * 7, relr, sizeof relr);
	CHECK_REFUSED(parse(), "DT_RELR");
	start_good();
	for (int64_t tag = 100; tag < 104; tag++)
		elf_maker_dynamic(&maker, tag, 1);
	memcpy(maker.bytes + maker.dynamic_offset + 16 * 7, relr, sizeof relr);
	maker.headers[ELF_MAKER_DYN].p_filesz -= 1;
	CHECK_PARSES();
}

TEST(elf_load__needs_no_dynamic_section)
{
	start_good()[ELF_MAKER_DYN].p_type = PT_NULL;
	elf_maker_rela(&maker, 0, 0x2100, 99, 0);
	CHECK_EQ(load(), MOTE_OK);
}

TEST(elf_access__is_that_of_the_segments_of_a_page)
{
	start_good();
	CHECK_PARSES();
	CHECK_EQ(mote__elf_page_access(&elf, 0), MOTE__ELF_READ);
	CHECK_EQ(mote__elf_page_access(&elf, 1), MOTE__ELF_READ | MOTE__ELF_EXECUTE);
	CHECK_EQ(mote__elf_page_access(&elf, 2), MOTE__ELF_READ | MOTE__ELF_WRITE);
	CHECK_EQ(mote__elf_page_access(&elf, 3), MOTE__ELF_READ | MOTE__ELF_WRITE);
	CHECK_EQ(mote__elf_page_access(&elf, 4), 0);
	CHECK_EQ(mote__elf_page_access(&elf, UINT64_MAX), 0);
	CHECK_EQ(mote__elf_check_wx(&elf, &err), MOTE_OK);
}

TEST(elf_access__of_a_gap_is_none)
{
	start_good()[ELF_MAKER_DATA].p_vaddr = 0x5000;
	maker.headers[ELF_MAKER_DYN].p_type = PT_NULL;
	CHECK_PARSES();
	CHECK_EQ(mote__elf_page_access(&elf, 2), 0);
	CHECK_EQ(mote__elf_page_access(&elf, 4), 0);
	CHECK_EQ(mote__elf_page_access(&elf, 5), MOTE__ELF_READ | MOTE__ELF_WRITE);
}

TEST(elf_access__ends_with_the_last_byte_of_a_segment)
{
	start_good()[ELF_MAKER_TEXT].p_memsz = 0x1000;
	maker.headers[ELF_MAKER_DATA].p_vaddr = 0x3000;
	CHECK_PARSES();
	CHECK_EQ(mote__elf_page_access(&elf, 1), MOTE__ELF_READ | MOTE__ELF_EXECUTE);
	CHECK_EQ(mote__elf_page_access(&elf, 2), 0);
}

TEST(elf_access__of_a_shared_page_is_the_union)
{
	/* Text moved to the end of the read-only page: allowed; data there: not with text. */
	start(64, ET_DYN, 0x10000)[ELF_MAKER_TEXT].p_vaddr = 0x10800;
	maker.file.e_entry = 0x10800;
	CHECK_PARSES();
	CHECK_EQ(mote__elf_page_access(&elf, 0), MOTE__ELF_READ | MOTE__ELF_EXECUTE);
	CHECK_EQ(mote__elf_check_wx(&elf, &err), MOTE_OK);
	start_good()[ELF_MAKER_DATA].p_vaddr = 0x1fff;
	CHECK_PARSES();
	CHECK_EQ(mote__elf_page_access(&elf, 1), 7);
	CHECK_REFUSED(mote__elf_check_wx(&elf, &err),
		      "writable PT_LOAD at 0x1fff and executable PT_LOAD at 0x1000");
}

TEST(elf_access__refuses_a_segment_to_write_and_execute)
{
	start_good()[ELF_MAKER_TEXT].p_flags = PF_R | PF_W | PF_X;
	CHECK_PARSES();
	CHECK_EQ(mote__elf_page_access(&elf, 1), 7);
	CHECK_REFUSED(mote__elf_check_wx(&elf, &err), "at 0x1000 and executable PT_LOAD at 0x1000");
}

TEST(elf_access__ignores_segments_without_bytes)
{
	start_good();
	Elf64_Phdr *empty = elf_maker_header(&maker, PT_LOAD, 0, 0);
	empty->p_vaddr = 0x1010;
	empty->p_flags = PF_W;
	CHECK_PARSES();
	CHECK_EQ(mote__elf_page_access(&elf, 1), MOTE__ELF_READ | MOTE__ELF_EXECUTE);
	CHECK_EQ(mote__elf_check_wx(&elf, &err), MOTE_OK);
}

/* The good guest, data at 0x1f00 with its first page shared by text, and this RELRO region. */
static void parse_relro(uint64_t va, uint64_t bytes)
{
	start_good()[ELF_MAKER_DATA].p_vaddr = 0x1f00;
	maker.headers[ELF_MAKER_DATA].p_memsz = 0x2100;
	elf_maker_header(&maker, PT_GNU_RELRO, 0, bytes)->p_vaddr = va;
	CHECK_PARSES();
}

TEST(elf_access__takes_write_from_pages_inside_relro)
{
	parse_relro(0x1f00, 0x1100);
	CHECK_EQ(mote__elf_page_access(&elf, 1), MOTE__ELF_READ | MOTE__ELF_EXECUTE);
	CHECK_EQ(mote__elf_page_access(&elf, 2), MOTE__ELF_READ);
	CHECK_EQ(mote__elf_page_access(&elf, 3), MOTE__ELF_READ | MOTE__ELF_WRITE);
	CHECK_EQ(mote__elf_check_wx(&elf, &err), MOTE_OK);
}

TEST(elf_access__leaves_write_to_pages_partly_in_relro)
{
	parse_relro(0x1f00, 0x10ff);
	CHECK_EQ(mote__elf_page_access(&elf, 1), MOTE__ELF_READ | MOTE__ELF_EXECUTE);
	CHECK_EQ(mote__elf_page_access(&elf, 2), MOTE__ELF_READ | MOTE__ELF_WRITE);
	parse_relro(0x1f01, 0x10ff);
	CHECK_EQ(mote__elf_page_access(&elf, 1), 7);
	CHECK_EQ(mote__elf_page_access(&elf, 2), MOTE__ELF_READ);
	CHECK_EQ(mote__elf_check_wx(&elf, &err), MOTE_EIMAGE);
}

TEST(elf_access__leaves_write_behind_relro)
{
	parse_relro(0x1f00, 0x80);
	CHECK_EQ(mote__elf_page_access(&elf, 1), 7);
	CHECK_EQ(mote__elf_check_wx(&elf, &err), MOTE_EIMAGE);
}

TEST(elf_access__ignores_relro_elsewhere)
{
	parse_relro(0x1000, 0x40);
	CHECK_EQ(mote__elf_page_access(&elf, 1), 7);
	CHECK_EQ(mote__elf_page_access(&elf, 3), MOTE__ELF_READ | MOTE__ELF_WRITE);
}

TEST(elf_access__is_not_spread_by_relro_of_another_segment)
{
	start_good();
	elf_maker_header(&maker, PT_GNU_RELRO, 0, 0x40)->p_vaddr = 0;
	CHECK_PARSES();
	CHECK_EQ(mote__elf_check_wx(&elf, &err), MOTE_OK);
	start_good()[ELF_MAKER_RODATA].p_flags = PF_R | PF_W;
	elf_maker_header(&maker, PT_GNU_RELRO, 0, 0x40)->p_vaddr = ELF_MAKER_DATA_VA;
	CHECK_PARSES();
	CHECK_EQ(mote__elf_page_access(&elf, 0), MOTE__ELF_READ | MOTE__ELF_WRITE);
	CHECK_EQ(mote__elf_check_wx(&elf, &err), MOTE_OK);
}
