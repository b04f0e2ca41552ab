// SPDX-License-Identifier: MIT
//! Calls from the guest to functions of the host: every type, errors, missing and wrong ones.

use crate::rows;
use crate::tap::{Outcome, check, check_eq, check_has, failure};
use crate::world::{SETUP, Setup, gives, open, open_with, register_late, repeated};
use hyperlight_common::flatbuffer_wrappers::guest_error::ErrorCode;
use hyperlight_host::HyperlightError;
use hyperlight_host::func::Registerable;

rows![
    integers_of_every_type,
    strings_and_bytes,
    floats_of_both_types,
    eleven_parameters,
    a_failing_function_ends_the_call_or_is_caught,
    a_missing_function_is_an_error_of_the_call,
    wrong_counts_types_and_results_are_errors,
    many_calls_in_one_call,
    two_results_live_side_by_side,
    a_function_registered_after_the_start_is_found,
    a_function_registered_again_replaces_the_first,
    a_result_too_large_for_the_input_buffer_ends_the_guest,
    arguments_too_large_for_the_output_buffer_end_the_call,
];

fn integers_of_every_type() -> Outcome {
    let mut w = open("sys_values")?;
    for value in [0, -1, i32::MIN, i32::MAX] {
        gives(&mut w, "via_host_i32", value, value)?;
    }
    gives(&mut w, "via_host_u32", u32::MAX, u32::MAX)?;
    gives(&mut w, "via_host_i64", i64::MIN, i64::MIN)?;
    gives(&mut w, "via_host_u64", u64::MAX, u64::MAX)?;
    gives(&mut w, "via_host_bool", true, true)?;
    gives(&mut w, "via_host_bool", false, false)?;
    gives(&mut w, "via_host_void", (), ())?;
    gives(&mut w, "try_host_void", (), 0)
}

fn strings_and_bytes() -> Outcome {
    let mut w = open("sys_values")?;
    for text in ["", "x", "\u{20AC}\0\u{1F600}"] {
        gives(
            &mut w,
            "via_host_string",
            text.to_string(),
            text.to_string(),
        )?;
    }
    for length in [0usize, 1, 4, 5000, 12_000] {
        let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        gives(&mut w, "via_host_bytes", bytes.clone(), bytes)?;
    }
    Ok(())
}

fn floats_of_both_types() -> Outcome {
    let mut w = open("sys_values")?;
    gives(&mut w, "via_host_f32", f32::MIN_POSITIVE, f32::MIN_POSITIVE)?;
    gives(&mut w, "via_host_f64", f64::MAX, f64::MAX)?;
    let mut w = open("floats")?;
    gives(&mut w, "four_times", 2.5f64, 10.0f64)
}

fn eleven_parameters() -> Outcome {
    let mut w = open("sys_values")?;
    let all = (
        1i32,
        1u32,
        1i64,
        1u64,
        1f32,
        1f64,
        true,
        "1".to_string(),
        vec![1u8],
        1i32,
        1i64,
    );
    gives(&mut w, "eleven", all, 11u64)
}

fn a_failing_function_ends_the_call_or_is_caught() -> Outcome {
    let mut w = open("hello")?;
    gives(&mut w, "greet", "hey".to_string(), "HEY".to_string())?;
    let (code, text) = w.refused::<String>("greet", String::new())?;
    check_eq(code, ErrorCode::HostFunctionError)?;
    check_has(&text, "nothing to convert")?;
    check_has(
        &w.call::<String>("try_upper", String::new())?,
        "nothing to convert",
    )?;
    let mut w = open("plain")?;
    check_has(&w.call::<String>("text_of_failure", 7)?, "not 7")?;
    let (code, text) = w.refused::<i32>("let_fail", 8)?;
    check_eq(code, ErrorCode::HostFunctionError)?;
    check_has(&text, "not 8")?;
    gives(&mut w, "chain", 1, 1)
}

