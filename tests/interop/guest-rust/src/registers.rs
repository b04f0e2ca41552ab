// SPDX-License-Identifier: MIT
//! Registers that outlive a call unless the host resets them.

use alloc::vec::Vec;
use core::arch::asm;

use hyperlight_guest_bin::guest_function;

/// Evaluates to the value of a debug or control register.
macro_rules! read {
    ($name:literal) => {{
        let value: u64;
        unsafe { asm!(concat!("mov {}, ", $name), out(reg) value, options(nostack)) };
        value
    }};
}

/// Leaves v in all registers that a function may leave it in, in DR0 to DR3, and with floats in the
/// vector registers; sets bits of DR7 that arm nothing, and with floats the rounding of MXCSR and the
/// precision of the x87 control word.
#[guest_function("Clobber")]
fn clobber(v: u64) {
    unsafe {
        asm!("mov dr0, {v}", "mov dr1, {v}", "mov dr2, {v}", "mov dr3, {v}", "mov dr7, {bits}",
            v = in(reg) v, bits = in(reg) 0x700u64, options(nostack));
    }
    #[cfg(feature = "floats")]
    clobber_floats(v);
    unsafe {
        asm!("mov rcx, rax", "mov rdx, rax", "mov rsi, rax", "mov rdi, rax", "mov r8, rax",
            "mov r9, rax", "mov r10, rax", "mov r11, rax", "mov r12, rax", "mov r13, rax",
            "mov r14, rax", "mov r15, rax",
            inout("rax") v => _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _, out("r13") _,
            out("r14") _, out("r15") _, options(nostack));
    }
}

#[cfg(feature = "floats")]
fn clobber_floats(v: u64) {
    let (mxcsr, control) = (0x3F80u32, 0x027Fu16);
    unsafe {
        asm!("ldmxcsr [{mxcsr}]", "fldcw [{control}]", "movq xmm0, {v}", "movddup xmm0, xmm0",
            "movaps xmm1, xmm0", "movaps xmm2, xmm0", "movaps xmm3, xmm0", "movaps xmm4, xmm0",
            "movaps xmm5, xmm0", "movaps xmm6, xmm0", "movaps xmm7, xmm0", "movaps xmm8, xmm0",
            "movaps xmm9, xmm0", "movaps xmm10, xmm0", "movaps xmm11, xmm0",
            "movaps xmm12, xmm0", "movaps xmm13, xmm0", "movaps xmm14, xmm0",
            "movaps xmm15, xmm0",
            mxcsr = in(reg) &mxcsr, control = in(reg) &control, v = in(reg) v,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
            out("xmm5") _, out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _,
            out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _,
            out("xmm15") _, options(nostack));
    }
}

/// MXCSR and the x87 control word.
#[cfg(feature = "floats")]
fn float_controls() -> (u64, u64) {
    let (mut mxcsr, mut control) = (0u32, 0u16);
    unsafe {
        asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &mut mxcsr, in(reg) &mut control,
            options(nostack));
    }
    (mxcsr.into(), control.into())
}

#[cfg(not(feature = "floats"))]
fn float_controls() -> (u64, u64) {
    (0, 0)
}

/// DR0 to DR3, DR6, DR7, CR0, CR2, CR3, CR4, CR8, MXCSR and FCW (0 without floats), 8 bytes each.
#[guest_function("Registers")]
fn registers() -> Vec<u8> {
    let (mxcsr, control) = float_controls();
    let words = [
        read!("dr0"),
        read!("dr1"),
        read!("dr2"),
        read!("dr3"),
        read!("dr6"),
        read!("dr7"),
        read!("cr0"),
        read!("cr2"),
        read!("cr3"),
        read!("cr4"),
        read!("cr8"),
        mxcsr,
        control,
    ];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
