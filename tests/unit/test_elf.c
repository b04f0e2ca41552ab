/* SPDX-License-Identifier: MIT */
/* Headers of ELF files: what is accepted, placement, and every kind of bad file. */
#include "elf_case.h"

static Elf64_Phdr *start(unsigned bits, unsigned type, uint64_t base_va)
{
	elf_maker_guest(&maker, bits, type, base_va);
	return maker.headers;
}

static Elf64_Phdr *start_good(void)
{
	return start(64, ET_DYN, 0);
}

/* Finish, put a number into the file, and parse. */
static int parse_patched(size_t offset, unsigned bytes, uint64_t value)
{
	elf_maker_finish(&maker);
	for (unsigned i = 0; i < bytes; i++)
		maker.bytes[offset + i] = (uint8_t)(value >> 8 * i);
	return parse_bytes(maker.len);
}

TEST(elf__places_a_pie_at_the_load_address)
{
	start_good();
	CHECK_PARSES();
	CHECK_EQ(elf.bits, 64);
	CHECK(elf.is_pie);
	CHECK_EQ(elf.base_va, 0);
	CHECK_EQ(elf.image_bytes, ELF_MAKER_DATA_VA + ELF_MAKER_DATA_BYTES);
	CHECK_EQ(elf.load_gva, 0x1000);
	CHECK_EQ(elf.entry_va, ELF_MAKER_ENTRY_VA);
	CHECK_EQ(elf.entry_gva, 0x1000 + ELF_MAKER_ENTRY_VA);
	CHECK_EQ(elf.segment_count, 3);
	CHECK_EQ(elf.relro_bytes, 0);
	CHECK_STR(elf.version, "");
	CHECK(!elf.note.present);
	CHECK_EQ(elf.build_id.bytes + elf.symbols.bytes + elf.strings.bytes, 0);
}

TEST(elf__subtracts_the_base_of_a_pie_that_has_one)
{
	start(64, ET_DYN, 0x40000000);
	CHECK_PARSES();
	CHECK_EQ(elf.base_va, 0x40000000);
	CHECK_EQ(elf.load_gva, 0x1000);
	CHECK_EQ(elf.image_bytes, ELF_MAKER_DATA_VA + ELF_MAKER_DATA_BYTES);
	CHECK_EQ(elf.entry_gva, 0x1000 + ELF_MAKER_ENTRY_VA);
}

TEST(elf__leaves_an_executable_at_its_link_address)
{
	start(64, ET_EXEC, 0x400000);
	CHECK_PARSES();
	CHECK(!elf.is_pie);
	CHECK_EQ(elf.base_va, 0x400000);
	CHECK_EQ(elf.load_gva, 0x400000);
	CHECK_EQ(elf.entry_gva, 0x400000 + ELF_MAKER_ENTRY_VA);
}

TEST(elf__accepts_an_executable_at_0x1000)
{
	start(64, ET_EXEC, 0x1000);
	CHECK_PARSES();
	CHECK_EQ(elf.load_gva, 0x1000);
	CHECK_EQ(elf.entry_gva, 0x1000 + ELF_MAKER_ENTRY_VA);
}

TEST(elf__accepts_32_bit_images)
{
	start(32, ET_DYN, 0);
	CHECK_PARSES();
	CHECK_EQ(elf.bits, 32);
	CHECK_EQ(elf.image_bytes, ELF_MAKER_DATA_VA + ELF_MAKER_DATA_BYTES);
	CHECK_EQ(elf.entry_gva, 0x1000 + ELF_MAKER_ENTRY_VA);
	start(32, ET_EXEC, 0x8048000);
	CHECK_PARSES();
	CHECK_EQ(elf.load_gva, 0x8048000);
	start(32, ET_EXEC, 0xC0000000); /* there is no lower half */
	CHECK_PARSES();
	CHECK_EQ(elf.entry_gva, 0xC0000000 + ELF_MAKER_ENTRY_VA);
}

