//! Both APIs of a storage account against the test kit's strict server: whole files, faults, error messages.
//!
//! `.ci/lake` tests the Blob API against Azurite.
#![cfg(feature = "azure")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datagen_lake::config::{LakeConfig, Location};
use datagen_lake::{self as lake, Lake, LakePath, Total, UploadError, Writer};
use datagen_process::error::{DestinationError, RunError};
use datagen_process::shard::Shard;
use datagen_process::shutdown::{Shutdown, Signal};
use datagen_settings::ConfigurationErrors;
use testkit::dfs::auth::{SasScope, SharedKeyAccount};
use testkit::dfs::store::{File, Node, Store};
use testkit::dfs::{Bodies, DfsServer};
use testkit::faults::{FaultPlan, FaultProxy, HttpFault};
use testkit::stub::{Answer, Stub};

const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn server() -> DfsServer {
    DfsServer::start(FREE, SharedKeyAccount::emulator(), Duration::ZERO, Bodies::Kept)
        .await
        .unwrap()
}

fn sas(permissions: &str) -> String {
    SharedKeyAccount::emulator().sas(SasScope::Account, permissions, chrono::Duration::hours(1))
}

const APIS: [&str; 2] = ["blob", "dfs"];

fn config(api: &str, address: SocketAddr, path: &str, sas: &str) -> LakeConfig {
    let url = format!("http://{address}/devstoreaccount1/{path}?{sas}");
    let environment = [("STORAGE_SAS", url.as_str()), ("LAKE_API", api)]
        .into_iter()
        .collect();
    let mut problems = ConfigurationErrors::default();
    LakeConfig::read(&environment, &mut problems).unwrap_or_else(|| panic!("{problems}"))
}

fn writer(shard: Shard) -> Writer {
    Writer::new("gen-test", shard)
}

async fn open(api: &str, address: SocketAddr, path: &str) -> Arc<dyn Lake> {
    lake::open(&config(api, address, path, &sas("rcwdlm")), writer(Shard::WHOLE))
        .await
        .unwrap()
}

/// Returns bytes in which no two blocks are equal, so that a block in the wrong place is noticed.
fn contents(length: usize, seed: u8) -> Bytes {
    (0..length)
        .map(|at| (at as u8) ^ ((at >> 8) as u8).wrapping_mul(31) ^ ((at >> 16) as u8) ^ seed)
        .collect()
}

async fn write_big(lake: &dyn Lake, path: &LakePath, contents: &Bytes, block: usize) {
    let mut file = lake.create(path).await.unwrap();
    for start in (0..contents.len()).step_by(block) {
        file.append(contents.slice(start..contents.len().min(start + block)))
            .await
            .unwrap();
    }
    file.publish().await.unwrap();
}

async fn write_small(lake: &Arc<dyn Lake>, count: u64) {
    let mut puts = tokio::task::JoinSet::new();
    for id in 0..count {
        if puts.len() >= lake.puts_in_flight() {
            puts.join_next().await.unwrap().unwrap();
        }
        let lake = Arc::clone(lake);
        puts.spawn(async move {
            let path = LakePath::data("products", format!("product_{id}.json"));
            lake.put(&path, small(id)).await.unwrap();
        });
    }
    while let Some(done) = puts.join_next().await {
        done.unwrap();
    }
    lake.sync().await.unwrap();
    lake.clean_up().await;
}

fn small(id: u64) -> Bytes {
    Bytes::from(format!("{{\"id\":{id},\"name\":\"product_{id}\"}}"))
}

/// Returns every path of a filesystem, including directories.
fn paths(server: &DfsServer, filesystem: &str) -> Vec<String> {
    server
        .store()
        .paths(filesystem)
        .map(|paths| paths.keys().cloned().collect())
        .unwrap_or_default()
}

fn read(server: &DfsServer, filesystem: &str, path: &str) -> Bytes {
    match server.store().get(filesystem, path) {
        Ok(Node::File(file)) => file.contents.to_bytes(),
        other => panic!("{path}: {other:?}"),
    }
}

