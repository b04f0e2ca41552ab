// SPDX-License-Identifier: MIT
//! Calls of host functions: one for each type, repeated ones, and ones that go wrong. Errors are
//! returned, so that the caller of the guest sees them.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use hyperlight_common::flatbuffer_wrappers::function_types::{
    ParameterType, ParameterValue, ReturnType,
};
use hyperlight_guest::error::Result;
use hyperlight_guest::exit::debug_print;
use hyperlight_guest_bin::guest_function::definition::GuestFunctionDefinition;
use hyperlight_guest_bin::guest_function::register::register_function;
use hyperlight_guest_bin::host_comm::{call_host_function, print_output_with_host_print};
use hyperlight_guest_bin::{guest_function, host_function};

/// A guest function that calls a host function of the same type and returns its result.
macro_rules! forward {
    ($name:literal, $function:ident, $host:literal, $type:ty, $parameter:ident, $result:ident) => {
        #[guest_function($name)]
        fn $function(value: $type) -> Result<$type> {
            let parameters = vec![ParameterValue::$parameter(value)];
            call_host_function($host, Some(parameters), ReturnType::$result)
        }
    };
}

forward!("CallEchoInt", call_echo_int, "HostEchoInt", i32, Int, Int);
forward!(
    "CallEchoUInt",
    call_echo_uint,
    "HostEchoUInt",
    u32,
    UInt,
    UInt
);
forward!(
    "CallEchoLong",
    call_echo_long,
    "HostEchoLong",
    i64,
    Long,
    Long
);
forward!(
    "CallEchoULong",
    call_echo_ulong,
    "HostEchoULong",
    u64,
    ULong,
    ULong
);
forward!(
    "CallEchoString",
    call_echo_string,
    "HostEchoString",
    String,
    String,
    String
);
forward!(
    "CallEchoBool",
    call_echo_bool,
    "HostEchoBool",
    bool,
    Bool,
    Bool
);
forward!(
    "CallEchoBytes",
    call_echo_bytes,
    "HostEchoBytes",
    Vec<u8>,
    VecBytes,
    VecBytes
);
#[cfg(feature = "floats")]
forward!(
    "CallEchoFloat",
    call_echo_float,
    "HostEchoFloat",
    f32,
    Float,
    Float
);
#[cfg(feature = "floats")]
forward!(
    "CallEchoDouble",
    call_echo_double,
    "HostEchoDouble",
    f64,
    Double,
    Double
);

#[guest_function("CallNothing")]
fn call_nothing() -> Result<()> {
    call_host_function("HostNothing", None, ReturnType::Void)
}

#[host_function("HostEchoInt")]
pub fn host_echo_int(value: i32) -> Result<i32>;

#[guest_function("CallMacro")]
fn call_macro(value: i32) -> Result<i32> {
    host_echo_int(value)
}

#[guest_function("CallTimes")]
fn call_times(n: i32) -> Result<i32> {
    let mut sum = 0i32;
    for i in 0..n {
        sum = sum.wrapping_add(call_echo_int(i)?);
    }
    Ok(sum)
}

/// kind: 0 no arguments, 1 (5), 2 ("s"), 3 (1, 2).
#[guest_function("CallNamed")]
fn call_named(name: String, kind: i32) -> Result<i32> {
    let parameters = match kind {
        0 => None,
        1 => Some(vec![ParameterValue::Int(5)]),
        2 => Some(vec![ParameterValue::String(String::from("s"))]),
        _ => Some(vec![ParameterValue::Int(1), ParameterValue::Int(2)]),
    };
    call_host_function(&name, parameters, ReturnType::Int)
}

#[guest_function("CallWrongResult")]
fn call_wrong_result(name: String) -> Result<String> {
    call_host_function(&name, None, ReturnType::String)
}

/// Makes text of the error instead of returning it.
#[guest_function("CallSwallow")]
fn call_swallow(name: String) -> String {
    match call_host_function::<i32>(&name, None, ReturnType::Int) {
        Ok(value) => format!("ok {value}"),
        Err(error) => format!("code {}: {}", error.kind as u64, error.message),
    }
}

#[guest_function("Debug")]
fn debug(text: String) {
    debug_print(&text);
}

/// "Printed" is the runtime's own function for printing.
pub fn register() {
    register_function(GuestFunctionDefinition::new(
        "Printed".into(),
        vec![ParameterType::String],
        ReturnType::Int,
        print_output_with_host_print,
    ));
}
