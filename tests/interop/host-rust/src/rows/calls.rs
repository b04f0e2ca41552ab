// SPDX-License-Identifier: MIT
//! Calls of guest functions: every type, their limits, refusals, errors.

use crate::rows;
use crate::tap::{Outcome, check, check_eq, check_has, failure};
use crate::world::{SETUP, Setup, gives, open, open_with, repeated};
use hyperlight_common::flatbuffer_wrappers::guest_error::ErrorCode;
use hyperlight_host::HyperlightError;

rows![
    integers_of_every_type_and_their_extremes,
    floats_of_both_types_and_their_extremes,
    texts_and_strings_with_any_characters,
    bytes_of_every_value_and_length,
    nothing_in_and_out,
    eleven_parameters,
    eleven_parameters_with_floats,
    unknown_functions_wrong_counts_and_types_are_refused,
    a_result_of_another_type_is_the_hosts_error,
    errors_have_code_and_text,
    parameters_fill_the_input_buffer_to_its_end,
    results_fill_the_output_buffer_to_its_end,
    large_buffers_carry_large_bytes,
    many_calls_keep_their_state,
    a_call_finds_its_registers_in_order,
];

fn integers_of_every_type_and_their_extremes() -> Outcome {
    let mut w = open("hello")?;
    for value in [0, 1, -1, i32::MIN, i32::MAX] {
        gives(&mut w, "echo_i32", value, value)?;
    }
    for value in [0, 1, u32::MAX] {
        gives(&mut w, "echo_u32", value, value)?;
    }
    for value in [0, -1, i64::MIN, i64::MAX] {
        gives(&mut w, "echo_i64", value, value)?;
    }
    for value in [0, 1 << 63, u64::MAX] {
        gives(&mut w, "echo_u64", value, value)?;
    }
    gives(&mut w, "echo_bool", true, true)?;
    gives(&mut w, "echo_bool", false, false)?;
    gives(&mut w, "add", (i32::MIN + 5, -5), i32::MIN)
}

fn floats_of_both_types_and_their_extremes() -> Outcome {
    let mut w = open("sys_values")?;
    for value in [
        0.0,
        1.5,
        -1.5,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
    ] {
        gives(&mut w, "echo_f32", value, value)?;
    }
    for value in [
        0.0,
        1.5,
        -1.5,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
        f64::NEG_INFINITY,
    ] {
        gives(&mut w, "echo_f64", value, value)?;
    }
    check(w.call::<f32>("echo_f32", f32::NAN)?.is_nan(), "not a NaN")?;
    check(w.call::<f64>("echo_f64", f64::NAN)?.is_nan(), "not a NaN")?;
    let mut w = open("floats")?;
    gives(&mut w, "mean", (1.0f32, 2.0f64), 1.5f64)
}

fn texts_and_strings_with_any_characters() -> Outcome {
    let mut w = open("hello")?;
    for text in ["", "a", "text \u{20AC}", "\u{1F600}\u{7FF}", "tab\tline\n"] {
        gives(&mut w, "echo_text", text.to_string(), text.to_string())?;
        gives(&mut w, "echo_string", text.to_string(), text.to_string())?;
    }
    gives(
        &mut w,
        "echo_string",
        "a\0b".to_string(),
        "a\0b".to_string(),
    )?;
    gives(&mut w, "echo_text", "a\0b".to_string(), "a".to_string())?;
    let long = "\u{E4}".repeat(3000);
    gives(&mut w, "echo_string", long.clone(), long)
}

fn bytes_of_every_value_and_length() -> Outcome {
    let mut w = open("hello")?;
    let all: Vec<u8> = (0..=255).collect();
    for length in [0, 1, 2, 3, 4, 5, 7, 8, 255, 256] {
        gives(
            &mut w,
            "echo_bytes",
            all[..length].to_vec(),
            all[..length].to_vec(),
        )?;
    }
    Ok(())
}

fn nothing_in_and_out() -> Outcome {
    let mut w = open("hello")?;
    for _ in 0..10 {
        gives(&mut w, "nothing", (), ())?;
    }
    Ok(())
}

fn eleven_parameters() -> Outcome {
    let mut w = open("hello")?;
    let text = |text: &str| text.to_string();
    let sum = 1 + 2 + 3 + 4 + 1 + 65 + 2 + 1 + 60;
    let all = (
        1i32,
        2u32,
        3i64,
        4u64,
        true,
        text("A"),
        text("xy"),
        vec![b'z'],
        10i32,
        20i32,
        30i32,
    );
    gives(&mut w, "eleven", all, sum as u64)
}

fn eleven_parameters_with_floats() -> Outcome {
    let mut w = open("sys_values")?;
    let all = (
        1i32,
        2u32,
        3i64,
        4u64,
        5f32,
        6f64,
        true,
        "four".to_string(),
        vec![0u8; 9],
        10i32,
        11i64,
    );
    gives(
        &mut w,
        "eleven",
        all,
        1 + 2 + 3 + 4 + 5 + 6 + 1 + 4 + 9 + 10 + 11u64,
    )
}

