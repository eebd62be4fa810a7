//! Runs stream-pageviews as a process that writes local files.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use testkit::process::{
    GeneratorProcess, assert_sample_ends_with_its_reader, assert_samples, assert_start_and_end_name,
    wait_until,
};

fn stream(directory: &Path) -> GeneratorProcess {
    GeneratorProcess::new(env!("CARGO_BIN_EXE_stream-pageviews"))
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

/// Returns the lines of the two files.
fn both(directory: &Path) -> [Vec<String>; 2] {
    ["pageviews.jsonl", "stars.jsonl"].map(|name| lines(directory, name))
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn manifest(path: &Path) -> serde_json::Value {
    json(&fs::read_to_string(path).unwrap())
}

/// Returns how often `effect` was planted, according to the manifest.
fn planted(manifest: &serde_json::Value, effect: &str) -> usize {
    let effects = manifest["planted"].as_array().unwrap();
    let found = effects.iter().find(|found| found["effect"] == effect).unwrap();
    found["count"].as_u64().unwrap() as usize
}

/// A stream of six sources for two hours of a day in the past.
fn range(directory: &Path) -> GeneratorProcess {
    stream(directory)
        .env("STREAM_FROM", "2026-01-31T23:00:00+01:00")
        .env("STREAM_TO", "2026-02-01")
        .env("CONCURRENT_USERS", "6")
        .env("SEED", "5")
}

#[test]
fn a_finite_range_of_time_gives_the_same_bytes_at_any_speed() {
    let [whole, slow] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    range(whole.path()).succeed();
    range(slow.path()).env("RATE", "30000").succeed();
    let [pageviews, stars] = both(whole.path());
    // 4 282 sessions with 10.5 pageviews each, 1 in 50 rated, minus what the end cuts off.
    assert!((40_000..48_000).contains(&pageviews.len()), "{}", pageviews.len());
    assert!((45..130).contains(&stars.len()), "{}", stars.len());
    assert!(both(slow.path()) == [pageviews.clone(), stars.clone()]);

    let time = |line: &String| json(line)["event_time"].as_str().unwrap().to_owned();
    let times: Vec<_> = pageviews.iter().map(time).collect();
    assert!(times.is_sorted() && *times[0] > *"2026-01-31T22:00:00.000Z");
    assert!(*times[times.len() - 1] < *"2026-02-01" && *times[times.len() - 1] > *"2026-01-31T23:59");

    let manifests = [&whole, &slow].map(|run| manifest(&run.path().join("_datagen/stream.json")));
    assert_eq!(manifests[0], manifests[1]);
    let [manifest, _] = &manifests;
    assert_eq!(manifest["pageviews"], pageviews.len());
    assert_eq!(manifest["stars"], stars.len());
    assert_eq!((&manifest["seed"], &manifest["lost"]), (&5.into(), &0.into()));
    assert_eq!(manifest["from"], "2026-01-31T22:00:00Z");
    let empty = pageviews
        .iter()
        .filter(|line| json(line)["client_ip"] == "")
        .count();
    assert_eq!(planted(manifest, "empty_address"), empty);
    assert_eq!(planted(manifest, "star_rating"), stars.len());
    assert_eq!(planted(manifest, "late") + planted(manifest, "duplicate"), 0);
}

#[test]
fn the_files_of_shards_merge_into_those_of_a_single_run() {
    let whole = tempfile::tempdir().unwrap();
    range(whole.path()).succeed();
    let expected = both(whole.path());
    let of_whole = manifest(&whole.path().join("_datagen/stream.json"));
    for count in [2, 5] {
        let parts = tempfile::tempdir().unwrap();
        let mut manifests = Vec::new();
        for index in 0..count {
            range(parts.path())
                .env("SHARD_INDEX", index.to_string())
                .env("SHARD_COUNT", count.to_string())
                .succeed();
            let name = format!("_datagen/stream-{index:05}-of-{count:05}.json");
            manifests.push(manifest(&parts.path().join(name)));
        }
        let key = |line: &String| {
            let message = json(line);
            ["event_time", "event_id"].map(|field| message[field].as_str().unwrap().to_owned())
        };
        let merged = both(parts.path()).map(|mut lines| {
            lines.sort_by_cached_key(key);
            lines
        });
        assert!(merged == expected, "{count} shards");
        for effect in of_whole["planted"].as_array().unwrap() {
            let name = effect["effect"].as_str().unwrap();
            let sum: usize = manifests.iter().map(|manifest| planted(manifest, name)).sum();
            assert_eq!(sum, planted(&of_whole, name), "{name}");
        }
    }
}

#[test]
fn late_messages_and_duplicates_are_counted_in_the_manifest() {
    let [plain, faulty] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    range(plain.path()).succeed();
    range(faulty.path())
        .env("LATE_ONE_IN", "50")
        .env("DUPLICATE_ONE_IN", "40")
        .succeed();
    let manifest = manifest(&faulty.path().join("_datagen/stream.json"));
    let (mut late, mut duplicates) = (0, 0);
    for (mut plain, faulty) in both(plain.path()).into_iter().zip(both(faulty.path())) {
        let mut seen = HashMap::new();
        let mut newest = String::new();
        let all = faulty.len();
        for line in faulty {
            let message = json(&line);
            let (id, time) = (message["event_id"].to_string(), message["event_time"].to_string());
            if let Some(first) = seen.get(&id) {
                assert_eq!(first, &line, "equal ids mean equal bytes");
                duplicates += 1;
                continue;
            }
            // With so many pageviews, one that is not late is never older than the newest one.
            late += usize::from(time < newest && message.get("uri").is_some());
            newest = newest.max(time);
            seen.insert(id, line);
        }
        assert!(all >= plain.len());
        let mut distinct: Vec<_> = seen.into_values().collect();
        distinct.sort();
        plain.sort();
        assert!(distinct == plain, "late messages and duplicates lose nothing");
    }
    assert_eq!(planted(&manifest, "duplicate"), duplicates);
    let late_planted = planted(&manifest, "late");
    assert!(
        late_planted >= late && late_planted <= late + 20,
        "{late_planted}, {late} pageviews seen"
    );
    assert!(
        late > 600 && duplicates > 800,
        "{late} late, {duplicates} duplicates"
    );
}

#[test]
fn a_seed_gives_the_same_sessions_to_any_shards_of_a_load_test() {
    let run = |directory: &Path, seed: &str, index: u32, count: u32, fields: bool| {
        stream(directory)
            .env("SESSION_PAUSE_MEAN", "0")
            .env("SESSIONS", "1000")
            .env("CONCURRENT_USERS", "7")
            .env("SEED", seed)
            .env("SHARD_INDEX", index.to_string())
            .env("SHARD_COUNT", count.to_string())
            .env("EVENT_FIELDS", fields.to_string())
            .succeed();
    };
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let whole = tempfile::tempdir().unwrap();
    run(whole.path(), "5", 0, 1, false);
    let [pageviews, stars] = both(whole.path()).map(sorted);
    assert!((9_000..12_500).contains(&pageviews.len()), "{}", pageviews.len());
    assert!((5..50).contains(&stars.len()), "{}", stars.len());
    for count in [2, 7] {
        let parts = tempfile::tempdir().unwrap();
        for index in 0..count {
            run(parts.path(), "5", index, count, false);
        }
        assert!(
            both(parts.path()).map(sorted) == [pageviews.clone(), stars.clone()],
            "{count} shards"
        );
    }
    let other = tempfile::tempdir().unwrap();
    run(other.path(), "6", 0, 1, false);
    assert!(sorted(lines(other.path(), "pageviews.jsonl")) != pageviews);

    // With the fields of events, only these fields are added.
    let fields = tempfile::tempdir().unwrap();
    run(fields.path(), "5", 0, 1, true);
    let without = |line: String| {
        let at = line.find(",\"event_time\":").unwrap();
        assert!(json(&line)["event_id"].as_str().unwrap().len() <= 40);
        format!("{}}}", &line[..at])
    };
    let found = both(fields.path()).map(|lines| sorted(lines.into_iter().map(without).collect()));
    assert!(found == [pageviews, stars]);
}

#[test]
fn the_same_stream_again_in_the_same_directory_is_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let small = |seed: &str| {
        let run = range(directory.path()).env("STREAM_TO", "2026-01-31T22:05:00Z");
        run.env("SEED", seed).succeed().output
    };
    let first = small("5");
    assert!(!first.contains("again, "), "{first}");
    let other = small("6");
    assert!(
        other.contains("has lines of earlier runs") && !other.contains("WARN"),
        "{other}"
    );
    let again = small("6");
    assert!(again.contains("the same events are appended again"), "{again}");
    let later = range(directory.path())
        .env("STREAM_TO", "2026-01-31T22:05:00Z")
        .env("STREAM_FROM", "2026-01-31T22:01:00Z")
        .env("SEED", "6")
        .succeed()
        .output;
    assert!(later.contains("the same sessions are appended again"), "{later}");
}

#[cfg(unix)]
#[test]
fn lines_in_a_file_that_is_removed_are_reported_as_lost() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("stream");
    let mut child = stream(&directory)
        .env("SESSION_PAUSE_MEAN", "0")
        .env("RATE", "20000")
        .start_logging();
    let pageviews = directory.join("pageviews.jsonl");
    let is_written = || fs::metadata(&pageviews).is_ok_and(|file| file.len() >= 100_000);
    wait_until(&mut child, is_written);
    fs::remove_dir_all(&directory).unwrap();
    wait_until(&mut child, is_written);
    testkit::process::send_signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("was removed: the messages in it are lost"), "{log}");
    let manifest = manifest(&directory.join("_datagen/stream.json"));
    let found = both(&directory).iter().map(Vec::len).sum::<usize>();
    assert_eq!(manifest["delivered"], found);
    assert!(manifest["lost"].as_u64().unwrap() > 0);
    assert!(
        log.contains(&format!(
            "{} messages were lost, {found} delivered",
            manifest["lost"]
        )),
        "{log}"
    );
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
            .env("EVENT_FIELDS", "false")
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
    // The next process removes the partial line that the last kill left.
    shard(shared.path(), 1).env("SESSIONS", "2").succeed();

    for name in ["pageviews.jsonl", "stars.jsonl"] {
        let mut found = HashMap::<String, usize>::new();
        for line in lines(shared.path(), name) {
            json(&line);
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
            .env("CONCURRENT_USERS", "3")
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
        let pageviews = lines(directory.path(), "pageviews.jsonl");
        let now = chrono::Utc::now();
        for line in &pageviews {
            let time = json(line)["event_time"].as_str().unwrap().to_owned();
            assert!(chrono::DateTime::parse_from_rfc3339(&time).unwrap() <= now);
        }
        let manifest = manifest(&directory.path().join("_datagen/stream.json"));
        assert_eq!(manifest["pageviews"], pageviews.len());
    }
}

