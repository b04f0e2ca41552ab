// SPDX-License-Identifier: MIT
//! A sandbox of the published host with one of our guests in it, and all host functions that any
//! of them imports.

use crate::tap::{Outcome, Stop, check, failure};
use hyperlight_common::flatbuffer_wrappers::guest_error::ErrorCode;
use hyperlight_host::func::{ParameterTuple, Registerable, SupportedReturnType};
use hyperlight_host::sandbox::SandboxConfiguration;
use hyperlight_host::sandbox::uninitialized::GuestEnvironment;
use hyperlight_host::{
    GuestBinary, HyperlightError, MultiUseSandbox, Result, UninitializedSandbox, new_error,
};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tracing_core::LevelFilter;

#[derive(Clone)]
pub struct Setup {
    pub heap: u64,
    pub scratch: usize,
    pub input: usize,
    pub output: usize,
    pub init_data: Option<Vec<u8>>,
    pub log_level: LevelFilter,
}

/// The defaults of the host crate, but with a larger scratch: without it a guest that is not ours
/// has no memory to spare either.
pub const SETUP: Setup = Setup {
    heap: 128 << 10,
    scratch: 1 << 20,
    input: 16 << 10,
    output: 16 << 10,
    init_data: None,
    log_level: LevelFilter::OFF,
};

pub struct World {
    pub sandbox: MultiUseSandbox,
    printed: Arc<Mutex<String>>,
}

impl Deref for World {
    type Target = MultiUseSandbox;
    fn deref(&self) -> &MultiUseSandbox {
        &self.sandbox
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut MultiUseSandbox {
        &mut self.sandbox
    }
}

/// MOTE_GUESTS is a list of directories, apart by colons; without it: guests, next to the program.
pub fn directories() -> Vec<PathBuf> {
    match std::env::var("MOTE_GUESTS") {
        Ok(list) => list.split(':').map(PathBuf::from).collect(),
        Err(_) => {
            let program = std::env::current_exe().unwrap_or_default();
            vec![program.parent().unwrap_or(&program).join("guests")]
        }
    }
}

pub fn find(guest: &str) -> std::result::Result<String, Stop> {
    let file = format!("{guest}.guest");
    directories()
        .iter()
        .map(|directory| directory.join(&file))
        .find(|path| path.exists())
        .map(|path| path.to_string_lossy().into_owned())
        .ok_or_else(|| failure(format!("{file} is in none of {:?}", directories())))
}

pub fn register_of_values(host: &mut UninitializedSandbox) -> Result<()> {
    host.register("host_i32", |value: i32| value)?;
    host.register("host_u32", |value: u32| value)?;
    host.register("host_i64", |value: i64| value)?;
    host.register("host_u64", |value: u64| value)?;
    host.register("host_f32", |value: f32| value)?;
    host.register("host_f64", |value: f64| value)?;
    host.register("host_bool", |value: bool| value)?;
    host.register("host_string", |value: String| value)?;
    host.register("host_bytes", |value: Vec<u8>| value)?;
    host.register("host_void", || ())?;
    type Eleven = (
        i32,
        u32,
        i64,
        u64,
        f32,
        f64,
        bool,
        String,
        Vec<u8>,
        i32,
        i64,
    );
    let eleven = |a: i32,
                  b: u32,
                  c: i64,
                  d: u64,
                  e: f32,
                  f: f64,
                  g: bool,
                  h: String,
                  i: Vec<u8>,
                  j: i32,
                  k: i64| {
        a as u64
            + b as u64
            + c as u64
            + d
            + e as u64
            + f as u64
            + g as u64
            + h.len() as u64
            + i.len() as u64
            + j as u64
            + k as u64
    };
    host.register::<Eleven, u64>("host_eleven", eleven)
}

fn register_all(host: &mut UninitializedSandbox, printed: &Arc<Mutex<String>>) -> Result<()> {
    let printed = Arc::clone(printed);
    host.register_print(move |text: String| {
        printed.lock().unwrap().push_str(&text);
        text.len() as i32
    })?;
    host.register("upper", |text: String| {
        if text.is_empty() {
            return Err(new_error!("nothing to convert"));
        }
        Ok(text.to_uppercase())
    })?;
    host.register("twice", |value: f64| 2.0 * value)?;
    host.register("of_two", |a: i32, b: i32| a + b)?;
    host.register("of_string", |text: String| text.len() as i32)?;
    host.register("gives_string", || "a string".to_string())?;
    host.register("refuses", |value: i32| -> Result<i32> {
        Err(new_error!("not {value}"))
    })?;
    host.register("plus_one", |value: i32| value + 1)?;
    register_of_values(host)
}

fn prepare_from(
    binary: GuestBinary,
    setup: &Setup,
    printed: &Arc<Mutex<String>>,
) -> std::result::Result<UninitializedSandbox, Stop> {
    let mut config = SandboxConfiguration::default();
    config.set_heap_size(setup.heap);
    config.set_scratch_size(setup.scratch);
    config.set_input_data_size(setup.input);
    config.set_output_data_size(setup.output);
    let environment = GuestEnvironment::new(binary, setup.init_data.as_deref());
    let mut host = UninitializedSandbox::new(environment, Some(config))?;
    host.set_max_guest_log_level(setup.log_level);
    register_all(&mut host, printed)?;
    Ok(host)
}

/// Without a start yet, for rows that look at one which fails.
pub fn prepare(
    guest: &str,
    setup: &Setup,
    printed: &Arc<Mutex<String>>,
) -> std::result::Result<UninitializedSandbox, Stop> {
    prepare_from(GuestBinary::FilePath(find(guest)?), setup, printed)
}

pub fn open_from_memory(guest: &str, setup: &Setup) -> std::result::Result<World, Stop> {
    let bytes = std::fs::read(find(guest)?).map_err(|error| failure(error.to_string()))?;
    let printed = Arc::new(Mutex::new(String::new()));
    let sandbox = prepare_from(GuestBinary::Buffer(&bytes), setup, &printed)?.evolve()?;
    Ok(World { sandbox, printed })
}

pub fn open_with(guest: &str, setup: &Setup) -> std::result::Result<World, Stop> {
    let printed = Arc::new(Mutex::new(String::new()));
    let sandbox = prepare(guest, setup, &printed)?.evolve()?;
    Ok(World { sandbox, printed })
}

pub fn open(guest: &str) -> std::result::Result<World, Stop> {
    open_with(guest, &SETUP)
}

impl World {
    /// What the guest printed since the last time.
    pub fn printed(&self) -> String {
        std::mem::take(&mut self.printed.lock().unwrap())
    }

