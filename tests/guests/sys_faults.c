/* SPDX-License-Identifier: MIT */
/* One exported function for each instruction that ring 3 must not get through. */
#include <mote_guest.h>

#include <stdint.h>

#define INSTRUCTION(name, ...)                                                          \
	MOTE_EXPORT(void, name)                                                         \
	{                                                                               \
		__asm__ volatile(__VA_ARGS__ ::: "rax", "rbx", "rcx", "rdx", "memory"); \
	}

INSTRUCTION(do_rdmsr, "mov $0xC0000082, %%ecx\n\trdmsr")
INSTRUCTION(do_wrmsr, "mov $0xC0000082, %%ecx\n\txor %%eax, %%eax\n\txor %%edx, %%edx\n\twrmsr")
INSTRUCTION(do_wrmsr_fs, "mov $0xC0000100, %%ecx\n\txor %%eax, %%eax\n\txor %%edx, %%edx\n\twrmsr")
INSTRUCTION(do_read_cr0, "mov %%cr0, %%rax")
INSTRUCTION(do_write_cr0, "mov $0x11, %%eax\n\tmov %%rax, %%cr0")
INSTRUCTION(do_read_cr2, "mov %%cr2, %%rax")
INSTRUCTION(do_write_cr3, "xor %%eax, %%eax\n\tmov %%rax, %%cr3")
INSTRUCTION(do_write_cr4, "xor %%eax, %%eax\n\tmov %%rax, %%cr4")
INSTRUCTION(do_write_cr8, "xor %%eax, %%eax\n\tmov %%rax, %%cr8")
INSTRUCTION(do_write_dr0, "mov %%rax, %%db0")
INSTRUCTION(do_read_dr7, "mov %%db7, %%rax")
INSTRUCTION(do_xsetbv, "xor %%ecx, %%ecx\n\tmov $1, %%eax\n\txor %%edx, %%edx\n\txsetbv")
INSTRUCTION(do_lgdt, "lgdt -32(%%rsp)")
INSTRUCTION(do_lidt, "lidt -32(%%rsp)")
INSTRUCTION(do_ltr, "mov $0x38, %%eax\n\tltr %%ax")
INSTRUCTION(do_lldt, "xor %%eax, %%eax\n\tlldt %%ax")
INSTRUCTION(do_lmsw, "xor %%eax, %%eax\n\tlmsw %%ax")
INSTRUCTION(do_cli, "cli")
INSTRUCTION(do_sti, "sti")
INSTRUCTION(do_hlt, "hlt")
INSTRUCTION(do_invlpg, "invlpg (%%rsp)")
INSTRUCTION(do_swapgs, "swapgs")
INSTRUCTION(do_clts, "clts")
INSTRUCTION(do_wbinvd, "wbinvd")
INSTRUCTION(do_invd, "invd")
INSTRUCTION(do_rdpmc, "xor %%ecx, %%ecx\n\trdpmc")
INSTRUCTION(do_vmcall, "vmcall")
INSTRUCTION(do_vmmcall, "vmmcall")
INSTRUCTION(do_vmrun, "vmrun")
INSTRUCTION(do_sysret, "sysretq")
INSTRUCTION(do_sysenter, "sysenter")
INSTRUCTION(do_int80, "int $0x80")
INSTRUCTION(do_int14, "int $14")
INSTRUCTION(do_int255, "int $255")
INSTRUCTION(do_int3, "int3")
INSTRUCTION(do_ud2, "ud2")
INSTRUCTION(do_far_return,
	    "mov $0x10, %%eax\n\tpush %%rax\n\tlea 1f(%%rip), %%rax\n\tpush %%rax\n\t"
	    "lretq\n1:")
INSTRUCTION(do_iretq, "pushq $0x18\n\tpush %%rsp\n\tpushq $2\n\tpushq $0x10\n\t"
		      "lea 1f(%%rip), %%rax\n\tpush %%rax\n\tiretq\n1:")
