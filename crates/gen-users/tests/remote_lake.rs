//! gen-users as a process against a storage account.

use std::time::Duration;

use bytes::Bytes;
use testkit::dfs::auth::SharedKeyAccount;
use testkit::dfs::store::Node;
use testkit::dfs::{Bodies, DfsServer};
use testkit::process::GeneratorProcess;
use testkit::stub::{Answer, Stub};

async fn server(bodies: Bodies) -> DfsServer {
    let free = ([127, 0, 0, 1], 0).into();
    DfsServer::start(free, SharedKeyAccount::emulator(), Duration::ZERO, bodies)
        .await
        .unwrap()
}

fn gen_users(server: &DfsServer, api: &str) -> GeneratorProcess {
    GeneratorProcess::new(env!("CARGO_BIN_EXE_gen-users"))
        .env("STORAGE_SAS", server.url_with_sas("lake/"))
        .env("LAKE_API", api)
}

/// Only the commit shows that the old file cannot be replaced by blocks: it has an MD5, like one of Put Blob.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_in_the_way_of_the_commit_makes_the_run_begin_again() {
    let server = server(Bodies::Kept).await;
    {
        let (mut store, path) = (server.store(), "users/users.json");
        store.create_filesystem("lake").unwrap();
        store.create("lake", path, false, false).unwrap();
        store.append("lake", path, 0, Bytes::from_static(b"old")).unwrap();
        store.flush("lake", path, 3).unwrap();
        store.file_mut("lake", path).unwrap().md5 = Some("FJ3nRRmxMvVaWV9FVPBCXw==".to_owned());
    }
    let count = 30_000;
    let run = gen_users(&server, "blob").env("COUNT", count.to_string());
    let finished = tokio::task::spawn_blocking(|| run.succeed()).await.unwrap();
    assert!(
        finished
            .output
            .contains("writing the file again from its beginning"),
        "{}",
        finished.output
    );
    let Node::File(users) = server.store().get("lake", "users/users.json").unwrap().clone() else {
        panic!("users.json is a directory");
    };
    let users = users.contents.to_bytes();
    assert_eq!(users.iter().filter(|byte| **byte == b'\n').count(), count);
}

/// A server may lose the blocks of a file before their commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_parts_were_lost_is_sent_again() {
    for api in ["blob", "dfs"] {
        let server = server(Bodies::Kept).await;
        server.store().lose_parts_once(2);
        let count = 30_000;
        let run = gen_users(&server, api)
            .env("COUNT", count.to_string())
            .env("VIP_COUNT", "0");
        let finished = tokio::task::spawn_blocking(|| run.succeed()).await.unwrap();
        let output = &finished.output;
        assert!(
            output.contains("writing the file again from its beginning"),
            "{api}: {output}"
        );
        let users = server
            .files("lake")
            .into_iter()
            .find(|file| file.0 == "users/users.json");
        let lines = users.unwrap().1.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines, count, "{api}");
    }
}

/// Even the status and the headers are right here, but nothing is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_and_is_not_there_is_no_success() {
    let free = ([127, 0, 0, 1], 0).into();
    let stub = Stub::start(free, |asked| match asked.method.as_str() {
        "GET" | "HEAD" => Answer::of(404).as_storage(),
        "PUT" => Answer::of(201).as_storage(),
        "PATCH" if asked.uri.contains("action=append") => Answer::of(202).as_storage(),
        _ => Answer::of(200).as_storage(),
    });
    let stub = stub.await.unwrap();
    for api in ["blob", "dfs"] {
        let url = format!("http://{}/account/lake/?sv=1&sig=PLANTED", stub.address());
        let run = GeneratorProcess::new(env!("CARGO_BIN_EXE_gen-users"))
            .env("STORAGE_SAS", url)
            .env("LAKE_API", api)
            .env("COUNT", "30000");
        let finished = tokio::task::spawn_blocking(|| run.run()).await.unwrap();
        let output = &finished.output;
        assert_eq!(finished.code, Some(1), "{api}: {output}");
        assert!(
            output.contains("but 0 files of 0 bytes are there"),
            "{api}: {output}"
        );
        assert!(!output.contains("PLANTED"), "{api}: {output}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_threads_stay_below_the_limit_of_memory() {
    for api in ["blob", "dfs"] {
        let server = server(Bodies::Dropped { rate: 0 }).await;
        let run = gen_users(&server, api)
            .env("COUNT", "1000000")
            .env("THREADS", "64");
        let peak = tokio::task::spawn_blocking(|| run.peak_memory()).await.unwrap();
        assert!(peak < 128 << 10, "{api}: {peak} KiB");
    }
}
