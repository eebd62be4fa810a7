//! gen-orders as a process against the TDS server of the test kit: the tables are exact, whatever fails on the way.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::NaiveDate;
use datagen_core::model::Profile;
use datagen_core::model::order::{OrderRange, Orders};
use testkit::imds::{FakeImds, ManagedIdentity};
use testkit::tds::{Action, Point, ServerError, TdsOptions, TdsServer, TdsValue, TestUser, fault};
use tokio::process::Command;

/// A password that must never be printed.
const PASSWORD: &str = "Sůl-nad-zlato-42";

/// The token of a managed identity, which must never be printed.
const TOKEN: &str = "eyJ0eXAi.for-azure-sql.c2lnbmF0dXJl";

/// Longer than any run here takes, so that a run that hangs fails its test.
const HANGS: Duration = Duration::from_secs(180);

/// A server, and a directory with its certificate authority.
struct Setup {
    server: TdsServer,
    directory: tempfile::TempDir,
}

impl Setup {
    async fn new(options: TdsOptions) -> Self {
        let options = TdsOptions {
            password: PASSWORD.into(),
            ..options
        };
        let server = TdsServer::start(options).await.expect("a free port");
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("ca.pem"), server.ca_pem()).expect("it can be written");
        Self { server, directory }
    }

    async fn with_faults(faults: fault::Faults) -> Self {
        Self::new(TdsOptions {
            faults,
            ..TdsOptions::default()
        })
        .await
    }

    fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn command(&self, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gen-orders"));
        command
            .env_clear()
            .env("SSL_CERT_FILE", self.ca())
            .env("SQL_SERVER", "localhost")
            .env("SQL_PORT", self.server.port().to_string())
            .env("SQL_DATABASE", "playground")
            .env("SQL_USER", "loader")
            .env("SQL_PASSWORD", PASSWORD)
            .env("SQL_CHUNK", "50")
            .env("USER_MAX_ID", "999")
            .env("PRODUCT_MAX_ID", "99")
            .env("DATE_FROM", "2015-01-01")
            .env("DATE_TO", "2025-01-01")
            .envs(variables.iter().copied())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, variables: &[(&str, &str)]) -> Output {
        let run = self.command(variables).output();
        let output = tokio::time::timeout(HANGS, run)
            .await
            .expect("the run ends")
            .expect("the binary starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains(PASSWORD), "the password is printed: {text}");
        assert!(!text.contains("panicked"), "{text}");
        output
    }

    /// Performs a run that must succeed, and returns its log.
    async fn load(&self, variables: &[(&str, &str)]) -> String {
        let output = self.run(variables).await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{text}");
        text
    }

    /// Performs a run that must fail with exit code 1 and a single error line, and returns that line.
    async fn fail(&self, variables: &[(&str, &str)]) -> String {
        let output = self.run(variables).await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("gen-orders: "))
            .collect();
        assert_eq!(lines.len(), 1, "{text}");
        lines[0].to_owned()
    }

    /// Waits until a run in progress has committed this many orders.
    async fn orders_reach(&self, count: u64) {
        let reached = async {
            while self.server.count("orders").is_none_or(|orders| orders < count) {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        };
        tokio::time::timeout(HANGS, reached).await.expect("the run loads");
    }

    /// Compares both tables row by row with the rows that the pure function generates.
    fn assert_exact(&self, seed: u64, count: u64) {
        let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).expect("a date");
        let range = OrderRange {
            user_max_id: 999,
            product_max_id: 99,
            dates: day(2015)..day(2025),
        };
        let made = Orders::new(Profile::Shop, seed, count, &range);
        let (mut orders, mut items) = (Vec::new(), Vec::new());
        for id in 1..=count {
            let order = made.get(id);
            let days = (order.date_time().date() - day(1900)).num_days();
            let seconds = order.order_date.rem_euclid(86_400);
            orders.push(vec![
                TdsValue::Int(id as i64),
                TdsValue::Int(order.user_id.into()),
                TdsValue::DateTime(days as i32, seconds as u32 * 300),
                TdsValue::Float(order.order_value),
            ]);
            for (row, product) in (1..).zip(order.items()) {
                items.push(vec![
                    TdsValue::Int(id as i64),
                    TdsValue::Int(row),
                    TdsValue::Int((*product).into()),
                ]);
            }
        }
        assert_eq!(self.server.count("orders"), Some(count));
        assert!(
            self.server.rows("orders") == Some(orders),
            "the orders are not those of seed {seed}"
        );
        assert!(
            self.server.rows("items") == Some(items),
            "the items are not those of seed {seed}"
        );
        assert_eq!(self.server.open_transactions(), 0);
        assert_eq!(self.server.violations(), []);
    }
}

