/* SPDX-License-Identifier: MIT */
/*
 * mote doctor: is there a KVM that mote can use, which kind, what is missing, and what to type to
 * mend it. Looks at the device through the library and at the machine through /proc; changes
 * nothing.
 */
#include "cli.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "json.h"
#include "options.h"
#include "output.h"
#include "report.h"

enum check_result {
	CHECK_OK,
	CHECK_NOTE, /* worth knowing, no obstacle */
	CHECK_BAD,
};

struct check {
	const char *name;
	enum check_result result;
	char detail[256];
	char advice[256]; /* what to type; empty: nothing to do */
};

enum { MAX_CHECKS = 16 };

struct report {
	struct check checks[MAX_CHECKS];
	unsigned count;
	bool is_usable;
};

/** Adds a check; advice may be set in what it returns. */
__attribute__((format(printf, 4, 5))) static struct check *add(struct report *report,
							       const char *name,
							       enum check_result result,
							       const char *format, ...)
{
	/* The callers add fewer than fit; one too many would overwrite the last. */
	unsigned index = report->count < MAX_CHECKS ? report->count++ : MAX_CHECKS - 1;
	struct check *check = &report->checks[index];
	va_list arguments;
	*check = (struct check){.name = name, .result = result};
	va_start(arguments, format);
	(void)vsnprintf(check->detail, sizeof check->detail, format, arguments);
	va_end(arguments);
	return check;
}

__attribute__((format(printf, 2, 3))) static void advise(struct check *check, const char *format,
							 ...)
{
	va_list arguments;
	va_start(arguments, format);
	(void)vsnprintf(check->advice, sizeof check->advice, format, arguments);
	va_end(arguments);
}

/** Virtualisation that the processor offers: "vmx" (Intel), "svm" (AMD), or "" for none. */
static const char *processor_extension(void)
{
	const char *found = "";
	char line[8192];
	FILE *file = fopen("/proc/cpuinfo", "r");
	if (!file)
		return "";
	/* The flags of the first processor, which stand within its first 30 lines, serve for all.
	 */
	for (int i = 0; i < 64 && !*found && fgets(line, sizeof line, file); i++) {
		if (strncmp(line, "flags", 5) != 0)
			continue;
		if (strstr(line, " vmx"))
			found = "vmx";
		else if (strstr(line, " svm"))
			found = "svm";
	}
	(void)fclose(file);
	return found;
}

static void advise_missing_device(struct check *check)
{
	const char *extension = processor_extension();
	if (strcmp(extension, "vmx") == 0)
		advise(check, "sudo modprobe kvm_intel   (a container needs: --device /dev/kvm)");
	else if (strcmp(extension, "svm") == 0)
		advise(check, "sudo modprobe kvm_amd   (a container needs: --device /dev/kvm)");
	else
		advise(check, "the processor offers no virtualisation: switch on VT-x or AMD-V in "
			      "the firmware, or nested virtualisation for this virtual machine; a "
			      "container needs --device /dev/kvm");
}

static void advise_permission(struct check *check, const char *device)
{
	struct stat status;
	const struct group *group = NULL;
	if (stat(device, &status) == 0)
		group = getgrgid(status.st_gid);
	if (group && status.st_gid != 0 && (status.st_mode & 0060) == 0060)
		advise(check, "sudo usermod -aG %.64s $USER, then log in again", group->gr_name);
	else
		advise(check,
		       "sudo chgrp kvm %.100s && sudo chmod g+rw %.100s && sudo usermod -aG kvm "
		       "$USER, then log in again",
		       device, device);
}

static void check_device(struct report *report, const struct mote_engine_info *info,
			 const char *device)
{
	int number = info->system_errno;
	if (number == 0 && info->api_version != 0) {
		(void)add(report, "KVM device", CHECK_OK, "%.100s, API version %" PRId32, device,
			  info->api_version);
		return;
	}
	struct check *check = add(report, "KVM device", CHECK_BAD, "%.100s: %s", device,
				  number ? strerror(number) : "is no KVM device");
	if (number == ENOENT || number == ENODEV || number == ENXIO)
		advise_missing_device(check);
	else if (number == EACCES || number == EPERM)
		advise_permission(check, device);
}

static void check_capability(struct report *report, const char *name, uint8_t is_there,
			     const char *since)
{
	struct utsname system;
	struct check *check = add(report, name, is_there ? CHECK_OK : CHECK_BAD, "%s",
				  is_there ? "offered" : "not offered");
	if (is_there)
		return;
	const char *release = uname(&system) == 0 ? system.release : "unknown";
	advise(check, "use a kernel with it: Linux %s or newer (this is %.60s)", since, release);
}

