//! Development tool: runs the test kit's strict Data Lake server as a program.
//!
//! `dfs-server [--drop[=MB/s]] [ADDRESS [LATENCY_MS [TOKEN]]]`, by default `127.0.0.1:10010` and 0. The account and its
//! key are the emulators' well-known ones; TOKEN is accepted as a bearer token. With `--drop`, written data is counted
//! and dropped; it is read at the given rate, if there is one. Prints one line when it listens; ends with a signal.

use std::{env, error::Error, time::Duration};

use testkit::dfs::{Bodies, DfsServer, auth::SharedKeyAccount};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1).peekable();
    let bodies = match arguments.next_if(|argument| argument.starts_with("--drop")) {
        Some(option) => Bodies::Dropped {
            rate: option.strip_prefix("--drop=").map_or(Ok(0), str::parse)? * 1_000_000,
        },
        None => Bodies::Kept,
    };
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:10010".to_owned())
        .parse()?;
    let latency = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let latency = Duration::from_millis(latency);
    let server = DfsServer::start(address, SharedKeyAccount::emulator(), latency, bodies).await?;
    if let Some(token) = arguments.next() {
        server.accept_token(token);
    }
    println!("http://{}/devstoreaccount1", server.address());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