    /// A call that ends with an error of the guest, which lives on.
    #[track_caller]
    pub fn refused<T: SupportedReturnType>(
        &mut self,
        name: &str,
        arguments: impl ParameterTuple,
    ) -> std::result::Result<(ErrorCode, String), Stop> {
        let outcome = match self.sandbox.call::<T>(name, arguments) {
            Err(HyperlightError::GuestError(code, text)) => (code, text),
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(failure(format!("{name} did not fail"))),
        };
        check(
            !self.sandbox.poisoned(),
            "an error of the guest poisoned it",
        )?;
        Ok(outcome)
    }

    /// A call that ends the guest: code and text of its abort.
    #[track_caller]
    pub fn aborted<T: SupportedReturnType>(
        &mut self,
        name: &str,
        arguments: impl ParameterTuple,
    ) -> std::result::Result<(u8, String), Stop> {
        let outcome = match self.sandbox.call::<T>(name, arguments) {
            Err(HyperlightError::GuestAborted(code, text)) => (code, text),
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(failure(format!("{name} did not end the guest"))),
        };
        check(
            self.sandbox.poisoned(),
            "an abort did not poison the sandbox",
        )?;
        Ok(outcome)
    }
}

/// count, times MOTE_INTEROP_REPEAT.
pub fn repeated(count: u32) -> u32 {
    let factor = std::env::var("MOTE_INTEROP_REPEAT")
        .ok()
        .and_then(|text| text.parse().ok());
    count.saturating_mul(factor.unwrap_or(1)).max(1)
}

/// The same call on the same guest gives the same value.
#[track_caller]
pub fn gives<T: SupportedReturnType + PartialEq + std::fmt::Debug>(
    world: &mut World,
    name: &str,
    arguments: impl ParameterTuple,
    should: T,
) -> Outcome {
    let is: T = world.sandbox.call(name, arguments)?;
    crate::tap::check_eq(is, should)
}

/// Registration after the start, which the host crate offers too.
pub fn register_late(world: &mut World) -> Outcome {
    world.sandbox.register_host_function("absent", || 4711i32)?;
    Ok(())
}