static void check_capabilities(struct report *report, const struct mote_engine_info *info)
{
	check_capability(report, "read-only memory", info->has_read_only_memory, "3.7");
	check_capability(report, "register sync", info->has_sync_registers, "4.17");
	check_capability(report, "immediate exit", info->has_immediate_exit, "4.13");
	check_capability(report, "MSR filter", info->has_msr_filter, "5.10");
	if (!info->has_msr_filter) {
		struct check *check = &report->checks[report->count - 1];
		size_t used = strlen(check->advice);
		(void)snprintf(check->advice + used, sizeof check->advice - used,
			       ", or accept it with --allow-unfiltered-msrs");
	}
	if (info->memory_slots)
		(void)add(report, "memory slots", CHECK_OK, "%" PRIu32, info->memory_slots);
	if (info->missing[0])
		(void)add(report, "missing", CHECK_BAD, "%.120s", info->missing);
}

static void check_kind(struct report *report, const struct mote_engine_info *info)
{
	if (info->paging == MOTE_PAGING_NESTED)
		(void)add(report, "paging", CHECK_OK, "nested: the processor translates");
	else if (info->paging == MOTE_PAGING_SHADOW)
		(void)add(report, "paging", CHECK_NOTE,
			  "shadow: the kernel translates; works, page faults of guests are slower");
	else
		(void)add(report, "paging", CHECK_NOTE, "unknown; treated as shadow paging");
	if (info->is_emulated)
		(void)add(report, "processor", CHECK_NOTE,
			  "emulated by software; times mean nothing here");
	if (info->tsc_khz)
		(void)add(report, "clock", CHECK_OK, "time stamp counter at %" PRIu32 " kHz",
			  info->tsc_khz);
	else
		(void)add(report, "clock", CHECK_NOTE,
			  "time stamp counter of unknown speed; clocks of guests stand still");
}

static void print(const struct report *report, const struct mote_error *err)
{
	bool is_utf8 = mote__output_is_utf8();
	const char *const marks[] = {
		[CHECK_OK] = is_utf8 ? "✓" : "ok  ",
		[CHECK_NOTE] = is_utf8 ? "·" : "note",
		[CHECK_BAD] = is_utf8 ? "✗" : "BAD ",
	};
	for (unsigned i = 0; i < report->count; i++) {
		const struct check *check = &report->checks[i];
		(void)printf("%s %-16s  ", marks[check->result], check->name);
		mote__output_name(stdout, check->detail);
		(void)fputc('\n', stdout);
		if (check->advice[0]) {
			(void)printf("%*s  to mend it: ", is_utf8 ? 18 : 21, "");
			mote__output_name(stdout, check->advice);
			(void)fputc('\n', stdout);
		}
	}
	if (report->is_usable) {
		(void)puts("\nmote can run guests here.");
		return;
	}
	(void)fputs("\nmote cannot run guests here: ", stdout);
	mote__output_name(stdout, err->message);
	(void)fputc('\n', stdout);
}

static void write_json(const struct report *report, const struct mote_error *err)
{
	static const char *const results[] = {
		[CHECK_OK] = "ok", [CHECK_NOTE] = "note", [CHECK_BAD] = "bad"};
	struct json json = {.out = stdout};
	mote__emit_object(&json, NULL);
	mote__emit_bool(&json, "ok", report->is_usable);
	mote__emit_text(&json, "version", mote_version());
	mote__emit_array(&json, "checks");
	for (unsigned i = 0; i < report->count; i++) {
		const struct check *check = &report->checks[i];
		mote__emit_object(&json, NULL);
		mote__emit_text(&json, "name", check->name);
		mote__emit_text(&json, "result", results[check->result]);
		mote__emit_text(&json, "detail", check->detail);
		if (check->advice[0])
			mote__emit_text(&json, "advice", check->advice);
		mote__emit_end(&json);
	}
	mote__emit_end(&json);
	if (!report->is_usable)
		mote__emit_text(&json, "message", err->message);
	mote__emit_end(&json);
}

int mote__command_doctor(const struct options *options)
{
	if (options->operand_count > 0)
		return mote__report_usage("doctor", "takes no operand such as \"%s\"",
					  options->operands[0]);
	struct mote_engine_info info = {0};
	struct mote_error err = {0};
	struct report report = {.count = 0};
	int rc = mote_probe(options->device, &info, &err);
	report.is_usable = rc == MOTE_OK;
	check_device(&report, &info, options->device ? options->device : "/dev/kvm");
	if (info.api_version != 0) {
		check_capabilities(&report, &info);
		check_kind(&report, &info);
	}
	if (options->json)
		write_json(&report, &err);
	else
		print(&report, &err);
	return report.is_usable ? EXIT_OK : EXIT_NO_KVM;
}
