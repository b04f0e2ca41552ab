// SPDX-License-Identifier: MIT
//! The instruction that made a virtual processor stop with an internal error. The host crate tells
//! only that there was one, so the system call is watched on its way: nothing in it is changed.

use std::ffi::{c_int, c_long, c_void};
use std::sync::Mutex;

const KVM_RUN: u64 = 0xAE80;
const EXIT_INTERNAL_ERROR: u32 = 17;
const SUBERROR_EMULATION: u32 = 1;
const SYS_IOCTL: c_long = 16;
const PAGE: usize = 4096;
/// In the page that the kernel shares: reason, and of an internal error: suberror, bytes.
const AT_REASON: usize = 8;
const AT_SUBERROR: usize = 32;
const AT_FLAGS: usize = 40;
const AT_LENGTH: usize = 48;
const FLAG_BYTES: u64 = 1;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn mmap(
        at: *mut c_void,
        len: usize,
        access: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn munmap(at: *mut c_void, len: usize) -> c_int;
}

static LAST: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Bytes of the instruction, if the exit is an internal error that emulation caused.
fn bytes_of_exit(fd: c_int) -> Option<Vec<u8>> {
    // SAFETY: the kernel's page of this processor, which does not run now, is mapped, read as far
    // as its layout goes, and unmapped.
    unsafe {
        let page = mmap(std::ptr::null_mut(), PAGE, 1, 1, fd, 0);
        if page as isize == -1 {
            return None;
        }
        let page = page.cast::<u8>();
        let word = |at: usize| page.add(at).cast::<u32>().read_volatile();
        let mut found = None;
        if word(AT_REASON) == EXIT_INTERNAL_ERROR && word(AT_SUBERROR) == SUBERROR_EMULATION {
            let has_bytes = page.add(AT_FLAGS).cast::<u64>().read_volatile() & FLAG_BYTES != 0;
            let length = if has_bytes {
                usize::from(page.add(AT_LENGTH).read_volatile()).min(15)
            } else {
                0
            };
            found = Some(
                (1..=length)
                    .map(|i| page.add(AT_LENGTH + i).read_volatile())
                    .collect(),
            );
        }
        munmap(page.cast(), PAGE);
        found
    }
}

/// Stands before the C library's function of this name.
///
/// # Safety
/// As for ioctl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(fd: c_int, request: u64, argument: usize) -> c_int {
    // SAFETY: the caller's own system call; errno is set by the C library.
    let result = unsafe { syscall(SYS_IOCTL, fd, request, argument) } as c_int;
    if request == KVM_RUN
        && result == 0
        && !has_nested_paging()
        && let Some(bytes) = bytes_of_exit(fd)
    {
        *LAST.lock().unwrap() = Some(bytes);
    }
    result
}

fn is_on(parameter: &str) -> bool {
    std::fs::read_to_string(parameter).is_ok_and(|text| text.starts_with(['Y', '1']))
}

/// Where the processor runs ring 0 by itself, nothing is emulated and no skip is allowed.
pub fn has_nested_paging() -> bool {
    use std::sync::OnceLock;
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        is_on("/sys/module/kvm_amd/parameters/npt") || is_on("/sys/module/kvm_intel/parameters/ept")
    })
}

/// Name and bytes of the instruction that stopped the last run, if it is one that kernels are known
/// not to emulate: of vectors, of x87, software interrupts.
pub fn not_emulated() -> Option<String> {
    let bytes = LAST.lock().unwrap().take()?;
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{} ({})", name_of(&bytes)?, hex.join(" ")))
}

fn name_of(bytes: &[u8]) -> Option<&'static str> {
    let prefixes = bytes
        .iter()
        .take_while(|b| matches!(b, 0x66 | 0xF2 | 0xF3 | 0x40..=0x4F))
        .count();
    let prefix = bytes[..prefixes]
        .iter()
        .copied()
        .find(|b| matches!(b, 0x66 | 0xF2 | 0xF3))
        .unwrap_or(0);
    let code = &bytes[prefixes..];
    if matches!(code.first(), Some(0xCC | 0xCD)) {
        return Some("int3 or int");
    }
    if matches!(code.first(), Some(0xD8..=0xDF)) {
        return Some("an x87 instruction");
    }
    if code.first() != Some(&0x0F) {
        return None;
    }
    match (prefix, *code.get(1)?) {
        (0, 0x10 | 0x11) => Some("movups"),
        (0x66, 0x10 | 0x11) => Some("movupd"),
        (0xF2, 0x10 | 0x11) => Some("movsd"),
        (0xF3, 0x10 | 0x11) => Some("movss"),
        (0, 0x28 | 0x29) => Some("movaps"),
        (0x66, 0x28 | 0x29) => Some("movapd"),
        (0x66, 0x6E | 0x7E) => Some("movd or movq"),
        (0xF3, 0x7E) | (0x66, 0xD6) => Some("movq"),
        (0x66 | 0xF3, 0x6F | 0x7F) => Some("movdqa or movdqu"),
        (0xF2 | 0xF3, 0x2A) => Some("cvtsi2sd or cvtsi2ss"),
        (0xF2 | 0xF3, 0x2C | 0x2D) => Some("cvttsd2si"),
        (0xF2 | 0xF3, 0x5A) => Some("cvtss2sd or cvtsd2ss"),
        (_, 0x54..=0x57) => Some("a logical SSE instruction"),
        (_, 0x51 | 0x58..=0x5F) => Some("an arithmetic SSE instruction"),
        (_, 0x12..=0x17 | 0x2E | 0x2F | 0xC6) => Some("an SSE instruction"),
        (0x66, 0x60..=0x6D | 0x70..=0x76 | 0xC4 | 0xC5 | 0xD0..=0xFE) => {
            Some("an SSE2 instruction")
        }
        _ => None,
    }
}