/// Starts the endpoint of a managed identity that responds to the first requests with `failures`.
async fn identity_endpoint(client_id: Option<&str>, failures: &[u16]) -> FakeImds {
    let identity = ManagedIdentity {
        token: TOKEN.into(),
        client_id: client_id.map(str::to_owned),
        lifetime: Duration::from_secs(86_400),
        secret: "proof".into(),
    };
    FakeImds::start(identity, failures).await.expect("a free port")
}

/// Runs gen-orders without a password, and with the identity of `imds`. Returns its exit code and its log.
async fn sign_in(setup: &Setup, imds: &FakeImds, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = setup.command(&[
        ("COUNT", "120"),
        ("IDENTITY_ENDPOINT", &imds.endpoint()),
        ("IDENTITY_HEADER", "proof"),
    ]);
    command
        .env_remove("SQL_USER")
        .env_remove("SQL_PASSWORD")
        .envs(variables.iter().copied());
    let output = tokio::time::timeout(HANGS, command.output())
        .await
        .expect("it ends")
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains(TOKEN), "the token is printed: {text}");
    (output.status.code(), text)
}

/// The batches that clients send to a server.
#[derive(Clone, Default)]
struct RequestLog(Arc<Mutex<Vec<String>>>);

impl RequestLog {
    /// Records every batch, and injects `faults`.
    fn record(&self, mut faults: fault::Faults) -> fault::Faults {
        let requests = Arc::clone(&self.0);
        Box::new(move |event| {
            requests
                .lock()
                .expect("nothing panics with it")
                .push(event.sql.into());
            faults(event)
        })
    }

    /// Returns the batches since the last call that contain `text`, once each, in alphabetical order.
    fn take(&self, text: &str) -> Vec<String> {
        let mut requests = std::mem::take(&mut *self.0.lock().expect("nothing panics with it"));
        requests.retain(|sql| sql.contains(text));
        requests.sort();
        requests.dedup();
        requests
    }
}

