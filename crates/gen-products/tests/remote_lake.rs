//! gen-products as a process against a storage account.

use std::time::Duration;

use testkit::dfs::auth::Account;
use testkit::dfs::{Bodies, DfsServer};
use testkit::process::Generator;
use testkit::stub::{Answer, Stub};

const DOORS: [&str; 2] = ["blob", "dfs"];

fn gen_products(url: String, door: &str) -> Generator {
    Generator::new(env!("CARGO_BIN_EXE_gen-products"))
        .env("STORAGE_SAS", url)
        .env("LAKE_API", door)
        .env("COUNT", "700")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_shard_verifies_its_own_products() {
    for door in DOORS {
        let free = ([127, 0, 0, 1], 0).into();
        let server = DfsServer::start(free, Account::emulator(), Duration::ZERO, Bodies::Kept)
            .await
            .unwrap();
        for shard in ["1", "0"] {
            let run = gen_products(server.url_with_sas("lake/"), door)
                .env("SHARD_COUNT", "2")
                .env("SHARD_INDEX", shard);
            tokio::task::spawn_blocking(|| run.succeed()).await.unwrap();
        }
        let listings = server.log().iter().filter(|line| line.contains(" List")).count();
        // The first shard finds its 350 products in one page, the second all 700 in two.
        assert_eq!(listings, 3, "{door}");
        let files = server.files("lake");
        let products = files
            .iter()
            .filter(|file| file.0.starts_with("products/"))
            .count();
        assert_eq!((products, files.len()), (700, 702), "{door}");
    }
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
    for door in DOORS {
        let url = format!("http://{}/account/lake/?sv=1&sig=PLANTED", stub.address());
        let run = gen_products(url, door);
        let finished = tokio::task::spawn_blocking(|| run.run()).await.unwrap();
        let output = &finished.output;
        assert_eq!(finished.code, Some(1), "{door}: {output}");
        assert!(
            output.contains("700 files of ") && output.contains("but 0 files of 0 bytes are there"),
            "{output}"
        );
        assert!(!output.contains("PLANTED"), "{output}");
    }
}
