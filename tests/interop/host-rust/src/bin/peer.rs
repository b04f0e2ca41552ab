// SPDX-License-Identifier: MIT
//! The other side of the side-by-side benchmark (bench/peers/README.md): does with the published host
//! crate what bench/peers/ours.c does with the library, with the same guest. Reads "OPERATION COUNT"
//! lines and answers each with one line: the nanoseconds that each of COUNT timed regions took, then
//! "|" and, where bench/peers/count.c is loaded, what was counted in all of them. Every result is
//! checked; a wrong one ends the program.
//!
//! usage: peer GUEST

use std::ffi::{c_int, c_void};
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Instant;

use hyperlight_host::sandbox::SandboxConfiguration;
use hyperlight_host::sandbox::snapshot::Snapshot;
use hyperlight_host::{GuestBinary, MultiUseSandbox, Result, UninitializedSandbox};

const BIG_BYTES: usize = 64 << 10;
const HOST_CALLS: i32 = 16;

/// bench/peers/count.h: how many counters there are, and how to ask for them.
const COUNTERS: usize = 11;
const COUNT_ADVICE: c_int = 0x6d6f_7465;

unsafe extern "C" {
    fn madvise(address: *mut c_void, bytes: usize, advice: c_int) -> c_int;
}

/// The totals so far; None where nothing counts.
fn look() -> Option<[u64; COUNTERS]> {
    let mut totals = [0u64; COUNTERS];
    let result = unsafe {
        madvise(
            totals.as_mut_ptr().cast(),
            size_of_val(&totals),
            COUNT_ADVICE,
        )
    };
    (result == 0).then_some(totals)
}

/// The answer to one request.
struct Samples {
    text: String,
    is_counting: bool,
    counted: [u64; COUNTERS],
}

impl Samples {
    fn time<T>(&mut self, region: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = self.is_counting.then(look).flatten();
        let start = Instant::now();
        let result = region();
        let ns = start.elapsed().as_nanos();
        if let (Some(before), Some(after)) = (before, self.is_counting.then(look).flatten()) {
            for (k, sum) in self.counted.iter_mut().enumerate() {
                *sum += after[k] - before[k];
            }
        }
        self.text += &format!("{ns} ");
        result
    }
}

// ---- what the guest does -------------------------------------------------------------------------

fn want<T: PartialEq + std::fmt::Display>(function: &str, is: T, wanted: T) {
    if is != wanted {
        eprintln!("peer: {function}: the guest answered {is}, not {wanted}");
        std::process::exit(1);
    }
}

fn nothing(sandbox: &mut MultiUseSandbox) -> Result<()> {
    sandbox.call::<()>("Nothing", ())
}

fn add(sandbox: &mut MultiUseSandbox, value: i32) -> Result<()> {
    let value = value & 0xFFFF;
    want("Add", sandbox.call::<i32>("Add", (value, 5i32))?, value + 5);
    Ok(())
}

fn call_times(sandbox: &mut MultiUseSandbox, count: i32) -> Result<()> {
    let sum = sandbox.call::<i32>("CallTimes", count)?;
    want("CallTimes", sum, count * (count - 1) / 2);
    Ok(())
}

fn length_of(sandbox: &mut MultiUseSandbox, data: Vec<u8>) -> Result<()> {
    let length = sandbox.call::<i32>("LengthOf", data)?;
    want("LengthOf", length, BIG_BYTES as i32);
    Ok(())
}

fn fill(sandbox: &mut MultiUseSandbox, count: i32) -> Result<()> {
    let filled = sandbox.call::<i32>("FillPages", (count, 1000i32))?;
    want("FillPages", filled, count);
    Ok(())
}

fn sum(sandbox: &mut MultiUseSandbox) -> Result<u64> {
    sandbox.call::<u64>("SumPages", 256i32)
}

// ---- objects -------------------------------------------------------------------------------------

/// A sandbox that stays, and the snapshot that it is put back to.
struct Set {
    sandbox: MultiUseSandbox,
    snapshot: Arc<Snapshot>,
    sum: u64,
}

/// How a sandbox is configured; ours.c has the same numbers.
#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Pages,
    Big,
    Heap,
}

impl Kind {
    fn configuration(self) -> SandboxConfiguration {
        let mut configuration = SandboxConfiguration::default();
        match self {
            Kind::Plain => {}
            Kind::Pages => configuration.set_scratch_size(2 << 20),
            Kind::Big => {
                configuration.set_input_data_size(2 * BIG_BYTES);
                configuration.set_output_data_size(2 * BIG_BYTES);
                configuration.set_scratch_size(1 << 20);
            }
            Kind::Heap => {
                configuration.set_heap_size(64 << 20);
                configuration.set_scratch_size(1 << 20);
            }
        }
        configuration
    }
}

