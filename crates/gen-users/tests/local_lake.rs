//! gen-users as a process against a local directory: the same bytes always, whatever happens on the way.

use std::fs;
use std::path::Path;
use std::time::Instant;

use testkit::process::{
    GeneratorProcess, assert_sample_ends_with_its_reader, assert_samples, assert_start_and_end_name,
    wait_until,
};

fn gen_users(lake: &Path) -> GeneratorProcess {
    let binary = env!("CARGO_BIN_EXE_gen-users");
    GeneratorProcess::new(binary)
        .env("LAKE_URL", format!("file://{}", lake.display()))
        .env("VIP_COUNT", "100")
}

/// Returns every file of a lake with its contents, by its path.
fn contents(lake: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for folder in fs::read_dir(lake).unwrap() {
        let folder = folder.unwrap().path();
        for file in fs::read_dir(&folder).unwrap() {
            let file = file.unwrap().path();
            let name = file.strip_prefix(lake).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read(file).unwrap()));
        }
    }
    files.sort();
    files
}

fn file(lake: &Path, name: &str) -> Vec<u8> {
    fs::read(lake.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn threads_and_shards_do_not_change_a_byte() {
    let whole = tempfile::tempdir().unwrap();
    gen_users(whole.path())
        .env("COUNT", "12345")
        .env("THREADS", "1")
        .succeed();
    let expected = contents(whole.path());
    let names: Vec<_> = expected.iter().map(|(name, _)| name.as_str()).collect();
    let all = [
        "_datagen/users.json",
        "_datagen/vipusers.json",
        "users/users.json",
        "vipusers/vipusers.json",
    ];
    assert_eq!(names, all);

    for threads in ["1", "2", "4"] {
        let again = tempfile::tempdir().unwrap();
        gen_users(again.path())
            .env("COUNT", "12345")
            .env("THREADS", threads)
            .succeed();
        assert!(contents(again.path()) == expected, "{threads} threads");
    }
    for shards in [1, 2, 7] {
        let lake = tempfile::tempdir().unwrap();
        // The order of the shards does not matter.
        for index in (0..shards).rev() {
            gen_users(lake.path())
                .env("COUNT", "12345")
                .env("SHARD_INDEX", index.to_string())
                .env("SHARD_COUNT", shards.to_string())
                .succeed();
        }
        for kind in ["users", "vipusers"] {
            let part = |index: u32| match shards {
                1 => file(lake.path(), &format!("{kind}/{kind}.json")),
                _ => file(
                    lake.path(),
                    &format!("{kind}/{kind}-{index:05}-of-{shards:05}.json"),
                ),
            };
            let joined: Vec<u8> = (0..shards).flat_map(part).collect();
            assert!(
                joined == file(whole.path(), &format!("{kind}/{kind}.json")),
                "{kind} of {shards} shards"
            );
        }
    }
    let other = tempfile::tempdir().unwrap();
    gen_users(other.path())
        .env("COUNT", "12345")
        .env("SEED", "1")
        .succeed();
    assert!(file(other.path(), "users/users.json") != file(whole.path(), "users/users.json"));
    // VIP users are the users who buy most, and these are the same for all seeds.
    assert!(file(other.path(), "vipusers/vipusers.json") == file(whole.path(), "vipusers/vipusers.json"));
}

#[test]
fn files_of_another_split_cause_one_warning_a_folder() {
    let lake = tempfile::tempdir().unwrap();
    let run = |index: u32, count: u32| {
        gen_users(lake.path())
            .env("COUNT", "300")
            .env("SHARD_INDEX", index.to_string())
            .env("SHARD_COUNT", count.to_string())
            .succeed()
            .output
    };
    for index in 0..3 {
        let output = run(index, 3);
        assert!(!output.contains("WARN"), "{output}");
    }
    let output = run(0, 1);
    for folder in ["users", "vipusers"] {
        let warning = format!(
            "/{folder}: this run has SHARD_COUNT=1, but there are manifests of runs with SHARD_COUNT=3 \
             ({folder}-*-of-00003.json): a reader of the folder reads every record more than once"
        );
        assert_eq!(output.matches(&warning).count(), 1, "{output}");
    }
    let output = run(2, 3);
    let warning = "with SHARD_COUNT=1 (users.json)";
    assert!(output.contains(warning), "{output}");
}

#[test]
fn counts_are_exact_and_the_manifest_says_so() {
    for count in [0, 1, 99, 100, 101, 1_000] {
        let lake = tempfile::tempdir().unwrap();
        let binary = env!("CARGO_BIN_EXE_gen-users");
        let url = format!("file://{}", lake.path().display());
        GeneratorProcess::new(binary)
            .env("LAKE_URL", url)
            .env("COUNT", count.to_string())
            .succeed();
        for kind in ["users", "vipusers"] {
            let data = file(lake.path(), &format!("{kind}/{kind}.json"));
            assert_eq!(
                data.iter().filter(|byte| **byte == b'\n').count(),
                count,
                "{kind}"
            );
            let manifest: serde_json::Value =
                serde_json::from_slice(&file(lake.path(), &format!("_datagen/{kind}.json"))).unwrap();
            assert_eq!(manifest["count"], count);
            assert_eq!(manifest["records"], count);
            assert_eq!(manifest["bytes"], data.len());
            assert_eq!(manifest["path"], format!("{kind}/{kind}.json"));
            assert_eq!(manifest["digest"]["hex"], testkit::xxh128(&data));
        }
    }
}

#[test]
fn a_killed_run_shows_nothing_and_the_next_one_ends_as_if_undisturbed() {
    let undisturbed = tempfile::tempdir().unwrap();
    let started = Instant::now();
    gen_users(undisturbed.path()).env("COUNT", "60000").succeed();
    let duration = started.elapsed();
    let expected = contents(undisturbed.path());
    let users = file(undisturbed.path(), "users/users.json");

    let lake = tempfile::tempdir().unwrap();
    let published = lake.path().join("users/users.json");
    for round in 0..30 {
        // The moments range from before the first byte to after the last.
        let moment = duration.mul_f64(f64::from(testkit::scattered(round, 110)) / 100.0);
        gen_users(lake.path())
            .env("COUNT", "60000")
            .run_and_kill_after(moment);
        if published.exists() {
            assert!(
                fs::read(&published).unwrap() == users,
                "a partial users.json was published"
            );
            // The next kill then finds an unpublished file again.
            fs::remove_file(&published).unwrap();
        }
    }
    gen_users(lake.path()).env("COUNT", "60000").succeed();
    assert!(contents(lake.path()) == expected);
}

#[cfg(unix)]
#[test]
fn a_signal_stops_promptly_and_leaves_nothing_half_written() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let lake = tempfile::tempdir().unwrap();
        let mut child = gen_users(lake.path()).env("COUNT", "2000000000").start();
        let temporary = lake.path().join("_temporary");
        wait_until(&mut child, || {
            fs::read_dir(&temporary).map_or(0, Iterator::count) > 0
        });
        testkit::process::send_signal(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(
            !temporary.exists(),
            "the temporary file and its directory are gone"
        );
        assert!(!lake.path().join("users/users.json").exists());
    }
}

#[test]
fn the_first_failure_ends_the_run() {
    let lake = tempfile::tempdir().unwrap();
    fs::write(lake.path().join("vipusers"), "a file where a directory is needed").unwrap();
    let finished = gen_users(lake.path()).env("COUNT", "400000").run();
    assert_eq!(finished.code, Some(1), "{}", finished.output);
    assert!(finished.output.contains("vipusers: "), "{}", finished.output);
    assert!(!lake.path().join("users/users.json").exists());
}

/// Returns the peak memory in KiB.
#[cfg(target_os = "linux")]
fn peak_memory(count: &str) -> u64 {
    let lake = tempfile::tempdir().unwrap();
    gen_users(lake.path())
        .env("COUNT", count)
        .env("THREADS", "2")
        .peak_memory()
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_count() {
    let (few, many) = (peak_memory("100000"), peak_memory("3000000"));
    assert!(many < 64 << 10, "{many} KiB");
    assert!(
        many.abs_diff(few) * 10 < few,
        "{few} KiB for 100 000 users, {many} KiB for 3 000 000"
    );
}

#[test]
fn a_sample_has_the_first_lines_of_the_file() {
    let lake = tempfile::tempdir().unwrap();
    gen_users(lake.path()).env("COUNT", "1000").succeed();
    let binary = env!("CARGO_BIN_EXE_gen-users");
    let sample = assert_samples(binary, &[("COUNT", "1000")], 1000).join("\n") + "\n";
    assert!(sample.as_bytes() == file(lake.path(), "users/users.json"));
    assert_sample_ends_with_its_reader(binary, &[]);
}

#[test]
fn the_log_says_what_goes_where() {
    let lake = tempfile::tempdir().unwrap();
    let file = lake.path().join("users/users.json");
    assert_start_and_end_name(gen_users(lake.path()).env("COUNT", "200"), file.to_str().unwrap());
}