fn a_missing_function_is_an_error_of_the_call() -> Outcome {
    let mut w = open("wrong_imports")?;
    gives(&mut w, "code_of", 0, 17)?;
    gives(
        &mut w,
        "text_of",
        0,
        "HostFunction absent was not found".to_string(),
    )?;
    let (code, text) = w.refused::<i32>("call_absent", ())?;
    check_eq(code, ErrorCode::HostFunctionError)?;
    check_eq(text.as_str(), "HostFunction absent was not found")?;
    gives(&mut w, "code_of", 0, 17)
}

fn wrong_counts_types_and_results_are_errors() -> Outcome {
    let mut w = open("wrong_imports")?;
    gives(&mut w, "code_of", 1, 17)?;
    check_has(
        &w.call::<String>("text_of", 1)?,
        "The number of arguments to the function is wrong: got 1 expected 2",
    )?;
    gives(&mut w, "code_of", 2, 17)?;
    check_has(&w.call::<String>("text_of", 2)?, "Int(5)")?;
    gives(&mut w, "code_of", 3, 2)?;
    check_has(&w.call::<String>("text_of", 3)?, "could not be converted")?;
    gives(&mut w, "code_of", 0, 17)
}

fn many_calls_in_one_call() -> Outcome {
    let mut w = open("plain")?;
    let count = repeated(200) as i32;
    gives(&mut w, "chain", count, count)
}

fn two_results_live_side_by_side() -> Outcome {
    let mut w = open("sys_values")?;
    let both = ("left".repeat(100), "right".repeat(100));
    let joined = format!("{}{}", both.0, both.1);
    gives(&mut w, "host_twice", both, joined)
}

fn a_function_registered_after_the_start_is_found() -> Outcome {
    let mut w = open("wrong_imports")?;
    gives(&mut w, "code_of", 0, 17)?;
    register_late(&mut w)?;
    gives(&mut w, "call_absent", (), 4711)
}

fn a_function_registered_again_replaces_the_first() -> Outcome {
    let mut w = open("plain")?;
    gives(&mut w, "chain", 1, 1)?;
    w.sandbox
        .register_host_function("plus_one", |value: i32| value + 2)?;
    gives(&mut w, "chain", 1, 2)?;
    gives(&mut w, "chain", 10, 20)
}

fn a_result_too_large_for_the_input_buffer_ends_the_guest() -> Outcome {
    let mut w = open("sys_values")?;
    let snapshot = w.snapshot()?;
    w.sandbox
        .register_host_function("host_bytes", |_: Vec<u8>| vec![1u8; 20_000])?;
    let error = match w.call::<Vec<u8>>("via_host_bytes", vec![0u8; 4]) {
        Err(error) => error.to_string(),
        Ok(bytes) => return Err(failure(format!("{} bytes", bytes.len()))),
    };
    check_has(&error, "Failed to write host function response")?;
    check(w.poisoned(), "not poisoned")?;
    w.restore(snapshot)?;
    w.sandbox
        .register_host_function("host_bytes", |value: Vec<u8>| value)?;
    gives(&mut w, "via_host_bytes", vec![5u8; 9], vec![5u8; 9])
}

fn arguments_too_large_for_the_output_buffer_end_the_call() -> Outcome {
    let setup = Setup {
        input: 64 << 10,
        scratch: 2 << 20,
        ..SETUP
    };
    let mut w = open_with("sys_values", &setup)?;
    gives(&mut w, "sum_bytes", vec![1u8; 40_000], 40_000u32)?;
    match w.call::<Vec<u8>>("via_host_bytes", vec![0u8; 40_000]) {
        Err(HyperlightError::GuestError(..)) => check(!w.poisoned(), "poisoned")?,
        Err(HyperlightError::GuestAborted(_, text)) => return check_has(&text, "output buffer"),
        other => return Err(failure(format!("{other:?}"))),
    }
    gives(&mut w, "sum_bytes", vec![1u8; 5], 5u32)
}
