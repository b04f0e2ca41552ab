// SPDX-License-Identifier: MIT
//! The published 0.15 host runs guests of our SDK: on a host that knows nothing of us, what an
//! image does by its ordinary entry point. Prints TAP.
//!
//! usage: interop-host [PART-OF-A-ROWS-NAME | --portrait]
//! MOTE_GUESTS says where the guests are, MOTE_PORTRAIT which program draws our host's portrait
//! (portrait.rs); MOTE_INTEROP_REPEAT multiplies loops, MOTE_INTEROP_SEED repeats a random life.

mod exits;
mod logs;
mod portrait;
mod rows;
mod tap;
mod world;

use std::process::ExitCode;

const SKIPPED: u8 = 77;

fn main() -> ExitCode {
    let only = std::env::args().nth(1).unwrap_or_default();
    if !hyperlight_host::is_hypervisor_present() {
        println!("1..0 # SKIP the host crate finds no hypervisor that it can use");
        return ExitCode::from(SKIPPED);
    }
    if only == "--portrait" {
        print!("{}", rows::portraits::all());
        return ExitCode::SUCCESS;
    }
    logs::start();
    let groups = [
        ("calls", rows::calls::ROWS),
        ("host_functions", rows::host_functions::ROWS),
        ("output", rows::output::ROWS),
        ("ends", rows::ends::ROWS),
        ("memory", rows::memory::ROWS),
        ("snapshots", rows::snapshots::ROWS),
        ("library", rows::library::ROWS),
        ("portraits", rows::portraits::ROWS),
    ];
    if tap::run(&groups, &only) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
