//! Development tool: the strict Data Lake server of the test kit, on its own.
//!
//! `dfs-server [ADDRESS [LATENCY_MS [TOKEN]]]`, by default `127.0.0.1:10010` and 0. The account and its key
//! are the emulators' well-known ones; TOKEN is accepted as a bearer token. Prints one line when it listens;
//! ends with a signal.

use std::{env, error::Error, time::Duration};

use testkit::dfs::{DfsServer, auth::Account};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:10010".to_owned())
        .parse()?;
    let latency = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let server = DfsServer::start(address, Account::emulator(), Duration::from_millis(latency)).await?;
    if let Some(token) = arguments.next() {
        server.accept_token(token);
    }
    println!("http://{}/devstoreaccount1", server.address());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