#[tokio::test]
async fn a_big_file_appears_whole_replaces_the_old_one_and_leaves_nothing_else() {
    for api in APIS {
        let server = server().await;
        let lake = open(api, server.address(), "bronze/dir%20%C5%BE/").await;
        let path = LakePath::data("users", "users.json");
        let target = "dir ž/users/users.json";
        for (length, seed) in [(1_000_003, 1), (0, 2), (70_000, 3)] {
            let old = server.files("bronze").into_iter().find(|file| file.0 == target);
            let wanted = contents(length, seed);
            let mut file = lake.create(&path).await.unwrap();
            for start in (0..length).step_by(65_536) {
                file.append(wanted.slice(start..length.min(start + 65_536)))
                    .await
                    .unwrap();
            }
            let seen = server.files("bronze").into_iter().find(|file| file.0 == target);
            assert_eq!(seen, old, "nothing changes before publication");
            file.publish().await.unwrap();
            assert!(read(&server, "bronze", target) == wanted);
        }
        lake.clean_up().await;
        assert_eq!(paths(&server, "bronze"), ["dir ž", "dir ž/users", target]);
    }
}

#[tokio::test]
async fn without_a_filesystem_in_the_url_each_kind_is_its_own() {
    for api in APIS {
        let server = server().await;
        let lake = open(api, server.address(), "").await;
        lake.put(&LakePath::data("products", "product_0.json"), small(0))
            .await
            .unwrap();
        lake.put(&LakePath::manifest("products", "products.json"), small(1))
            .await
            .unwrap();
        lake.sync().await.unwrap();
        lake.clean_up().await;
        assert_eq!(
            paths(&server, "products"),
            ["_datagen", "_datagen/products.json", "product_0.json"]
        );
    }
}

#[tokio::test]
async fn a_file_that_is_dropped_leaves_nothing() {
    for api in APIS {
        let server = server().await;
        let lake = open(api, server.address(), "bronze").await;
        let mut file = lake.create(&LakePath::data("users", "users.json")).await.unwrap();
        file.append(contents(1000, 0)).await.unwrap();
        file.append(contents(1000, 1)).await.unwrap();
        drop(file);
        lake.clean_up().await;
        assert_eq!(server.files("bronze"), [], "{api}");
        if api == "dfs" {
            assert!(paths(&server, "bronze").is_empty());
        }
    }
}

/// Each request costs a round trip, and most files of a run are small.
#[tokio::test]
async fn a_file_of_one_block_takes_no_more_requests_than_it_must() {
    for (api, requests) in [
        ("blob", &["PutBlob", "Properties"][..]),
        (
            "dfs",
            &["Create", "Append", "Flush", "Create", "Rename", "Properties"],
        ),
    ] {
        let server = server().await;
        server.store().create_filesystem("bronze").unwrap();
        let lake = open(api, server.address(), "bronze").await;
        let mut file = lake.create(&LakePath::data("users", "users.json")).await.unwrap();
        file.append(small(1)).await.unwrap();
        file.publish().await.unwrap();
        assert_eq!(read(&server, "bronze", "users/users.json"), small(1));
        lake::verify::file(
            &*lake,
            &LakePath::data("users", "users.json"),
            small(1).len() as u64,
        )
        .await
        .unwrap();
        let log = server.log();
        assert_eq!(log.len(), requests.len(), "{log:?}");
        for operation in requests {
            assert!(log.iter().any(|line| line.contains(operation)), "{log:?}");
        }
    }
}

#[tokio::test]
async fn a_restart_removes_leftovers_and_does_not_write_again_what_is_right() {
    for api in APIS {
        let server = server().await;
        let lake = open(api, server.address(), "bronze").await;
        // A killed run left some correct files, a wrong one, and an unfinished one.
        write_small(&lake, 100).await;
        {
            let mut store = server.store();
            store
                .create("bronze", "products/product_7.json", false, false)
                .unwrap();
            leave(&mut store, "gen-test-00000-of-00001");
        }
        let before = server.log().len();
        let lake = open(api, server.address(), "bronze").await;
        write_small(&lake, 150).await;
        let writes = server.log()[before..]
            .iter()
            .filter(|line| line.contains("Rename") || line.contains("PutBlob "))
            .count();
        assert_eq!(writes, 51, "the wrong one and the 50 that were missing");
        let found = server
            .files("bronze")
            .into_iter()
            .filter(|file| api == "dfs" || !file.0.starts_with('_'));
        assert_eq!(found.count(), 150);
        for id in 0..150 {
            assert_eq!(
                read(&server, "bronze", &format!("products/product_{id}.json")),
                small(id)
            );
        }
        assert!(api == "blob" || !has_temporary(&server, "bronze"));
    }
}