TEST(elf__rounds_an_unaligned_base_down_to_its_page)
{
	Elf64_Phdr *headers = start(64, ET_EXEC, 0x400000);
	headers[ELF_MAKER_RODATA].p_vaddr += 0x40;
	CHECK_PARSES();
	CHECK_EQ(elf.base_va, 0x400000);
	CHECK_EQ(elf.load_gva, 0x400000);
	CHECK_EQ(elf.image_bytes, ELF_MAKER_DATA_VA + ELF_MAKER_DATA_BYTES);
	CHECK_EQ(elf.entry_gva, 0x400000 + ELF_MAKER_ENTRY_VA);
}

TEST(elf__takes_lowest_and_highest_segment_in_any_order)
{
	Elf64_Phdr *headers = start(64, ET_DYN, 0x10000);
	Elf64_Phdr first = headers[ELF_MAKER_RODATA];
	headers[ELF_MAKER_RODATA] = headers[ELF_MAKER_DATA];
	headers[ELF_MAKER_DATA] = first;
	CHECK_PARSES();
	CHECK_EQ(elf.base_va, 0x10000);
	CHECK_EQ(elf.image_bytes, ELF_MAKER_DATA_VA + ELF_MAKER_DATA_BYTES);
}

TEST(elf__gives_segments_in_file_order)
{
	Elf64_Phdr *headers = start_good();
	CHECK_PARSES();
	struct mote__elf_segment segment;
	mote__elf_segment(&elf, 1, &segment);
	CHECK_EQ(segment.va, ELF_MAKER_TEXT_VA);
	CHECK_EQ(segment.bytes, ELF_MAKER_TEXT_BYTES);
	CHECK_EQ(segment.access, MOTE__ELF_READ | MOTE__ELF_EXECUTE);
	mote__elf_segment(&elf, 2, &segment);
	CHECK_EQ(segment.file_offset, headers[ELF_MAKER_DATA].p_offset);
	CHECK_EQ(segment.file_bytes, ELF_MAKER_DATA_FILE);
	CHECK_EQ(segment.bytes, ELF_MAKER_DATA_BYTES);
	CHECK_EQ(segment.access, MOTE__ELF_READ | MOTE__ELF_WRITE);
}

TEST(elf__ignores_thread_storage_stack_and_unknown_headers)
{
	start_good();
	elf_maker_header(&maker, PT_TLS, 1, 1)->p_vaddr = ELF_MAKER_DATA_VA;
	elf_maker_header(&maker, PT_GNU_STACK, UINT64_MAX, UINT64_MAX);
	elf_maker_header(&maker, 0x70001234, UINT64_MAX, UINT64_MAX);
	CHECK_PARSES();
	CHECK_EQ(elf.segment_count, 3);
}

TEST(elf__writes_nothing_when_it_refuses)
{
	struct mote__elf before;
	start_good()[ELF_MAKER_TEXT].p_memsz = 1;
	memset(&elf, 0xa5, sizeof elf);
	memcpy(&before, &elf, sizeof elf);
	CHECK_EQ(parse(), MOTE_EIMAGE);
	CHECK_MEM(&elf, &before, sizeof elf);
	CHECK_EQ(mote__elf_parse(file, maker.len, &elf, NULL), MOTE_EIMAGE);
}

TEST(elf__refuses_what_is_not_elf)
{
	start_good();
	CHECK_REFUSED(parse_patched(0, 1, 0x7e), "not an ELF file");
	CHECK_REFUSED(parse_bytes(0), "not an ELF file: its 0 bytes");
	memcpy(maker.bytes, "MZ\x90\0", 4);
	CHECK_REFUSED(parse_bytes(maker.len), "not an ELF file");
}

