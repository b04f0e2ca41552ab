// SPDX-License-Identifier: MIT
//! What the compiler and the runtime expect somebody to define.

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() {}

use core::sync::atomic::{AtomicU32, Ordering};

/// What the runtime handed to srand() at the start.
pub static SEED: AtomicU32 = AtomicU32::new(0);

/// The linker gives this the runtime's call, and us the C library's function (--wrap=srand).
#[cfg(feature = "libc")]
#[unsafe(no_mangle)]
extern "C" fn __wrap_srand(seed: u32) {
    unsafe extern "C" {
        fn __real_srand(seed: u32);
    }
    SEED.store(seed, Ordering::Relaxed);
    unsafe { __real_srand(seed) };
}

#[cfg(not(feature = "libc"))]
mod c {
    use super::{Ordering, SEED};
    use core::ffi::{c_char, c_int};

    #[unsafe(no_mangle)]
    extern "C" fn srand(seed: u32) {
        SEED.store(seed, Ordering::Relaxed);
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        // By eight, since a kernel that emulates ring 0 emulates every repetition.
        unsafe {
            core::arch::asm!("rep movsq", "mov rcx, {rest}", "rep movsb", rest = in(reg) n & 7,
                inout("rdi") to => _, inout("rsi") from => _, inout("rcx") n >> 3 => _,
                options(nostack, preserves_flags));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        if (to as usize).wrapping_sub(from as usize) >= n {
            return unsafe { memcpy(to, from, n) };
        }
        unsafe {
            core::arch::asm!("std", "rep movsb", "cld",
                inout("rdi") to.wrapping_add(n).wrapping_sub(1) => _,
                inout("rsi") from.wrapping_add(n).wrapping_sub(1) => _,
                inout("rcx") n => _, options(nostack));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, value: c_int, n: usize) -> *mut u8 {
        unsafe {
            core::arch::asm!("rep stosb", inout("rdi") to => _, in("al") value as u8,
                inout("rcx") n => _, options(nostack, preserves_flags));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> c_int {
        for i in 0..n {
            let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
            if x != y {
                return c_int::from(x) - c_int::from(y);
            }
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> c_int {
        unsafe { memcmp(a, b, n) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(s: *const c_char) -> usize {
        let mut n = 0;
        while unsafe { s.add(n).read_volatile() } != 0 {
            n += 1;
        }
        n
    }
}