/// Leaves an unfinished file of `writer`.
fn leave(store: &mut Store, writer: &str) {
    let path = format!("_temporary/{writer}/product_120.json.0123456789abcdef-7");
    store.create("bronze", &path, false, false).unwrap();
    store
        .append("bronze", &path, 0, Bytes::from_static(b"old"))
        .unwrap();
}

fn has_temporary(server: &DfsServer, filesystem: &str) -> bool {
    paths(server, filesystem)
        .iter()
        .any(|path| path.contains("_temporary"))
}

#[tokio::test]
async fn leftovers_go_unless_their_writer_may_be_at_work() {
    let server = server().await;
    server.store().create_filesystem("bronze").unwrap();
    for writer in ["gen-test-00000-of-00001", "gen-test-00001-of-00003"] {
        leave(&mut server.store(), writer);
    }
    for at_work in ["gen-test-00000-of-00002", "gen-other-00000-of-00001"] {
        leave(&mut server.store(), at_work);
    }
    let config = config("dfs", server.address(), "bronze", &sas("rcwdlm"));
    let second = Shard { index: 1, count: 2 };
    let lake = lake::open(&config, writer(second)).await.unwrap();
    write_small(&lake, 1).await;
    let left: Vec<_> = server.files("bronze").into_iter().map(|file| file.0).collect();
    assert_eq!(
        left,
        [
            "_temporary/gen-other-00000-of-00001/product_120.json.0123456789abcdef-7",
            "_temporary/gen-test-00000-of-00002/product_120.json.0123456789abcdef-7",
            "products/product_0.json"
        ]
    );
}