TEST(elf__refuses_a_truncated_header)
{
	start_good();
	elf_maker_finish(&maker);
	CHECK_REFUSED(parse_bytes(3), "not an ELF file");
	CHECK_REFUSED(parse_bytes(15), "ends inside its header: 15 bytes");
	CHECK_REFUSED(parse_bytes(63), "ends inside its header: 63 bytes of 64");
	CHECK_REFUSED(parse_bytes(64), "4 program headers");
	start(32, ET_DYN, 0);
	elf_maker_finish(&maker);
	CHECK_REFUSED(parse_bytes(51), "ends inside its header: 51 bytes of 52");
	CHECK_REFUSED(parse_bytes(52), "4 program headers");
}

TEST(elf__refuses_other_classes_encodings_and_versions)
{
	start_good();
	CHECK_REFUSED(parse_patched(4, 1, 0), "ELF class 0");
	CHECK_REFUSED(parse_patched(4, 1, 3), "ELF class 3");
	start_good();
	CHECK_REFUSED(parse_patched(5, 1, ELFDATA2MSB), "data encoding 2");
	start_good();
	CHECK_REFUSED(parse_patched(6, 1, 2), "ELF version 2 at offset 6");
	start_good();
	CHECK_REFUSED(parse_patched(20, 4, 2), "ELF version 2 at offset 20");
}

TEST(elf__refuses_other_machines)
{
	start_good();
	CHECK_REFUSED(parse_patched(18, 2, EM_AARCH64), "ELF machine 183 at offset 18");
	start_good();
	CHECK_REFUSED(parse_patched(18, 2, EM_386), "machine 3 at offset 18 of a 64-bit file");
	start(32, ET_DYN, 0);
	CHECK_REFUSED(parse_patched(18, 2, EM_X86_64), "machine 62 at offset 18 of a 32-bit file");
	start(32, ET_DYN, 0);
	CHECK_REFUSED(parse_patched(18, 2, EM_ARM), "machine 40 at offset 18 of a 32-bit file");
}

TEST(elf__refuses_other_types)
{
	static const unsigned types[] = {ET_NONE, ET_REL, ET_CORE, 5, 0xffff};
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		start(64, types[i], 0);
		CHECK_REFUSED(parse(), "at offset 16 is not an executable");
	}
}

TEST(elf__refuses_wrong_entry_sizes_of_tables)
{
	start_good();
	CHECK_REFUSED(parse_patched(54, 2, 55), "a program header has 55 bytes, not 56");
	start_good();
	elf_maker_section(&maker, ".a", SHT_PROGBITS, 0, 0);
	CHECK_REFUSED(parse_patched(58, 2, 65), "a section header has 65 bytes, not 64");
}

TEST(elf__bounds_the_number_of_program_headers)
{
	start_good();
	while (maker.header_count < MOTE__ELF_HEADERS_MAX)
		elf_maker_header(&maker, PT_NULL, 0, 0);
	CHECK_PARSES();
	start_good();
	while (maker.header_count <= MOTE__ELF_HEADERS_MAX)
		elf_maker_header(&maker, PT_NULL, 0, 0);
	CHECK_REFUSED(parse(), "257 program headers, over 256");
	start_good();
	CHECK_REFUSED(parse_patched(56, 2, 0xffff), "65535 program headers, over 256");
	start_good();
	CHECK_REFUSED(parse_patched(56, 2, 0), "no program headers");
}

TEST(elf__bounds_the_number_of_segments)
{
	for (unsigned count = MOTE__ELF_SEGMENTS_MAX; count <= MOTE__ELF_SEGMENTS_MAX + 1;
	     count++) {
		start_good();
		for (unsigned i = 3; i < count; i++)
			elf_maker_header(&maker, PT_LOAD, 0, 0x10)->p_vaddr = 0x10000 + 0x10 * i;
		if (count == MOTE__ELF_SEGMENTS_MAX)
			CHECK_PARSES();
		else
			CHECK_REFUSED(parse(), "is the PT_LOAD number 65, over 64");
	}
}

