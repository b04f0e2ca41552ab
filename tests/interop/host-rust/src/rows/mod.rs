// SPDX-License-Identifier: MIT
//! The rows, by what they are about.

pub mod calls;
pub mod ends;
pub mod host_functions;
pub mod library;
pub mod memory;
pub mod output;
pub mod portraits;
pub mod snapshots;
