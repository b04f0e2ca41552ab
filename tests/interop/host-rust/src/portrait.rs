// SPDX-License-Identifier: MIT
//! The portrait of the published host: does what each line of a script (portrait.txt) says and
//! tells the line and what came of it, as ../../portrait.c does with our host.

use crate::world::{SETUP, Setup, find, register_of_values};
use hyperlight_common::func::Error;
use hyperlight_host::func::{
    ParameterTuple, ParameterType, ParameterValue, ReturnValue, SupportedReturnType,
};
use hyperlight_host::sandbox::SandboxConfiguration;
use hyperlight_host::sandbox::snapshot::Snapshot;
use hyperlight_host::sandbox::uninitialized::GuestEnvironment;
use hyperlight_host::{
    GuestBinary, HyperlightError, MultiUseSandbox, Result, UninitializedSandbox, new_error,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tracing_core::LevelFilter;

const PAGE: u64 = 4096;
/// Bytes are shown as they are up to so many, others as a hash (FNV-1a).
const SHORT_BYTES: usize = 128;

/// What was told since the last time.
static TEXT: Mutex<String> = Mutex::new(String::new());

macro_rules! say {
    ($($what:tt)*) => {{
        let line = format!($($what)*);
        let mut text = TEXT.lock().unwrap();
        text.push_str(&line);
        text.push('\n');
    }};
}

/// Parameters whose number and types the script decides.
#[derive(Clone)]
struct Arguments(Vec<ParameterValue>);

impl ParameterTuple for Arguments {
    const SIZE: usize = 0;
    const TYPE: &'static [ParameterType] = &[];
    fn into_value(self) -> Vec<ParameterValue> {
        self.0
    }
    fn from_value(value: Vec<ParameterValue>) -> std::result::Result<Self, Error> {
        Ok(Arguments(value))
    }
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).expect("a number in the script"),
        None => text.parse::<i128>().expect("a number in the script") as u64,
    }
}

/// TYPE:VALUE; bytes are given by their count, and are all 7.
fn parse(word: &str) -> ParameterValue {
    let (kind, text) = word.split_once(':').expect("TYPE:VALUE in the script");
    match kind {
        "i32" => ParameterValue::Int(number(text) as i32),
        "u32" => ParameterValue::UInt(number(text) as u32),
        "i64" => ParameterValue::Long(number(text) as i64),
        "u64" => ParameterValue::ULong(number(text)),
        "f32" => ParameterValue::Float(text.parse().expect("a number in the script")),
        "f64" => ParameterValue::Double(text.parse().expect("a number in the script")),
        "bool" => ParameterValue::Bool(number(text) != 0),
        "bytes" => ParameterValue::VecBytes(vec![7; number(text) as usize]),
        _ => ParameterValue::String(text.to_string()),
    }
}

fn print_value(value: ReturnValue) {
    match value {
        ReturnValue::Int(value) => say!("  i32 {value}"),
        ReturnValue::UInt(value) => say!("  u32 {value}"),
        ReturnValue::Long(value) => say!("  i64 {value}"),
        ReturnValue::ULong(value) => say!("  u64 {value:#x}"),
        ReturnValue::Float(value) => say!("  f32 {:#x}", value.to_bits()),
        ReturnValue::Double(value) => say!("  f64 {:#x}", value.to_bits()),
        ReturnValue::Bool(value) => say!("  bool {}", u8::from(value)),
        ReturnValue::String(value) => say!("  string {value}"),
        ReturnValue::VecBytes(value) if value.len() <= SHORT_BYTES => {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            say!("  bytes {} {hex}", value.len());
        }
        ReturnValue::VecBytes(value) => {
            let step =
                |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
            let hash = value.iter().fold(0xCBF2_9CE4_8422_2325, step);
            say!("  bytes {} {hash:#x}", value.len());
        }
        _ => say!("  void"),
    }
}

struct Portrait {
    sandbox: Option<MultiUseSandbox>,
    taken: HashMap<u64, Arc<Snapshot>>,
}

