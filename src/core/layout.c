/* SPDX-License-Identifier: MIT */
#include "core/layout.h"

#include <string.h>

#include "base/error.h"
#include "base/math.h"
#include "core/confined.h"
#include "core/layout_build.h"

#define PAGE         ((uint64_t)MOTE_PAGE_BYTES)
#define LARGE        0x200000ull
#define USER_END     0x7FFFFFFFF000ull /* of the lower half, less a page */
#define LOWER_LAST   0x7FFFFFFFFFFFull
#define BUFFERS_PAGE 16u /* where the buffers begin, behind the system pages */
#define SPARE_FRAMES 16u

/* guest-abi 1.1 to 1.3: what both kinds of processors have. */
#define FAMILY_S                                                                            \
	.name = "S", .id = MOTE_FAMILY_S, .base_gpa = 0x1000,                               \
	.peb_bytes = sizeof(struct mote_abi_peb), .runtime_pages = 12, .kept_pages = 3,     \
	.word_size = 0x08, .word_next = 0x10, .word_tables = 0x18, .word_generation = 0x20, \
	.exception_stack = 0x30

static const struct mote__family families[] = {
	{.bits = 64,
	 .format = &mote__pt_x86_64,
	 .region_bytes_max = MOTE_MAX_REGION_BYTES,
	 .physical_end = 0x1000000000,
	 .physical_bits = 36,
	 .scratch_gva_end = 0xFFFFFFFFFFFFF000,
	 .reserved_first = 0xFFFF800000000000,
	 .reserved_last = 0xFFFF80FFFFFFFFFF,
	 FAMILY_S},
	{.bits = 32,
	 .format = &mote__pt_i686_large, /* a table that uses it needs CR4.PSE */
	 .region_bytes_max = 0x70000000, /* both fit below physical_end */
	 .physical_end = 0xFEE00000,
	 .physical_bits = 32,
	 .scratch_gva_end = 0x100000000,
	 FAMILY_S},
};

const struct mote__family *mote__family_find(uint32_t id, uint32_t bits)
{
	for (size_t i = 0; i < sizeof families / sizeof *families; i++)
		if ((families[i].id == id || !id) && families[i].bits == bits)
			return &families[i];
	return NULL;
}

static uint64_t pages_of(uint64_t bytes)
{
	return mote__round_up(bytes, PAGE) / PAGE;
}

/* ---- parts ---------------------------------------------------------------------------------- */

static void add(struct mote__layout *l, const char *name, enum mote__part_kind kind, uint64_t gva,
		uint64_t gpa, uint64_t bytes, struct mote__pt_attributes attributes)
{
	bytes = mote__round_up(bytes, PAGE);
	if (!bytes)
		return;
	uint32_t i = l->part_count++;
	for (; i > 0 && l->parts[i - 1].gva > gva; i--)
		l->parts[i] = l->parts[i - 1];
	l->parts[i] = (struct mote__part){name, kind, gva, gpa, bytes, attributes, false};
}

/* Read-only memory may have large leaves; not inside the range where the stub looks for small ones.
 */
static void choose_large(struct mote__layout *l)
{
	l->cow_first_gva = l->cow_end_gva;
	for (uint32_t i = l->part_count; i-- > 0;)
		if (l->parts[i].gva < l->cow_end_gva &&
		    (l->parts[i].attributes.cow || mote__layout_is_space(&l->parts[i])))
			l->cow_first_gva = l->parts[i].gva;
	for (uint32_t i = 0; i < l->part_count; i++) {
		struct mote__part *part = &l->parts[i];
		bool is_apart =
			part->gva + part->bytes <= l->cow_first_gva || part->gva >= l->cow_end_gva;
		part->is_large = l->has_large && part->kind == MOTE__PART_MEMORY &&
				 !part->attributes.cow && is_apart;
	}
}

