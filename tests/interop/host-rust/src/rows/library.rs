// SPDX-License-Identifier: MIT
//! The C library and C++ on that host.

use crate::rows;
use crate::tap::{Outcome, Stop, check, check_eq, check_has};
use crate::world::{SETUP, Setup, World, gives, open, open_with};
use hyperlight_common::flatbuffer_wrappers::guest_error::ErrorCode;

rows![
    streams_print_and_flush,
    sorting_jumping_and_numbers,
    allocations_of_every_kind,
    thread_local_values_survive_a_restore,
    system_calls_are_served,
    clocks_do_not_run_backwards,
    objects_of_cxx_are_made_and_kept,
    cxx_calls_the_host,
    new_without_memory_ends_the_call,
];

fn open_library() -> Result<World, Stop> {
    open_with(
        "libc",
        &Setup {
            heap: 1 << 20,
            scratch: 4 << 20,
            ..SETUP
        },
    )
}

fn streams_print_and_flush() -> Outcome {
    let mut w = open_library()?;
    check_eq(w.printed().as_str(), "init 505\n")?;
    gives(&mut w, "print_number", ("x".to_string(), 2.5f64), 8 + 4)?;
    let printed = w.printed();
    check_has(&printed, "x=2.500\n")?;
    check_has(&printed, "err\n")?;
    gives(&mut w, "print_lines", 300, 300)?;
    check_eq(w.printed().lines().count(), 300)?;
    gives(&mut w, "write_raw", b"a\xFFb".to_vec(), 3i64)?;
    check_eq(w.printed().as_str(), "a\u{FFFD}b")?;
    let (_, text) = w.refused::<()>("print_and_fail", "before".to_string())?;
    check_eq(text.as_str(), "after before")?;
    check_eq(w.printed().as_str(), "before")
}

fn sorting_jumping_and_numbers() -> Outcome {
    let mut w = open_library()?;
    let mut numbers: Vec<i32> = (0..500)
        .map(|i: i32| i.wrapping_mul(0x9E37_79B1u32 as i32))
        .collect();
    let bytes = |numbers: &[i32]| {
        numbers
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let sorted = w.call::<Vec<u8>>("sort", bytes(&numbers))?;
    numbers.sort_unstable();
    check_eq(sorted, bytes(&numbers))?;
    gives(&mut w, "jump", 12, 12)?;
    gives(&mut w, "parse", "-2.5e3".to_string(), -2500.0f64)?;
    gives(&mut w, "root", 16.0f64, 8.0f64)
}

fn allocations_of_every_kind() -> Outcome {
    let mut w = open_library()?;
    gives(&mut w, "stress_memory", (1u32, 400u32), 0)?;
    gives(&mut w, "stress_memory", (2u32, 400u32), 0)?;
    gives(&mut w, "map_pages", (), 0)?;
    gives(&mut w, "map_pages", (), 0)
}

fn thread_local_values_survive_a_restore() -> Outcome {
    let mut w = open_library()?;
    gives(&mut w, "constructed_value", (), 505)?;
    gives(&mut w, "thread_local_value", (), 6)?;
    let snapshot = w.snapshot()?;
    for _ in 0..3 {
        gives(&mut w, "thread_local_value", (), 7)?;
        gives(&mut w, "thread_local_value", (), 8)?;
        w.restore(snapshot.clone())?;
    }
    Ok(())
}

fn system_calls_are_served() -> Outcome {
    let mut w = open_library()?;
    gives(&mut w, "open_error", (), 38)?;
    gives(&mut w, "system_call_keeps_registers", (), 0)?;
    let (one, other) = (
        w.call::<u64>("random_number", ())?,
        w.call::<u64>("random_number", ())?,
    );
    check(one != other, "the same number twice")
}

fn clocks_do_not_run_backwards() -> Outcome {
    let mut w = open_library()?;
    let first = w.call::<i64>("now_seconds", ())?;
    check(w.call::<i64>("elapsed_ns", ())? >= 0, "backwards")?;
    check(w.call::<i64>("now_seconds", ())? >= first, "backwards")
}

fn objects_of_cxx_are_made_and_kept() -> Outcome {
    let mut w = open("cxx")?;
    gives(&mut w, "global_value", (), 42)?;
    gives(&mut w, "area", 7, 49)?;
    for value in 42..50 {
        gives(&mut w, "next_value", (), value)?;
    }
    gives(&mut w, "larger_of", (i64::MIN, 5i64), 5i64)?;
    gives(&mut w, "negate", true, false)
}

fn cxx_calls_the_host() -> Outcome {
    let mut w = open("cxx")?;
    gives(&mut w, "shout", "quiet".to_string(), "QUIET".to_string())?;
    check_has(
        &w.call::<String>("try_shout", String::new())?,
        "nothing to convert",
    )
}

fn new_without_memory_ends_the_call() -> Outcome {
    let mut w = open("cxx")?;
    check_eq(
        w.refused::<()>("new_too_much", ())?.0,
        ErrorCode::MallocFailed,
    )?;
    gives(&mut w, "area", 3, 9)
}