TEST(elf__refuses_program_headers_outside_the_file)
{
	start_good();
	elf_maker_finish(&maker);
	CHECK_REFUSED(parse_bytes(maker.len - 1), "4 program headers at file offset");
	start_good();
	CHECK_REFUSED(parse_patched(32, 8, UINT64_MAX), "at file offset 0xffffffffffffffff");
	start_good();
	CHECK_REFUSED(parse_patched(32, 8, UINT64_MAX - 200), "program headers at file offset");
}

static void start_with_section(void)
{
	start_good();
	elf_maker_section(&maker, ".a", SHT_PROGBITS, 0, 0);
}

TEST(elf__refuses_bad_section_tables)
{
	start_with_section();
	elf_maker_finish(&maker);
	CHECK_REFUSED(parse_bytes(maker.len - 1), "3 section headers at file offset");
	start_with_section();
	CHECK_REFUSED(parse_patched(40, 8, 0), "3 section headers at file offset 0x0");
	start_with_section();
	CHECK_REFUSED(parse_patched(60, 2, 0), "0 section headers at file offset");
	start_with_section();
	CHECK_REFUSED(parse_patched(40, 8, UINT64_MAX), "3 section headers at file offset");
}

TEST(elf__refuses_bad_names_of_sections)
{
	start_with_section();
	CHECK_REFUSED(parse_patched(62, 2, 3), "names of sections are in section 3 of 3");
	start_with_section();
	CHECK_REFUSED(parse_patched(62, 2, 2), "section 2, names of sections: type 1");
	start_with_section();
	elf_maker_finish(&maker);
	uint64_t len = maker.len;
	memcpy(maker.bytes + len - 2 * sizeof(Elf64_Shdr) + offsetof(Elf64_Shdr, sh_size), &len, 8);
	CHECK_REFUSED(parse_bytes(len), "section 1, names of sections: type 3");
}

TEST(elf__ignores_sections_that_it_does_not_need)
{
	start_good();
	elf_maker_section(&maker, ".a", SHT_PROGBITS, UINT64_MAX, UINT64_MAX)->sh_name = UINT32_MAX;
	CHECK_PARSES();
	start_with_section();
	CHECK_EQ(parse_patched(62, 2, 0), MOTE_OK);
}

TEST(elf__refuses_a_file_without_segments)
{
	Elf64_Phdr *headers = start_good();
	for (unsigned i = 0; i < maker.header_count; i++)
		headers[i].p_type = PT_NULL;
	CHECK_REFUSED(parse(), "ELF must have at least one PT_LOAD header");
}

TEST(elf__refuses_segments_without_bytes)
{
	Elf64_Phdr *headers = start_good();
	for (unsigned i = 0; i < 3; i++)
		headers[i] = (Elf64_Phdr){.p_type = PT_LOAD, .p_vaddr = 0x5000};
	CHECK_REFUSED(parse(), "image has 0x0 bytes");
}

TEST(elf__accepts_an_empty_segment_inside_another)
{
	start_good();
	elf_maker_header(&maker, PT_LOAD, 0, 0)->p_vaddr = ELF_MAKER_DATA_VA + 8;
	CHECK_PARSES();
	CHECK_EQ(elf.segment_count, 4);
}

TEST(elf__refuses_a_segment_that_ends_outside_the_file)
{
	Elf64_Phdr *headers = start_good();
	elf_maker_finish(&maker);
	uint64_t len = maker.len;
	headers = start_good();
	headers[ELF_MAKER_DATA].p_offset = len - ELF_MAKER_DATA_FILE;
	CHECK_PARSES();
	headers = start_good();
	headers[ELF_MAKER_DATA].p_offset = len - ELF_MAKER_DATA_FILE + 1;
	CHECK_REFUSED(parse(), "program header 2: 0x120 bytes at file offset");
	headers = start_good();
	headers[ELF_MAKER_DATA].p_offset = UINT64_MAX - 0x11f;
	CHECK_REFUSED(parse(), "program header 2");
	headers = start_good();
	headers[ELF_MAKER_DATA].p_filesz = UINT64_MAX;
	headers[ELF_MAKER_DATA].p_memsz = UINT64_MAX;
	CHECK_REFUSED(parse(), "program header 2");
}

