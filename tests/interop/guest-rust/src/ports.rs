// SPDX-License-Identifier: MIT
//! Port instructions of any width, to any port, and the halt instruction.

use core::arch::asm;

use hyperlight_guest_bin::guest_function;

pub fn out32(port: u16, value: u32) {
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack)) };
}

#[guest_function("Out")]
fn out(port: i32, value: u32) {
    out32(port as u16, value);
}

#[guest_function("Out16")]
fn out16(port: i32, value: u32) {
    unsafe { asm!("out dx, ax", in("dx") port as u16, in("ax") value as u16, options(nostack)) };
}

#[guest_function("Out8")]
fn out8(port: i32, value: u32) {
    unsafe { asm!("out dx, al", in("dx") port as u16, in("al") value as u8, options(nostack)) };
}

#[guest_function("In")]
fn input(port: i32) -> u32 {
    let value: u32;
    unsafe { asm!("in eax, dx", in("dx") port as u16, out("eax") value, options(nostack)) };
    value
}

#[guest_function("Halt")]
fn halt() {
    unsafe { asm!("hlt", options(nostack)) };
}
