//! The check that this machine provides what every generator needs: a clock, file descriptors, threads and memory.
//! Libraries panic or wait forever if one of them is missing, so this is checked at the start.

use std::num::NonZeroUsize;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::SystemTime;

use crate::error::DestinationError;

/// File descriptors that a generator needs in addition to those that are open at its start: the runtime's, and a few files
/// or connections.
const DESCRIPTORS: usize = 24;

/// Threads that a generator needs in addition to the workers of its runtime: for blocking calls, for making records and for
/// libraries.
const OTHER_THREADS: usize = 6;

/// The maximum address space that a generator needs in addition to its threads' stacks, in bytes.
const MEMORY_BYTES: usize = 128 << 20;

/// A thread's stack, in bytes: the default of the standard library and the runtime.
const STACK_BYTES: usize = 2 << 20;

/// Checks the limits of this process.
///
/// Returns how many workers its runtime may have: one per processor, or fewer where threads are limited.
///
/// # Errors
/// If the limits are too low for any generator, or the clock is before 1970.
pub(crate) fn check() -> Result<NonZeroUsize, DestinationError> {
    if SystemTime::now() < SystemTime::UNIX_EPOCH {
        return Err(too_low("the clock is before 1970", "set it"));
    }
    let processors = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    check_descriptors()?;
    check_memory(processors.get() + OTHER_THREADS)?;
    usable_workers(processors)
}

fn too_low(problem: impl Into<String>, advice: &str) -> DestinationError {
    DestinationError::permanent("this machine", problem).advise(advice)
}

#[cfg(unix)]
fn check_descriptors() -> Result<(), DestinationError> {
    use std::os::fd::AsFd;
    let stderr = std::io::stderr();
    let copies: Result<Vec<_>, _> = (0..DESCRIPTORS)
        .map(|_| stderr.as_fd().try_clone_to_owned())
        .collect();
    match copies {
        Ok(_) => Ok(()),
        Err(error) => Err(too_low(
            format!("{DESCRIPTORS} files cannot be opened ({error})"),
            "raise the limit of open files (ulimit -n)",
        )),
    }
}

#[cfg(not(unix))]
fn check_descriptors() -> Result<(), DestinationError> {
    Ok(())
}

/// Checks that the maximum memory of a generator is available, including the stacks of `threads` threads.
fn check_memory(threads: usize) -> Result<(), DestinationError> {
    let bytes = MEMORY_BYTES + threads * STACK_BYTES;
    let mut reserve = Vec::<u8>::new();
    let reserved = reserve.try_reserve_exact(bytes);
    // An allocation that is visibly unused may be optimised away.
    std::hint::black_box(&reserve);
    reserved.map_err(|_| {
        too_low(
            format!(
                "there is not enough memory: {} MiB of address space are needed in addition to what is in use",
                bytes >> 20
            ),
            "raise the limit of memory (ulimit -v)",
        )
    })
}

/// Starts as many threads as a generator needs, all at the same time, and ends them.
fn usable_workers(processors: NonZeroUsize) -> Result<NonZeroUsize, DestinationError> {
    // The threads wait for the lock, so that all of them exist at the same time.
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write();
    let mut threads = Vec::new();
    let mut refused = None;
    while threads.len() < processors.get() + OTHER_THREADS {
        let gate = Arc::clone(&gate);
        match thread::Builder::new().spawn(move || drop(gate.read())) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    // Each thread has reserved address space for its allocations by now, and keeps it for later threads.
    let memory = check_memory(0);
    drop(closed);
    let started = threads.len();
    for thread in threads {
        // The thread cannot panic.
        let _ = thread.join();
    }
    memory?;
    let workers = started.checked_sub(OTHER_THREADS).and_then(NonZeroUsize::new);
    workers.ok_or_else(|| {
        let reason = refused.map_or_else(String::new, |error| format!(" ({error})"));
        too_low(
            format!(
                "only {started} of at least {} threads can be started{reason}",
                OTHER_THREADS + 1
            ),
            "raise the limit of processes (ulimit -u, the container's pids)",
        )
    })
}
