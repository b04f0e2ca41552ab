// SPDX-License-Identifier: MIT
//! Prints and log records of the guest.

use crate::logs;
use crate::rows;
use crate::tap::{Outcome, check, check_eq};
use crate::world::{SETUP, Setup, gives, open, open_with};
use log::Level;
use tracing_core::LevelFilter;

rows![
    prints_reach_the_hosts_function,
    records_have_level_text_and_place,
    only_the_levels_that_the_host_wants_are_sent,
    the_start_may_log,
];

fn prints_reach_the_hosts_function() -> Outcome {
    let mut w = open("hello")?;
    for text in ["printed\n", "", "\u{20AC}"] {
        w.call::<()>("print", text.to_string())?;
        check_eq(w.printed().as_str(), text)?;
    }
    let mut w = open("plain")?;
    gives(&mut w, "print_length", "four\n".to_string(), 5)?;
    check_eq(w.printed().as_str(), "four\n")
}

fn log_at(level: LevelFilter) -> Result<Vec<logs::Record>, crate::tap::Stop> {
    let mut w = open_with(
        "hello",
        &Setup {
            log_level: level,
            ..SETUP
        },
    )?;
    logs::take();
    w.call::<()>("log_all", ())?;
    Ok(logs::take())
}

fn records_have_level_text_and_place() -> Outcome {
    let records = log_at(LevelFilter::TRACE)?;
    let levels: Vec<_> = records.iter().map(|record| record.level).collect();
    check_eq(
        levels,
        [
            Level::Error,
            Level::Warn,
            Level::Info,
            Level::Debug,
            Level::Trace,
        ],
    )?;
    let texts: Vec<_> = records.iter().map(|record| record.text.as_str()).collect();
    check_eq(
        texts,
        ["error -1", "warn 2", "info three", "debug abc", "trace -5%"],
    )?;
    for pair in records.windows(2) {
        check(pair[0].file.ends_with("hello.c"), &pair[0].file)?;
        check_eq(pair[1].line, pair[0].line + 1)?;
    }
    Ok(())
}

fn only_the_levels_that_the_host_wants_are_sent() -> Outcome {
    let wanted = [
        LevelFilter::OFF,
        LevelFilter::ERROR,
        LevelFilter::WARN,
        LevelFilter::INFO,
        LevelFilter::DEBUG,
    ];
    for (count, level) in wanted.into_iter().enumerate() {
        check_eq(log_at(level)?.len(), count)?;
    }
    let mut w = open_with(
        "sys_values",
        &Setup {
            log_level: LevelFilter::WARN,
            ..SETUP
        },
    )?;
    gives(&mut w, "log_level", (), 2u32)
}

fn the_start_may_log() -> Outcome {
    logs::take();
    let _w = open_with(
        "sys_values",
        &Setup {
            log_level: LevelFilter::ERROR,
            ..SETUP
        },
    )?;
    let records = logs::take();
    check_eq(records.len(), 1)?;
    check_eq(records[0].text.as_str(), "init")
}
