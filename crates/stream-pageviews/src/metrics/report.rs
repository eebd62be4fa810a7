//! What the log and the terminal show of a stream: a line at the start, then a progress bar or a log line every few
//! seconds, and a summary line at the end. On a terminal the lines are sentences; elsewhere they have fields, which log
//! collectors can read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use datagen_core::model::session::StreamTag;
use datagen_process::progress::{Bar, Effort, LOG_PERIOD, Status, Ticker, human_count, settings_text};
use datagen_process::shard::Shard;
use datagen_settings::value::Timestamp;

use super::Metrics;
use super::delivery_times::Buckets;
use crate::config::{EventConfig, SinkConfig};
use crate::message::Topic;
use crate::schedule::StreamPlan;

/// How long a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Until it is stopped.
    Endless,
    /// This many sessions of this shard.
    Sessions(u64),
    /// A range of time, in milliseconds since 1970. The stream ends earlier if there are too few sessions for it.
    Time {
        /// When it begins.
        from_ms: u64,
        /// When it ends.
        to_ms: u64,
    },
}

impl Extent {
    /// Returns the extent of the part of a stream that has `sessions` of its sessions, if their number is limited.
    pub fn new(plan: &StreamPlan, sessions: Option<u64>) -> Self {
        match (plan.end_ms, sessions) {
            (Some(to_ms), _) => Self::Time {
                from_ms: plan.start_ms,
                to_ms,
            },
            (None, Some(sessions)) => Self::Sessions(sessions),
            (None, None) => Self::Endless,
        }
    }

    /// Returns the last position of a progress bar.
    fn total(self) -> Option<u64> {
        match self {
            Self::Endless => None,
            Self::Sessions(sessions) => Some(sessions),
            Self::Time { from_ms, to_ms } => Some(to_ms - from_ms),
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Endless => f.write_str("without end"),
            Self::Sessions(sessions) => write!(f, "{} sessions", human_count(sessions)),
            Self::Time { from_ms, to_ms } => {
                let [from, to] = [from_ms, to_ms].map(Timestamp::of_millis);
                write!(f, "from {from} to {to}")
            }
        }
    }
}

/// Logs the line at the start. `bar` is the progress bar of the log.
pub fn announce(
    tag: StreamTag,
    extent: Extent,
    destination: &SinkConfig,
    seed: u64,
    shard: Shard,
    bar: &Bar,
) {
    if bar.is_on_terminal() {
        let settings = settings_text(seed, shard);
        tracing::info!(
            "streaming pageviews and stars to {destination}, {extent} ({settings}; the same SEED gives the same sessions)"
        );
    } else {
        tracing::info!(
            extent = %extent,
            %destination,
            seed,
            shard = (!shard.is_whole()).then(|| shard.to_string()),
            tag = tag.text(),
            "streaming; the same SEED gives the same sessions"
        );
    }
}

impl Metrics {
    /// Shows on `bar` how far a stream of `extent` has got, until the [`Ticker`] is dropped.
    pub fn show(self: &Arc<Self>, bar: &Bar, extent: Extent, events: &EventConfig) -> Ticker {
        let (metrics, is_load_test) = (Arc::clone(self), events.is_load_test());
        bar.show("messages", extent.total(), move || {
            metrics.status(extent, is_load_test)
        })
    }

    fn status(&self, extent: Extent, is_load_test: bool) -> Status {
        let (sessions, delivered) = (self.sessions(), self.sink.delivery().delivered);
        let position = match extent {
            Extent::Endless => 0,
            Extent::Sessions(_) => sessions,
            Extent::Time { from_ms, to_ms } => {
                let reached_ms = match is_load_test {
                    true => self.clock.now_ms(),
                    false => self.sent_until_ms.load(Relaxed),
                };
                reached_ms.clamp(from_ms, to_ms) - from_ms
            }
        };
        Status {
            position,
            records: delivered,
            text: format!("{} of {} sessions", human_count(delivered), human_count(sessions)),
        }
    }

    /// Writes a log line every [`LOG_PERIOD`], forever.
    pub async fn log_periodically(&self) {
        let mut interval = tokio::time::interval(LOG_PERIOD);
        interval.tick().await;
        let (mut before, mut at) = (self.sink.delivery().delivered, Instant::now());
        let mut times_before = self.delivery_times();
        loop {
            interval.tick().await;
            let now = self.sink.delivery();
            let rate = now.delivered.saturating_sub(before) as f64 / at.elapsed().as_secs_f64();
            let times = self.delivery_times();
            let p99 = times.quantile_since(&times_before, 0.99);
            (before, at, times_before) = (now.delivered, Instant::now(), times);
            tracing::info!(
                sessions = self.sessions(),
                pageviews = now.taken[Topic::Pageviews as usize],
                stars = now.taken[Topic::Stars as usize],
                delivered = now.delivered,
                in_flight = now.in_flight,
                lost = now.lost,
                errors = now.errors,
                waiting = self.waiting(),
                lag_seconds = self.lag_seconds().round(),
                messages_per_second = rate.round(),
                p99_ms = (p99.as_secs_f64() * 1e3).round(),
                "streaming"
            );
        }
    }

