// SPDX-License-Identifier: MIT
//! Snapshots and restores by that host, many times over, and several sandboxes at once.

use crate::rows;
use crate::tap::{Outcome, Stop, check, check_eq, failure};
use crate::world::{SETUP, Setup, World, gives, open, open_with, repeated};
use hyperlight_host::sandbox::snapshot::Snapshot;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

rows![
    a_restore_brings_the_state_back,
    thousands_of_restores_leave_it_as_it_was,
    snapshots_of_several_times_are_kept_apart,
    many_pages_come_back,
    the_heap_comes_back,
    poisoned_in_every_way_and_restored,
    the_generation_changes_with_every_restore,
    several_sandboxes_do_not_meet,
    sandboxes_run_in_threads_of_their_own,
    a_random_life_is_as_the_model_says,
];

const ROOMY: Setup = Setup {
    scratch: 8 << 20,
    heap: 1 << 20,
    ..SETUP
};

fn a_restore_brings_the_state_back() -> Outcome {
    let mut w = open("bad")?;
    gives(&mut w, "count_up", (), 1)?;
    let snapshot = w.snapshot()?;
    for _ in 0..repeated(100) {
        gives(&mut w, "count_up", (), 2)?;
        gives(&mut w, "count_up", (), 3)?;
        w.restore(snapshot.clone())?;
    }
    gives(&mut w, "count_up", (), 2)
}

fn thousands_of_restores_leave_it_as_it_was() -> Outcome {
    let mut w = open("sys_values")?;
    gives(&mut w, "statics", (), 7001u64)?;
    let snapshot = w.snapshot()?;
    for i in 0..repeated(2000) {
        w.restore(snapshot.clone())?;
        if i % 50 == 0 {
            gives(&mut w, "statics", (), 7002u64)?;
        }
    }
    gives(&mut w, "statics", (), 7002u64)?;
    gives(
        &mut w,
        "via_host_string",
        "still".to_string(),
        "still".to_string(),
    )
}

fn snapshots_of_several_times_are_kept_apart() -> Outcome {
    let mut w = open("plain")?;
    let mut taken = Vec::new();
    for length in 0..6u32 {
        gives(&mut w, "kept_length", (), length * 300)?;
        taken.push(w.snapshot()?);
        gives(&mut w, "keep", (300u32, length), 0)?;
    }
    for i in [5, 0, 3, 3, 1, 4, 2, 5usize] {
        w.restore(taken[i].clone())?;
        gives(&mut w, "kept_length", (), i as u32 * 300)?;
        gives(&mut w, "keep", (10u32, 9u32), 0)?;
    }
    // A snapshot of what came out of a restore.
    w.restore(taken[2].clone())?;
    gives(&mut w, "keep", (1u32, 9u32), 0)?;
    let later = w.snapshot()?;
    w.restore(taken[0].clone())?;
    w.restore(later)?;
    gives(&mut w, "kept_length", (), 601u32)
}

fn many_pages_come_back() -> Outcome {
    let mut w = open_with("plain", &ROOMY)?;
    gives(&mut w, "fill_pages", (300, 50u64), 300)?;
    let snapshot = w.snapshot()?;
    for round in 1..=repeated(5) as u64 {
        gives(&mut w, "wrong_pages", (300, 50u64), 0)?;
        gives(&mut w, "fill_pages", (600, round << 32), 600)?;
        gives(&mut w, "wrong_pages", (600, round << 32), 0)?;
        w.restore(snapshot.clone())?;
    }
    gives(&mut w, "wrong_pages", (300, 50u64), 0)
}

fn the_heap_comes_back() -> Outcome {
    let mut w = open_with("plain", &ROOMY)?;
    gives(&mut w, "grow", (20_000u32, 3u32), 0)?;
    let snapshot = w.snapshot()?;
    for _ in 0..repeated(5) {
        gives(&mut w, "grow", (30_000u32, 4u32), 0)?;
        gives(&mut w, "dirty_zeroes", 40_000u32, 0)?;
        gives(&mut w, "grow", (30_000u32, 5u32), 0)?;
        w.restore(snapshot.clone())?;
        gives(&mut w, "grown_length", (), 20_000u32)?;
    }
    Ok(())
}

fn poisoned_in_every_way_and_restored() -> Outcome {
    let mut w = open("bad")?;
    gives(&mut w, "count_up", (), 1)?;
    let snapshot = w.snapshot()?;
    let ways = [
        "read_null",
        "undefined_instruction",
        "call_abort",
        "overflow_stack",
        "non_canonical",
        "call_null",
    ];
    for _ in 0..repeated(3) {
        for way in ways {
            w.aborted::<i32>(way, ())?;
            w.restore(snapshot.clone())?;
            gives(&mut w, "count_up", (), 2)?;
            w.restore(snapshot.clone())?;
        }
    }
    Ok(())
}

