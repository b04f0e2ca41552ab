// SPDX-License-Identifier: MIT
//! Log records that the host crate passes on from a guest, kept for the rows to look at.

use std::sync::Mutex;

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub level: log::Level,
    pub text: String,
    pub file: String,
    pub line: u32,
}

static RECORDS: Mutex<Vec<Record>> = Mutex::new(Vec::new());

struct Keeper;

impl log::Log for Keeper {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        metadata.target() == "hyperlight_guest"
    }

    fn log(&self, record: &log::Record) {
        if self.enabled(record.metadata()) {
            RECORDS.lock().unwrap().push(Record {
                level: record.level(),
                text: record.args().to_string(),
                file: record.file().unwrap_or("").to_string(),
                line: record.line().unwrap_or(0),
            });
        }
    }

    fn flush(&self) {}
}

pub fn start() {
    // Only this program sets a logger, once.
    let _ = log::set_logger(&Keeper);
    log::set_max_level(log::LevelFilter::Trace);
}

/// What came since the last time.
pub fn take() -> Vec<Record> {
    std::mem::take(&mut RECORDS.lock().unwrap())
}
