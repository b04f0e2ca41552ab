// SPDX-License-Identifier: MIT
//! Functions that never return: every way for a guest to end, or not to.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::arch::asm;
use core::hint::black_box;

use hyperlight_guest::error::{ErrorCode, HyperlightGuestError, Result};
use hyperlight_guest::exit::{abort_with_code, abort_with_code_and_message};
use hyperlight_guest::prim_alloc::alloc_phys_pages;
use hyperlight_guest_bin::guest_function;

use crate::host_calls::host_echo_int;

const NON_CANONICAL: u64 = 0x8000_0000_0000_0000;

/// A table register as the processor stores it.
#[repr(C, packed)]
struct TableRegister {
    limit: u16,
    base: u64,
}

#[guest_function("Panic")]
fn panic(text: String) {
    panic!("{text}");
}

#[guest_function("Abort")]
fn abort(code: i32) {
    abort_with_code(&[code as u8, 0xFF]);
}

#[guest_function("AbortMessage")]
fn abort_message(code: i32, text: String) {
    let text = CString::new(text).unwrap_or_default();
    unsafe { abort_with_code_and_message(&[code as u8], text.as_ptr()) };
}

/// Marks the data segment as not present, so that loading it is vector 11, or 12 into SS.
unsafe fn withdraw_data_segment() -> u16 {
    let mut table = TableRegister { limit: 0, base: 0 };
    unsafe {
        asm!("sgdt [{}]", in(reg) &raw mut table, options(nostack));
        let access = (table.base + 0x10 + 5) as *mut u8;
        access.write_volatile(access.read_volatile() & 0x7F);
    }
    0x10
}

#[cfg(feature = "floats")]
unsafe fn divide_floats() {
    let control = 0x037Bu16; // division by zero is not masked
    unsafe {
        asm!("fninit", "fldcw [{}]", "fld1", "fldz", "fdivp st(1), st", "fwait",
            in(reg) &control, options(nostack));
    }
}

#[cfg(feature = "floats")]
unsafe fn divide_vectors() {
    let mxcsr = 0x1D80u32; // the same
    unsafe {
        asm!("ldmxcsr [{}]", "xorps xmm0, xmm0", "cvtsi2ss xmm1, {:e}", "divss xmm1, xmm0",
            in(reg) &mxcsr, in(reg) 1, out("xmm0") _, out("xmm1") _, options(nostack));
    }
}

/// Raises an exception by an instruction that causes it.
#[guest_function("Raise")]
fn raise(vector: i32) -> Result<()> {
    unsafe {
        match vector {
            0 => asm!("div {:e}", in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _),
            // The trap flag: the exception comes after the instruction that follows.
            1 => asm!("pushfq", "or dword ptr [rsp], 0x100", "popfq", "nop"),
            3 => asm!("int3"),
            4 => asm!("int 4"),
            5 => asm!("int 5"),
            6 => asm!("ud2"),
            11 => asm!("mov fs, {:x}", in(reg) withdraw_data_segment()),
            12 => asm!("mov ss, {:x}", in(reg) withdraw_data_segment()),
            13 => asm!("mov {0}, [{0}]", inout(reg) NON_CANONICAL => _),
            14 => asm!("mov {0}, [{0}]", inout(reg) 0u64 => _),
            #[cfg(feature = "floats")]
            16 => divide_floats(),
            #[cfg(feature = "floats")]
            19 => divide_vectors(),
            _ => {
                let text = format!("this guest cannot raise vector {vector}");
                return Err(HyperlightGuestError::new(ErrorCode::GuestError, text));
            }
        }
    }
    Ok(())
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    let below = match depth {
        u64::MAX => 0,
        _ => recurse(depth + 1),
    };
    below.wrapping_add(frame[31])
}

/// Uses up the stack.
#[guest_function("Overflow")]
fn overflow() -> u64 {
    recurse(0)
}

/// Uses up the heap.
#[guest_function("Exhaust")]
fn exhaust() {
    loop {
        core::mem::forget(black_box(Vec::<u8>::with_capacity(4096)));
    }
}

/// Uses up the physical pages.
#[guest_function("ExhaustPages")]
fn exhaust_pages() {
    loop {
        black_box(unsafe { alloc_phys_pages(1) });
    }
}

#[guest_function("Spin")]
fn spin() {
    unsafe { asm!("2: jmp 2b", options(nostack, nomem)) };
}

#[guest_function("SpinAfterHost")]
fn spin_after_host() -> Result<i32> {
    let value = host_echo_int(1)?;
    spin();
    Ok(value)
}

/// An exception without a table of handlers.
#[guest_function("TripleFault")]
fn triple_fault() {
    let table = TableRegister { limit: 0, base: 0 };
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const table, options(nostack)) };
}
