//! gen-users as a process against a storage account.

use std::time::Duration;

use bytes::Bytes;
use testkit::dfs::auth::Account;
use testkit::dfs::store::Node;
use testkit::dfs::{Bodies, DfsServer};
use testkit::process::Generator;

async fn server(bodies: Bodies) -> DfsServer {
    let free = ([127, 0, 0, 1], 0).into();
    DfsServer::start(free, Account::emulator(), Duration::ZERO, bodies)
        .await
        .unwrap()
}

fn gen_users(server: &DfsServer, door: &str) -> Generator {
    Generator::new(env!("CARGO_BIN_EXE_gen-users"))
        .env("STORAGE_SAS", server.url_with_sas("lake/"))
        .env("LAKE_API", door)
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
    assert!(finished.output.contains("beginning again"), "{}", finished.output);
    let Node::File(users) = server.store().get("lake", "users/users.json").unwrap().clone() else {
        panic!("users.json is a directory");
    };
    let users = users.contents.to_bytes();
    assert_eq!(users.iter().filter(|byte| **byte == b'\n').count(), count);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_threads_stay_below_the_limit_of_memory() {
    for door in ["blob", "dfs"] {
        let server = server(Bodies::Dropped { rate: 0 }).await;
        let run = gen_users(&server, door)
            .env("COUNT", "1000000")
            .env("THREADS", "64");
        let peak = tokio::task::spawn_blocking(|| run.peak_memory()).await.unwrap();
        assert!(peak < 128 << 10, "{door}: {peak} KiB");
    }
}
