//! gen-products as a process against a local directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use testkit::process::{
    GeneratorProcess, assert_sample_ends_with_its_reader, assert_samples, assert_start_and_end_name,
    wait_until,
};

fn gen_products(lake: &Path, count: u32) -> GeneratorProcess {
    let binary = env!("CARGO_BIN_EXE_gen-products");
    GeneratorProcess::new(binary)
        .env("LAKE_URL", format!("file://{}", lake.display()))
        .env("COUNT", count.to_string())
}

/// Returns the product files by name.
fn products(lake: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(lake.join("products")).into_iter().flatten();
    let files = entries.map(|entry| {
        let entry = entry.unwrap();
        (
            entry.file_name().into_string().unwrap(),
            fs::read(entry.path()).unwrap(),
        )
    });
    files.collect()
}

#[test]
fn one_file_each_and_none_is_missing() {
    for count in [0, 1, 99, 100, 101, 1_000] {
        let lake = tempfile::tempdir().unwrap();
        gen_products(lake.path(), count).succeed();
        let products = products(lake.path());
        assert_eq!(products.len(), count as usize);
        let mut all = Vec::new();
        for id in 0..count {
            let contents = &products[&format!("product_{id}.json")];
            let text = std::str::from_utf8(contents).unwrap();
            assert!(text.ends_with("]}\n") && text.lines().count() == 1, "{text:?}");
            let fields =
                ["{\"id\":", ",\"name\":", ",\"description\":", ",\"pages\":["].map(|field| text.find(field));
            assert!(fields[0] == Some(0) && fields.is_sorted(), "{text}");
            let product: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(product["id"], id);
            assert_eq!(product["name"], format!("product_{id}"));
            assert_eq!(product["pages"].as_array().unwrap().len(), 3);
            all.extend_from_slice(contents);
        }
        let manifest = fs::read(lake.path().join("_datagen/products.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["records"], count);
        assert_eq!(manifest["bytes"], all.len());
        assert_eq!(manifest["digest"]["hex"], testkit::xxh128(&all));
        assert!(!lake.path().join("_temporary").exists());
    }
}

#[test]
fn shards_do_not_change_a_byte() {
    let whole = tempfile::tempdir().unwrap();
    gen_products(whole.path(), 500).succeed();
    for shards in [1_u32, 2, 7] {
        let lake = tempfile::tempdir().unwrap();
        for index in (0..shards).rev() {
            gen_products(lake.path(), 500)
                .env("SHARD_INDEX", index.to_string())
                .env("SHARD_COUNT", shards.to_string())
                .succeed();
        }
        assert!(products(lake.path()) == products(whole.path()), "{shards} shards");
    }
    let other = tempfile::tempdir().unwrap();
    gen_products(other.path(), 500).env("SEED", "1").succeed();
    assert!(products(other.path()) != products(whole.path()));
}

#[test]
fn a_killed_run_leaves_whole_files_and_the_next_one_ends_as_if_undisturbed() {
    let undisturbed = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let mut child = gen_products(undisturbed.path(), 1_500).start();
    let last = undisturbed.path().join("products/product_1499.json");
    wait_until(&mut child, || last.exists());
    // This is the duration of the writing; making the files durable may take much longer.
    let duration = started.elapsed();
    assert!(child.wait().unwrap().success());
    let expected = products(undisturbed.path());

    let lake = tempfile::tempdir().unwrap();
    for round in 0..30 {
        let moment = duration.mul_f64(f64::from(testkit::scattered(round, 110)) / 100.0);
        gen_products(lake.path(), 1_500).run_and_kill_after(moment);
        for (name, contents) in products(lake.path()) {
            assert!(expected.get(&name) == Some(&contents), "{name} is not whole");
        }
        if round % 3 == 0 {
            // Later rounds then find missing files, too.
            let _ = fs::remove_dir_all(lake.path().join("products"));
        }
    }
    gen_products(lake.path(), 1_500).succeed();
    assert!(products(lake.path()) == expected);
    assert!(!lake.path().join("_temporary").exists(), "leftovers are gone");
}

#[cfg(unix)]
#[test]
fn a_signal_stops_promptly_and_every_file_is_whole() {
    let lake = tempfile::tempdir().unwrap();
    let mut child = gen_products(lake.path(), 1_000_000).env("RATE", "2000").start();
    wait_until(&mut child, || products(lake.path()).len() >= 50);
    testkit::process::send_signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    for contents in products(lake.path()).values() {
        serde_json::from_slice::<serde_json::Value>(contents).unwrap();
    }
    assert!(
        !lake.path().join("_datagen/products.json").exists(),
        "an unfinished run has no manifest"
    );
}

#[test]
fn a_sample_has_the_products_of_the_files() {
    let lake = tempfile::tempdir().unwrap();
    gen_products(lake.path(), 20).succeed();
    let products = products(lake.path());
    let binary = env!("CARGO_BIN_EXE_gen-products");
    for (id, product) in assert_samples(binary, &[("COUNT", "20")], 20).iter().enumerate() {
        let file = &products[&format!("product_{id}.json")];
        assert_eq!(format!("{product}\n").as_bytes(), file);
    }
    assert_sample_ends_with_its_reader(binary, &[("COUNT", "2000000")]);
}

#[test]
fn the_log_says_what_goes_where() {
    let lake = tempfile::tempdir().unwrap();
    let folder = lake.path().join("products");
    assert_start_and_end_name(gen_products(lake.path(), 20), folder.to_str().unwrap());
}