fn register(host: &mut UninitializedSandbox) -> Result<()> {
    host.register_print(|text: String| {
        say!("  printed {text}");
        text.len() as i32
    })?;
    host.register("HostAdd", |a: i32, b: i32| a.wrapping_add(b))?;
    host.register("of_two", |a: i32, b: i32| a.wrapping_add(b))?;
    host.register("plus_one", |value: i32| value + 1)?;
    host.register("of_string", |text: String| text.len() as i32)?;
    host.register("gives_string", || "a string".to_string())?;
    host.register("refuses", |value: i32| -> Result<i32> {
        Err(new_error!("not {value}"))
    })?;
    register_of_values(host)?;
    host.register("twice", |value: f64| 2.0 * value)?;
    host.register("takes_i32", |_: i32| 1i32)?;
    host.register("takes_u32", |_: u32| 1i32)?;
    host.register("takes_i64", |_: i64| 1i32)?;
    host.register("takes_u64", |_: u64| 1i32)?;
    host.register("takes_f32", |_: f32| 1i32)?;
    host.register("takes_f64", |_: f64| 1i32)?;
    host.register("takes_bool", |_: bool| 1i32)?;
    host.register("takes_string", |_: String| 1i32)?;
    host.register("takes_bytes", |_: Vec<u8>| 1i32)?;
    host.register("upper", |text: String| {
        if text.is_empty() {
            return Err(new_error!("nothing to convert"));
        }
        Ok(text.to_ascii_uppercase())
    })
}

fn level(number: u64) -> LevelFilter {
    match number {
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        5 => LevelFilter::TRACE,
        _ => LevelFilter::OFF,
    }
}

fn open(words: &[&str]) -> Result<MultiUseSandbox> {
    let mut config = SandboxConfiguration::default();
    let mut setup = Setup {
        log_level: LevelFilter::OFF,
        ..SETUP
    };
    for word in &words[2..] {
        match word.split_once('=').expect("OPTION=VALUE in the script") {
            ("heap", value) => config.set_heap_size(number(value)),
            ("scratch", value) => config.set_scratch_size(number(value) as usize),
            ("input", value) => config.set_input_data_size(number(value) as usize),
            ("output", value) => config.set_output_data_size(number(value) as usize),
            ("log", value) => setup.log_level = level(number(value)),
            (_, value) => setup.init_data = Some(value.as_bytes().to_vec()),
        }
    }
    let path = find(words[1]).map_err(|_| new_error!("no such guest"))?;
    let binary = GuestBinary::FilePath(path);
    let environment = GuestEnvironment::new(binary, setup.init_data.as_deref());
    let mut host = UninitializedSandbox::new(environment, Some(config))?;
    host.set_max_guest_log_level(setup.log_level);
    register(&mut host)?;
    host.evolve()
}

fn call_as<T: SupportedReturnType>(
    sandbox: &mut MultiUseSandbox,
    words: &[&str],
) -> Result<ReturnValue> {
    let arguments = words[3..].iter().map(|word| parse(word)).collect();
    Ok(sandbox
        .call::<T>(words[2], Arguments(arguments))?
        .into_value())
}

impl Portrait {
    fn print_error(&self, error: &HyperlightError) {
        let is_poisoned = self
            .sandbox
            .as_ref()
            .is_some_and(|sandbox| sandbox.poisoned());
        let text = error.to_string().replace('\n', " ");
        say!(
            "  error {}{text}",
            if is_poisoned { "poisoned " } else { "" }
        );
    }

    fn call(&mut self, words: &[&str]) -> Result<ReturnValue> {
        let sandbox = self
            .sandbox
            .as_mut()
            .ok_or_else(|| new_error!("no sandbox"))?;
        match words[1] {
            "i32" => call_as::<i32>(sandbox, words),
            "u32" => call_as::<u32>(sandbox, words),
            "i64" => call_as::<i64>(sandbox, words),
            "u64" => call_as::<u64>(sandbox, words),
            "f32" => call_as::<f32>(sandbox, words),
            "f64" => call_as::<f64>(sandbox, words),
            "bool" => call_as::<bool>(sandbox, words),
            "string" => call_as::<String>(sandbox, words),
            "bytes" => call_as::<Vec<u8>>(sandbox, words),
            _ => call_as::<()>(sandbox, words),
        }
    }