TEST(elf__refuses_other_headers_that_end_outside_the_file)
{
	start_good();
	elf_maker_header(&maker, PT_NOTE, 0, 1 << 20);
	CHECK_REFUSED(parse(), "program header 4");
	start_good()[ELF_MAKER_DYN].p_offset = 1 << 20;
	CHECK_REFUSED(parse(), "program header 3");
}

TEST(elf__refuses_more_file_than_memory)
{
	start_good()[ELF_MAKER_TEXT].p_memsz = ELF_MAKER_TEXT_BYTES - 1;
	CHECK_REFUSED(parse(), "program header 1: 0x40 bytes in the file, 0x3f in memory");
}

TEST(elf__refuses_addresses_that_wrap)
{
	Elf64_Phdr *headers = start_good();
	headers[ELF_MAKER_DATA].p_vaddr = 0 - (uint64_t)ELF_MAKER_DATA_BYTES + 1;
	CHECK_REFUSED(parse(), "end outside the address space");
	headers = start_good();
	headers[ELF_MAKER_DATA].p_memsz = UINT64_MAX;
	CHECK_REFUSED(parse(), "end outside the address space");
	headers = start(32, ET_DYN, 0xffff0000);
	headers[ELF_MAKER_DATA].p_memsz = 0xe000;
	CHECK_PARSES();
	headers = start(32, ET_DYN, 0xffff0000);
	headers[ELF_MAKER_DATA].p_memsz = 0xe001;
	CHECK_REFUSED(parse(), "end outside the address space");
}

TEST(elf__refuses_alignments_that_are_no_power_of_two)
{
	static const uint64_t good[] = {0, 1, 0x1000, 0x200000, 1ull << 63};
	static const uint64_t bad[] = {3, 0x1001, 0x3000, UINT64_MAX};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		start_good()[ELF_MAKER_TEXT].p_align = good[i];
		CHECK_PARSES();
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		start_good()[ELF_MAKER_TEXT].p_align = bad[i];
		CHECK_REFUSED(parse(), "is not a power of two");
	}
}

TEST(elf__refuses_segments_that_overlap_in_memory)
{
	Elf64_Phdr *headers = start_good();
	headers[ELF_MAKER_DATA].p_vaddr = ELF_MAKER_TEXT_VA + ELF_MAKER_TEXT_BYTES;
	CHECK_PARSES();
	headers = start_good();
	headers[ELF_MAKER_DATA].p_vaddr = ELF_MAKER_TEXT_VA + ELF_MAKER_TEXT_BYTES - 1;
	CHECK_REFUSED(parse(), "overlap the PT_LOAD at 0x1000 of program header 1");
	headers = start_good();
	headers[ELF_MAKER_RODATA].p_memsz = 0x10000;
	CHECK_REFUSED(parse(), "overlap the PT_LOAD at 0x0 of program header 0");
}

TEST(elf__bounds_the_size_of_an_image)
{
	uint64_t most = 0x3FFFFF000 - ELF_MAKER_DATA_VA;
	start_good()[ELF_MAKER_DATA].p_memsz = most - 1;
	CHECK_PARSES();
	start_good()[ELF_MAKER_DATA].p_memsz = most;
	CHECK_PARSES();
	CHECK_EQ(elf.image_bytes, 0x3FFFFF000);
	start_good()[ELF_MAKER_DATA].p_memsz = most + 1;
	CHECK_REFUSED(parse(), "image has 0x3fffff001 bytes");
}

