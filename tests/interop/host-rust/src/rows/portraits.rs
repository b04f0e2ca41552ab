// SPDX-License-Identifier: MIT
//! The same guests do the same on the published host and on ours; what they see and what comes of
//! it must not differ. MOTE_PORTRAIT names the program that does it on ours.

use crate::exits::has_nested_paging;
use crate::portrait::{draw, is_same};
use crate::rows;
use crate::tap::{Outcome, Stop, check, failure};
use crate::world::{directories, find};
use std::io::Write;
use std::process::{Command, Stdio};

rows![
    both_hosts_show_a_guest_the_same,
    both_hosts_show_a_guest_with_vectors_the_same,
    both_hosts_show_a_guest_of_the_published_crates_the_same,
    both_hosts_show_its_ordinary_build_the_same,
];

const SCRIPT: &str = include_str!("../portrait.txt");
const VECTORS: &str = include_str!("../portrait_vectors.txt");
const PUBLISHED: &str = include_str!("../portrait_rust.txt");
const FLOATS: &str = include_str!("../portrait_rust_floats.txt");

pub fn all() -> String {
    draw(SCRIPT) + &draw(VECTORS) + &draw(PUBLISHED)
}

fn ours(script: &str) -> Result<String, Stop> {
    let Ok(program) = std::env::var("MOTE_PORTRAIT") else {
        return skip("MOTE_PORTRAIT names no program");
    };
    let because = |error: std::io::Error| failure(format!("{program}: {error}"));
    let mut child = Command::new(&program)
        .args(directories())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(because)?;
    let mut input = child.stdin.take().expect("a pipe");
    let script = script.to_string();
    // In a thread, since the answers may fill their pipe before the script has been read.
    let writer = std::thread::spawn(move || input.write_all(script.as_bytes()));
    let output = child.wait_with_output().map_err(because)?;
    let is_written = writer.join().is_ok_and(|result| result.is_ok());
    check(
        output.status.success() && is_written,
        &format!("{program}: {}", output.status),
    )?;
    String::from_utf8(output.stdout).map_err(|error| failure(error.to_string()))
}

/// Each operation with what came of it, whose lines begin with a blank.
fn blocks(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match found.last_mut() {
            Some((_, results)) if line.starts_with(' ') => results.push(line),
            _ => found.push((line, Vec::new())),
        }
    }
    found
}

fn compare(script: &str) -> Outcome {
    let ours = ours(script)?;
    let theirs = draw(script);
    let (ours, theirs) = (blocks(&ours), blocks(&theirs));
    check(ours.len() == theirs.len(), "operations are missing")?;
    let mut differences = String::new();
    for ((operation, is), (_, should)) in ours.iter().zip(&theirs) {
        let is_equal = is.len() == should.len()
            && is
                .iter()
                .zip(should)
                .all(|(is, should)| is_same(should, is));
        if !is_equal {
            let (is, should) = (is.join("\n"), should.join("\n"));
            differences += &format!("{operation}\n their host:\n{should}\n our host:\n{is}\n");
        }
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(failure(differences))
    }
}

fn skip<T>(reason: &str) -> Result<T, Stop> {
    Err(Stop::Skip(reason.to_string()))
}

fn both_hosts_show_a_guest_the_same() -> Outcome {
    compare(SCRIPT)
}

fn both_hosts_show_a_guest_with_vectors_the_same() -> Outcome {
    if !has_nested_paging() {
        return skip("this kernel may be unable to emulate SSE in ring 0");
    }
    compare(VECTORS)
}

fn both_hosts_show_a_guest_of_the_published_crates_the_same() -> Outcome {
    if find("rust-soft").is_err() {
        return skip("there is no rust-soft.guest");
    }
    compare(PUBLISHED)
}

fn both_hosts_show_its_ordinary_build_the_same() -> Outcome {
    if !has_nested_paging() {
        return skip("this kernel may be unable to emulate SSE in ring 0");
    }
    if find("rust").is_err() {
        return skip("there is no rust.guest");
    }
    compare(&(PUBLISHED.replace("open rust-soft", "open rust") + FLOATS))
}
