//! Faults of the C library's functions in the process of a generator: the effects of an unusual file system, a limited
//! container or a wrong clock.
//!
//! A small library is compiled with `cc` and preloaded, so that the generator runs unchanged. Only for Linux with
//! glibc.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::process::GeneratorProcess;

/// One fault.
#[derive(Clone, Debug)]
pub enum SystemCallFault {
    /// Locks of files fail with this error number.
    Flock(i32),
    /// Asking for the metadata of a path in `_temporary/` fails with this error number.
    Statx(i32),
    /// The clock shows this many seconds since 1970.
    Clock(i64),
    /// At most this many threads exist besides the main one, as under `ulimit -u`.
    Threads(u32),
    /// Directories whose paths end in this text cannot be opened for reading.
    List(&'static str),
    /// Host names cannot be resolved: `getaddrinfo` returns this code.
    Resolve(i32),
}

/// The error numbers of Linux that tests use.
pub mod errno {
    /// Input/output error.
    pub const EIO: i32 = 5;
    /// No locks available.
    pub const ENOLCK: i32 = 37;
    /// Function not implemented.
    pub const ENOSYS: i32 = 38;
    /// The resolver knows no such host name (<netdb.h>).
    pub const EAI_NONAME: i32 = -2;
    /// The resolver got no answer (<netdb.h>).
    pub const EAI_AGAIN: i32 = -3;
}

/// Adds `fault` to `generator`.
pub fn with_fault(generator: GeneratorProcess, fault: &SystemCallFault) -> GeneratorProcess {
    let generator = generator.env("LD_PRELOAD", library());
    match fault {
        SystemCallFault::Flock(errno) => generator.env("FAULT_FLOCK", errno.to_string()),
        SystemCallFault::Statx(errno) => generator.env("FAULT_STATX", errno.to_string()),
        SystemCallFault::Clock(seconds) => generator.env("FAULT_CLOCK", seconds.to_string()),
        SystemCallFault::Threads(limit) => generator.env("FAULT_THREADS", limit.to_string()),
        SystemCallFault::List(suffix) => generator.env("FAULT_LIST", suffix),
        SystemCallFault::Resolve(code) => generator.env("FAULT_RESOLVE", code.to_string()),
    }
}

/// Runs `generator`, asserts that it succeeds, and returns the paths for which it called `fsync`, in order.
pub fn synced_paths(generator: GeneratorProcess) -> Vec<String> {
    let log = tempfile::NamedTempFile::new().expect("the machine has a temporary directory");
    generator
        .env("LD_PRELOAD", library())
        .env("LOG_FSYNC", log.path())
        .succeed();
    let paths = std::fs::read_to_string(log.path()).expect("the log is ours");
    paths.lines().map(str::to_owned).collect()
}

/// Returns the path of the library, which is compiled when it is first needed.
fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/system_calls/faults.c");
        let test = std::env::current_exe().expect("the test is a file");
        let path = test.with_extension("faults.so");
        // Tests that run at the same time see a complete library or none.
        let new = test.with_extension(format!("faults.{}", std::process::id()));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&new)
            .args([source, "-ldl"])
            .status();
        assert!(compiled.expect("cc is a build requirement").success());
        std::fs::rename(&new, &path).expect("the directory of the test can be written");
        path
    })
}