    /// Words that are not zero, each run of equal steps on one line.
    fn page(&mut self, address: &str) -> Result<()> {
        let place = format!("u64:{address}");
        let found = self.call(&["call", "bytes", "bytes_at", &place, "u32:4096"])?;
        let ReturnValue::VecBytes(bytes) = found else {
            return Ok(());
        };
        let words: Vec<u64> = bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
            .collect();
        let mut i = 0;
        while i < words.len() {
            let first = i;
            i += 1;
            while words[first] != 0
                && i < words.len()
                && words[i] == words[i - 1].wrapping_add(PAGE)
            {
                i += 1;
            }
            if words[first] != 0 {
                say!("  {first}-{} {:#x}", i - 1, words[first]);
            }
        }
        Ok(())
    }

    /// The Nth 8 bytes of what a function gives.
    fn word(&mut self, words: &[&str]) -> Result<()> {
        let at = 8 * number(words[1]) as usize;
        if let ReturnValue::VecBytes(bytes) = self.call(&["call", "bytes", words[2]])?
            && let Some(word) = bytes.get(at..at + 8)
        {
            say!("  {:#x}", u64::from_le_bytes(word.try_into().unwrap()));
        }
        Ok(())
    }

    fn line(&mut self, words: &[&str]) -> Result<()> {
        match words[0] {
            "open" => {
                self.sandbox = None;
                self.taken.clear();
                self.sandbox = Some(open(words)?);
            }
            "call" => print_value(self.call(words)?),
            "page" => self.page(words[1])?,
            "word" => self.word(words)?,
            "take" | "restore" => {
                let sandbox = self
                    .sandbox
                    .as_mut()
                    .ok_or_else(|| new_error!("no sandbox"))?;
                let index = number(words[1]);
                if words[0] == "take" {
                    self.taken.insert(index, sandbox.snapshot()?);
                } else {
                    let taken = self
                        .taken
                        .get(&index)
                        .ok_or_else(|| new_error!("no snapshot"))?;
                    sandbox.restore(Arc::clone(taken))?;
                }
            }
            other => return Err(new_error!("{other} is not known")),
        }
        Ok(())
    }
}

/// Do what a script says: its lines, with what came of each.
pub fn draw(script: &str) -> String {
    let mut portrait = Portrait {
        sandbox: None,
        taken: HashMap::new(),
    };
    for line in script
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        say!("{line}");
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        if let Err(error) = portrait.line(&words) {
            portrait.print_error(&error);
        }
    }
    std::mem::take(&mut TEXT.lock().unwrap())
}

/// How our host says the same: without the layers of the host crate, and in other words where an
/// application reads them and no guest does.
fn reworded(theirs: &str) -> String {
    let mut text = theirs.to_string();
    for layer in [
        "Internal Hyperlight VM error: ",
        "Dispatch guest call error: ",
        "Failed to run vm: ",
        "IO handling error: ",
        "hyperlight_common::flatbuffer_wrappers::",
        "function_types::",
        "function_call::",
        "guest_log_data::",
    ] {
        text = text.replace(layer, "");
    }
    text
}

/// Where the end of an error's text may differ: an exit's name, types, lengths of messages
/// (encoders may pad differently), reasons that the host crate leaves out.
const FREE_ENDS: [&str; 5] = [
    "Unexpected VM exit: ",
    "Failed To Convert Return Value",
    "Not enough space in buffer to push data. Required: ",
    "failed to convert buffer to ",
    "he sandbox ",
];

pub fn is_same(theirs: &str, ours: &str) -> bool {
    let theirs = reworded(theirs);
    if theirs == ours {
        return true;
    }
    FREE_ENDS.iter().any(|part| {
        let starts = |text: &str| text.split_once(part).map(|(start, _)| start.to_lowercase());
        starts(&theirs).is_some() && starts(&theirs) == starts(ours)
    })
}
