//! Development tool: runs the test kit's fault-injecting proxy as a program.
//!
//! `fault-proxy LISTEN UPSTREAM [PROBABILITY [SEED [LATENCY_MS]]]`, such as `fault-proxy 127.0.0.1:10001
//! 127.0.0.1:10000 0.1 7`. Prints one line when it listens, and another one with the counts of the faults when it is
//! interrupted.

use std::{env, error::Error, time::Duration};

use testkit::faults::{FaultPlan, FaultProxy};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [listen, upstream, rest @ ..] = arguments.as_slice() else {
        return Err("usage: fault-proxy LISTEN UPSTREAM [PROBABILITY [SEED [LATENCY_MS]]]".into());
    };
    let probability = rest.first().map_or(Ok(0.1), |text| text.parse())?;
    let seed = rest.get(1).map_or(Ok(0), |text| text.parse())?;
    let latency = Duration::from_millis(rest.get(2).map_or(Ok(0), |text| text.parse())?);
    let plan = FaultPlan {
        latency,
        ..FaultPlan::mixture(probability, seed)
    };
    let proxy = FaultProxy::start(listen.parse()?, upstream.parse()?, plan).await?;
    println!("http://{}", proxy.address());
    tokio::signal::ctrl_c().await?;
    let faults: u64 = proxy.counts().values().sum();
    println!("{faults} faults in {} requests", proxy.requests());
    Ok(())
}
