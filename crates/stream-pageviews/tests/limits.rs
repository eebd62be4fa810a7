//! stream-pageviews under limits that are too low, and on file systems that lack some functions.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs;
use std::path::Path;

use testkit::process::{GeneratorProcess, assert_limits_are_reported};
use testkit::system_calls::{SystemCallFault, errno, synced_paths, with_fault};

const BINARY: &str = env!("CARGO_BIN_EXE_stream-pageviews");

fn configured(generator: GeneratorProcess, directory: &Path) -> GeneratorProcess {
    generator
        .env("STREAM_URL", format!("file://{}", directory.display()))
        .env("SESSIONS", "20")
        .env("SESSION_PAUSE_MEAN", "0")
        .env("SESSION_PAUSE_STDDEV", "0")
}

#[test]
fn limits_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    assert_limits_are_reported(BINARY, &[("STREAM_URL", &url), ("SESSIONS", "1")]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_limit_of_the_file_size_is_an_error_and_not_the_end_by_a_signal() {
    let directory = tempfile::tempdir().unwrap();
    let limited = configured(
        GeneratorProcess::with_file_size_limit(BINARY, 2),
        directory.path(),
    )
    .run();
    assert_eq!(limited.code, Some(1), "{}", limited.output);
    assert!(limited.output.contains("ulimit -f"), "{}", limited.output);
}

#[test]
fn a_file_system_without_locks_is_enough() {
    for errno in [errno::ENOSYS, errno::ENOLCK] {
        let directory = tempfile::tempdir().unwrap();
        let generator = configured(GeneratorProcess::new(BINARY), directory.path());
        with_fault(generator, &SystemCallFault::Flock(errno)).succeed();
        assert!(
            fs::metadata(directory.path().join("pageviews.jsonl"))
                .unwrap()
                .len()
                > 0
        );
    }
}

#[test]
fn the_directory_and_its_files_are_durable() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let directory = root.join("new/stream");
    let synced = synced_paths(configured(GeneratorProcess::new(BINARY), &directory));
    for path in [
        &root,
        &root.join("new"),
        &directory,
        &directory.join("stars.jsonl"),
    ] {
        assert!(
            synced.iter().any(|synced| synced.as_str() == path.as_os_str()),
            "{}: {synced:?}",
            path.display()
        );
    }
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pageviews.jsonl");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let finished = configured(GeneratorProcess::new(BINARY), directory.path()).run();
    assert_eq!(finished.code, Some(1), "{}", finished.output);
    assert!(
        finished
            .output
            .contains("pageviews.jsonl: it is not a regular file"),
        "{}",
        finished.output
    );
}