TEST(elf__keeps_executables_off_page_0_and_the_upper_half)
{
	start(64, ET_EXEC, 0);
	CHECK_REFUSED(parse(), "image is linked at 0x0 to 0x3801");
	Elf64_Phdr *headers = start(64, ET_EXEC, 0x7fffffff0000);
	headers[ELF_MAKER_DATA].p_memsz = 0xe000;
	CHECK_PARSES();
	headers = start(64, ET_EXEC, 0x7fffffff0000);
	headers[ELF_MAKER_DATA].p_memsz = 0xe001;
	CHECK_REFUSED(parse(), "outside the addresses for guests");
	start(64, ET_EXEC, 0xffff800000000000);
	CHECK_REFUSED(parse(), "outside the addresses for guests");
	start(32, ET_EXEC, 0);
	CHECK_REFUSED(parse(), "image is linked at 0x0 to 0x3801");
	start(64, ET_DYN, 0xffffffff80000000);
	CHECK_PARSES();
	CHECK_EQ(elf.load_gva, 0x1000);
}

TEST(elf__refuses_an_entry_point_outside_code)
{
	static const uint64_t bad[] = {ELF_MAKER_TEXT_VA - 1,
				       ELF_MAKER_TEXT_VA + ELF_MAKER_TEXT_BYTES,
				       ELF_MAKER_DATA_VA,
				       0,
				       0x100000,
				       UINT64_MAX};
	static const uint64_t good[] = {ELF_MAKER_TEXT_VA,
					ELF_MAKER_TEXT_VA + ELF_MAKER_TEXT_BYTES - 1};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		start_good();
		maker.file.e_entry = bad[i];
		CHECK_REFUSED(parse(), "is not inside an executable PT_LOAD segment");
	}
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		start_good();
		maker.file.e_entry = good[i];
		CHECK_PARSES();
	}
}

TEST(elf__refuses_an_interpreter)
{
	start_good();
	size_t at = elf_maker_put(&maker, "/lib64/ld.so", 13, 1);
	elf_maker_header(&maker, PT_INTERP, at, 13);
	CHECK_REFUSED(parse(), "-static-pie");
}

TEST(elf__refuses_a_second_dynamic_section_or_relro)
{
	start_good();
	elf_maker_header(&maker, PT_DYNAMIC, 0, 16);
	CHECK_REFUSED(parse(), "program header 4 is a second PT_DYNAMIC");
	start_good();
	elf_maker_header(&maker, PT_GNU_RELRO, 0, 16)->p_vaddr = ELF_MAKER_DATA_VA;
	elf_maker_header(&maker, PT_GNU_RELRO, 0, 16)->p_vaddr = ELF_MAKER_DATA_VA;
	CHECK_REFUSED(parse(), "program header 5 is a second PT_GNU_RELRO");
}

TEST(elf__keeps_relro_inside_the_image)
{
	start(64, ET_DYN, 0x10000);
	elf_maker_header(&maker, PT_GNU_RELRO, 0, 0x2000)->p_vaddr = 0x12000;
	CHECK_PARSES();
	CHECK_EQ(elf.relro_va, 0x12000);
	CHECK_EQ(elf.relro_bytes, 0x2000);
	start(64, ET_DYN, 0x10000);
	elf_maker_header(&maker, PT_GNU_RELRO, 0, 0x2001)->p_vaddr = 0x12000;
	CHECK_REFUSED(parse(), "PT_GNU_RELRO: 0x2001 bytes at address 0x12000");
	start(64, ET_DYN, 0x10000);
	elf_maker_header(&maker, PT_GNU_RELRO, 0, 1)->p_vaddr = 0xffff;
	CHECK_REFUSED(parse(), "PT_GNU_RELRO");
	start(64, ET_DYN, 0x10000);
	elf_maker_header(&maker, PT_GNU_RELRO, 0, UINT64_MAX)->p_vaddr = 0x12000;
	CHECK_REFUSED(parse(), "PT_GNU_RELRO");
}