static int check_overlap(const struct mote__layout *l, struct mote_error *err)
{
	for (uint32_t i = 1; i < l->part_count; i++) {
		const struct mote__part *a = &l->parts[i - 1], *b = &l->parts[i];
		if (a->bytes > b->gva - a->gva)
			return mote__fail(err, MOTE_EIMAGE,
					  "%s at 0x%llx (0x%llx bytes) overlaps %s at 0x%llx",
					  a->name, (unsigned long long)a->gva,
					  (unsigned long long)a->bytes, b->name,
					  (unsigned long long)b->gva);
	}
	return MOTE_OK;
}

static struct mote__pt_attributes attributes_of(uint32_t access, bool user)
{
	return (struct mote__pt_attributes){.cow = (access & MOTE_WRITE) != 0,
					    .exec = (access & MOTE_EXECUTE) != 0,
					    .user = user};
}

/* The image of a confined guest: runs of pages with the access that their segments ask for. */
static void add_image(struct mote__layout *l, const struct mote__layout_image *image)
{
	for (uint32_t i = 0; i < image->run_count; i++) {
		const struct mote__layout_run *run = &image->runs[i];
		uint64_t at = run->first * PAGE;
		const char *name = run->access & MOTE_WRITE     ? "data"
				   : run->access & MOTE_EXECUTE ? "code"
								: "constants";
		add(l, name, MOTE__PART_MEMORY, l->image_gva + at, l->image_gpa + at,
		    run->count * PAGE, attributes_of(run->access, true));
	}
}

static void add_confined(struct mote__layout *l, const struct mote__layout_config *c,
			 const struct mote__layout_image *image)
{
	const struct mote__pt_attributes user_read = {.user = true};
	const struct mote__pt_attributes user_write = {.user = true, .writable = true};
	const struct mote__pt_attributes user_exec = {.user = true, .exec = true};
	const struct mote__pt_attributes own_read = {0}, own_write = {.writable = true},
					 own_exec = {.exec = true};
	uint64_t scratch = l->scratch_gpa;

	add_image(l, image);
	add(l, "PEB", MOTE__PART_MEMORY, l->peb_gva, l->peb_gpa, l->family->peb_bytes, user_read);
	add(l, "init data", MOTE__PART_MEMORY, l->init_gva, l->init_gpa, l->init_bytes,
	    attributes_of(c->init_access, true));
	add(l, "stack", MOTE__PART_DEMAND, l->stack_gva, 0, l->stack_bytes, user_write);
	add(l, "heap", MOTE__PART_DEMAND, l->heap_gva, 0, l->heap_bytes, user_write);
	add(l, "mappings", MOTE__PART_SPACE, l->mapping_gva, 0, l->mapping_bytes, user_read);

	static const char *const names[] = {"ring-0 code", "GDT and TSS", "IDT", "entry code"};
	const struct mote__pt_attributes library[] = {own_exec, own_read, own_read, user_exec};
	for (unsigned i = 0; i < MOTE__SYSTEM_PAGES; i++)
		add(l, names[i], MOTE__PART_LIBRARY, MOTE__PAGE_GVA(i), MOTE__SYSTEM_GPA + i * PAGE,
		    PAGE, library[i]);
	add(l, "parameters", MOTE__PART_SCRATCH, MOTE__PAGE_GVA(MOTE__PARAMS_PAGE),
	    scratch + l->params_offset, PAGE, own_write);
	add(l, "interrupt stack", MOTE__PART_SCRATCH, MOTE__PAGE_GVA(MOTE__IST_PAGE),
	    scratch + l->ist_offset, PAGE, user_write);
	add(l, "run info", MOTE__PART_SCRATCH, MOTE__PAGE_GVA(MOTE__RUN_INFO_PAGE),
	    scratch + l->run_info_offset, PAGE, user_read);
	/* Shows run info until the first copy. */
	add(l, "copy window", MOTE__PART_SCRATCH, MOTE__PAGE_GVA(MOTE__WINDOW_PAGE),
	    scratch + l->run_info_offset, PAGE, user_read);
	/* The address of the table that maps these pages is known once it is built. */
	add(l, "system leaves", MOTE__PART_SCRATCH, MOTE__PAGE_GVA(MOTE__LEAVES_PAGE),
	    scratch + l->tables_offset, PAGE, own_write);
	add(l, "input buffer", MOTE__PART_SCRATCH, l->input_gva, scratch, l->input_bytes,
	    user_read);
	add(l, "output buffer", MOTE__PART_SCRATCH, l->output_gva, scratch + l->output_offset,
	    l->output_bytes, user_write);
	add(l, "edit log", MOTE__PART_SCRATCH, l->log_gva, scratch + l->log_offset, l->log_bytes,
	    own_write);
}

