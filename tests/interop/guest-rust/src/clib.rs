// SPDX-License-Identifier: MIT
//! What only the guest with the crates' C library has.

use core::ffi::{c_int, c_long};
use core::ptr::null_mut;

use hyperlight_guest_bin::guest_function;

unsafe extern "C" {
    fn rand() -> c_int;
    fn time(at: *mut c_long) -> c_long;
}

#[guest_function("Rand")]
fn random() -> i32 {
    unsafe { rand() }
}

#[guest_function("Time")]
fn seconds() -> i64 {
    unsafe { time(null_mut()) }
}
