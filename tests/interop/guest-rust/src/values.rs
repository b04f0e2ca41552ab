// SPDX-License-Identifier: MIT
//! Values of every type, in and out, and errors.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;

use hyperlight_common::flatbuffer_wrappers::function_call::FunctionCall;
use hyperlight_common::flatbuffer_wrappers::function_types::{ParameterType, ReturnType};
use hyperlight_common::flatbuffer_wrappers::util::get_flatbuffer_result;
use hyperlight_guest::error::{ErrorCode, HyperlightGuestError, Result};
use hyperlight_guest_bin::guest_function;
use hyperlight_guest_bin::guest_function::definition::GuestFunctionDefinition;
use hyperlight_guest_bin::guest_function::register::register_function;

#[guest_function("EchoInt")]
fn echo_int(value: i32) -> i32 {
    value
}

#[guest_function("EchoUInt")]
fn echo_uint(value: u32) -> u32 {
    value
}

#[guest_function("EchoLong")]
fn echo_long(value: i64) -> i64 {
    value
}

#[guest_function("EchoULong")]
fn echo_ulong(value: u64) -> u64 {
    value
}

#[guest_function("EchoString")]
fn echo_string(value: String) -> String {
    value
}

#[guest_function("EchoBool")]
fn echo_bool(value: bool) -> bool {
    value
}

#[guest_function("EchoBytes")]
fn echo_bytes(value: Vec<u8>) -> Vec<u8> {
    value
}

#[guest_function("Nothing")]
fn nothing() {}

#[guest_function("Add")]
fn add(a: i32, b: i32) -> i32 {
    a.wrapping_add(b)
}

#[allow(clippy::too_many_arguments)]
#[guest_function("Mixed")]
fn mixed(
    a: i32,
    b: u32,
    c: i64,
    d: u64,
    e: String,
    f: bool,
    g: Vec<u8>,
    h: i32,
    i: u32,
    j: i64,
    k: String,
) -> String {
    let mut hex = String::new();
    for byte in &g {
        let _ = write!(hex, "{byte:02x}");
    }
    format!("{a}|{b}|{c}|{d}|{e}|{f}|{hex}|{h}|{i}|{j}|{k}")
}

#[guest_function("BytesOf")]
fn bytes_of(n: i32) -> Vec<u8> {
    (0..n).map(|i| i.wrapping_mul(7) as u8).collect()
}

#[guest_function("StringOf")]
fn string_of(n: i32) -> String {
    "x".repeat(n.max(0) as usize)
}

#[guest_function("LengthOf")]
fn length_of(bytes: Vec<u8>) -> i32 {
    bytes.len() as i32
}

#[guest_function("Fail")]
fn fail(code: u64, message: String) -> Result<()> {
    let code = match code {
        0 => ErrorCode::NoError,
        2 => ErrorCode::UnsupportedParameterType,
        3 => ErrorCode::GuestFunctionNameNotProvided,
        4 => ErrorCode::GuestFunctionNotFound,
        5 => ErrorCode::GuestFunctionIncorrecNoOfParameters,
        6 => ErrorCode::GispatchFunctionPointerNotSet,
        7 => ErrorCode::OutbError,
        10 => ErrorCode::GsCheckFailed,
        11 => ErrorCode::TooManyGuestFunctions,
        12 => ErrorCode::FailureInDlmalloc,
        13 => ErrorCode::MallocFailed,
        14 => ErrorCode::GuestFunctionParameterTypeMismatch,
        15 => ErrorCode::GuestError,
        16 => ErrorCode::ArrayLengthParamIsMissing,
        17 => ErrorCode::HostFunctionError,
        _ => ErrorCode::UnknownError,
    };
    Err(HyperlightGuestError::new(code, message))
}

fn too_many(_: FunctionCall) -> Result<Vec<u8>> {
    Ok(get_flatbuffer_result(12i32))
}

/// "TooMany" has one parameter more than the runtime accepts, which its macro would refuse.
pub fn register() {
    register_function(GuestFunctionDefinition::new(
        "TooMany".into(),
        vec![ParameterType::Int; 12],
        ReturnType::Int,
        too_many,
    ));
}

#[cfg(feature = "floats")]
mod floats {
    use hyperlight_guest_bin::guest_function;

    #[guest_function("EchoFloat")]
    fn echo_float(value: f32) -> f32 {
        value
    }

    #[guest_function("EchoDouble")]
    fn echo_double(value: f64) -> f64 {
        value
    }

    #[guest_function("AddDouble")]
    fn add_double(a: f64, b: f64) -> f64 {
        a + b
    }
}
