//! librdkafka's mock cluster as a process: a broker that forgets old messages, for soaks longer than a broker in
//! memory could bear. Prints its address and runs until it is killed.

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