static void add_stock(struct mote__layout *l, const struct mote__layout_config *c)
{
	const uint32_t heap = MOTE_READ | MOTE_WRITE | (c->executable_heap ? MOTE_EXECUTE : 0);
	add(l, "image", MOTE__PART_MEMORY, l->image_gva, l->image_gpa, l->image_bytes,
	    attributes_of(MOTE_READ | MOTE_WRITE | MOTE_EXECUTE, false));
	add(l, "PEB", MOTE__PART_MEMORY, l->peb_gva, l->peb_gpa, l->family->peb_bytes,
	    attributes_of(MOTE_READ, false));
	add(l, "heap", MOTE__PART_MEMORY, l->heap_gva, l->heap_gva, l->heap_bytes,
	    attributes_of(heap, false));
	add(l, "init data", MOTE__PART_MEMORY, l->init_gva, l->init_gpa, l->init_bytes,
	    attributes_of(c->init_access, false));
	add(l, "scratch", MOTE__PART_SCRATCH, l->scratch_gva, l->scratch_gpa, l->scratch_bytes,
	    (struct mote__pt_attributes){.writable = true});
}

/* ---- snapshot region ------------------------------------------------------------------------ */

/* next += bytes rounded to pages, and check against the region's limit. */
static int advance(const struct mote__family *family, uint64_t *next, uint64_t bytes,
		   const char *what, struct mote_error *err)
{
	uint64_t end;
	if (bytes > family->region_bytes_max ||
	    !mote__add(*next, mote__round_up(bytes, PAGE), &end) ||
	    end - family->base_gpa > family->region_bytes_max)
		return mote__fail(err, MOTE_ETOOBIG,
				  "%s of 0x%llx bytes: guest memory would exceed 0x%llx bytes",
				  what, (unsigned long long)bytes,
				  (unsigned long long)family->region_bytes_max);
	*next = end;
	return MOTE_OK;
}

/* Stock: everything where the ABI has it, gva = gpa but for an image with another link address. */
static int place_stock(struct mote__layout *l, const struct mote__layout_config *c,
		       struct mote_error *err)
{
	uint64_t next = l->peb_gpa;
	l->peb_gva = next;
	int rc = advance(l->family, &next, l->family->peb_bytes, "PEB", err);
	l->heap_gva = next;
	if (rc == MOTE_OK)
		rc = advance(l->family, &next, c->heap_bytes, "heap_bytes", err);
	l->init_gva = l->init_gpa = next;
	if (rc == MOTE_OK)
		rc = advance(l->family, &next, c->init_bytes, "init data", err);
	l->snapshot_bytes = next - l->family->base_gpa;
	return rc;
}

/* Init data that is worth large leaves lies apart, where they fit. */
static bool is_init_apart(const struct mote__layout *l, const struct mote__layout_config *c)
{
	return l->has_large && c->init_bytes >= LARGE && !(c->init_access & MOTE_WRITE);
}

/* Confined: PEB and init data behind the image, then guard, stack, guard, heap, guard. The heap is
 * last, so that its size moves nothing; only large init data is behind it. */