fn unknown_functions_wrong_counts_and_types_are_refused() -> Outcome {
    let mut w = open("hello")?;
    let (code, text) = w.refused::<i32>("none", ())?;
    check_eq(code, ErrorCode::GuestFunctionNotFound)?;
    check_eq(
        text.as_str(),
        "No handler found for function call: \"none\"",
    )?;
    let (code, text) = w.refused::<i32>("add", 1)?;
    check_eq(code, ErrorCode::GuestFunctionIncorrecNoOfParameters)?;
    check_eq(
        text.as_str(),
        "Called function add with 1 parameters but it takes 2.",
    )?;
    let (code, text) = w.refused::<i32>("add", (1i64, 1i32))?;
    check_eq(code, ErrorCode::GuestFunctionParameterTypeMismatch)?;
    let should = "Expected parameter type Int for parameter index 0 of function add but got Long.";
    check_eq(text.as_str(), should)?;
    let (code, _) = w.refused::<()>("nothing", "x".to_string())?;
    check_eq(code, ErrorCode::GuestFunctionIncorrecNoOfParameters)?;
    gives(&mut w, "add", (1, 1), 2)
}

fn a_result_of_another_type_is_the_hosts_error() -> Outcome {
    let mut w = open("hello")?;
    match w.call::<String>("add", (1, 2)) {
        Err(HyperlightError::ReturnValueConversionFailure(..)) => {}
        Err(error) => return Err(error.into()),
        Ok(text) => return Err(failure(text)),
    }
    check(!w.poisoned(), "poisoned")?;
    gives(&mut w, "add", (1, 2), 3)
}

fn errors_have_code_and_text() -> Outcome {
    let mut w = open("bad")?;
    let codes = [
        (2, ErrorCode::UnsupportedParameterType),
        (3, ErrorCode::GuestFunctionNameNotProvided),
        (4, ErrorCode::GuestFunctionNotFound),
        (8, ErrorCode::UnknownError),
        (13, ErrorCode::MallocFailed),
        (15, ErrorCode::GuestError),
        (17, ErrorCode::HostFunctionError),
        (100, ErrorCode::UnknownError),
        (u64::MAX, ErrorCode::UnknownError),
    ];
    for (number, name) in codes {
        let (code, text) = w.refused::<()>("fail_with", (number, format!("it is {number}")))?;
        check_eq(code, name)?;
        check_eq(text, format!("it is {number}"))?;
    }
    check_eq(w.refused::<()>("fail_deep", 20)?.1, "deep: 0 done")?;
    check_eq(w.refused::<()>("fail_with", (15u64, String::new()))?.1, "")?;
    let (_, text) = w.refused::<()>("fail_with", (15u64, "x".repeat(3000)))?;
    check_eq(text, "x".repeat(1000))?;
    gives(&mut w, "count_up", (), 1)
}

/// The largest length below `limit` for which `fits` says so; every smaller one is taken to fit.
fn largest(
    limit: usize,
    mut fits: impl FnMut(usize) -> Result<bool, crate::tap::Stop>,
) -> Result<usize, crate::tap::Stop> {
    let (mut low, mut high) = (0, limit);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn parameters_fill_the_input_buffer_to_its_end() -> Outcome {
    let mut w = open("sys_values")?;
    let limit = SETUP.input;
    let most = largest(limit, |length| {
        match w.call::<u32>("sum_bytes", vec![1u8; length]) {
            Ok(sum) => check_eq(sum, length as u32).map(|()| true),
            Err(HyperlightError::GuestError(code, text)) => {
                Err(failure(format!("{code:?} {text}")))
            }
            Err(error) if error.to_string().contains("InternalError") => Err(error.into()),
            Err(_) => check(!w.poisoned(), "a large parameter poisoned").map(|()| false),
        }
    })?;
    check(most > limit - 200, &format!("only {most} bytes of {limit}"))?;
    gives(&mut w, "sum_bytes", vec![1u8; most], most as u32)?;
    gives(
        &mut w,
        "sum_bytes",
        vec![2u8; most - 1],
        2 * (most as u32 - 1),
    )
}

fn results_fill_the_output_buffer_to_its_end() -> Outcome {
    let mut w = open("bad")?;
    let snapshot = w.snapshot()?;
    let limit = SETUP.output;
    let most = largest(limit, |length| {
        match w.call::<Vec<u8>>("big_result", length as u32) {
            Ok(bytes) => check_eq(bytes, vec![0; length]).map(|()| true),
            Err(HyperlightError::GuestAborted(..)) => {
                check(w.poisoned(), "not poisoned")?;
                w.restore(snapshot.clone())?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    })?;
    check(most > limit - 200, &format!("only {most} bytes of {limit}"))?;
    let (code, text) = w.aborted::<Vec<u8>>("big_result", most as u32 + 1)?;
    check(code != 15, "an exception")?;
    check_has(&text, "output buffer")
}

fn large_buffers_carry_large_bytes() -> Outcome {
    let setup = Setup {
        input: 256 << 10,
        output: 256 << 10,
        scratch: 4 << 20,
        heap: 1 << 20,
        ..SETUP
    };
    let mut w = open_with("hello", &setup)?;
    let large: Vec<u8> = (0..200_000u32).map(|i| (i * 7) as u8).collect();
    gives(&mut w, "echo_bytes", large.clone(), large.clone())?;
    gives(&mut w, "echo_bytes", vec![1u8], vec![1u8])?;
    gives(&mut w, "echo_bytes", large.clone(), large)
}

fn many_calls_keep_their_state() -> Outcome {
    let mut w = open("bad")?;
    for i in 1..=repeated(500) as i32 {
        gives(&mut w, "count_up", (), i)?;
    }
    Ok(())
}

fn a_call_finds_its_registers_in_order() -> Outcome {
    let mut w = open("plain")?;
    for i in 0..5u32 {
        gives(&mut w, "leave_rubbish", (), 1)?;
        gives(&mut w, "keep", (100u32, i), 0)?;
    }
    gives(&mut w, "kept_length", (), 500u32)
}