/// Writes files of each size repeatedly, and requests a stop with SIGTERM when `moment` returns true.
async fn stopped(config: &LakeConfig, moment: impl Fn() -> bool) -> Result<(), RunError> {
    let shutdown = Shutdown::default();
    let session = lake::session(config, writer(Shard::WHOLE), &shutdown, |lake| async move {
        loop {
            let path = LakePath::data("users", "users.json");
            let mut big = lake.create(&path).await?;
            for block in 0..3 {
                big.append(contents(1000, block)).await?;
            }
            big.publish().await?;
            lake::write_manifest(&*lake, &LakePath::manifest("users", "users.json"), small(0)).await?;
            let mut puts = tokio::task::JoinSet::new();
            for id in 0..64 {
                let lake = Arc::clone(&lake);
                puts.spawn(async move {
                    let path = LakePath::data("products", format!("product_{id}.json"));
                    lake.put(&path, small(id)).await
                });
            }
            while let Some(put) = puts.join_next().await {
                put.unwrap()?;
            }
        }
    });
    let stop = async {
        while !moment() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        shutdown.request(Signal::Terminate);
    };
    // Much less than the retry limit of requests, and more than stopping may take.
    let run = async { tokio::join!(session, stop).0 };
    tokio::time::timeout(Duration::from_secs(30), run)
        .await
        .expect("a stopped session ends soon")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_lake_that_fails() {
    let mut runs = tokio::task::JoinSet::new();
    for (api, spared) in APIS
        .iter()
        .flat_map(|api| [0, 2, 4, 5, 6, 7, 9, 12].map(|spared| (*api, spared)))
    {
        runs.spawn(async move {
            let server = server().await;
            let plan = FaultPlan {
                spared,
                faults: vec![HttpFault::ResetBefore],
                ..FaultPlan::mixture(1.0, 1)
            };
            let proxy = FaultProxy::start(FREE, server.address(), plan).await.unwrap();
            let config = config(api, proxy.address(), "bronze", &sas("rcwdlm"));
            let failing = || proxy.requests() > spared + 1;
            let result = stopped(&config, failing).await;
            assert!(
                matches!(result, Err(RunError::Interrupted(Signal::Terminate))),
                "{api} after {spared} requests: {result:?}"
            );
        });
    }
    while let Some(run) = runs.join_next().await {
        run.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_leaves_nothing_unfinished() {
    for requests in [1, 2, 3, 5, 8, 20, 60, 100, 150, 200, 260, 300] {
        let latency = Duration::from_millis(10);
        let server = DfsServer::start(FREE, SharedKeyAccount::emulator(), latency, Bodies::Kept)
            .await
            .unwrap();
        let config = config("dfs", server.address(), "bronze", &sas("rcwdlm"));
        let result = stopped(&config, || server.log().len() >= requests).await;
        assert!(matches!(result, Err(RunError::Interrupted(_))), "{result:?}");
        assert!(
            !has_temporary(&server, "bronze"),
            "stopped after {requests} requests: {:?}",
            paths(&server, "bronze")
        );
    }
}

#[tokio::test]
async fn a_failed_run_leaves_nothing_unfinished() {
    let server = server().await;
    let config = config("dfs", server.address(), "bronze", &sas("rcwdlm"));
    let shutdown = Shutdown::default();
    let failed = lake::session(&config, writer(Shard::WHOLE), &shutdown, |lake| async move {
        let mut file = lake.create(&LakePath::data("users", "users.json")).await?;
        file.append(contents(1000, 0)).await?;
        file.append(contents(1000, 1)).await?;
        Err::<(), _>(RunError::from(DestinationError::permanent(
            "elsewhere",
            "planted",
        )))
    });
    assert!(failed.await.unwrap_err().to_string().contains("planted"));
    assert!(paths(&server, "bronze").is_empty());
}

/// A tenth of the requests get random faults. LAKE_FAULT_SEEDS sets the number of seeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_is_whole_in_spite_of_random_faults() {
    let seeds = std::env::var("LAKE_FAULT_SEEDS").map_or(2, |text| text.parse().unwrap());
    let wanted = contents(3_000_000, 9);
    for (api, seed) in APIS
        .iter()
        .flat_map(|api| (0..seeds).map(move |seed| (*api, seed)))
    {
        let server = server().await;
        let proxy = FaultProxy::start(FREE, server.address(), FaultPlan::mixture(0.1, seed))
            .await
            .unwrap();
        let lake = open(api, proxy.address(), "bronze").await;
        write_big(&*lake, &LakePath::data("users", "users.json"), &wanted, 65_536).await;
        write_small(&lake, 300).await;
        let faults: u64 = proxy.counts().values().sum();
        assert!(
            faults > proxy.requests() / 20,
            "{faults} faults in {} requests",
            proxy.requests()
        );
        assert!(
            read(&server, "bronze", "users/users.json") == wanted,
            "seed {seed}"
        );
        let files = server.files("bronze");
        assert_eq!(
            files.len(),
            301,
            "seed {seed}: {:?}",
            files.iter().map(|file| &file.0).collect::<Vec<_>>()
        );
        for id in 0..300 {
            assert_eq!(
                read(&server, "bronze", &format!("products/product_{id}.json")),
                small(id),
                "seed {seed}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_alone_is_survived() {
    let mut runs = tokio::task::JoinSet::new();
    for (api, fault) in APIS
        .iter()
        .flat_map(|api| HttpFault::all().into_iter().map(move |fault| (*api, fault)))
    {
        runs.spawn(async move {
            let server = server().await;
            let plan = FaultPlan {
                faults: vec![fault],
                stall: Duration::from_millis(50),
                ..FaultPlan::mixture(0.2, 1)
            };
            let proxy = FaultProxy::start(FREE, server.address(), plan).await.unwrap();
            let lake = open(api, proxy.address(), "bronze").await;
            write_small(&lake, 20).await;
            assert!(proxy.counts()[&fault] > 2, "{api} {fault:?}");
            assert_eq!(server.files("bronze").len(), 20, "{fault:?}");
        });
    }
    while let Some(run) = runs.join_next().await {
        run.unwrap();
    }
}

/// Returns the configuration of a lake whose requests are abandoned after 200 ms without progress.
fn with_short_stall_timeout(api: &str, address: SocketAddr) -> LakeConfig {
    let mut config = config(api, address, "bronze", &sas("rcwdlm"));
    let Location::Account(account) = &mut config.location else {
        panic!("{api} is an account");
    };
    account.stall_timeout = Some(Duration::from_millis(200));
    config
}

/// The proxy's stalls outlast the test, so only a client that abandons them succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_request_is_abandoned_and_retried() {
    for (api, fault) in APIS
        .iter()
        .flat_map(|api| [HttpFault::StallBefore, HttpFault::StallAfter].map(|fault| (*api, fault)))
    {
        let server = server().await;
        let plan = FaultPlan {
            faults: vec![fault],
            stall: Duration::from_secs(600),
            ..FaultPlan::mixture(0.3, 1)
        };
        let proxy = FaultProxy::start(FREE, server.address(), plan).await.unwrap();
        let config = with_short_stall_timeout(api, proxy.address());
        let lake = lake::open(&config, writer(Shard::WHOLE)).await.unwrap();
        tokio::time::timeout(Duration::from_secs(60), write_small(&lake, 10))
            .await
            .unwrap_or_else(|_| panic!("{api} waits for a request that stalled"));
        assert!(proxy.counts()[&fault] > 2, "{api} {fault:?}");
        assert_eq!(server.files("bronze").len(), 10, "{api} {fault:?}");
    }
}

/// Requests that the client abandoned take effect among later ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_effect_late_does_no_harm() {
    for api in APIS {
        let server = server().await;
        let plan = FaultPlan {
            faults: vec![HttpFault::Late],
            stall: Duration::from_millis(400),
            ..FaultPlan::mixture(0.3, 1)
        };
        let proxy = FaultProxy::start(FREE, server.address(), plan).await.unwrap();
        let config = with_short_stall_timeout(api, proxy.address());
        let lake = lake::open(&config, writer(Shard::WHOLE)).await.unwrap();
        let wanted = contents(20_000, 5);
        write_big(&*lake, &LakePath::data("users", "users.json"), &wanted, 1_000).await;
        write_small(&lake, 40).await;
        assert!(proxy.counts()[&HttpFault::Late] > 20, "{api}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(read(&server, "bronze", "users/users.json") == wanted, "{api}");
        for id in 0..40 {
            let found = read(&server, "bronze", &format!("products/product_{id}.json"));
            assert_eq!(found, small(id), "{api}");
        }
    }
}

async fn failure(config: &LakeConfig) -> String {
    let put = async {
        let lake = lake::open(config, writer(Shard::WHOLE)).await?;
        lake.put(&LakePath::data("products", "product_0.json"), small(0))
            .await
    };
    let line = put.await.unwrap_err().to_string();
    assert!(!line.contains("tried for"), "retried: {line}");
    assert!(!line.contains("sig=") && !line.contains('\n'), "{line}");
    line
}

#[tokio::test]
async fn a_permanent_error_fails_at_once_and_says_what_to_check() {
    for api in APIS {
        let server = server().await;
        server.store().create_filesystem("bronze").unwrap();
        let account = SharedKeyAccount::emulator();
        let hour = chrono::Duration::hours(1);
        let needed = if api == "blob" { "sp=rcwdl " } else { "sp=rcwdlm " };
        let good = sas("rcwdlm");
        let expired = account.sas(SasScope::Account, "rcwdlm", -hour);
        let other = account.sas(SasScope::Filesystem("silver"), "rcwdlm", hour);
        for (path, sas, advice) in [
            ("bronze", good.replace("sig=", "sig=A"), "was copied whole"),
            ("bronze", expired, "the SAS expired at"),
            ("bronze", other, "was made for this account and filesystem"),
            ("bronze", sas("rl"), needed),
            ("missing", sas("r"), needed),
        ] {
            let line = failure(&config(api, server.address(), path, &sas)).await;
            assert!(line.contains(advice), "{line}");
        }
        let scoped = account.sas(SasScope::Filesystem("missing"), "rcwdlm", hour);
        let line = failure(&config(api, server.address(), "missing", &scoped)).await;
        assert!(
            line.contains("missing does not exist and these credentials may not create it"),
            "{line}"
        );
        let unknown = "http://no-such-account-anywhere:1/acc/bronze?sv=1&sig=PLANTED";
        let environment = [("STORAGE_SAS", unknown), ("LAKE_API", api)]
            .into_iter()
            .collect();
        let config = LakeConfig::read(&environment, &mut ConfigurationErrors::default()).unwrap();
        let line = failure(&config).await;
        assert!(
            line.contains("check the account's name") && !line.contains("PLANTED"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn each_api_replaces_what_the_other_wrote() {
    let server = server().await;
    let path = LakePath::data("users", "users.json");
    for (turn, api) in ["dfs", "blob", "dfs", "blob", "blob"].into_iter().enumerate() {
        let wanted = contents(200_000, turn as u8);
        let lake = open(api, server.address(), "bronze").await;
        write_big(&*lake, &path, &wanted, 65_536).await;
        assert!(
            read(&server, "bronze", "users/users.json") == wanted,
            "turn {turn}"
        );
        let lake_path = LakePath::data("products", "product_0.json");
        lake.put(&lake_path, small(turn as u64)).await.unwrap();
        assert_eq!(
            read(&server, "bronze", "products/product_0.json"),
            small(turn as u64)
        );
    }
}

/// There are two runs, so that filesystems, directories and files are missing at first and exist later.
#[tokio::test]
async fn answers_may_differ_where_they_mean_the_same() {
    for api in APIS {
        let server = server().await;
        server.be_peculiar();
        for _ in 0..2 {
            let lake = open(api, server.address(), "bronze").await;
            write_big(
                &*lake,
                &LakePath::data("users", "users.json"),
                &contents(1000, 1),
                250,
            )
            .await;
            write_small(&lake, 2).await;
            assert_eq!(read(&server, "bronze", "users/users.json"), contents(1000, 1));
            assert_eq!(server.files("bronze").len(), 3, "{api}");
        }
        let writes = |line: &&String| line.contains("Rename") || line.contains("PutBlob ");
        let products = server
            .log()
            .iter()
            .filter(|line| line.contains("product_"))
            .filter(writes)
            .count();
        assert_eq!(products, 2, "{api}: the second run found them");
    }
}

/// Writes `users/users.json` via the Blob API, in blocks of `block` bytes, in place of a file that was written via the
/// Data Lake API and then changed with `change`.
async fn replace(block: usize, change: impl FnOnce(&mut File)) -> (DfsServer, Result<(), UploadError>) {
    let server = server().await;
    let path = LakePath::data("users", "users.json");
    let old = open("dfs", server.address(), "bronze").await;
    write_big(&*old, &path, &contents(100, 0), 100).await;
    change(server.store().file_mut("bronze", "users/users.json").unwrap());
    let lake = open("blob", server.address(), "bronze").await;
    let write = async {
        let mut file = lake.create(&path).await?;
        for start in (0..1000).step_by(block) {
            file.append(contents(1000, 1).slice(start..start + block)).await?;
        }
        file.publish().await
    };
    let written = write.await;
    (server, written)
}

#[tokio::test]
async fn an_append_blob_is_replaced() {
    for block in [1000, 250] {
        let (server, written) = replace(block, |file| file.append_blob = true).await;
        written.unwrap();
        assert_eq!(read(&server, "bronze", "users/users.json"), contents(1000, 1));
    }
}

/// The conflict appears only at the commit, and the staged blocks are dropped with the file.
#[tokio::test]
async fn a_data_lake_file_with_an_md5_is_replaced_when_the_file_is_written_again() {
    let (server, written) = replace(250, |file| file.md5 = Some("rL0Y20zC+Fzt72VPzMSk2A==".into())).await;
    assert!(matches!(written, Err(UploadError::Lost(_))), "{written:?}");
    let lake = open("blob", server.address(), "bronze").await;
    write_big(
        &*lake,
        &LakePath::data("users", "users.json"),
        &contents(1000, 1),
        250,
    )
    .await;
    assert_eq!(read(&server, "bronze", "users/users.json"), contents(1000, 1));
}

#[tokio::test]
async fn a_file_that_may_not_be_changed_stays() {
    for block in [1000, 250] {
        let (server, written) = replace(block, |file| file.immutable = true).await;
        let error = written.unwrap_err();
        assert!(
            matches!(error, UploadError::Failed(_)) && error.to_string().contains("BlobImmutableDueToPolicy"),
            "{error}"
        );
        assert_eq!(read(&server, "bronze", "users/users.json"), contents(100, 0));
    }
}

#[tokio::test]
async fn blocks_of_a_killed_run_do_no_harm() {
    let server = server().await;
    let path = LakePath::data("users", "users.json");
    let lake = open("blob", server.address(), "bronze").await;
    let mut killed = lake.create(&path).await.unwrap();
    killed.append(contents(70_000, 1)).await.unwrap();
    killed.append(contents(70_000, 2)).await.unwrap();
    while !server.log().iter().any(|line| line.contains("PutBlock")) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(killed);
    let wanted = contents(200_000, 2);
    write_big(&*lake, &path, &wanted, 65_536).await;
    assert!(read(&server, "bronze", "users/users.json") == wanted);
}

/// Writes a small file and one of several blocks, and checks that both exist, as the generators do.
async fn write_and_verify(config: &LakeConfig) -> Result<(), DestinationError> {
    let lake = lake::open(config, writer(Shard::WHOLE)).await?;
    lake.put(&LakePath::data("products", "product_0.json"), small(0))
        .await?;
    let expected = Total {
        files: 1,
        bytes: small(0).len() as u64,
    };
    lake::verify::folder(&*lake, "products", Box::new(|_| true), expected).await?;
    let path = LakePath::data("users", "users.json");
    let mut file = lake.create(&path).await?;
    for block in 0..3 {
        file.append(contents(1000, block)).await?;
    }
    file.publish().await?;
    lake::verify::file(&*lake, &path, 3000).await
}

/// The server may be a proxy, a sign-in page, or a service of another kind.
#[tokio::test]
async fn a_server_that_accepts_everything_is_not_taken_for_the_service() {
    for api in APIS {
        for status in [200, 201, 202, 204, 206] {
            for headers in [false, true] {
                let answer = Answer::of(status);
                let answer = if headers { answer.as_storage() } else { answer };
                let stub = Stub::start(FREE, move |_| answer.clone()).await.unwrap();
                let config = config(api, stub.address(), "bronze", "sv=1&sig=PLANTED");
                let line = write_and_verify(&config).await.unwrap_err().to_string();
                let what = format!("{api}, {status}, headers {headers}: {line}");
                assert!(line.contains("not as Azure Storage answers"), "{what}");
                assert!(line.contains("a proxy or a sign-in page"), "{what}");
                assert!(!line.contains("PLANTED") && !line.contains("tried for"), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn an_endless_response_is_abandoned() {
    for api in APIS {
        for status in [200, 201, 403] {
            let answer = Answer {
                endless: true,
                ..Answer::of(status).as_storage()
            };
            let stub = Stub::start(FREE, move |_| answer.clone()).await.unwrap();
            let config = config(api, stub.address(), "bronze", "sv=1&sig=PLANTED");
            let line = failure(&config).await;
            assert!(!line.contains("PLANTED"), "{line}");
            // For each request, more is sent than is read: what the buffers of two sockets hold.
            assert!(stub.sent() < 64 << 20, "{api}, {status}: {} bytes", stub.sent());
        }
    }
}

#[tokio::test]
async fn a_reflected_url_is_not_printed() {
    for api in APIS {
        let stub = Stub::start(FREE, |asked| Answer {
            headers: vec![("x-ms-error-code", format!("{}{}", asked.uri, "A".repeat(60_000)))],
            ..Answer::of(400)
        });
        let stub = stub.await.unwrap();
        let config = config(api, stub.address(), "bronze", "sv=1&sig=PLANTED");
        let lake = lake::open(&config, writer(Shard::WHOLE)).await.unwrap();
        let mut file = lake.create(&LakePath::data("users", "users.json")).await.unwrap();
        file.append(small(0)).await.unwrap();
        let line = file.publish().await.unwrap_err().to_string();
        assert!(line.contains("HTTP 400"), "{line}");
        assert!(!line.contains("PLANTED") && line.len() < 300, "{line}");
    }
}

/// There are more files than a page of a listing has, and others beside them.
#[tokio::test]
async fn the_files_of_a_folder_are_counted() {
    for api in APIS {
        for (filesystem, path, prefix) in [
            ("bronze", "bronze/some%20dir", "some dir/products/"),
            ("products", "", ""),
        ] {
            let server = server().await;
            {
                let mut store = server.store();
                store.create_filesystem(filesystem).unwrap();
                for id in 0..1234 {
                    let path = format!("{prefix}product_{id}.json");
                    let md5 = String::new();
                    store.put_blob(filesystem, &path, small(id), md5).unwrap();
                }
                for other in ["product_x.json", "other/product_11.json"] {
                    let path = format!("{prefix}{other}");
                    store
                        .put_blob(filesystem, &path, small(1), String::new())
                        .unwrap();
                }
                let beside = "some dir/products2/product_11.json";
                store
                    .put_blob(filesystem, beside, small(1), String::new())
                    .unwrap();
            }
            let lake = open(api, server.address(), path).await;
            let select = |name: &str| {
                let id = name
                    .strip_prefix("product_")
                    .and_then(|rest| rest.strip_suffix(".json"));
                id.is_some_and(|id| id.parse::<u64>().is_ok_and(|id| (10..1000).contains(&id)))
            };
            let expected = Total {
                files: 990,
                bytes: (10..1000).map(|id| small(id).len() as u64).sum(),
            };
            let found = lake
                .total(&LakePath::data("products", ""), Box::new(select))
                .await
                .unwrap();
            assert_eq!(found, Some(expected), "{api} {path}");
            let pages = server.log().iter().filter(|line| line.contains(" List")).count();
            assert_eq!(pages, 3, "{api} {path}");
            lake::verify::folder(&*lake, "products", Box::new(select), expected)
                .await
                .unwrap();
            let removed = format!("{prefix}product_500.json");
            server.store().delete(filesystem, &removed, false).unwrap();
            let error = lake::verify::folder(&*lake, "products", Box::new(select), expected).await;
            let line = error.unwrap_err().to_string();
            assert!(line.contains("990 files") && line.contains("989 files"), "{line}");
        }
    }
}

#[tokio::test]
async fn what_is_missing_is_no_file() {
    for api in APIS {
        let server = server().await;
        let lake = open(api, server.address(), "bronze").await;
        let path = LakePath::data("users", "users.json");
        for _ in ["no filesystem", "no folder"] {
            assert_eq!(lake.stat(&path).await.unwrap(), Some(Total::default()), "{api}");
            let found = lake.total(&path, Box::new(|_| true)).await.unwrap();
            assert_eq!(found, Some(Total::default()), "{api}");
            let _ = server.store().create_filesystem("bronze");
        }
        write_big(&*lake, &path, &contents(1000, 1), 300).await;
        let one = Total {
            files: 1,
            bytes: 1000,
        };
        assert_eq!(lake.stat(&path).await.unwrap(), Some(one), "{api}");
        let line = lake::verify::file(&*lake, &path, 1001)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            line.contains("bronze/users/users.json: 1 file of 1001 bytes"),
            "{line}"
        );
    }
}

/// Credentials that allow only writing are enough.
#[tokio::test]
async fn what_may_not_be_read_is_not_verified() {
    for api in APIS {
        let server = server().await;
        server.store().create_filesystem("bronze").unwrap();
        let config = config(api, server.address(), "bronze", &sas("cwdm"));
        write_and_verify(&config).await.unwrap();
        let lake = lake::open(&config, writer(Shard::WHOLE)).await.unwrap();
        let path = LakePath::data("users", "users.json");
        assert_eq!(lake.stat(&path).await.unwrap(), None, "{api}");
        assert_eq!(
            lake.total(&path, Box::new(|_| true)).await.unwrap(),
            None,
            "{api}"
        );
    }
}

#[tokio::test]
async fn a_small_file_whose_parts_were_lost_is_sent_again() {
    let server = server().await;
    let lake = open("dfs", server.address(), "bronze").await;
    server.store().lose_parts_once(1);
    let path = LakePath::data("products", "product_0.json");
    lake.put(&path, small(0)).await.unwrap();
    assert_eq!(read(&server, "bronze", "products/product_0.json"), small(0));
    server.store().lose_parts_once(1);
    let path = LakePath::manifest("products", "products.json");
    lake::write_manifest(&*lake, &path, small(1)).await.unwrap();
    assert_eq!(read(&server, "bronze", "_datagen/products.json"), small(1));
}
