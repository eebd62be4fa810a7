//! Puts TLS and SASL before a plain Kafka broker, for trying clients by hand and for end-to-end scripts.
//!
//! `kafka-front LISTEN UPSTREAM CA_FILE`, both addresses `IP:PORT` (port 0: a free one). The CA's certificate is
//! written to CA_FILE, the address in use is printed, and it serves until it is killed. `FRONT_USER` and
//! `FRONT_PASSWORD` (SASL PLAIN) and `FRONT_TOKEN` (SASL OAUTHBEARER, valid for an hour) say who is let in;
//! without any, there is TLS only. `FRONT_TLS=0` turns TLS off.

use std::env;
use std::error::Error;
use std::time::Duration;

use testkit::kafka::{Front, TestCa};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [listen, upstream, ca_file] = arguments.as_slice() else {
        return Err("usage: kafka-front LISTEN UPSTREAM CA_FILE".into());
    };
    let mut front = Front::builder().listen(listen.parse()?);
    if env::var("FRONT_TLS").as_deref() != Ok("0") {
        let ca = TestCa::new();
        std::fs::write(ca_file, ca.pem())?;
        front = front.tls(ca.issue("localhost"));
    }
    if let (Ok(user), Ok(password)) = (env::var("FRONT_USER"), env::var("FRONT_PASSWORD")) {
        front = front.plain(&user, &password);
    }
    if let Ok(token) = env::var("FRONT_TOKEN") {
        front = front.bearer(&token, Duration::from_secs(3600));
    }
    let front = front.start(upstream.parse()?).await?;
    println!("{}", front.bootstrap());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