INSTRUCTION(do_load_ss, "mov $0x18, %%eax\n\tmov %%ax, %%ss")
INSTRUCTION(do_load_ds, "mov $0x10, %%eax\n\tmov %%ax, %%ds")
INSTRUCTION(do_divide, "xor %%ecx, %%ecx\n\txor %%edx, %%edx\n\tmov $1, %%eax\n\tdiv %%ecx")
INSTRUCTION(do_divide_overflow, "mov $-1, %%ecx\n\tmov $0x80000000, %%eax\n\tcltd\n\tidiv %%ecx")
INSTRUCTION(do_non_canonical, "mov $1, %%eax\n\tshl $62, %%rax\n\tmov (%%rax), %%rax")
INSTRUCTION(do_non_canonical_stack, "mov %%rsp, %%rbx\n\tmov $1, %%eax\n\tshl $62, %%rax\n\t"
				    "mov %%rax, %%rsp\n\tpush %%rax\n\tmov %%rbx, %%rsp")
INSTRUCTION(do_single_step, "pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tnop\n\tnop")
INSTRUCTION(do_misaligned, "pushfq\n\torq $0x40000, (%%rsp)\n\tpopfq\n\tmov -31(%%rsp), %%rax\n\t"
			   "pushfq\n\tandq $~0x40000, (%%rsp)\n\tpopfq")
INSTRUCTION(do_x87, "pushq $0x37B\n\tfninit\n\tfldcw (%%rsp)\n\tfld1\n\tfldz\n\tfdivrp\n\tfwait\n\t"
		    "pop %%rax")
INSTRUCTION(do_sse,
	    "pushq $0x1D80\n\tldmxcsr (%%rsp)\n\tmov $1, %%eax\n\tcvtsi2ss %%eax, %%xmm0\n\t"
	    "xorps %%xmm1, %%xmm1\n\tdivss %%xmm1, %%xmm0\n\tpop %%rax")
INSTRUCTION(do_movaps, "movaps -31(%%rsp), %%xmm0\n\tmovaps -23(%%rsp), %%xmm0")
INSTRUCTION(do_in_serial, "mov $0x3F8, %%edx\n\tin %%dx, %%al")
INSTRUCTION(do_in_open, "in $108, %%al")
INSTRUCTION(do_ins, "mov $108, %%edx\n\tlea -64(%%rsp), %%rdi\n\tinsb")
INSTRUCTION(do_out_exception, "mov $14, %%eax\n\tout %%eax, $0xE0")
INSTRUCTION(do_out_frames, "out %%al, $0xE1")
INSTRUCTION(do_out_high, "mov $0xFFFF, %%edx\n\tout %%al, %%dx")
INSTRUCTION(do_out_straddle, "mov $96, %%edx\n\tout %%eax, %%dx")
INSTRUCTION(do_monitor, "mov %%rsp, %%rax\n\txor %%ecx, %%ecx\n\txor %%edx, %%edx\n\tmonitor")
INSTRUCTION(do_mwait, "xor %%eax, %%eax\n\txor %%ecx, %%ecx\n\tmwait")
INSTRUCTION(do_sgdt, "sgdt -32(%%rsp)")
INSTRUCTION(do_sidt, "sidt -32(%%rsp)")
INSTRUCTION(do_str, "str %%eax")
INSTRUCTION(do_sldt, "sldt %%eax")
INSTRUCTION(do_smsw, "smsw %%eax")

/* POPF leaves IF and IOPL alone; the nested-task flag makes no IRETQ of the library fail. */
MOTE_EXPORT(uint64_t, flags_that_stick)
{
	uint64_t before, after;
	__asm__ volatile("pushfq\n\tpopq %0\n\tpushq $0x47202\n\tpopfq\n\tpushfq\n\tpopq %1\n\t"
			 "pushq %0\n\tpopfq"
			 : "=&r"(before), "=&r"(after)
			 :
			 : "memory", "cc");
	return after;
}

/* Copy-on-write and demand faults with odd flags: nested task, alignment check, direction. */
MOTE_EXPORT(int32_t, faults_with_odd_flags, (uint64_t, address), (uint64_t, flags))
{
	int32_t value;
	__asm__ volatile(
		"pushfq\n\tpop %%rbx\n\tpush %2\n\tpopfq\n\tmovl $77, (%1)\n\tmovl (%1), %0\n\t"
		"push %%rbx\n\tpopfq\n\tcld"
		: "=&r"(value)
		: "r"(address), "r"(flags)
		: "rbx", "memory", "cc");
	return value;
}

static uint8_t data[64 * 4096];

MOTE_EXPORT(uint64_t, data_address)
{
	return (uint64_t)data;
}
