// SPDX-License-Identifier: MIT
//! The test guest "rust": made of Hyperlight's published guest crates as any embedder would, so that
//! what it does on mote is what guests of others do. Its functions are called by name from
//! tests/interop. Without the feature `floats` it has no floating point and no SSE instruction.
//!
//! Not here: a `#[dispatch]` function (the runtime's own answer to an unknown name is what tests look
//! at), vectors other than those of `ends::raise`, EFER (reading it takes RDMSR). The runtime of 0.16
//! without a C library hands out no seed: "Seed" is 0 there.
#![no_std]
#![no_main]

extern crate alloc;

#[cfg(feature = "libc")]
mod clib;
mod ends;
mod floor;
mod host_calls;
mod logs;
mod memory;
mod ports;
mod raw;
mod registers;
mod state;
mod values;

/// Called by the runtime at the end of initialisation.
#[hyperlight_guest_bin::main]
fn main() {
    values::register();
    host_calls::register();
    state::start();
    log::info!("main ran");
}
