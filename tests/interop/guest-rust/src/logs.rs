// SPDX-License-Identifier: MIT
//! Log records, through the log crate and directly.

use alloc::string::String;

use hyperlight_common::flatbuffer_wrappers::guest_log_level::LogLevel;
use hyperlight_guest_bin::guest_function;
use hyperlight_guest_bin::guest_logger::log_message;

/// level: 0 error, 1 warn, 2 info, 3 debug, 4 trace.
#[guest_function("LogAt")]
fn log_at(level: i32, text: String) {
    match level {
        0 => log::error!("{text}"),
        1 => log::warn!("{text}"),
        2 => log::info!("{text}"),
        3 => log::debug!("{text}"),
        _ => log::trace!("{text}"),
    }
}

/// level: as in the record.
#[guest_function("LogRaw")]
fn log_raw(level: i32, text: String) {
    let level = match level {
        0 => LogLevel::Trace,
        1 => LogLevel::Debug,
        2 => LogLevel::Information,
        3 => LogLevel::Warning,
        4 => LogLevel::Error,
        5 => LogLevel::Critical,
        _ => LogLevel::None,
    };
    log_message(level, &text, "raw-module", "raw-target", "raw-file.rs", 7);
}