    fn delivery_times(&self) -> Buckets {
        let times = self.sink.delivery_times();
        times.map(|times| times.buckets()).unwrap_or_default()
    }

    /// Logs the summary line of the run. `bar` is the progress bar of the log.
    pub fn summarize(&self, destination: &SinkConfig, bar: &Bar) {
        let sessions = self.sessions();
        let delivery = self.sink.delivery();
        let [pageviews, stars] = [Topic::Pageviews, Topic::Stars].map(|topic| delivery.taken[topic as usize]);
        let effort = Effort {
            records: delivery.delivered,
            bytes: delivery.bytes,
            time: self.started.elapsed(),
        };
        if bar.is_on_terminal() {
            let lost = match delivery.lost {
                0 => String::new(),
                lost => format!(", {} messages lost", human_count(lost)),
            };
            let [pageviews, stars, sessions] = [pageviews, stars, sessions].map(human_count);
            tracing::info!(
                "done: {pageviews} pageviews and {stars} stars of {sessions} sessions in {destination}: {effort}{lost}"
            );
        } else {
            tracing::info!(
                sessions,
                pageviews,
                stars,
                bytes = delivery.bytes,
                delivered = delivery.delivered,
                lost = delivery.lost,
                errors = delivery.errors,
                lag_seconds = self.lag_seconds().round(),
                seconds = effort.seconds(),
                messages_per_second = effort.rate().round(),
                %destination,
                "done"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use testkit::log::LogCapture;

    use super::*;
    use crate::clock::Clock;
    use crate::sink::Delivery;
    use crate::sink::testing::FixedSink;

    fn metrics(lost: u64) -> Metrics {
        let delivery = Delivery {
            taken: [276_400, 511],
            bytes: 110_750_000,
            delivered: 276_911 - lost,
            lost,
            ..Delivery::default()
        };
        let metrics = Metrics::new(Arc::new(FixedSink::new(delivery, None)), Clock::system());
        metrics.add_sessions(25_700);
        metrics
    }

    const DAY: Extent = Extent::Time {
        from_ms: 1_767_225_600_000,
        to_ms: 1_767_312_000_000,
    };

    #[test]
    fn the_first_and_the_last_line_say_what_how_many_where_and_which() {
        let destination = SinkConfig::Directory(PathBuf::from("/data/stream"));
        let tag = StreamTag::new(&[1]);
        let first = |extent, bar: &Bar| {
            let shard = Shard { index: 0, count: 2 };
            LogCapture::of(|| announce(tag, extent, &destination, 7, shard, bar))
        };
        let last = |lost, bar: &Bar| LogCapture::of(|| metrics(lost).summarize(&destination, bar));

        let terminal = Bar::hidden_on_terminal();
        assert_eq!(
            first(Extent::Sessions(25_700), &terminal),
            " INFO streaming pageviews and stars to /data/stream, 25,700 sessions (SEED=7, SHARD_INDEX=0, SHARD_COUNT=2; \
             the same SEED gives the same sessions)\n"
        );
        assert!(first(Extent::Endless, &terminal).contains("/data/stream, without end ("));
        let of_a_day = first(DAY, &terminal);
        assert!(
            of_a_day.contains(" from 2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z ("),
            "{of_a_day}"
        );
        let line = last(0, &terminal);
        let start =
            " INFO done: 276,400 pageviews and 511 stars of 25,700 sessions in /data/stream: 110.75 MB in 0.";
        assert!(line.starts_with(start) && line.ends_with("/s\n"), "{line}");
        assert!(last(11, &terminal).ends_with("/s, 11 messages lost\n"));

        let collected = Bar::hidden();
        let line = first(Extent::Endless, &collected);
        for field in [
            "extent=without end ",
            "destination=/data/stream ",
            "seed=7 ",
            "shard=\"00000-of-00002\" ",
        ] {
            assert!(line.contains(field), "no {field}in {line}");
        }
        let line = last(11, &collected);
        for field in [
            "sessions=25700 ",
            "delivered=276900 ",
            "lost=11 ",
            "destination=/data/stream\n",
        ] {
            assert!(line.contains(field), "no {field}in {line}");
        }
    }

    #[test]
    fn the_bar_counts_messages_and_advances_with_the_extent() {
        let metrics = metrics(0);
        let status = metrics.status(Extent::Sessions(50_000), false);
        assert_eq!((status.position, status.records), (25_700, 276_911));
        assert_eq!(status.text, "276,911 of 25,700 sessions");

        let position = |is_load_test| metrics.status(DAY, is_load_test).position;
        assert_eq!(position(false), 0);
        metrics.set_sent_until(1_767_225_600_000 + 3_600_000);
        assert_eq!(position(false), 3_600_000);
        metrics.set_sent_until(u64::MAX);
        assert_eq!(position(false), 86_400_000);
        assert_eq!(DAY.total(), Some(86_400_000));
        // In a load test the position follows the clock, which is after that day.
        metrics.set_sent_until(0);
        assert_eq!(position(true), 86_400_000);
        assert_eq!(
            (
                Extent::Endless.total(),
                metrics.status(Extent::Endless, true).position
            ),
            (None, 0)
        );
    }
}
