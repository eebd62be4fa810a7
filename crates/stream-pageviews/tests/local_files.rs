//! stream-pageviews as a process against local files.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use testkit::process::{Generator, wait_until};

fn stream(directory: &Path) -> Generator {
    Generator::new(env!("CARGO_BIN_EXE_stream-pageviews"))
        .env("STREAM_URL", format!("file://{}", directory.display()))
        .env("USER_MAX_ID", "499")
        .env("PRODUCT_MAX_ID", "99")
}

fn lines(directory: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(directory.join(name)).unwrap_or_default();
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "{name} ends within a line"
    );
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_seed_gives_the_same_sessions_to_any_shards() {
    let run = |directory: &Path, seed: &str, index: u32, count: u32| {
        stream(directory)
            .env("SESSION_PAUSE_MEAN", "0")
            .env("SESSIONS", "1000")
            .env("SEED", seed)
            .env("SHARD_INDEX", index.to_string())
            .env("SHARD_COUNT", count.to_string())
            .succeed();
    };
    let whole = tempfile::tempdir().unwrap();
    run(whole.path(), "5", 0, 1);
    let (pageviews, stars) = (
        lines(whole.path(), "pageviews.jsonl"),
        lines(whole.path(), "stars.jsonl"),
    );
    assert!((9_000..12_500).contains(&pageviews.len()), "{}", pageviews.len());
    assert!((5..50).contains(&stars.len()), "{}", stars.len());

    for count in [2, 7] {
        let parts = tempfile::tempdir().unwrap();
        for index in 0..count {
            run(parts.path(), "5", index, count);
        }
        let sorted = |mut lines: Vec<String>| {
            lines.sort();
            lines
        };
        assert!(
            sorted(lines(parts.path(), "pageviews.jsonl")) == sorted(pageviews.clone()),
            "{count} shards"
        );
        assert!(
            sorted(lines(parts.path(), "stars.jsonl")) == sorted(stars.clone()),
            "{count} shards"
        );
    }
    let other = tempfile::tempdir().unwrap();
    run(other.path(), "6", 0, 1);
    assert!(lines(other.path(), "pageviews.jsonl") != pageviews);
}

#[test]
fn without_a_seed_each_run_differs_and_says_its_seed() {
    let directory = tempfile::tempdir().unwrap();
    let run = || {
        stream(directory.path())
            .env("SESSION_PAUSE_MEAN", "0")
            .env("SESSIONS", "1")
            .succeed()
            .output
    };
    let seed = |output: String| {
        let (_, rest) = output.split_once("seed=").expect("the seed is logged");
        rest.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    assert_ne!(seed(run()), seed(run()));
}

#[test]
fn a_shard_killed_again_and_again_breaks_no_line_of_another() {
    let shard = |directory: &Path, index: u32| {
        stream(directory)
            .env("SESSION_PAUSE_MEAN", "0")
            .env("SEED", "5")
            .env("SHARD_COUNT", "2")
            .env("SHARD_INDEX", index.to_string())
    };
    let (alone, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = |directory: &Path| shard(directory, 0).env("SESSIONS", "10000");
    first(alone.path()).succeed();
    let mut undisturbed = first(shared.path()).env("RATE", "40000").start();
    for round in 0..20 {
        shard(shared.path(), 1).run_and_kill_after(Duration::from_millis(20 + round));
    }
    assert!(undisturbed.wait().unwrap().success());
    // Whoever comes next removes the last kill's half line.
    shard(shared.path(), 1).env("SESSIONS", "2").succeed();

    for name in ["pageviews.jsonl", "stars.jsonl"] {
        let mut found = HashMap::<String, usize>::new();
        for line in lines(shared.path(), name) {
            serde_json::from_str::<serde_json::Value>(&line)
                .unwrap_or_else(|error| panic!("{error}: {line}"));
            *found.entry(line).or_default() += 1;
        }
        for line in lines(alone.path(), name) {
            let left = found.get_mut(&line).filter(|left| **left > 0);
            *left.unwrap_or_else(|| panic!("{name} has lost {line}")) -= 1;
        }
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_endless_stream_in_good_order() {
    for signal in ["TERM", "INT"] {
        let directory = tempfile::tempdir().unwrap();
        let mut child = stream(directory.path())
            .env("SESSION_PAUSE_MEAN", "0.01")
            .env("SESSION_PAUSE_STDDEV", "0")
            .start();
        let pageviews = directory.path().join("pageviews.jsonl");
        wait_until(&mut child, || {
            fs::metadata(&pageviews).is_ok_and(|file| file.len() >= 10_000)
        });
        testkit::process::send_signal(&child, signal);
        assert_eq!(
            child.wait().unwrap().code(),
            Some(0),
            "{signal} is how a stream ends well"
        );
        for line in lines(directory.path(), "pageviews.jsonl") {
            serde_json::from_str::<serde_json::Value>(&line).unwrap();
        }
    }
}