fn create(guest: &str, kind: Kind) -> Result<MultiUseSandbox> {
    let binary = GuestBinary::FilePath(guest.to_string());
    let mut sandbox = UninitializedSandbox::new(binary, Some(kind.configuration()))?;
    sandbox.register("HostEchoInt", |value: i32| Ok(value))?;
    sandbox.evolve()
}

impl Set {
    fn open(guest: &str, kind: Kind) -> Result<Set> {
        let mut sandbox = create(guest, kind)?;
        nothing(&mut sandbox)?;
        let sum = sum(&mut sandbox)?;
        let snapshot = sandbox.snapshot()?;
        Ok(Set {
            sandbox,
            snapshot,
            sum,
        })
    }

    fn restore(&mut self) -> Result<()> {
        self.sandbox.restore(self.snapshot.clone())
    }

    /// Whatever happened since is gone after a restore.
    fn check_restored(&mut self) -> Result<()> {
        self.sandbox.call::<i32>("Count", 7i32)?;
        self.restore()?;
        want("Count", self.sandbox.call::<i32>("Count", 1i32)?, 1);
        want("SumPages", sum(&mut self.sandbox)?, self.sum);
        self.restore()
    }
}

// ---- operations ----------------------------------------------------------------------------------

fn calls(
    samples: &mut Samples,
    set: &mut Set,
    count: i32,
    call: impl Fn(&mut MultiUseSandbox, i32) -> Result<()>,
) -> Result<()> {
    for i in 0..count {
        samples.time(|| call(&mut set.sandbox, i))?;
    }
    Ok(())
}

/// (The call takes the bytes, so they are made before.)
fn big_calls(samples: &mut Samples, set: &mut Set, count: i32) -> Result<()> {
    for _ in 0..count {
        let data = vec![0u8; BIG_BYTES];
        samples.time(|| length_of(&mut set.sandbox, data))?;
    }
    Ok(())
}

/// A new sandbox of the binary, which is also what stands beside a fork here.
fn creations(samples: &mut Samples, guest: &str, kind: Kind, count: i32) -> Result<()> {
    for _ in 0..count {
        let sandbox = samples.time(|| {
            let mut sandbox = create(guest, kind)?;
            nothing(&mut sandbox)?;
            Ok(sandbox)
        })?;
        drop(sandbox);
    }
    Ok(())
}

fn forks(samples: &mut Samples, guest: &str, count: i32) -> Result<()> {
    for i in 0..count {
        let mut sandbox = samples.time(|| {
            let mut sandbox = create(guest, Kind::Plain)?;
            add(&mut sandbox, i)?;
            Ok(sandbox)
        })?;
        want("Count", sandbox.call::<i32>("Count", 1i32)?, 1);
    }
    Ok(())
}

fn destructions(samples: &mut Samples, guest: &str, count: i32) -> Result<()> {
    for _ in 0..count {
        let mut sandbox = create(guest, Kind::Plain)?;
        nothing(&mut sandbox)?;
        samples.time(|| {
            drop(sandbox);
            Ok(())
        })?;
    }
    Ok(())
}

fn restores(samples: &mut Samples, set: &mut Set, count: i32) -> Result<()> {
    for i in 0..count {
        add(&mut set.sandbox, i)?;
        samples.time(|| set.restore())?;
    }
    set.check_restored()
}

/// dirty: pages written before the timed region; 0: no call at all.
fn restores_add(samples: &mut Samples, set: &mut Set, count: i32, dirty: i32) -> Result<()> {
    for i in 0..count {
        if dirty > 0 {
            fill(&mut set.sandbox, dirty)?;
        }
        samples.time(|| {
            set.restore()?;
            add(&mut set.sandbox, i)
        })?;
    }
    set.check_restored()
}

fn restores_fill(samples: &mut Samples, set: &mut Set, count: i32, dirty: i32) -> Result<()> {
    for _ in 0..count {
        samples.time(|| {
            set.restore()?;
            fill(&mut set.sandbox, dirty)
        })?;
    }
    set.check_restored()
}