fn the_generation_changes_with_every_restore() -> Outcome {
    let mut w = open("plain")?;
    let first = w.call::<u64>("generation", ())?;
    gives(&mut w, "generation", (), first)?;
    let snapshot = w.snapshot()?;
    gives(&mut w, "generation", (), first)?;
    w.restore(snapshot)?;
    let second = w.call::<u64>("generation", ())?;
    check(first != second, "the same number after a restore")?;
    gives(&mut w, "generation", (), second)
}

fn several_sandboxes_do_not_meet() -> Outcome {
    let mut worlds: Vec<World> = Vec::new();
    for _ in 0..6 {
        worlds.push(open("bad")?);
    }
    let snapshot = worlds[0].snapshot()?;
    for count in 1..=10 {
        for w in &mut worlds[1..] {
            gives(w, "count_up", (), count)?;
        }
        worlds[0].restore(snapshot.clone())?;
        gives(&mut worlds[0], "count_up", (), 1)?;
    }
    check(
        worlds[1].restore(snapshot).is_err(),
        "a snapshot of another sandbox",
    )?;
    worlds.remove(3);
    gives(&mut worlds[3], "count_up", (), 11)
}

fn count_in_thread(times: i32) -> Outcome {
    let mut w = open("bad")?;
    let snapshot = w.snapshot()?;
    for count in 1..=times {
        gives(&mut w, "count_up", (), count)?;
    }
    w.restore(snapshot)?;
    gives(&mut w, "count_up", (), 1)
}

fn sandboxes_run_in_threads_of_their_own() -> Outcome {
    let threads: Vec<_> = (1..=4)
        .map(|i| std::thread::spawn(move || count_in_thread(10 * i)))
        .collect();
    for thread in threads {
        thread
            .join()
            .map_err(|_| failure("a thread ended badly"))??;
    }
    // Made here, called there, and back.
    let mut w = open("bad")?;
    gives(&mut w, "count_up", (), 1)?;
    let mut w = std::thread::spawn(move || gives(&mut w, "count_up", (), 2).map(|()| w))
        .join()
        .map_err(|_| failure("a thread ended badly"))??;
    check_eq(w.call::<i32>("count_up", ())?, 3)
}

/// What the guest must remember: how much it keeps, and what its pages hold.
#[derive(Clone, Copy, Debug)]
struct State {
    kept: u32,
    pages: i32,
    seed: u64,
}

/// xorshift64
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

fn step(
    w: &mut World,
    random: &mut u64,
    is: State,
    taken: &mut Vec<(State, Arc<Snapshot>)>,
) -> Result<State, Stop> {
    let number = next(random);
    let (kind, number) = (number % 8, number >> 8);
    match kind {
        0 | 1 => {
            let bytes = (number % 2000) as u32;
            gives(w, "keep", (bytes, 7u32), 0)?;
            Ok(State {
                kept: is.kept + bytes,
                ..is
            })
        }
        2 | 3 => {
            let (pages, seed) = ((number % 40) as i32 + is.pages, number | 1 << 40);
            gives(w, "fill_pages", (pages, seed), pages)?;
            Ok(State { pages, seed, ..is })
        }
        4 => {
            taken.push((is, w.snapshot()?));
            Ok(is)
        }
        5 => {
            let poison = w.sandbox.call::<()>("raise", 6).is_err() && w.poisoned();
            check(poison, "an invalid instruction did not end it")?;
            restore_one(w, number, taken)
        }
        _ => restore_one(w, number, taken),
    }
}

fn restore_one(
    w: &mut World,
    number: u64,
    taken: &[(State, Arc<Snapshot>)],
) -> Result<State, Stop> {
    let (state, snapshot) = &taken[number as usize % taken.len()];
    w.restore(Arc::clone(snapshot))?;
    Ok(*state)
}

fn live(seed: u64) -> Outcome {
    let mut random = seed;
    let mut w = open_with(
        "plain",
        &Setup {
            scratch: 32 << 20,
            ..SETUP
        },
    )?;
    let mut is = State {
        kept: 0,
        pages: 0,
        seed: 0,
    };
    let mut taken = vec![(is, w.snapshot()?)];
    for _ in 0..repeated(120) {
        is = step(&mut w, &mut random, is, &mut taken)?;
        if is.pages > 600 || is.kept > 200 << 10 || taken.len() > 12 {
            taken.truncate(8);
            is = restore_one(&mut w, 0, &taken)?;
        }
        gives(&mut w, "kept_length", (), is.kept)?;
        gives(&mut w, "wrong_pages", (is.pages, is.seed), 0)?;
    }
    Ok(())
}

/// MOTE_INTEROP_SEED repeats a life that went wrong.
fn a_random_life_is_as_the_model_says() -> Outcome {
    let given = std::env::var("MOTE_INTEROP_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |time| time.as_nanos() as u64 | 1)
    };
    let seed = given.unwrap_or_else(now);
    println!("# seed {seed}");
    live(seed)
}