/// Returns a number that differs from run to run of the suite.
fn chance(below: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) % below
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_arrives_row_by_row_over_any_number_of_connections() {
    let cases = [
        (0, "4"),
        (1, "1"),
        (49, "2"),
        (50, "4"),
        (51, "1"),
        (99, "4"),
        (100, "2"),
        (101, "1"),
        (1_234, "4"),
    ];
    for (count, connections) in cases {
        let setup = Setup::new(TdsOptions::default()).await;
        let log = setup
            .load(&[("COUNT", &count.to_string()), ("SQL_CONNECTIONS", connections)])
            .await;
        setup.assert_exact(0, count);
        assert!(!log.contains("WARN"), "{log}");
        let manifest = setup
            .server
            .rows("_datagen_manifest")
            .expect("the table is there");
        let TdsValue::Text(manifest) = &manifest[0][3] else {
            panic!("{manifest:?}")
        };
        assert!(manifest.contains(&format!("\"count\": {count}")), "{manifest}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_packets_change_nothing() {
    let setup = Setup::new(TdsOptions {
        packet_size: 512,
        ..TdsOptions::default()
    })
    .await;
    setup.load(&[("COUNT", "500")]).await;
    setup.assert_exact(0, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_need_not_report_how_many_rows_it_took() {
    let setup = Setup::new(TdsOptions {
        counts: false,
        ..TdsOptions::default()
    })
    .await;
    setup.load(&[("COUNT", "120")]).await;
    setup.assert_exact(0, 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_run_does_nothing_and_says_so() {
    let setup = Setup::new(TdsOptions::default()).await;
    setup.load(&[("COUNT", "300")]).await;
    let bulks = setup.server.stats().bulks;
    let log = setup.load(&[("COUNT", "300"), ("SQL_CHUNK", "7")]).await;
    assert!(log.contains("already there"), "{log}");
    assert_eq!(setup.server.stats().bulks, bulks);
    setup.assert_exact(0, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lock_escalation_and_statistics_are_seen_to_whatever_happens() {
    let [off, on] = ["DISABLE", "TABLE"].map(|value| {
        let set = |table| format!("ALTER TABLE dbo.{table} SET (LOCK_ESCALATION = {value});");
        ["orders", "items"].map(set).join(" ")
    });
    let requests = RequestLog::default();
    // The response to the COMMIT of the set-up is lost.
    let lost = fault::nth(Point::Commit, 1, Action::DropAfter);
    let setup = Setup::with_faults(requests.record(lost)).await;
    let run = |index: &'static str| [("COUNT", "300"), ("SHARD_COUNT", "2"), ("SHARD_INDEX", index)];
    setup.load(&run("0")).await;
    assert_eq!(
        requests.take("LOCK_ESCALATION"),
        [&*off],
        "the other shard is not done"
    );
    // Everything is loaded, but the process fails before it can report that.
    let killed = fault::on_sql("SUM(row_count)", Action::error(229));
    setup.server.set_faults(requests.record(killed));
    setup.fail(&run("1")).await;
    assert_eq!(requests.take("LOCK_ESCALATION"), [&*off]);
    // A statement that the server does not support does not end the run.
    let unknown = fault::on_sql("ALTER TABLE", Action::error(102));
    setup.server.set_faults(requests.record(unknown));
    let log = setup.load(&run("1")).await;
    assert!(log.contains("failed, which only affects speed"), "{log}");
    let all = requests.take("dbo.");
    assert!(all.contains(&on), "{all:?}");
    let statistics = "UPDATE STATISTICS dbo.orders; UPDATE STATISTICS dbo.items;";
    assert!(all.iter().any(|text| text == statistics), "{all:?}");
    // Once this has been done, it is not repeated.
    setup.server.set_faults(requests.record(fault::none()));
    setup.load(&run("1")).await;
    let none: [&str; 0] = [];
    assert_eq!(requests.take("STATISTICS"), none);
    setup.assert_exact(0, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_does_not_wait_for_another_that_hangs_in_a_transaction() {
    // Where readers wait for writers, the last query about all chunks gets this error.
    let setup = Setup::with_faults(fault::on_sql("SUM(row_count)", Action::error(1222))).await;
    let shard = [("COUNT", "300"), ("SHARD_COUNT", "2"), ("SHARD_INDEX", "1")];
    let log = setup.load(&shard).await;
    assert!(log.contains("other shards are not done"), "{log}");
    assert_eq!(setup.server.count("orders"), Some(150));
    assert_eq!(setup.server.count("_datagen_manifest"), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_rate_a_chunk_is_a_quarter_of_a_second_at_the_most() {
    let setup = Setup::new(TdsOptions::default()).await;
    setup.load(&[("COUNT", "60"), ("RATE", "80")]).await;
    assert_eq!(setup.server.count("_datagen_chunks"), Some(3));
    setup.assert_exact(0, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_parameters_make_the_tables_anew() {
    let setup = Setup::new(TdsOptions::default()).await;
    setup.load(&[("COUNT", "300")]).await;
    // The tables are dropped, and the connection is lost before they are created again.
    setup
        .server
        .set_faults(fault::nth(Point::Commit, 1, Action::DropBefore));
    let log = setup.load(&[("COUNT", "120"), ("SEED", "7")]).await;
    setup.assert_exact(7, 120);
    assert_eq!(setup.server.stats().faults, 1);
    let replaced: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("dropping the tables"))
        .collect();
    assert_eq!(replaced.len(), 1, "{log}");
    for text in [
        "orders and items of another run",
        "\"seed\":0,\"profile\":\"shop\",\"count\":300",
        "\"seed\":7,\"profile\":\"shop\",\"count\":120",
    ] {
        assert!(replaced[0].contains(text), "{text} in {log}");
    }
    setup
        .server
        .execute("DROP TABLE dbo.items")
        .await
        .expect("the table is there");
    let log = setup.load(&[("COUNT", "120"), ("SEED", "7")]).await;
    assert!(log.contains("because the table items is missing"), "{log}");
    setup.assert_exact(7, 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_load_takes_few_round_trips() {
    let requests = RequestLog::default();
    let setup = Setup::with_faults(requests.record(fault::none())).await;
    setup.load(&[("COUNT", "1")]).await;
    setup.assert_exact(0, 1);
    // There is one session for everything except the requests that may take long, which have another timeout.
    let stats = setup.server.stats();
    assert_eq!(stats.connections, 2, "{stats:?}");
    assert!(stats.requests <= 20, "{stats:?} {:#?}", requests.take(""));
    // All connections load, and later requests open no more.
    setup
        .load(&[("COUNT", "2000"), ("SQL_CONNECTIONS", "4"), ("SEED", "1")])
        .await;
    let connections = setup.server.stats().connections - stats.connections;
    assert!(connections <= 5, "{connections}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_gen_orders_did_not_create_are_not_dropped() {
    let setup = Setup::new(TdsOptions::default()).await;
    let foreign = "exists already, but gen-orders did not create it; drop or rename it";
    let theirs = "CREATE TABLE orders (orderId int PRIMARY KEY); INSERT INTO orders (orderId) VALUES (5)";
    setup.server.execute(theirs).await.expect("valid T-SQL");
    let line = setup.fail(&[("COUNT", "10")]).await;
    assert!(line.contains(&format!("dbo.orders {foreign}")), "{line}");
    assert_eq!(setup.server.rows("orders"), Some(vec![vec![TdsValue::Int(5)]]));
    // An empty table may belong to another program as well.
    setup
        .server
        .execute("DELETE FROM orders")
        .await
        .expect("valid T-SQL");
    let line = setup.fail(&[("COUNT", "10")]).await;
    assert!(line.contains(&format!("dbo.orders {foreign}")), "{line}");
    setup
        .server
        .execute("INSERT INTO orders (orderId) VALUES (6)")
        .await
        .expect("it has its own columns");
    setup
        .server
        .execute("DROP TABLE orders")
        .await
        .expect("the table is there");
    let theirs = "CREATE TABLE _datagen_manifest (a int)";
    setup.server.execute(theirs).await.expect("valid T-SQL");
    let line = setup.fail(&[("COUNT", "10")]).await;
    assert!(
        line.contains(&format!("dbo._datagen_manifest {foreign}")),
        "{line}"
    );
    setup
        .server
        .execute("DROP TABLE _datagen_manifest")
        .await
        .expect("the table is there");
    setup.load(&[("COUNT", "10")]).await;
    setup.assert_exact(0, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_another_program_changed_are_noticed() {
    let setup = Setup::new(TdsOptions::default()).await;
    setup.load(&[("COUNT", "200")]).await;
    setup
        .server
        .execute("DELETE FROM items WHERE orderId = 7")
        .await
        .expect("valid T-SQL");
    let line = setup.fail(&[("COUNT", "200")]).await;
    assert!(
        line.contains("were loaded; another program changes these tables"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_start_in_any_order_at_any_time() {
    for shards in [1u32, 3, 8] {
        let setup = Setup::new(TdsOptions::default()).await;
        let count = shards.to_string();
        let mut runs = Vec::new();
        for index in (0..shards).rev() {
            let index = index.to_string();
            let part = [
                ("SHARD_COUNT", count.as_str()),
                ("SHARD_INDEX", &index),
                ("SQL_CONNECTIONS", "2"),
            ];
            let mut command = setup.command(&[("COUNT", "1111")]);
            runs.push(
                command
                    .envs(part)
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("the binary starts"),
            );
            tokio::time::sleep(Duration::from_millis(chance(40))).await;
        }
        for run in runs {
            let output = tokio::time::timeout(HANGS, run.wait_with_output())
                .await
                .expect("it ends");
            let output = output.expect("its output can be read");
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        setup.assert_exact(0, 1_111);
        assert_eq!(setup.server.count("_datagen_manifest"), Some(shards.into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_kills_leave_nothing_behind() {
    let options = TdsOptions {
        latency: Duration::from_millis(1),
        ..TdsOptions::default()
    };
    let setup = Setup::new(options).await;
    let variables = [("COUNT", "20000"), ("SQL_CHUNK", "20"), ("SQL_CONNECTIONS", "3")];
    for round in 0..30 {
        // Moments are counted in requests, so that they fall into the load however slow the machine is; the first
        // rounds fall into the set-up.
        let moment = setup.server.stats().requests + 1 + chance(if round < 6 { 10 } else { 200 });
        let mut child = setup
            .command(&variables)
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let reached = async {
            while setup.server.stats().requests < moment {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        };
        tokio::time::timeout(HANGS, reached)
            .await
            .expect("the run continues");
        tokio::time::sleep(Duration::from_micros(chance(3_000))).await;
        child.start_kill().expect("it runs");
        let status = child.wait().await.expect("it was started");
        assert_eq!(status.code(), None, "round {round} ended before it was killed");
    }
    let orders = setup.server.count("orders").expect("the tables were made");
    assert!(
        (1..20_000).contains(&orders),
        "{orders} orders before the last run"
    );
    setup.load(&variables).await;
    setup.assert_exact(0, 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_in_which_every_tenth_request_fails_ends_exact() {
    let seed = chance(u64::MAX);
    println!("fault seed {seed}");
    let setup = Setup::with_faults(fault::random(seed, 10)).await;
    let log = setup.load(&[("COUNT", "3000"), ("SQL_CHUNK", "100")]).await;
    assert!(setup.server.stats().faults > 20, "{:?}", setup.server.stats());
    assert!(log.contains("again in"), "{log}");
    setup.assert_exact(0, 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_fault_at_any_point_is_survived() {
    // Each fault is late enough to be after the set-up, where there are that many events. Every COMMIT is tried,
    // because its outcome is then unknown.
    let cases = [
        (Point::Accept, 2..=2),
        (Point::Login, 2..=2),
        (Point::Batch, 5..=5),
        (Point::BulkStart, 5..=5),
        (Point::BulkPacket, 5..=5),
        (Point::BulkEnd, 5..=5),
        (Point::Commit, 1..=5),
    ];
    for (point, nth) in cases {
        let errors = [1205, 40197, 10928, 1222].map(Action::error);
        for action in [Action::DropBefore, Action::DropAfter].into_iter().chain(errors) {
            for nth in nth.clone() {
                let setup = Setup::new(TdsOptions {
                    faults: fault::nth(point, nth, action.clone()),
                    packet_size: 512,
                    ..TdsOptions::default()
                })
                .await;
                setup.load(&[("COUNT", "400"), ("SQL_CONNECTIONS", "2")]).await;
                assert_eq!(setup.server.stats().faults, 1, "{point:?} {nth} {action:?}");
                setup.assert_exact(0, 400);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_answers_is_given_up() {
    let points = [
        Point::Accept,
        Point::Login,
        Point::Batch,
        Point::BulkPacket,
        Point::BulkEnd,
        Point::Commit,
    ];
    let mut given_up = tokio::task::JoinSet::new();
    for point in points {
        given_up.spawn(async move {
            let setup = Setup::new(TdsOptions {
                packet_size: 512,
                ..TdsOptions::default()
            })
            .await;
            setup.server.set_faults(fault::always(point, Action::Stall));
            let impatient = [("COUNT", "100"), ("SQL_TIMEOUT", "1"), ("SQL_CONNECTIONS", "1")];
            let line = setup.fail(&impatient).await;
            assert!(
                line.contains("localhost/playground: the server does not respond"),
                "{point:?}: {line}"
            );
            setup.server.set_faults(fault::none());
            setup.load(&[("COUNT", "100")]).await;
            setup.assert_exact(0, 100);
        });
    }
    given_up.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_up_again_and_again_is_given_up_in_plain_words() {
    for point in [Point::Batch, Point::BulkPacket, Point::BulkEnd, Point::Commit] {
        let setup = Setup::new(TdsOptions {
            packet_size: 512,
            faults: fault::always(point, Action::DropAfter),
            ..TdsOptions::default()
        })
        .await;
        let line = setup.fail(&[("COUNT", "100"), ("SQL_TIMEOUT", "1")]).await;
        assert!(
            line.contains("localhost/playground: the server closed the connection; check SQL_SERVER"),
            "{point:?}: {line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_for_good_is_one_clear_line() {
    let setup = Setup::new(TdsOptions::default()).await;
    let quick = ("SQL_TIMEOUT", "1");
    let line = setup.fail(&[("SQL_PASSWORD", "Jiné-tajemství-1"), quick]).await;
    assert!(
        line.contains("error 18456: Login failed for user 'loader'.; check SQL_USER"),
        "{line}"
    );
    assert!(!line.contains("Jiné"), "{line}");
    let line = setup.fail(&[("SQL_DATABASE", "elsewhere"), quick]).await;
    assert!(
        line.contains("error 4060") && line.contains("check SQL_DATABASE"),
        "{line}"
    );
    let line = setup.fail(&[("SQL_SERVER", "127.0.0.2"), quick]).await;
    assert!(line.contains("check SQL_SERVER"), "{line}");
    let line = setup
        .fail(&[("SQL_SERVER", "does-not-exist.invalid"), quick])
        .await;
    assert!(line.contains("check SQL_SERVER"), "{line}");

    let stranger = Setup::new(TdsOptions::default()).await;
    let other_ca = stranger.ca().display().to_string();
    let line = setup.fail(&[("SSL_CERT_FILE", &other_ca), quick]).await;
    assert!(
        line.contains(
            // Both authorities have the same name.
            "the server's certificate was refused: its signature is wrong; check"
        ) && line.contains("SQL_TRUST_SERVER_CERTIFICATE"),
        "{line}"
    );
    let trusting = [
        ("SSL_CERT_FILE", other_ca.as_str()),
        ("SQL_TRUST_SERVER_CERTIFICATE", "true"),
    ];
    setup.load(&[trusting[0], trusting[1], ("COUNT", "5")]).await;

    let other_name = TdsOptions {
        names: vec!["sql.example.com".into()],
        ..TdsOptions::default()
    };
    let line = Setup::new(other_name).await.fail(&[quick]).await;
    assert!(
        line.contains("the server's certificate was refused: certificate not valid for name")
            && line.contains("check that SQL_SERVER is the name in the server's certificate"),
        "{line}"
    );

    let plain = Setup::new(TdsOptions {
        names: vec![],
        ..TdsOptions::default()
    })
    .await;
    let line = plain
        .fail(&[("SQL_TRUST_SERVER_CERTIFICATE", "true"), quick])
        .await;
    assert!(line.contains("does not offer TLS"), "{line}");

    let denied = ServerError::new(262, "CREATE TABLE permission denied in database 'playground'.");
    let faults = fault::on_sql("CREATE TABLE", Action::Error(denied));
    let no_rights = Setup::with_faults(faults).await;
    let line = no_rights.fail(&[quick]).await;
    assert!(
        line.contains("error 262: CREATE TABLE permission denied") && line.contains("grant"),
        "{line}"
    );
    assert_eq!(
        no_rights.server.count("orders"),
        None,
        "the set-up was rolled back"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_redirect_of_azure_sql_is_followed() {
    let worker = Setup::new(TdsOptions::default()).await;
    let to = |host: &str, port| fault::always(Point::Login, Action::Route(host.into(), port));
    let faults = to("localhost", worker.server.port());
    let gateway = Setup::with_faults(faults).await;
    let trust = |other: &Setup| {
        let both = gateway.server.ca_pem().to_owned() + other.server.ca_pem();
        std::fs::write(gateway.ca(), both).expect("it can be written");
    };
    trust(&worker);
    gateway.load(&[("COUNT", "200")]).await;
    worker.assert_exact(0, 200);
    assert_eq!(gateway.server.count("orders"), None);
    // The certificate is checked against the name that the gateway gave, not against the name of the gateway.
    let strange = TdsOptions {
        names: vec!["worker.example.com".into()],
        ..TdsOptions::default()
    };
    let strange = Setup::new(strange).await;
    trust(&strange);
    gateway.server.set_faults(to("localhost", strange.server.port()));
    let line = gateway.fail(&[("COUNT", "200")]).await;
    assert!(line.contains("the server's certificate was refused: "), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_tables_are_taken_over_stops_and_the_other_is_exact() {
    let setup = Setup::new(TdsOptions {
        latency: Duration::from_millis(3),
        ..TdsOptions::default()
    })
    .await;
    let slow = [("COUNT", "20000"), ("SQL_CHUNK", "20"), ("SEED", "1")];
    let first = setup
        .command(&slow)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    setup.orders_reach(100).await;
    setup.load(&[("COUNT", "400"), ("SEED", "2")]).await;
    let output = tokio::time::timeout(HANGS, first.wait_with_output())
        .await
        .expect("it ends");
    let output = output.expect("its output can be read");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("prepared for another run"), "{text}");
    setup.assert_exact(2, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_tables_are_taken_over_when_all_is_loaded_does_not_say_done() {
    let last_requests = [
        "SELECT COUNT_BIG(*) AS chunks",
        "SELECT COUNT_BIG(*) AS manifests",
        "SELECT COUNT_BIG(*) AS found FROM dbo.items",
        "DELETE FROM dbo._datagen_manifest",
        "INSERT INTO dbo._datagen_manifest",
    ];
    for request in last_requests {
        let setup = Setup::with_faults(fault::on_sql(request, Action::DropBefore)).await;
        let running = setup
            .command(&[("COUNT", "100")])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let waits = async {
            while setup.server.stats().faults == 0 {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        };
        tokio::time::timeout(HANGS, waits)
            .await
            .expect("the run gets there");
        // This is what the set-up of another run leaves, as far as it matters here.
        setup
            .server
            .execute("UPDATE _datagen_run SET parameters = N'another'")
            .await
            .expect("the table is there");
        setup.server.set_faults(fault::none());
        let output = tokio::time::timeout(HANGS, running.wait_with_output())
            .await
            .expect("it ends")
            .expect("its output can be read");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{request}: {text}");
        assert!(text.contains("prepared for another run"), "{request}: {text}");
        assert_eq!(setup.server.count("_datagen_manifest"), Some(0), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entra_id_signs_in_without_a_password() {
    // The endpoint is busy at first, as after the start of a machine.
    let imds = identity_endpoint(Some("an-identity"), &[429]).await;
    let variables = [
        ("AZURE_CLIENT_ID", "an-identity"),
        // No proxy reaches the endpoint of a managed identity, and nothing listens here.
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
    ];
    let accepting = |token: &str| TdsOptions {
        token: Some(token.into()),
        ..TdsOptions::default()
    };
    let setup = Setup::new(accepting(TOKEN)).await;
    let (code, text) = sign_in(&setup, &imds, &variables).await;
    assert_eq!(code, Some(0), "{text}");
    setup.assert_exact(0, 120);

    let setup = Setup::new(accepting("another")).await;
    let (code, text) = sign_in(&setup, &imds, &variables).await;
    assert_eq!(code, Some(1), "{text}");
    for expected in [
        "error 18456",
        "FROM EXTERNAL PROVIDER",
        "sql_administrator_id = \"client\"",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    let resources = imds.resources();
    assert!(
        resources.len() > 1
            && resources
                .iter()
                .all(|resource| resource == "https://database.windows.net"),
        "{resources:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cause_of_a_refused_sign_in_is_reported() {
    let imds = identity_endpoint(None, &[403]).await;
    let setup = Setup::new(TdsOptions::default()).await;
    let (code, text) = sign_in(&setup, &imds, &[]).await;
    assert_eq!(code, Some(1), "{text}");
    let line = text.lines().last().expect("an error is a line");
    assert!(
        line.contains("could not sign in as the system-assigned managed identity")
            && line.contains("HTTP 403: temporarily_unavailable"),
        "{text}"
    );
    assert!(!text.contains("again in"), "it was retried: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_connections_work_at_once() {
    let setup = Setup::new(TdsOptions {
        latency: Duration::from_millis(2),
        ..TdsOptions::default()
    })
    .await;
    setup.load(&[("COUNT", "2000"), ("SQL_CONNECTIONS", "4")]).await;
    assert_eq!(setup.server.stats().most_busy, 4, "{:?}", setup.server.stats());
    setup.assert_exact(0, 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_in_good_order_and_the_run_goes_on_later() {
    let setup = Setup::new(TdsOptions {
        latency: Duration::from_millis(2),
        ..TdsOptions::default()
    })
    .await;
    let variables = [("COUNT", "4000"), ("SQL_CHUNK", "20")];
    let mut child = setup
        .command(&variables)
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    setup.orders_reach(100).await;
    let pid = child.id().expect("it runs").to_string();
    let kill = Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .await
        .expect("kill is there");
    assert!(kill.success());
    let status = tokio::time::timeout(HANGS, child.wait())
        .await
        .expect("it ends")
        .expect("it was started");
    assert_eq!(status.code(), Some(143));
    let log = setup.load(&variables).await;
    assert!(log.contains("continuing an unfinished run"), "{log}");
    setup.assert_exact(0, 4_000);
}

const READERS: &str = "user:0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a01:deployer;\
                       GROUP:0BD6A2F7-5D9C-4B6B-9C0F-0D3B7C1F2A07:Data team: a@b.cz;\
                       application:0bd6a2f7-5d9c-4b6b-9c0f-0d3b7c1f2a09:notebooks";

/// Returns the user of the reader whose id ends with these digits.
fn user(name: &str, digits: &str, kind: &str) -> TestUser {
    TestUser {
        name: name.into(),
        sid: format!("0xF7A2D60B9C5D6B4B9C0F0D3B7C1F2A{digits}"),
        kind: kind.into(),
        reads: true,
    }
}

/// Returns the lines of a log that are warnings.
fn warnings(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("WARN")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_are_admitted_by_one_shard_and_also_when_all_is_loaded() {
    let requests = RequestLog::default();
    let setup = Setup::with_faults(requests.record(fault::none())).await;
    let shard = |index: &'static str| {
        let all = [("COUNT", "300"), ("SHARD_COUNT", "2"), ("SHARD_INDEX", index)];
        all.into_iter()
            .chain([("SQL_READERS", READERS)])
            .collect::<Vec<_>>()
    };
    let log = setup.load(&shard("1")).await;
    assert_eq!((setup.server.users(), warnings(&log).len()), (vec![], 0));
    setup.load(&shard("0")[..3]).await;
    assert_eq!(setup.server.users(), [], "there are no readers");
    let expected = [
        user("deployer", "01", "E"),
        user("Data team: a@b.cz", "07", "X"),
        user("notebooks", "09", "E"),
    ];
    let bulks = setup.server.stats().bulks;
    let log = setup.load(&shard("0")).await;
    assert_eq!(setup.server.users(), expected);
    assert!(log.contains("Data team: a@b.cz may read the tables"), "{log}");
    assert_eq!(setup.server.stats().bulks, bulks, "all was loaded before");
    // An existing user is not created again, and a missing membership is added.
    let mut users = setup.server.users();
    users[0].name = "another name".into();
    users[0].reads = false;
    setup.server.set_users(&users).await;
    requests.take("");
    let log = setup.load(&shard("0")).await;
    users[0].reads = true;
    assert_eq!((setup.server.users(), warnings(&log).len()), (users, 0), "{log}");
    let none: [&str; 0] = [];
    assert_eq!(requests.take("CREATE USER"), none);
    setup.assert_exact(0, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_the_database_reads_without_a_role() {
    let setup = Setup::new(TdsOptions::default()).await;
    let owner = TestUser {
        reads: false,
        ..user("dbo", "01", "E")
    };
    setup.server.set_users(std::slice::from_ref(&owner)).await;
    let reader = READERS.split(';').next().expect("there is one");
    let log = setup.load(&[("COUNT", "10"), ("SQL_READERS", reader)]).await;
    assert_eq!(
        (setup.server.users(), warnings(&log).len()),
        (vec![owner], 0),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_the_server_refuses_cost_a_warning_each() {
    let variables = [("COUNT", "120"), ("SQL_READERS", READERS)];
    let denied = ServerError::new(15247, "User does not have permission to perform this action.");
    let setup = Setup::with_faults(fault::on_sql("CREATE USER", Action::Error(denied))).await;
    let log = setup.load(&variables).await;
    setup.assert_exact(0, 120);
    let lines = warnings(&log);
    assert_eq!(lines.len(), 3, "{log}");
    assert!(
        lines[1].contains("Data team: a@b.cz could not be admitted as a reader")
            && lines[1].contains("error 15247: User does not have permission")
            && lines[1].contains(
                "run: CREATE USER [Data team: a@b.cz] WITH SID = 0xF7A2D60B9C5D6B4B9C0F0D3B7C1F2A07, TYPE = X; \
                 ALTER ROLE db_datareader ADD MEMBER [Data team: a@b.cz];"
            ),
        "{log}"
    );
    // If another user has a reader's name, only that reader is affected.
    setup.server.set_faults(fault::none());
    setup.server.set_users(&[user("Deployer", "33", "E")]).await;
    let log = setup.load(&variables).await;
    let lines = warnings(&log);
    assert_eq!(lines.len(), 1, "{log}");
    assert!(
        lines[0].contains("error 15023") && lines[0].contains("choose another NAME in SQL_READERS"),
        "{log}"
    );
    assert_eq!(setup.server.users().len(), 3);
    // A server that is out of order is given up once, not once per reader.
    setup.server.set_users(&[]).await;
    setup
        .server
        .set_faults(fault::on_sql("sys.database_principals", Action::error(40613)));
    let log = setup
        .load(&[variables[0], variables[1], ("SQL_TIMEOUT", "1")])
        .await;
    let given_up = log.matches("could not be admitted as a reader").count();
    assert_eq!((given_up, setup.server.users().len()), (3, 0), "{log}");
    setup.server.set_faults(fault::none());
    setup.load(&variables).await;
    assert_eq!(setup.server.users().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_whose_user_was_created_by_a_lost_request_is_admitted() {
    for action in [Action::DropBefore, Action::DropAfter, Action::error(40613)] {
        for text in ["sys.database_principals", "CREATE USER", "ALTER ROLE"] {
            let mut faulted = false;
            let once = action.clone();
            let setup = Setup::new(TdsOptions {
                faults: Box::new(move |event| {
                    let now = !faulted && event.sql.contains(text);
                    faulted |= now;
                    now.then(|| once.clone())
                }),
                ..TdsOptions::default()
            })
            .await;
            let log = setup.load(&[("COUNT", "10"), ("SQL_READERS", READERS)]).await;
            assert!(setup.server.users().iter().all(|user| user.reads), "{log}");
            assert_eq!(setup.server.users().len(), 3, "{log}");
            assert!(!log.contains("could not be admitted"), "{log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_firewall_rule_is_waited_for_before_the_first_login() {
    let mut refusals = 0;
    let setup = Setup::new(TdsOptions {
        faults: Box::new(move |event| {
            let refused = event.point == Point::Login && refusals < 3;
            refusals += u32::from(refused);
            refused.then(|| {
                let problem = "Client with IP address '192.0.2.1' is not allowed to access the server.";
                Action::Error(ServerError::new(40615, problem))
            })
        }),
        ..TdsOptions::default()
    })
    .await;
    let log = setup.load(&[("COUNT", "120"), ("SQL_TIMEOUT", "1")]).await;
    assert_eq!(setup.server.stats().faults, 3);
    setup.assert_exact(0, 120);
    let lines = warnings(&log);
    assert_eq!(lines.len(), 1, "{log}");
    assert!(
        lines[0].contains("waiting up to 10 minutes")
            && lines[0].contains("192.0.2.1")
            && lines[0].contains("allow this machine's address in the firewall"),
        "{log}"
    );
}
