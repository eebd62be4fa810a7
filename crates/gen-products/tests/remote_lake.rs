//! gen-products as a process against a storage account.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use testkit::dfs::auth::SharedKeyAccount;
use testkit::dfs::{Bodies, DfsServer};
use testkit::process::GeneratorProcess;
use testkit::stub::{Answer, Stub};

const APIS: [&str; 2] = ["blob", "dfs"];

fn gen_products(url: String, api: &str) -> GeneratorProcess {
    GeneratorProcess::new(env!("CARGO_BIN_EXE_gen-products"))
        .env("STORAGE_SAS", url)
        .env("LAKE_API", api)
        .env("COUNT", "700")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_shard_verifies_its_own_products() {
    for api in APIS {
        let free = ([127, 0, 0, 1], 0).into();
        let server = DfsServer::start(free, SharedKeyAccount::emulator(), Duration::ZERO, Bodies::Kept)
            .await
            .unwrap();
        for shard in ["1", "0"] {
            let run = gen_products(server.url_with_sas("lake/"), api)
                .env("SHARD_COUNT", "2")
                .env("SHARD_INDEX", shard);
            tokio::task::spawn_blocking(|| run.succeed()).await.unwrap();
        }
        let listings = server.log().iter().filter(|line| line.contains(" List")).count();
        // Each shard lists the manifests first; then the first finds its 350 products in one page, the second all
        // 700 in two.
        assert_eq!(listings, 5, "{api}");
        let files = server.files("lake");
        let products = files
            .iter()
            .filter(|file| file.0.starts_with("products/"))
            .count();
        assert_eq!((products, files.len()), (700, 702), "{api}");
    }
}

/// A proxy would read the SAS, and it cannot reach this machine under the name `localhost`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_this_machine_use_no_proxy() {
    let free = ([127, 0, 0, 1], 0).into();
    let proxied = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&proxied);
    let proxy = Stub::start(free, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Answer::of(502)
    });
    let stub = proxy.await.unwrap();
    let proxy = format!("http://{}", stub.address());
    for api in APIS {
        let server = DfsServer::start(free, SharedKeyAccount::emulator(), Duration::ZERO, Bodies::Kept)
            .await
            .unwrap();
        let run = gen_products(server.url_with_sas("lake/"), api)
            .env("COUNT", "3")
            .env("HTTP_PROXY", &proxy)
            .env("http_proxy", &proxy)
            .env("ALL_PROXY", &proxy);
        tokio::task::spawn_blocking(|| run.succeed()).await.unwrap();
    }
    assert_eq!(proxied.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_and_is_not_there_is_no_success() {
    let free = ([127, 0, 0, 1], 0).into();
    let stub = Stub::start(free, |asked| match asked.method.as_str() {
        "PUT" => Answer::of(201).as_storage(),
        "PATCH" if asked.uri.contains("action=append") => Answer::of(202).as_storage(),
        "GET" | "HEAD" => Answer::of(404).as_storage(),
        _ => Answer::of(200).as_storage(),
    });
    let stub = stub.await.unwrap();
    for api in APIS {
        let url = format!("http://{}/account/lake/?sv=1&sig=PLANTED", stub.address());
        let run = gen_products(url, api);
        let finished = tokio::task::spawn_blocking(|| run.run()).await.unwrap();
        let output = &finished.output;
        assert_eq!(finished.code, Some(1), "{api}: {output}");
        assert!(
            output.contains("700 files of ") && output.contains("but 0 files of 0 bytes are there"),
            "{output}"
        );
        assert!(!output.contains("PLANTED"), "{output}");
    }
}