TEST(elf__finds_symbols_and_their_names)
{
	start_good();
	size_t at = elf_maker_put(&maker, NULL, 72, 8);
	size_t dynamic_names = elf_maker_put(&maker, NULL, 16, 1);
	elf_maker_section(&maker, ".dynsym", SHT_DYNSYM, at, 24)->sh_entsize = 24;
	maker.sections[2].sh_link = 3;
	elf_maker_section(&maker, ".dynstr", SHT_STRTAB, dynamic_names, 7);
	CHECK_PARSES();
	CHECK_EQ(elf.symbols.offset, at);
	CHECK_EQ(elf.symbols.bytes, 24);
	CHECK_EQ(elf.strings.offset, dynamic_names);
	CHECK_EQ(elf.strings.bytes, 7);

	start_good();
	elf_maker_section(&maker, ".dynsym", SHT_DYNSYM, 0, 24);
	Elf64_Shdr *symbols = elf_maker_section(&maker, ".symtab", SHT_SYMTAB, 48, 48);
	symbols->sh_entsize = 24;
	symbols->sh_link = 4;
	elf_maker_section(&maker, ".strtab", SHT_STRTAB, 5, 6);
	CHECK_PARSES();
	CHECK_EQ(elf.symbols.offset, 48);
	CHECK_EQ(elf.strings.offset, 5);
}

/* A file with a symbol table; entsize, link and size of it, type and size of its names. */
static int parse_symbols(uint64_t entry_bytes, uint32_t link, uint64_t bytes, uint32_t names_type,
			 uint64_t names_bytes)
{
	start_good();
	Elf64_Shdr *symbols = elf_maker_section(&maker, ".symtab", SHT_SYMTAB, 48, bytes);
	symbols->sh_entsize = entry_bytes;
	symbols->sh_link = link;
	elf_maker_section(&maker, ".strtab", names_type, 5, names_bytes);
	return parse();
}

TEST(elf__refuses_bad_symbol_tables)
{
	CHECK_EQ(parse_symbols(24, 3, 48, SHT_STRTAB, 6), MOTE_OK);
	CHECK_REFUSED(parse_symbols(23, 3, 48, SHT_STRTAB, 6), "entries of 23 bytes (not 24)");
	CHECK_REFUSED(parse_symbols(24, 4, 48, SHT_STRTAB, 6), "names are in section 4 of 4");
	CHECK_REFUSED(parse_symbols(24, 3, 1 << 20, SHT_STRTAB, 6), "section 2, symbol table");
	CHECK_REFUSED(parse_symbols(24, 3, 48, SHT_PROGBITS, 6), "section 3, names of symbols");
	CHECK_REFUSED(parse_symbols(24, 3, 48, SHT_STRTAB, UINT64_MAX), "section 3, names of");
}

TEST(elf__reads_fields_at_any_alignment)
{
	start_good();
	elf_maker_finish(&maker);
	uint8_t *shifted = malloc(maker.len + 1);
	memcpy(shifted + 1, maker.bytes, maker.len);
	int rc = mote__elf_parse(shifted + 1, maker.len, &elf, &err);
	free(shifted);
	CHECK_EQ(rc, MOTE_OK);
}

