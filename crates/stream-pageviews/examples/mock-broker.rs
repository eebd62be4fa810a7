//! Runs librdkafka's mock cluster as a process: a broker that drops old messages, for soak tests too long for a broker
//! that keeps all messages in memory. Prints its address and runs until it is killed.

use std::error::Error;

use rdkafka::mocking::MockCluster;

fn main() -> Result<(), Box<dyn Error>> {
    let cluster = MockCluster::new(1)?;
    for topic in ["pageviews", "stars"] {
        cluster.create_topic(topic, 4, 1)?;
    }
    println!("{}", cluster.bootstrap_servers());
    loop {
        std::thread::park();
    }
}