static int place_confined(struct mote__layout *l, const struct mote__layout_config *c,
			  struct mote_error *err)
{
	uint64_t next = l->peb_gpa;
	int rc = advance(l->family, &next, l->family->peb_bytes, "PEB", err);
	bool is_apart = is_init_apart(l, c);
	l->zero_gpa = next;
	if (rc == MOTE_OK)
		rc = advance(l->family, &next, PAGE, "zero page", err);
	l->init_gpa = is_apart ? mote__round_up(next, LARGE) : next;
	next = l->init_gpa;
	if (rc == MOTE_OK)
		rc = advance(l->family, &next, c->init_bytes, "init data", err);
	if (rc < 0)
		return rc;
	l->snapshot_bytes = next - l->family->base_gpa;
	l->peb_gva = l->image_gva + l->image_bytes;
	l->init_gva = l->peb_gva + PAGE;
	uint64_t behind = is_apart ? 0 : mote__round_up(c->init_bytes, PAGE);
	l->stack_gva = l->init_gva + behind + MOTE__STACK_GUARD_BYTES;
	l->stack_bytes = mote__round_up(c->stack_bytes, PAGE);
	l->heap_gva = l->stack_gva + l->stack_bytes + PAGE;
	/* No wrap: every size is at most 16 GiB, the image lies in the lower half. */
	l->mapping_gva = l->heap_gva + mote__round_up(c->heap_bytes, PAGE) + PAGE;
	l->mapping_bytes = mote__round_up(c->mapping_bytes, PAGE);
	l->cow_end_gva = l->mapping_gva + l->mapping_bytes;
	uint64_t end = l->cow_end_gva + PAGE;
	if (is_apart) {
		l->init_gva = mote__round_up(end, LARGE);
		end = l->init_gva + mote__round_up(c->init_bytes, PAGE) + PAGE;
	}
	if (end > USER_END)
		return mote__fail(err, MOTE_ETOOBIG,
				  "image, stack, heap and mappings end at 0x%llx, behind 0x%llx",
				  (unsigned long long)end, (unsigned long long)USER_END);
	return MOTE_OK;
}

/* ---- scratch -------------------------------------------------------------------------------- */

/* 0: an address that the format does not have. */
static uint64_t count_tables(const struct mote__layout *l)
{
	struct mote__pt_mapping mappings[MOTE__PARTS_MAX];
	uint32_t count = 0;
	for (; count < l->part_count; count++)
		mappings[count] = mote__layout_mapping(&l->parts[count]);
	uint64_t tables = 0;
	int rc = mote__pt_count(l->family->format, mappings, count, &tables);
	return rc == MOTE__PT_OK ? tables : 0;
}

static uint64_t default_frames(const struct mote__layout *l)
{
	uint64_t pages = pages_of(l->heap_bytes) + l->stack_bytes / PAGE + l->mapping_bytes / PAGE +
			 SPARE_FRAMES;
	for (uint32_t i = 0; i < l->part_count; i++)
		if (l->parts[i].attributes.cow)
			pages += l->parts[i].bytes / PAGE;
	return pages;
}

static void place_scratch_end(struct mote__layout *l, uint64_t bytes)
{
	l->scratch_bytes = bytes;
	l->scratch_gpa = l->family->physical_end - bytes;
	l->scratch_gva = l->family->scratch_gva_end - bytes;
}

static int fail_scratch(const struct mote__layout *l, uint64_t bytes, uint64_t min,
			struct mote_error *err)
{
	return mote__fail(err, MOTE_ETOOBIG, "scratch_bytes is 0x%llx, limits are 0x%llx to 0x%llx",
			  (unsigned long long)bytes, (unsigned long long)min,
			  (unsigned long long)l->family->region_bytes_max);
}

static void place_buffers(struct mote__layout *l, const struct mote__layout_config *c)
{
	l->input_bytes = c->input_bytes;
	l->output_bytes = c->output_bytes;
}

