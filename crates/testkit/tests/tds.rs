//! The TDS server against tiberius: what the loaders rely on, and that faults are what they say.

use std::time::Duration;

use testkit::tds::{Action, Options, Point, TdsServer, Value, fault};
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel, TokenRow, error::Error};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

type Sql = Client<Compat<TcpStream>>;

async fn server(options: Options) -> TdsServer {
    TdsServer::start(options).await.expect("a free port")
}

fn config(server: &TdsServer) -> Config {
    let mut config = Config::new();
    config.host("localhost");
    config.port(server.port());
    config.database("playground");
    config.authentication(AuthMethod::sql_server("loader", "Příliš-tajné-1"));
    config.packet_size(32767);
    config.trust_cert_ca_bundle(server.ca_pem().as_bytes().to_vec());
    config
}

async fn connect(server: &TdsServer, config: Config) -> Result<Sql, Error> {
    let tcp = TcpStream::connect(server.address()).await?;
    Client::connect(config, tcp.compat_write()).await
}

async fn client(server: &TdsServer) -> Sql {
    connect(server, config(server)).await.expect("the login is right")
}

async fn batch(client: &mut Sql, text: &str) -> Result<(), Error> {
    client.simple_query(text).await?.into_results().await.map(drop)
}

async fn load(client: &mut Sql, ids: std::ops::Range<i32>) -> Result<u64, Error> {
    let mut bulk = client.bulk_insert_columns("dbo.t", &["a", "b", "c", "d"]).await?;
    for id in ids {
        let mut row = TokenRow::with_capacity(4);
        row.push(ColumnData::I32(Some(id)));
        row.push(ColumnData::F64(Some(f64::from(id) / 2.0)));
        row.push(ColumnData::DateTime(Some(tiberius::time::DateTime::new(
            id,
            300 * 3600,
        ))));
        row.push(ColumnData::I64((id % 2 == 0).then_some(i64::from(id))));
        bulk.send(row).await?;
    }
    Ok(bulk.finalize().await?.total())
}

const TABLE: &str = "CREATE TABLE dbo.t (a int PRIMARY KEY, b float NOT NULL, c datetime, d bigint)";

fn assert_no_violation(server: &TdsServer) {
    assert_eq!(server.violations(), []);
}

#[tokio::test]
async fn a_bulk_load_in_a_transaction_arrives_value_by_value() {
    let server = server(Options::default()).await;
    let mut client = client(&server).await;
    batch(&mut client, TABLE).await.unwrap();
    batch(&mut client, "BEGIN TRANSACTION").await.unwrap();
    assert_eq!(load(&mut client, 0..20_000).await.unwrap(), 20_000);
    assert_eq!(server.count("t"), Some(0), "nothing is committed yet");
    batch(&mut client, "COMMIT TRANSACTION").await.unwrap();
    let rows = server.rows("t").unwrap();
    assert_eq!(rows.len(), 20_000);
    for (id, row) in rows.iter().enumerate() {
        let id = id as i64;
        let even = if id % 2 == 0 { Value::Int(id) } else { Value::Null };
        let expected = [
            Value::Int(id),
            Value::Float(id as f64 / 2.0),
            Value::DateTime(id as i32, 1_080_000),
            even,
        ];
        assert_eq!(row.as_slice(), expected);
    }
    assert_no_violation(&server);
}

#[tokio::test]
async fn transaction_requests_and_parameters() {
    let server = server(Options::default()).await;
    let mut client = client(&server).await;
    batch(&mut client, TABLE).await.unwrap();
    let insert = "INSERT INTO dbo.t (a, b) VALUES (@P1, @P2)";
    client.begin_transaction().await.unwrap();
    assert_eq!(
        client.execute(insert, &[&1i32, &2.5f64]).await.unwrap().total(),
        1
    );
    client.rollback_transaction().await.unwrap();
    client.begin_transaction().await.unwrap();
    client.execute(insert, &[&2i32, &4.5f64]).await.unwrap();
    client.commit_transaction().await.unwrap();
    let row = client
        .query("SELECT a, b, d FROM dbo.t WHERE a = @P1 ORDER BY a", &[&2i32])
        .await
        .unwrap()
        .into_row()
        .await
        .unwrap()
        .expect("the second row is in, the first was rolled back");
    assert_eq!(
        (row.get::<i32, _>(0), row.get::<f64, _>(1), row.get::<i64, _>(2)),
        (Some(2), Some(4.5), None)
    );
    let count = client
        .query("SELECT COUNT_BIG(*) FROM dbo.t", &[])
        .await
        .unwrap()
        .into_row()
        .await
        .unwrap();
    assert_eq!(count.and_then(|row| row.get::<i64, _>(0)), Some(1));
    assert_no_violation(&server);
}

#[tokio::test]
async fn a_duplicate_key_in_a_bulk_load_is_2627_and_leaves_nothing() {
    let server = server(Options::default()).await;
    let mut client = client(&server).await;
    batch(&mut client, TABLE).await.unwrap();
    load(&mut client, 5..6).await.unwrap();
    let error = load(&mut client, 0..10).await.expect_err("5 is there already");
    assert_eq!(error.code(), Some(2627));
    assert_eq!(server.count("t"), Some(1));
    assert_no_violation(&server);
}

