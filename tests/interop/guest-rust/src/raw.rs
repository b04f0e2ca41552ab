// SPDX-License-Identifier: MIT
//! The buffers shared with the host, used in ways that the runtime never would: nothing, too much or
//! rubbish where the host expects one element.

use alloc::vec::Vec;

use hyperlight_common::flatbuffer_wrappers::util::get_flatbuffer_result;
use hyperlight_common::mem::HyperlightPEB;
use hyperlight_common::outb::{OutBAction, VmAction};
use hyperlight_guest::error::Result;
use hyperlight_guest::guest_handle::handle::GuestHandle;
use hyperlight_guest_bin::{GUEST_HANDLE, guest_function};

use crate::ports::out32;

fn handle() -> &'static GuestHandle {
    let handle = &raw const GUEST_HANDLE;
    unsafe { &*handle }
}

/// What the host told the guest at the start.
pub fn environment() -> &'static HyperlightPEB {
    match handle().peb() {
        Some(peb) => unsafe { &*peb },
        None => panic!("no environment"),
    }
}

fn push(bytes: &[u8]) -> Result<()> {
    handle().push_shared_output_data(bytes)
}

/// The output buffer as bytes, of which the first eight are its stack pointer.
struct Output(*mut u8);

impl Output {
    fn get() -> Self {
        Self(environment().output_stack.ptr as *mut u8)
    }

    fn used(&self) -> u64 {
        unsafe { self.0.cast::<u64>().read_volatile() }
    }

    fn set_used(&self, bytes: u64) {
        unsafe { self.0.cast::<u64>().write_volatile(bytes) };
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            unsafe { self.0.add(offset as usize + i).write_volatile(*byte) };
        }
    }

    /// Where the last element starts.
    fn last(&self) -> u64 {
        let word = unsafe { self.0.add(self.used() as usize - 8) }.cast::<u64>();
        unsafe { word.read_unaligned() }
    }
}

fn garbage() -> Vec<u8> {
    let mut bytes = alloc::vec![0xEE; 64];
    bytes[..4].copy_from_slice(&60u32.to_le_bytes());
    bytes
}

/// Leaves the output buffer in a state and ends the call. kind: 0 nothing pushed, 1 stack pointer
/// beyond the buffer, 2 wild back-pointer, 3 size prefix beyond the element, 4 rubbish, 5 two
/// results (1, then 2), 6 size prefix that overflows, 7 stack pointer below the first element.
#[guest_function("SpoilOutput")]
fn spoil_output(kind: i32) -> Result<()> {
    let output = Output::get();
    match kind {
        0 => {}
        1 => output.set_used(environment().output_stack.size + 8),
        4 => push(&garbage())?,
        7 => output.set_used(12),
        _ => push(&get_flatbuffer_result(1i32))?,
    }
    match kind {
        2 => output.write(output.used() - 8, &0xFFFF_0000u64.to_le_bytes()),
        3 => output.write(output.last(), &0x1_0000u32.to_le_bytes()),
        5 => push(&get_flatbuffer_result(2i32))?,
        6 => output.write(output.last(), &u32::MAX.to_le_bytes()),
        _ => {}
    }
    out32(VmAction::Halt as u16, 0);
    Ok(())
}

fn ring(port: OutBAction, kind: i32) -> Result<()> {
    if kind != 0 {
        push(&garbage())?;
    }
    out32(port as u16, 0);
    Ok(())
}

/// kind: 0 nothing pushed, 1 rubbish.
#[guest_function("RawHostCall")]
fn raw_host_call(kind: i32) -> Result<()> {
    ring(OutBAction::CallFunction, kind)
}

/// kind: as for RawHostCall.
#[guest_function("RawLog")]
fn raw_log(kind: i32) -> Result<()> {
    ring(OutBAction::Log, kind)
}
