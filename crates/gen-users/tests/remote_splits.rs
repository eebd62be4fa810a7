//! gen-users in a storage account that has the files of a run with another SHARD_COUNT.

use std::time::Duration;

use testkit::dfs::auth::SharedKeyAccount;
use testkit::dfs::{Bodies, DfsServer};
use testkit::process::GeneratorProcess;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_another_split_cause_a_warning() {
    // In one filesystem, and in one per folder.
    for (api, path) in [("blob", "lake/"), ("blob", ""), ("dfs", "lake/"), ("dfs", "")] {
        let free = ([127, 0, 0, 1], 0).into();
        let server = DfsServer::start(free, SharedKeyAccount::emulator(), Duration::ZERO, Bodies::Kept);
        let server = server.await.unwrap();
        let run = async |index: u32, count: u32| {
            let run = GeneratorProcess::new(env!("CARGO_BIN_EXE_gen-users"))
                .env("STORAGE_SAS", server.url_with_sas(path))
                .env("LAKE_API", api)
                .env("COUNT", "100")
                .env("SHARD_INDEX", index.to_string())
                .env("SHARD_COUNT", count.to_string());
            let finished = tokio::task::spawn_blocking(|| run.succeed()).await.unwrap();
            finished.output
        };
        for index in 0..2 {
            let output = run(index, 2).await;
            assert!(!output.contains("there are manifests"), "{api} {path}: {output}");
        }
        let output = run(0, 1).await;
        for folder in ["users", "vipusers"] {
            let warning =
                format!("there are manifests of runs with SHARD_COUNT=2 ({folder}-*-of-00002.json)");
            assert_eq!(output.matches(&warning).count(), 1, "{api} {path}: {output}");
        }
    }
}