/* A guest with everything in it. */
static void make_full(unsigned bits)
{
	static const uint8_t id[20] = {1, 2, 3};
	size_t bytes;
	start(bits, ET_DYN, 0);
	size_t at = elf_maker_note(&maker, 4, "GNU", 3, id, sizeof id, &bytes);
	elf_maker_header(&maker, PT_NOTE, at, bytes)->p_align = 4;
	elf_maker_section(&maker, ".note.gnu.build-id", SHT_NOTE, at, bytes);
	at = elf_maker_note(&maker, 8, "Hyperlight", 1, "0.15.0", 7, &bytes);
	elf_maker_section(&maker, ".note.hyperlight-version", SHT_NOTE, at, bytes);
	uint8_t note[80] = {1, 0, 0, 0, 80, 0, 0, 0, 1};
	note[28] = 1;
	note[40] = note[48] = 0x10;
	note[41] = note[49] = 0x10;
	at = elf_maker_note(&maker, 8, "mote", 1, note, sizeof note, &bytes);
	if (bits == 64)
		elf_maker_header(&maker, PT_NOTE, at, bytes);
	at = elf_maker_put(&maker, NULL, 96, 8);
	Elf64_Shdr *symbols = elf_maker_section(&maker, ".symtab", SHT_SYMTAB, at, 96);
	symbols->sh_entsize = bits == 64 ? 24 : 16;
	symbols->sh_link = maker.section_count;
	at = elf_maker_put(&maker, "\0main\0helper", 13, 1);
	elf_maker_section(&maker, ".strtab", SHT_STRTAB, at, 13);
	elf_maker_header(&maker, PT_GNU_RELRO, 0, 0x80)->p_vaddr = ELF_MAKER_DATA_VA;
	for (unsigned i = 0; i < ELF_MAKER_RELA; i++)
		elf_maker_rela(&maker, i, ELF_MAKER_DATA_VA + 0x100 + 8 * i, 8, 0x1000);
}

/* Whatever the parser accepts can be loaded, asked and searched; sanitizers watch. */
static void use_accepted(void)
{
	char name[16];
	uint64_t offset;
	if (elf.image_bytes <= 1 << 20) {
		uint8_t *image = calloc(1, elf.image_bytes);
		(void)mote__elf_load(&elf, image, elf.image_bytes, &err);
		free(image);
	}
	(void)mote__elf_page_access(&elf, 0);
	(void)mote__elf_check_wx(&elf, &err);
	struct mote__elf_symbols symbols = {elf.file + elf.symbols.offset, elf.symbols.bytes,
					    elf.file + elf.strings.offset, elf.strings.bytes,
					    elf.bits};
	(void)mote__elf_symbol_find(&symbols, elf.entry_va, name, sizeof name, &offset);
}

TEST(elf__refuses_a_file_cut_anywhere)
{
	for (unsigned bits = 32; bits <= 64; bits += 32) {
		make_full(bits);
		CHECK_PARSES();
		for (size_t len = 0; len < maker.len; len++)
			CHECK_EQ(parse_bytes(len), MOTE_EIMAGE);
	}
}

TEST(elf__survives_every_single_byte_change)
{
	static const uint8_t changes[] = {0x01, 0x80, 0xff};
	unsigned accepted = 0;
	for (unsigned bits = 32; bits <= 64; bits += 32) {
		make_full(bits);
		elf_maker_finish(&maker);
		for (size_t i = 0; i < maker.len * sizeof changes; i++) {
			size_t at = i / sizeof changes;
			maker.bytes[at] ^= changes[i % sizeof changes];
			int rc = parse_bytes(maker.len);
			if (rc == MOTE_OK) {
				accepted++;
				use_accepted();
			} else {
				CHECK_EQ(rc, MOTE_EIMAGE);
				CHECK_EQ(err.code, MOTE_EIMAGE);
				CHECK(err.message[0] != 0);
			}
			maker.bytes[at] ^= changes[i % sizeof changes];
		}
	}
	check_note("%u changed files were accepted", accepted);
}

TEST(elf__survives_random_changes)
{
	uint64_t seed = 0x9e3779b97f4a7c15, random = seed;
	check_note("seed 0x%llx", (unsigned long long)seed);
	make_full(64);
	elf_maker_finish(&maker);
	static uint8_t good[ELF_MAKER_BYTES];
	memcpy(good, maker.bytes, maker.len);
	for (unsigned round = 0; round < 20000; round++) {
		for (unsigned i = 0; i < 1 + round % 8; i++) {
			uint64_t word = check_random(&random);
			maker.bytes[word % maker.len] = (uint8_t)(word >> 56);
		}
		if (parse_bytes(maker.len) == MOTE_OK)
			use_accepted();
		memcpy(maker.bytes, good, maker.len);
	}
}
