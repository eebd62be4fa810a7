//! Development only: what the generators are tested with.
//!
//! - [`process`]: runs a generator as a process with nothing but the given environment;
//! - [`dfs`]: a strict storage account in memory; [`faults`]: a proxy that breaks things before it;
//! - [`stub`]: an HTTP server that makes up its answers;
//! - [`log`]: what code in the test's own process logs;
//! - [`imds`]: the identity endpoint of Azure's machines;
//! - [`tds`]: a TDS server (SQL Server's protocol) with faults on demand;
//! - [`system_calls`]: faults of the C library in a generator's process.

pub mod dfs;
pub mod faults;
pub mod imds;
pub mod log;
pub mod process;
pub mod stub;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub mod system_calls;
pub mod tds;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// XXH3 of 128 bits in hexadecimal digits, as `xxh128sum` prints it.
pub fn xxh128(bytes: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}

/// The `n`-th of a fixed series of numbers in `0..end` that covers the range evenly in no apparent order:
/// moments at which tests disturb a process.
pub fn scattered(n: u32, end: u32) -> u32 {
    // Multiples of the golden ratio modulo 1.
    ((u64::from(n.wrapping_mul(2_654_435_769)) * u64::from(end)) >> 32) as u32
}

/// What `mutex` guards, also after a test that held it has panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
