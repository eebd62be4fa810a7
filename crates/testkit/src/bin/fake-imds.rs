//! Development tool: runs the test kit's identity endpoint as a program.
//!
//! `fake-imds TOKEN SECRET [CLIENT_ID]`. Prints the value for IDENTITY_ENDPOINT when it listens; SECRET is
//! the value for IDENTITY_HEADER. The first two requests are answered with 429 and 500. Ends with a signal.

use std::{env, error::Error, time::Duration};

use testkit::imds::{FakeImds, ManagedIdentity};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [token, secret, rest @ ..] = arguments.as_slice() else {
        return Err("usage: fake-imds TOKEN SECRET [CLIENT_ID]".into());
    };
    let identity = ManagedIdentity {
        token: token.clone(),
        client_id: rest.first().cloned(),
        lifetime: Duration::from_secs(3600),
        secret: secret.clone(),
    };
    let imds = FakeImds::start(identity, &[429, 500]).await?;
    println!("{}", imds.endpoint());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