static int place_scratch_stock(struct mote__layout *l, const struct mote__layout_config *c,
			       struct mote_error *err)
{
	uint64_t bytes = c->scratch_bytes;
	uint64_t min = mote__round_up(c->input_bytes + c->output_bytes, PAGE) +
		       l->family->runtime_pages * PAGE;
	if (bytes % PAGE)
		return mote__fail(err, MOTE_EINVAL,
				  "scratch_bytes is 0x%llx, no multiple of 0x1000",
				  (unsigned long long)bytes);
	if (bytes < min || bytes > l->family->region_bytes_max)
		return fail_scratch(l, bytes, min, err);
	place_buffers(l, c);
	place_scratch_end(l, bytes);
	add_stock(l, c);
	int rc = check_overlap(l, err);
	if (rc < 0)
		return rc;
	l->output_offset = c->input_bytes;
	l->input_gva = l->scratch_gva;
	l->output_gva = l->scratch_gva + l->output_offset;
	l->tables_offset = mote__round_up(c->input_bytes + c->output_bytes, PAGE);
	l->tables_bytes = count_tables(l) * PAGE;
	if (!l->tables_bytes)
		return mote__fail(err, MOTE_EIMAGE, "the image's addresses cannot be mapped");
	if (bytes < min + l->tables_bytes)
		return fail_scratch(l, bytes, min + l->tables_bytes, err);
	l->frames_offset = l->tables_offset + l->tables_bytes;
	l->frame_count = (bytes - l->frames_offset) / PAGE - l->family->kept_pages;
	return MOTE_OK;
}

/* Offsets inside scratch for a number of frames; returns the size of it all. */
static uint64_t arrange_confined(struct mote__layout *l, uint64_t frames, uint64_t tables)
{
	uint64_t at = l->output_offset + mote__round_up(l->output_bytes, PAGE);
	l->tables_offset = at;
	l->tables_bytes = tables * PAGE;
	l->params_offset = at + l->tables_bytes;
	l->ist_offset = l->params_offset + PAGE;
	l->run_info_offset = l->ist_offset + PAGE;
	l->log_offset = l->run_info_offset + PAGE;
	l->log_bytes = mote__round_up(frames * 8, PAGE);
	l->frames_offset = l->log_offset + l->log_bytes;
	l->frame_count = frames;
	return l->frames_offset + frames * PAGE;
}

static void rebuild_parts(struct mote__layout *l, const struct mote__layout_config *c,
			  const struct mote__layout_image *image)
{
	l->part_count = 0;
	add_confined(l, c, image);
	choose_large(l);
}

static int place_scratch_confined(struct mote__layout *l, const struct mote__layout_config *c,
				  const struct mote__layout_image *image, struct mote_error *err)
{
	place_buffers(l, c);
	/* Buffers are mapped apart from one another, so each begins on a page. */
	l->output_offset = mote__round_up(c->input_bytes, PAGE);
	l->input_gva = MOTE__PAGE_GVA(BUFFERS_PAGE);
	l->output_gva = l->input_gva + l->output_offset;
	l->log_gva = l->output_gva + mote__round_up(c->output_bytes, PAGE);
	rebuild_parts(l, c, image);
	uint64_t wanted = c->scratch_bytes, frames = default_frames(l), tables = 0;
	if (wanted % PAGE)
		return mote__fail(err, MOTE_EINVAL,
				  "scratch_bytes is 0x%llx, no multiple of 0x1000",
				  (unsigned long long)wanted);
	if (wanted > l->family->region_bytes_max)
		return fail_scratch(l, wanted, PAGE, err);
	if (wanted) {
		/* As many frames as fit beside their log and its tables. */
		(void)arrange_confined(l, wanted / PAGE, 0);
		rebuild_parts(l, c, image);
		tables = count_tables(l);
		uint64_t fixed = arrange_confined(l, 0, tables) + PAGE;
		if (wanted < fixed + SPARE_FRAMES * (PAGE + 8))
			return fail_scratch(l, wanted, fixed + (SPARE_FRAMES + 1) * PAGE, err);
		frames = (wanted - fixed) / (PAGE + 8);
	}
	(void)arrange_confined(l, frames, tables);
	rebuild_parts(l, c, image);
	int rc = check_overlap(l, err);
	if (rc < 0)
		return rc;
	tables = count_tables(l);
	if (!tables)
		return mote__fail(err, MOTE_EIMAGE, "the image's addresses cannot be mapped");
	uint64_t bytes = arrange_confined(l, frames, tables);
	if (bytes > l->family->region_bytes_max)
		return mote__fail(err, MOTE_ETOOBIG,
				  "heap, stack, mappings and data need 0x%llx bytes of scratch, at "
				  "most 0x%llx",
				  (unsigned long long)bytes,
				  (unsigned long long)l->family->region_bytes_max);
	place_scratch_end(l, wanted ? wanted : bytes);
	rebuild_parts(l, c, image);
	return MOTE_OK;
}