#[test]
fn a_sample_has_the_messages_in_order_of_event_time() {
    let directory = tempfile::tempdir().unwrap();
    range(directory.path()).succeed();
    let mut expected = both(directory.path()).concat();
    // By time, session and position in the session: within a session, the ids of events are in this order.
    expected.sort_by_key(|line| {
        let message = json(line);
        ["event_time", "event_id"].map(|field| message[field].as_str().unwrap().to_owned())
    });
    let settings = [
        ("USER_MAX_ID", "499"),
        ("PRODUCT_MAX_ID", "99"),
        ("STREAM_FROM", "2026-01-31T23:00:00+01:00"),
        ("STREAM_TO", "2026-02-01"),
        ("CONCURRENT_USERS", "6"),
        ("SEED", "5"),
        // A sample contains no such messages.
        ("LATE_ONE_IN", "2"),
        ("DUPLICATE_ONE_IN", "2"),
    ];
    let binary = env!("CARGO_BIN_EXE_stream-pageviews");
    assert_eq!(assert_samples(binary, &settings, expected.len()), expected);
    assert_sample_ends_with_its_reader(binary, &[]);
}

#[test]
fn the_log_says_what_goes_where() {
    let directory = tempfile::tempdir().unwrap();
    let stream = stream(directory.path())
        .env("SESSIONS", "20")
        .env("SESSION_PAUSE_MEAN", "0");
    assert_start_and_end_name(stream, directory.path().to_str().unwrap());
}
