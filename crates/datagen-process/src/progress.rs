//! The progress of the work: a bar on a terminal, otherwise a log line every few seconds, and a summary at the end.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// The time between two log lines about the progress, without a terminal.
pub const LOG_PERIOD: Duration = Duration::from_secs(5);

/// The progress bar on the terminal. Clones share it.
#[derive(Clone, Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar on standard error if that is a terminal and the log is for people, otherwise a hidden one.
    pub fn new(for_people: bool) -> Self {
        let shown = for_people && std::io::stderr().is_terminal();
        let target = if shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self(ProgressBar::with_draw_target(Some(0), target))
    }

    /// A bar that is never drawn.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Whether anything is drawn.
    pub fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Runs `write` while the bar is removed from the terminal.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}

/// How a bar is drawn. The library's own `{per_sec}` has four decimals.
fn style(total: Option<u64>) -> ProgressStyle {
    let template = match total {
        Some(_) => "{msg:>10} {wide_bar} {percent:>3} %  {human_pos}/{human_len}  {rate}  ETA {eta}",
        None => "{msg:>10} {spinner} {human_pos}  {rate}  {elapsed}",
    };
    ProgressStyle::with_template(template)
        .expect("the templates above are valid")
        .with_key("rate", |state: &ProgressState, text: &mut dyn fmt::Write| {
            // Writing to a string does not fail.
            let _ = text.write_str(&rate_text(state.per_sec()));
        })
}

/// A rate for people: `1,234/s`, and with one decimal where it is low.
fn rate_text(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{per_second:.1}/s")
    } else {
        format!("{}/s", HumanCount(per_second.round() as u64))
    }
}

/// Counts the finished records of one kind and shows them. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Progress {
    shared: Arc<ProgressCounts>,
}

#[derive(Debug)]
struct ProgressCounts {
    kind: &'static str,
    total: Option<u64>,
    records: AtomicU64,
    bytes: AtomicU64,
    started: Instant,
    bar: Bar,
}

/// Ends the display of a [`Progress`] when dropped.
#[derive(Debug)]
pub struct Ticker {
    task: tokio::task::JoinHandle<()>,
    bar: Bar,
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.0.finish_and_clear();
    }
}

impl Progress {
    /// Starts counting `kind` up to `total` (`None`: without end) and showing it until the [`Ticker`] is
    /// dropped. Must be called within a tokio runtime.
    pub fn start(bar: &Bar, kind: &'static str, total: Option<u64>) -> (Self, Ticker) {
        bar.0.reset();
        bar.0.set_style(style(total));
        bar.0.set_message(kind);
        match total {
            Some(total) => bar.0.set_length(total),
            None => bar.0.unset_length(),
        }
        let shared = Arc::new(ProgressCounts {
            kind,
            total,
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            started: Instant::now(),
            bar: bar.clone(),
        });
        let progress = Self { shared };
        let task = tokio::spawn(progress.clone().show_periodically());
        (
            progress,
            Ticker {
                task,
                bar: bar.clone(),
            },
        )
    }

    /// Counts records and bytes that the destination has accepted.
    pub fn add(&self, records: u64, bytes: u64) {
        self.shared.records.fetch_add(records, Ordering::Relaxed);
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts from 0 again, for work that is started again.
    pub fn reset(&self) {
        self.shared.records.store(0, Ordering::Relaxed);
        self.shared.bytes.store(0, Ordering::Relaxed);
    }

    /// Records counted so far.
    pub fn records(&self) -> u64 {
        self.shared.records.load(Ordering::Relaxed)
    }

    /// Bytes counted so far.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    async fn show_periodically(self) {
        let shown = self.shared.bar.is_shown();
        let mut interval = tokio::time::interval(if shown {
            Duration::from_millis(100)
        } else {
            LOG_PERIOD
        });
        interval.tick().await;
        loop {
            interval.tick().await;
            if shown {
                self.shared.bar.0.set_position(self.records());
            } else {
                self.log();
            }
        }
    }

    fn log(&self) {
        let (records, kind) = (self.records(), self.shared.kind);
        let elapsed = self.shared.started.elapsed().as_secs_f64();
        let rate = records as f64 / elapsed;
        match self.shared.total {
            Some(total) if rate > 0.0 => {
                let eta = (total.saturating_sub(records) as f64 / rate).ceil() as u64;
                tracing::info!(
                    kind,
                    records,
                    total,
                    rate = rate.round(),
                    eta_seconds = eta,
                    "progress"
                );
            }
            Some(total) => tracing::info!(kind, records, total, "progress"),
            None => tracing::info!(kind, records, rate = rate.round(), "progress"),
        }
    }

    /// Logs the summary line.
    pub fn summarize(&self) {
        let ProgressCounts { kind, started, .. } = &*self.shared;
        let seconds = started.elapsed().as_secs_f64();
        let rate = self.records() as f64 / seconds.max(1e-9);
        tracing::info!(
            kind,
            records = self.records(),
            bytes = self.bytes(),
            seconds = (seconds * 1000.0).round() / 1000.0,
            records_per_second = rate.round(),
            "done"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use indicatif::TermLike;

    use super::*;

    #[test]
    fn rates_are_short() {
        assert_eq!(rate_text(0.0), "0.0/s");
        assert_eq!(rate_text(0.123_456), "0.1/s");
        assert_eq!(rate_text(9.94), "9.9/s");
        assert_eq!(rate_text(12.345_6), "12/s");
        assert_eq!(rate_text(2_719_283.123_4), "2,719,283/s");
    }

    /// A terminal that remembers what was written to it.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            100
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("nothing panics").push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_shows_its_rate_with_one_decimal_at_most() {
        for total in [Some(1_000), None] {
            let screen = Screen::default();
            let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
            let bar = ProgressBar::with_draw_target(total, target);
            bar.set_style(style(total));
            bar.tick();
            bar.abandon();
            let drawn = screen.0.lock().expect("nothing panics");
            let rate = drawn
                .split("/s")
                .next()
                .and_then(|text| text.split(' ').next_back());
            let decimals = rate
                .and_then(|rate| rate.split_once('.'))
                .map_or(0, |(_, digits)| digits.len());
            assert!(drawn.contains("/s ") && decimals <= 1, "{drawn}");
        }
    }
}