#[tokio::test]
async fn who_may_log_in() {
    let server = server(Options {
        token: Some("eyJ0".into()),
        ..Options::default()
    })
    .await;
    let code = |result: Result<Sql, Error>| result.map(drop).map_err(|error| error.code());
    let mut wrong = config(&server);
    wrong.authentication(AuthMethod::sql_server("loader", "wrong"));
    assert_eq!(code(connect(&server, wrong).await), Err(Some(18456)));
    let mut elsewhere = config(&server);
    elsewhere.database("nowhere");
    assert_eq!(code(connect(&server, elsewhere).await), Err(Some(4060)));
    let mut token = config(&server);
    token.authentication(AuthMethod::aad_token("eyJ0"));
    assert_eq!(code(connect(&server, token).await), Ok(()));
    let mut stale = config(&server);
    stale.authentication(AuthMethod::aad_token("eyJ1"));
    assert_eq!(code(connect(&server, stale).await), Err(Some(18456)));
    assert_no_violation(&server);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_taken() {
    let server = server(Options {
        names: vec!["sql.example.com".into()],
        ..Options::default()
    })
    .await;
    let error = connect(&server, config(&server))
        .await
        .map(drop)
        .expect_err("the name differs");
    assert!(
        matches!(&error, Error::Tls(text) if text.contains("certificate")),
        "{error:?}"
    );
}

#[tokio::test]
async fn without_tls_a_client_that_requires_it_stays_away() {
    let server = server(Options {
        names: vec![],
        ..Options::default()
    })
    .await;
    let error = connect(&server, config(&server))
        .await
        .map(drop)
        .expect_err("no TLS here");
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    let mut plain = config(&server);
    plain.encryption(EncryptionLevel::NotSupported);
    connect(&server, plain).await.expect("plain text was asked for");
}

#[tokio::test]
async fn routing_names_the_other_server() {
    let faults = fault::nth(
        Point::Login,
        1,
        Action::Route("worker.example.com".into(), 11_003),
    );
    let server = server(Options {
        faults,
        ..Options::default()
    })
    .await;
    let error = connect(&server, config(&server))
        .await
        .map(drop)
        .expect_err("the login is routed");
    assert_eq!(
        error,
        Error::Routing {
            host: "worker.example.com".into(),
            port: 11_003
        }
    );
}

#[tokio::test]
async fn a_commit_cut_before_or_after_its_effect() {
    for (action, expected) in [(Action::DropBefore, 0), (Action::DropAfter, 10)] {
        let server = server(Options::default()).await;
        let mut client = client(&server).await;
        batch(&mut client, TABLE).await.unwrap();
        server.set_faults(fault::nth(Point::Commit, 1, action));
        batch(&mut client, "BEGIN TRANSACTION").await.unwrap();
        load(&mut client, 0..10).await.unwrap();
        let error = batch(&mut client, "COMMIT TRANSACTION")
            .await
            .expect_err("the connection is cut");
        assert_eq!(error.code(), None);
        tokio::time::timeout(Duration::from_secs(5), async {
            while server.open_transactions() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the server rolls back what a lost client left");
        assert_eq!(server.count("t"), Some(expected));
        assert_eq!(server.stats().faults, 1);
    }
}

#[tokio::test]
async fn errors_by_number_at_every_point() {
    for point in [
        Point::Batch,
        Point::BulkStart,
        Point::BulkPacket,
        Point::BulkEnd,
        Point::Commit,
    ] {
        let server = server(Options::default()).await;
        let mut client = client(&server).await;
        batch(&mut client, TABLE).await.unwrap();
        server.set_faults(fault::nth(point, 1, Action::error(1205)));
        let outcome: Result<(), Error> = async {
            batch(&mut client, "BEGIN TRANSACTION").await?;
            load(&mut client, 0..10_000).await?;
            batch(&mut client, "COMMIT TRANSACTION").await
        }
        .await;
        assert_eq!(
            outcome.map_err(|error| error.code()),
            Err(Some(1205)),
            "{point:?}"
        );
        assert_eq!(
            (server.count("t"), server.open_transactions()),
            (Some(0), 0),
            "{point:?}"
        );
        assert_no_violation(&server);
    }
}

#[tokio::test]
async fn a_stalled_answer_ends_with_the_client_s_patience() {
    let server = server(Options::default()).await;
    let mut config = config(&server);
    config.command_timeout(Some(Duration::from_millis(200)));
    let mut client = connect(&server, config).await.unwrap();
    server.set_faults(fault::always(Point::Batch, Action::Stall));
    let error = batch(&mut client, "SELECT 1").await.expect_err("no answer comes");
    assert!(
        matches!(
            error,
            Error::Io {
                kind: std::io::ErrorKind::TimedOut,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn sp_getapplock_makes_the_second_wait() {
    let server = server(Options::default()).await;
    let (mut one, mut two) = (client(&server).await, client(&server).await);
    let lock = |timeout: u32| {
        format!(
            "DECLARE @r int; EXEC @r = sp_getapplock @Resource = N'x', @LockMode = 'Exclusive', \
             @LockOwner = 'Transaction', @LockTimeout = {timeout}; SELECT @r AS r"
        )
    };
    async fn taken(client: &mut Sql, text: String) -> Option<i32> {
        let results = client
            .simple_query(text)
            .await
            .unwrap()
            .into_results()
            .await
            .unwrap();
        results
            .into_iter()
            .flatten()
            .next()
            .and_then(|row| row.get::<i32, _>(0))
    }
    batch(&mut one, "BEGIN TRANSACTION").await.unwrap();
    batch(&mut two, "BEGIN TRANSACTION").await.unwrap();
    assert_eq!(taken(&mut one, lock(0)).await, Some(0));
    assert_eq!(taken(&mut two, lock(50)).await, Some(-1));
    batch(&mut one, "COMMIT").await.unwrap();
    assert_eq!(taken(&mut two, lock(50)).await, Some(0));
    assert_no_violation(&server);
}
