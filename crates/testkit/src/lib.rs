//! Development only: tools for testing the generators.
//!
//! - [`process`]: runs a generator as a process with only the given environment;
//! - [`dfs`]: a strict storage account in memory; [`faults`]: a proxy that injects faults in front of it;
//! - [`stub`]: an HTTP server whose answers are defined by the test;
//! - [`log`]: captures what code in the test process logs;
//! - [`imds`]: the identity endpoint of Azure's machines;
//! - [`tds`]: a TDS server (SQL Server's protocol) with faults on demand;
//! - [`system_calls`]: faults of the C library in the process of a generator.

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

/// Returns the 128-bit XXH3 of `bytes` in hexadecimal digits, as `xxh128sum` prints it.
pub fn xxh128(bytes: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}

/// Returns the `n`-th number of a fixed series in `0..end` that covers the range evenly in no apparent order: the
/// moments at which tests disturb a process.
pub fn scattered(n: u32, end: u32) -> u32 {
    // Multiples of the golden ratio modulo 1.
    ((u64::from(n.wrapping_mul(2_654_435_769)) * u64::from(end)) >> 32) as u32
}

/// Returns what `mutex` guards, even after a test that held it has panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
