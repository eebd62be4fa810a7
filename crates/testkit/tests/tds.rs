//! The TDS server against tiberius: checks what the loaders rely on, and that faults behave as described.

use std::time::Duration;

use testkit::tds::{Action, Point, TdsOptions, TdsServer, TdsValue, fault};
use tiberius::{AuthMethod, Client, ColumnData, Config, TokenRow, error::Error};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

type Sql = Client<Compat<TcpStream>>;

async fn server(options: TdsOptions) -> TdsServer {
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
    let server = server(TdsOptions::default()).await;
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
        let even = if id % 2 == 0 {
            TdsValue::Int(id)
        } else {
            TdsValue::Null
        };
        let expected = [
            TdsValue::Int(id),
            TdsValue::Float(id as f64 / 2.0),
            TdsValue::DateTime(id as i32, 1_080_000),
            even,
        ];
        assert_eq!(row.as_slice(), expected);
    }
    assert_no_violation(&server);
}

#[tokio::test]
async fn transactions_and_parameters() {
    let server = server(TdsOptions::default()).await;
    let mut client = client(&server).await;
    batch(&mut client, TABLE).await.unwrap();
    for (id, end) in [(1i32, "ROLLBACK TRANSACTION"), (2, "COMMIT TRANSACTION")] {
        batch(&mut client, "BEGIN TRANSACTION").await.unwrap();
        let insert = "INSERT INTO dbo.t (a, b) VALUES (@P1, @P2)";
        let inserted = client.execute(insert, &[&id, &2.5f64]).await.unwrap();
        assert_eq!(inserted.total(), 1);
        batch(&mut client, end).await.unwrap();
    }
    let select = "SELECT a, b, d FROM dbo.t WHERE a IN (@P1, @P2)";
    let rows = client.query(select, &[&1i32, &2i32]).await.unwrap();
    let rows = rows.into_first_result().await.unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (row.get::<i32, _>(0), row.get::<f64, _>(1), row.get::<i64, _>(2)))
        .collect();
    assert_eq!(rows, [(Some(2), Some(2.5), None)]);
    assert_no_violation(&server);
}

#[tokio::test]
async fn a_duplicate_key_in_a_bulk_load_is_2627_and_leaves_nothing() {
    let server = server(TdsOptions::default()).await;
    let mut client = client(&server).await;
    batch(&mut client, TABLE).await.unwrap();
    load(&mut client, 5..6).await.unwrap();
    let error = load(&mut client, 0..10).await.expect_err("5 is there already");
    assert_eq!(error.code(), Some(2627));
    assert_eq!(server.count("t"), Some(1));
    assert_no_violation(&server);
}

#[tokio::test]
async fn a_commit_cut_before_or_after_its_effect() {
    for (action, expected) in [(Action::DropBefore, 0), (Action::DropAfter, 10)] {
        let server = server(TdsOptions::default()).await;
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
        let server = server(TdsOptions::default()).await;
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
async fn sp_getapplock_makes_the_second_wait() {
    let server = server(TdsOptions::default()).await;
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
    batch(&mut one, "COMMIT TRANSACTION").await.unwrap();
    assert_eq!(taken(&mut two, lock(50)).await, Some(0));
    assert_no_violation(&server);
}
