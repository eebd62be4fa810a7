//! A TDS server for trying `gen-orders` out by hand: `cargo run -p testkit --bin tds-server -- [PORT] [ONE_IN]`.
//!
//! It writes the certificate of its authority to `tds-server-ca.pem` in the current directory and prints the variables
//! that `gen-orders` needs. On Ctrl-C it prints its counters and the number of rows in its tables. With ONE_IN, one
//! request in that many fails in a random way.

use std::process::ExitCode;

use testkit::tds::{TdsOptions, TdsServer, fault};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (port, one_in) = match (arguments.next(), arguments.next(), arguments.next()) {
        (None, None, None) => (0, None),
        (Some(Ok(port @ 0..=65_535)), None, None) => (port, None),
        (Some(Ok(port @ 0..=65_535)), Some(Ok(one_in @ 1..)), None) => (port, Some(one_in)),
        _ => {
            eprintln!(
                "usage: tds-server [PORT] [ONE_IN]: a port (0 picks one), and one request in ONE_IN fails"
            );
            return ExitCode::from(2);
        }
    };
    let options = TdsOptions {
        port: port as u16,
        faults: one_in.map_or_else(fault::none, |one_in| fault::random(port, one_in)),
        ..TdsOptions::default()
    };
    let (user, password, database) = (
        options.user.clone(),
        options.password.clone(),
        options.database.clone(),
    );
    let server = match TdsServer::start(options).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("tds-server: port {port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ca = std::path::absolute("tds-server-ca.pem").and_then(|path| {
        std::fs::write(&path, server.ca_pem())?;
        Ok(path)
    });
    let ca = match ca {
        Ok(path) => path,
        Err(error) => {
            eprintln!("tds-server: tds-server-ca.pem: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("export SSL_CERT_FILE='{}'", ca.display());
    println!(
        "export SQL_SERVER=localhost SQL_PORT={} SQL_DATABASE={database}",
        server.port()
    );
    println!("export SQL_USER={user} SQL_PASSWORD='{password}'");
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("tds-server: {error}");
        return ExitCode::FAILURE;
    }
    println!("{:?}", server.stats());
    for table in ["orders", "items", "_datagen_chunks", "_datagen_manifest"] {
        println!("{table}: {:?} rows", server.count(table));
    }
    for violation in server.violations() {
        println!("violation: {violation}");
    }
    ExitCode::SUCCESS
}
