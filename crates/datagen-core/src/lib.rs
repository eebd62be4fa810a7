//! What the four generators share. From the records outwards:
//!
//! - making records: [`rng`] (one generator a record), [`locale`] (Czech fakers and their lists),
//!   [`world`] (facts about users and products that all generators share), [`model`] (the records and their
//!   encoding), [`text`] (the buffer they are encoded into);
//! - cutting the work: [`shard`] (ranges of ids for processes), [`chunks`] (ranges of ids for threads);
//! - destinations: [`lake`]; for those in Azure `entra` (sign-in) and `azure_http` (the transport under
//!   Azure's SDKs), by cargo features; [`manifest`] (what was written, for consumers);
//! - the process around them: [`process`] (the skeleton), [`config`] (environment variables), [`telemetry`]
//!   (the log), [`progress`], [`pace`] (RATE), [`shutdown`] (signals), [`error`] (failures and exit codes),
//!   [`secret`], [`retry`] (pauses between attempts), [`blocking`] (calls that wait),
//!   [`file_system`] (locks and durable directories).
//!
//! Dependencies point from the binaries to here. Records know nothing of destinations, and destinations
//! take bytes, not records.

// For `settings!`, which names this crate from within it and from without.
extern crate self as datagen_core;
#[doc(hidden)]
pub use serde;

#[cfg(feature = "entra")]
pub mod azure_http;
pub mod blocking;
pub mod chunks;
pub mod config;
#[cfg(feature = "entra")]
pub mod entra;
pub mod error;
pub mod file_system;
pub mod lake;
mod limits;
pub mod locale;
pub mod manifest;
pub mod model;
pub mod pace;
pub mod process;
pub mod progress;
pub mod retry;
pub mod rng;
pub mod secret;
pub mod shard;
pub mod shutdown;
pub mod telemetry;
pub mod text;
pub mod world;