/* ---- whole ---------------------------------------------------------------------------------- */

static int check_config(const struct mote__layout_config *c, struct mote_error *err)
{
	const struct {
		const char *name;
		uint64_t value, min;
	} sizes[] = {{"input_bytes", c->input_bytes, MOTE_MIN_BUFFER_BYTES},
		     {"output_bytes", c->output_bytes, MOTE_MIN_BUFFER_BYTES},
		     {"heap_bytes", c->heap_bytes, 0},
		     {"mapping_bytes", c->mapping_bytes, 0},
		     {"stack_bytes", c->stack_bytes, c->is_confined ? PAGE : 0}};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		if (sizes[i].value < sizes[i].min || sizes[i].value > c->family->region_bytes_max)
			return mote__fail(err, MOTE_EINVAL,
					  "%s is 0x%llx, limits are 0x%llx to 0x%llx",
					  sizes[i].name, (unsigned long long)sizes[i].value,
					  (unsigned long long)sizes[i].min,
					  (unsigned long long)c->family->region_bytes_max);
	const uint32_t both = MOTE_WRITE | MOTE_EXECUTE;
	if (c->is_confined ? c->family->bits != 64 : c->has_large)
		return mote__fail(err, MOTE_EINVAL, "%s guests of %u bits%s are not known",
				  c->is_confined ? "confined" : "stock", c->family->bits,
				  c->has_large ? " with large leaves" : "");
	if (c->is_confined && (c->init_access & both) == both)
		return mote__fail(err, MOTE_EINVAL,
				  "init_data_access is 0x%x: memory of a confined guest is not "
				  "writable and executable",
				  c->init_access);
	return MOTE_OK;
}

int mote__layout_make(const struct mote__layout_config *config,
		      const struct mote__layout_image *image, struct mote__layout *layout,
		      struct mote_error *err)
{
	struct mote__layout *l = layout;
	memset(l, 0, sizeof *l);
	l->config = *config;
	l->family = config->family;
	l->is_confined = config->is_confined;
	l->has_large = config->has_large;
	int rc = check_config(config, err);
	if (rc == MOTE_OK)
		rc = mote__layout_image_check(config, image, err);
	if (rc < 0)
		return rc;
	l->image_gpa = l->peb_gpa = l->family->base_gpa;
	l->image_gva = image->gva;
	l->image_bytes = image->bytes;
	l->heap_bytes = config->heap_bytes;
	l->init_bytes = config->init_bytes;
	rc = advance(l->family, &l->peb_gpa, image->bytes, "image", err);
	if (rc < 0)
		return rc;
	rc = l->is_confined ? place_confined(l, config, err) : place_stock(l, config, err);
	if (rc < 0)
		return rc;
	return l->is_confined ? place_scratch_confined(l, config, image, err)
			      : place_scratch_stock(l, config, err);
}

uint32_t mote__layout_spans(const struct mote__layout *layout, struct mote__pt_span spans[2])
{
	const struct mote__family *f = layout->family;
	spans[0] = (struct mote__pt_span){0, LOWER_LAST};
	if (layout->is_confined)
		return 1;
	if (!f->reserved_first) {
		spans[0].last = layout->scratch_gva - 1;
		return 1;
	}
	spans[1] = (struct mote__pt_span){f->reserved_last + 1, layout->scratch_gva - 1};
	return 2;
}
