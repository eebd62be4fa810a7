//! The common part of the four generators' processes. [`main`] runs a generator from start to exit. The modules are:
//!
//! - [`generator`]: the trait that a generator implements, and the run from the environment to the exit code;
//! - [`common`]: the settings that all generators read, validated;
//! - `limits`: the check, at the start, that the machine provides what every generator needs;
//! - [`telemetry`] (the log), [`progress`] (bars, progress lines, the summary), [`shutdown`] (signals);
//! - [`error`]: the errors that can end a run, each with its exit code;
//! - [`shard`] (ranges of ids per process) and [`chunks`] (ranges of ids per thread);
//! - [`file_system`]: locks and durable directories on any file system;
//! - [`pace`] (RATE), [`retry`] (pauses between attempts), [`blocking`] (calls that block);
//! - [`manifest`]: the description of what was written;
//! - [`sample`]: `--sample`, the first records without a destination.

#![warn(missing_docs)]

pub mod blocking;
pub mod chunks;
pub mod common;
pub mod error;
pub mod file_system;
pub mod generator;
mod limits;
pub mod manifest;
pub mod pace;
pub mod progress;
pub mod retry;
pub mod sample;
pub mod shard;
pub mod shutdown;
pub mod telemetry;

pub use generator::main;
