// SPDX-License-Identifier: MIT
//! Rows of the test, their outcomes, and the lines of TAP that tell of them. An error of the host
//! crate ends a row; it is a skip only if this kernel could not emulate an instruction of ring 0.

use crate::exits;
use hyperlight_host::HyperlightError;
use std::fmt::Debug;
use std::panic::Location;

pub enum Stop {
    Fail(String),
    Skip(String),
}

pub type Outcome = Result<(), Stop>;

pub struct Row {
    pub name: &'static str,
    pub run: fn() -> Outcome,
}

/// A module's rows, by the names of their functions.
#[macro_export]
macro_rules! rows {
    ($($name:ident),* $(,)?) => {
        pub const ROWS: &[$crate::tap::Row] =
            &[$($crate::tap::Row { name: stringify!($name), run: $name }),*];
    };
}

#[track_caller]
pub fn failure(text: impl Into<String>) -> Stop {
    let at = Location::caller();
    Stop::Fail(format!("{}:{}: {}", at.file(), at.line(), text.into()))
}

#[track_caller]
pub fn check(condition: bool, text: &str) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(failure(text))
    }
}

#[track_caller]
pub fn check_eq<A: PartialEq<B> + Debug, B: Debug>(is: A, should: B) -> Outcome {
    if is == should {
        return Ok(());
    }
    Err(failure(format!("{is:?} where {should:?} was expected")))
}

#[track_caller]
pub fn check_has(text: &str, part: &str) -> Outcome {
    if text.contains(part) {
        return Ok(());
    }
    Err(failure(format!("{text:?} does not contain {part:?}")))
}

impl From<HyperlightError> for Stop {
    #[track_caller]
    fn from(error: HyperlightError) -> Stop {
        if error.to_string().contains("InternalError")
            && let Some(instruction) = exits::not_emulated()
        {
            return Stop::Skip(format!(
                "this kernel cannot emulate {instruction} in ring 0"
            ));
        }
        failure(format!("{error:?}"))
    }
}

/// Run one row after the other, those whose names contain `only`; whether none failed.
pub fn run(groups: &[(&str, &[Row])], only: &str) -> bool {
    let wanted: Vec<_> = groups
        .iter()
        .flat_map(|(group, rows)| {
            rows.iter()
                .map(move |row| (format!("{group}__{}", row.name), row))
        })
        .filter(|(name, _)| name.contains(only))
        .collect();
    let mut is_good = true;
    println!("TAP version 13\n1..{}", wanted.len());
    for (i, (name, row)) in wanted.iter().enumerate() {
        let number = i + 1;
        match (row.run)() {
            Ok(()) => println!("ok {number} - {name}"),
            Err(Stop::Skip(reason)) => println!("ok {number} - {name} # SKIP {reason}"),
            Err(Stop::Fail(reason)) => {
                is_good = false;
                println!("not ok {number} - {name}");
                for line in reason.lines() {
                    println!("# {line}");
                }
            }
        }
    }
    is_good
}
