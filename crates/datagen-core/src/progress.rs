//! How far the work is: a bar on a terminal, otherwise a log line every few seconds; at the end a summary.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a log line tells the progress where there is no terminal.
pub const LOG_PERIOD: Duration = Duration::from_secs(5);

/// The place on the terminal where progress is drawn. Clones share it.
#[derive(Clone, Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar on standard error if that is a terminal and people read the log, otherwise nothing.
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

    /// Runs `write` with the bar wiped off the terminal.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}

/// Counts what is done of one kind of record and shows it. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Progress {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
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
        let style = match total {
            Some(_) => "{msg:>10} {wide_bar} {percent:>3} %  {human_pos}/{human_len}  {per_sec}  ETA {eta}",
            None => "{msg:>10} {spinner} {human_pos}  {per_sec}  {elapsed}",
        };
        bar.0.reset();
        bar.0
            .set_style(ProgressStyle::with_template(style).expect("the templates above are valid"));
        bar.0.set_message(kind);
        match total {
            Some(total) => bar.0.set_length(total),
            None => bar.0.unset_length(),
        }
        let shared = Arc::new(Shared {
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

    /// Counts records and bytes that are with the destination.
    pub fn add(&self, records: u64, bytes: u64) {
        self.shared.records.fetch_add(records, Ordering::Relaxed);
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts from 0 again, for work that is begun again.
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

    /// Logs the one line that sums up what was done.
    pub fn summarize(&self) {
        let Shared { kind, started, .. } = &*self.shared;
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
