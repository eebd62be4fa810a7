//! Detects a broker that keeps its connections open but no longer answers, and messages that are not acknowledged for
//! any other reason. librdkafka reports neither as an error before a request has timed out, a minute later.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::statistics::Statistics;

/// How long a broker may leave a request, or a producer's messages, without an answer before a warning is logged.
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(5);

/// Watches the statistics of one producer.
#[derive(Debug, Default)]
pub(super) struct StallDetector {
    /// The number of acknowledged messages, and since when it has not changed while messages wait.
    acknowledged: Option<(u64, Instant)>,
    /// The same for the responses of each broker.
    responses: HashMap<String, (u64, Instant)>,
}

impl StallDetector {
    /// Returns what has not been answered for longer than [`STALL_LIMIT`], if anything.
    pub(super) fn check(
        &mut self,
        statistics: &Statistics,
        acknowledged: u64,
        now: Instant,
    ) -> Option<String> {
        let mut longest = None;
        for broker in statistics.brokers.values() {
            let last = self
                .responses
                .entry(broker.name.clone())
                .or_insert((broker.rx, now));
            if broker.waitresp_cnt == 0 || last.0 != broker.rx {
                *last = (broker.rx, now);
            }
            longest = longest.max(Some((now - last.1, &broker.nodename)));
        }
        let last = self.acknowledged.get_or_insert((acknowledged, now));
        if statistics.msg_cnt == 0 || last.0 != acknowledged {
            *last = (acknowledged, now);
        }
        let wait = now - last.1;

        if let Some((silence, name)) = longest
            && silence >= STALL_LIMIT
        {
            return Some(format!("{name} has not answered for {} s", silence.as_secs()));
        }
        (wait >= STALL_LIMIT).then(|| format!("no message has been acknowledged for {} s", wait.as_secs()))
    }
}

/// Returns whether at least one broker is connected, and every broker to which this producer sends.
pub(super) fn is_connected(statistics: &Statistics) -> bool {
    let brokers = || statistics.brokers.values();
    brokers().any(|broker| broker.state == "UP")
        && brokers().all(|broker| broker.state == "UP" || broker.toppars.is_empty())
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::Broker;

    use super::*;

    fn statistics(waiting: u64, responses: u64, requests: i64) -> Statistics {
        let broker = Broker {
            name: "broker:9092/1".to_owned(),
            nodename: "broker:9092".to_owned(),
            rx: responses,
            waitresp_cnt: requests,
            ..Broker::default()
        };
        Statistics {
            msg_cnt: waiting,
            brokers: HashMap::from([(broker.name.clone(), broker)]),
            ..Statistics::default()
        }
    }

    #[test]
    fn a_silent_broker_and_messages_without_acknowledgement_are_stalls() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut stall = StallDetector::default();
        // An idle producer is not stalled, for however long.
        assert_eq!(stall.check(&statistics(0, 1, 0), 7, at(0)), None);
        assert_eq!(stall.check(&statistics(0, 1, 0), 7, at(100)), None);
        // Answers arrive, slowly.
        assert_eq!(stall.check(&statistics(9, 2, 1), 8, at(104)), None);
        assert_eq!(stall.check(&statistics(9, 3, 1), 9, at(108)), None);
        // A request without an answer is a stall, even if nothing else waits.
        assert_eq!(stall.check(&statistics(0, 3, 1), 9, at(112)), None);
        let silent = stall.check(&statistics(0, 3, 1), 9, at(113));
        assert_eq!(silent.unwrap(), "broker:9092 has not answered for 5 s");
        // There are answers, but no acknowledgements.
        assert_eq!(stall.check(&statistics(1, 4, 1), 9, at(114)), None);
        let waiting = stall.check(&statistics(1, 5, 0), 9, at(120));
        assert_eq!(waiting.unwrap(), "no message has been acknowledged for 7 s");
        assert_eq!(stall.check(&statistics(1, 6, 0), 10, at(121)), None);
    }
}
