// SPDX-License-Identifier: MIT
//! Raw memory: addresses that the host names, and page-table entries made for them.

use core::arch::asm;

use hyperlight_common::vmem::{BasicMapping, CowMapping, MappingKind};
use hyperlight_guest_bin::guest_function;
use hyperlight_guest_bin::paging::{barrier, map_region};

// The access is one instruction in assembly, so that addresses such as 0 mean what they say.

#[guest_function("Peek")]
fn peek(address: u64) -> u64 {
    let value: u64;
    unsafe { asm!("mov {}, [{}]", out(reg) value, in(reg) address, options(nostack)) };
    value
}

#[guest_function("Poke")]
fn poke(address: u64, value: u64) {
    unsafe { asm!("mov [{}], {}", in(reg) address, in(reg) value, options(nostack)) };
}

/// Maps one page. writable: 0 read-only, 1 writable, 2 copied when written.
#[guest_function("MapPhysical")]
fn map_physical(gva: u64, gpa: u64, writable: i32) {
    let kind = match writable {
        2 => MappingKind::Cow(CowMapping {
            readable: true,
            executable: false,
        }),
        _ => MappingKind::Basic(BasicMapping {
            readable: true,
            writable: writable != 0,
            executable: false,
        }),
    };
    unsafe { map_region(gpa, gva as *mut u8, 4096, kind) };
    barrier::first_valid_same_ctx();
    unsafe { asm!("invlpg [{}]", in(reg) gva, options(nostack)) };
}
