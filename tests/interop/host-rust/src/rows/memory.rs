// SPDX-License-Identifier: MIT
//! Memory that the runtime serves by itself there: copied pages, stack and heap on demand.

use crate::rows;
use crate::tap::{Outcome, check, check_eq, failure};
use crate::world::{SETUP, Setup, gives, open, open_from_memory, open_with};
use hyperlight_host::HyperlightError;

rows![
    constructors_have_run_and_statics_are_kept,
    many_pages_are_copied_on_write,
    the_stack_grows_on_demand,
    the_heap_is_zero_and_keeps_its_contents,
    the_c_librarys_malloc_takes_mebibytes,
    init_data_is_there_and_read_only,
    no_init_data_is_empty,
    random_bytes_never_repeat,
    small_scratch_is_enough_for_small_calls,
    a_large_heap_is_there_to_its_end,
    a_large_stack_is_there_to_its_end,
    an_image_in_memory_is_as_good_as_a_file,
];

const ROOMY: Setup = Setup {
    scratch: 16 << 20,
    heap: 4 << 20,
    ..SETUP
};

fn constructors_have_run_and_statics_are_kept() -> Outcome {
    let mut w = open("sys_values")?;
    for called in 1..=30 {
        gives(&mut w, "statics", (), 7000 + called as u64)?;
    }
    Ok(())
}

fn many_pages_are_copied_on_write() -> Outcome {
    let mut w = open_with("plain", &ROOMY)?;
    gives(&mut w, "wrong_pages", (1024, 0u64), 0)?;
    for seed in [100u64, 1 << 40] {
        gives(&mut w, "fill_pages", (1024, seed), 1024)?;
        gives(&mut w, "wrong_pages", (1024, seed), 0)?;
    }
    let mut w = open_with("sys_memory", &ROOMY)?;
    let data = w.call::<u64>("data_address", ())?;
    gives(&mut w, "write64", (data + 4096, 5u64), ())?;
    gives(&mut w, "read64", data + 4096, 5u64)?;
    for page in 0..64u64 {
        gives(&mut w, "read64", data + page * 4096 + 4088, 1000 + page)?;
    }
    Ok(())
}

fn the_stack_grows_on_demand() -> Outcome {
    let mut w = open("plain")?;
    for bytes in [4096, 100_000, 16, 200_000] {
        gives(&mut w, "use_stack", bytes, (bytes + 4095) / 4096)?;
    }
    Ok(())
}

fn the_heap_is_zero_and_keeps_its_contents() -> Outcome {
    let mut w = open_with("plain", &ROOMY)?;
    for value in 0..40u32 {
        gives(&mut w, "grow", (1000 + value, value), 0)?;
        gives(&mut w, "dirty_zeroes", 6000u32, 0)?;
    }
    gives(&mut w, "dirty_zeroes", 100_000u32, 0)?;
    gives(&mut w, "dirty_zeroes", 100_000u32, 0)?;
    gives(&mut w, "dirty_zeroes", 1u32 << 30, -1)
}

fn the_c_librarys_malloc_takes_mebibytes() -> Outcome {
    let mut w = open_with("sys_memory", &ROOMY)?;
    let got = w.call::<u64>("take_mebibytes", 100u64)?;
    check(got == 3 || got == 4, &format!("{got} MiB of 4"))
}

fn init_data_is_there_and_read_only() -> Outcome {
    let data: Vec<u8> = (0..10_000u32).map(|i| (i % 253) as u8).collect();
    let setup = Setup {
        init_data: Some(data.clone()),
        ..SETUP
    };
    let mut w = open_with("sys_values", &setup)?;
    gives(&mut w, "init_data", (), data.clone())?;
    let snapshot = w.snapshot()?;
    let (code, _) = w.aborted::<()>("write_init_data", (0u32, 9u32))?;
    check_eq(code, 15)?;
    w.restore(snapshot)?;
    gives(&mut w, "init_data", (), data)
}

fn no_init_data_is_empty() -> Outcome {
    let mut w = open("hello")?;
    gives(&mut w, "init_data", (), Vec::<u8>::new())
}

fn random_bytes_never_repeat() -> Outcome {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut w = open("hello")?;
        let snapshot = w.snapshot()?;
        for _ in 0..5 {
            seen.push(w.call::<Vec<u8>>("random_bytes", 16u32)?);
            seen.push(w.call::<Vec<u8>>("random_bytes", 16u32)?);
            w.restore(snapshot.clone())?;
        }
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    check_eq(seen.len(), count)
}

fn small_scratch_is_enough_for_small_calls() -> Outcome {
    // What the host crate takes when nobody says anything.
    let setup = Setup {
        scratch: 0x48000,
        ..SETUP
    };
    let mut w = open_with("hello", &setup)?;
    gives(&mut w, "add", (1, 2), 3)?;
    gives(&mut w, "greet", "x".to_string(), "X".to_string())?;
    for i in 1..20 {
        gives(&mut w, "count_up", (), i)?;
    }
    Ok(())
}

fn a_large_heap_is_there_to_its_end() -> Outcome {
    let setup = Setup {
        heap: 64 << 20,
        scratch: 8 << 20,
        ..SETUP
    };
    let mut w = open_with("sys_memory", &setup)?;
    match w.call::<u64>("take_mebibytes", 100u64) {
        Err(HyperlightError::GuestAborted(13, _)) => {}
        Err(error) => return Err(error.into()),
        Ok(got) => return Err(failure(format!("{got} MiB in 8 MiB of scratch"))),
    }
    let setup = Setup {
        scratch: 80 << 20,
        ..setup
    };
    let mut w = open_with("plain", &setup)?;
    gives(&mut w, "grow", (1u32 << 20, 1u32), 0)?;
    gives(&mut w, "grown_length", (), 1u32 << 20)
}

fn a_large_stack_is_there_to_its_end() -> Outcome {
    let setup = Setup {
        scratch: 8 << 20,
        ..SETUP
    };
    let mut w = open_with("plain_deep", &setup)?;
    let snapshot = w.snapshot()?;
    gives(&mut w, "use_stack", 2_000_000, 489)?;
    check_eq(w.aborted::<i32>("use_stack", 2_200_000)?.0, 15)?;
    w.restore(snapshot)?;
    gives(&mut w, "use_stack", 1_000_000, 245)
}

fn an_image_in_memory_is_as_good_as_a_file() -> Outcome {
    let mut w = open_from_memory("plain", &SETUP)?;
    gives(&mut w, "chain", 3, 3)
}