fn snapshots(samples: &mut Samples, set: &mut Set, count: i32) -> Result<()> {
    for _ in 0..count {
        set.restore()?;
        fill(&mut set.sandbox, 16)?;
        let snapshot = samples.time(|| set.sandbox.snapshot())?;
        drop(snapshot);
    }
    set.check_restored()
}

fn resident_kilobytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .expect("/proc/self/smaps_rollup cannot be read")
}

/// Answers with bytes for each of count sandboxes, not with times.
fn resident(samples: &mut Samples, guest: &str, count: i32) -> Result<()> {
    let mut sandboxes = Vec::new();
    let mut first = 0.0;
    // The first one pays for what is made once.
    for i in 0..count {
        let mut sandbox = create(guest, Kind::Plain)?;
        add(&mut sandbox, i)?;
        sandboxes.push(sandbox);
        if i == 0 {
            first = resident_kilobytes();
        }
    }
    let grown = (resident_kilobytes() - first) * 1024.0;
    samples.text += &format!("{:.0} ", grown / f64::from((count - 1).max(1)));
    Ok(())
}

/// The sets that were asked for so far.
struct Peer {
    guest: String,
    sets: [Option<Set>; 4],
    is_counting: bool,
}

impl Peer {
    fn set(&mut self, kind: Kind) -> Result<&mut Set> {
        let at = &mut self.sets[kind as usize];
        if at.is_none() {
            *at = Some(Set::open(&self.guest, kind)?);
        }
        Ok(at.as_mut().expect("just made"))
    }

    fn run(&mut self, name: &str, count: i32, samples: &mut Samples) -> Result<()> {
        let guest = self.guest.clone();
        match name {
            "create_call" => creations(samples, &guest, Kind::Plain, count),
            "create_call_heap_64m" => creations(samples, &guest, Kind::Heap, count),
            "destroy" => destructions(samples, &guest, count),
            "fork_call" | "fork_call_pool" => forks(samples, &guest, count),
            "call_nothing" => calls(samples, self.set(Kind::Plain)?, count, |s, _| nothing(s)),
            "call_add" => calls(samples, self.set(Kind::Plain)?, count, add),
            "call_times_0" => calls(samples, self.set(Kind::Plain)?, count, |s, _| {
                call_times(s, 0)
            }),
            "call_times_16" => calls(samples, self.set(Kind::Plain)?, count, |s, _| {
                call_times(s, HOST_CALLS)
            }),
            "call_64k" => big_calls(samples, self.set(Kind::Big)?, count),
            "restore" => restores(samples, self.set(Kind::Plain)?, count),
            "restore_add" => restores_add(samples, self.set(Kind::Plain)?, count, 0),
            "restore_add_heap_64m" => restores_add(samples, self.set(Kind::Heap)?, count, 0),
            "dirty_16_restore_add" => restores_add(samples, self.set(Kind::Pages)?, count, 16),
            "dirty_256_restore_add" => restores_add(samples, self.set(Kind::Pages)?, count, 256),
            "restore_fill_16" => restores_fill(samples, self.set(Kind::Pages)?, count, 16),
            "restore_fill_256" => restores_fill(samples, self.set(Kind::Pages)?, count, 256),
            "snapshot_16" => snapshots(samples, self.set(Kind::Pages)?, count),
            "resident" => resident(samples, &guest, count),
            _ => {
                eprintln!("peer: {name}: no such operation");
                std::process::exit(1);
            }
        }
    }

    fn answer(&mut self, name: &str, count: i32) -> Result<String> {
        let mut samples = Samples {
            text: String::new(),
            is_counting: self.is_counting,
            counted: [0; COUNTERS],
        };
        self.run(name, count, &mut samples)?;
        samples.text += "|";
        if self.is_counting {
            for sum in samples.counted {
                samples.text += &format!(" {sum}");
            }
        }
        Ok(samples.text)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 2 {
        eprintln!("usage: peer GUEST");
        std::process::exit(2);
    }
    let mut peer = Peer {
        guest: arguments[1].clone(),
        sets: [const { None }; 4],
        is_counting: look().is_some(),
    };
    // One idle virtual machine: the first and the last one of a computer interrupt all processors.
    if let Err(error) = peer.set(Kind::Plain) {
        eprintln!("peer: {}: {error}", arguments[1]);
        std::process::exit(1);
    }
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input");
        let (name, count) = line.split_once(' ').expect("a name and a count");
        let count = count.trim().parse().expect("a count");
        match peer.answer(name, count) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("peer: {name}: {error}");
                std::process::exit(1);
            }
        }
        std::io::stdout().flush().expect("standard output");
    }
}
