//! The progress of the work: a line at the start, then a bar on a terminal or otherwise a log line every few seconds, and a
//! summary at the end. On a terminal the lines are sentences; elsewhere they have fields, which collectors can read.

use std::collections::VecDeque;
use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{
    DecimalBytes, FormattedDuration, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle,
};

use crate::shard::Shard;

/// The time between two log lines about the progress, without a terminal.
pub const LOG_PERIOD: Duration = Duration::from_secs(5);

/// The time between two drawings of the bar.
const DRAW_PERIOD: Duration = Duration::from_millis(100);

/// The period over which the bar averages the rate.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// The progress bar on the terminal. Clones share it.
#[derive(Clone, Debug)]
pub struct Bar {
    drawn: ProgressBar,
    is_on_terminal: bool,
}

/// What a bar shows at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// How far the work has come, in units of its total.
    pub position: u64,
    /// The records so far, for the rate.
    pub records: u64,
    /// The position as text for people.
    pub text: String,
}

impl Bar {
    /// Creates a bar on standard error if that is a terminal and the log is for people, otherwise a hidden one.
    pub fn new(for_people: bool) -> Self {
        if for_people && std::io::stderr().is_terminal() {
            Self::on(ProgressDrawTarget::stderr())
        } else {
            Self::hidden()
        }
    }

    fn on(terminal: ProgressDrawTarget) -> Self {
        Self {
            // Log lines redraw the bar, which stays empty until there is something to show.
            drawn: ProgressBar::with_draw_target(Some(0), terminal).with_style(style("")),
            is_on_terminal: true,
        }
    }

    /// Creates a bar that is never drawn, as without a terminal.
    pub fn hidden() -> Self {
        Self {
            drawn: ProgressBar::hidden(),
            is_on_terminal: false,
        }
    }

    /// Creates a bar that is never drawn, for work whose log lines are on a terminal.
    pub fn hidden_on_terminal() -> Self {
        Self::on(ProgressDrawTarget::hidden())
    }

    /// Creates a bar that is never drawn, for work that runs beside that of this bar. Its log lines have the same form.
    #[must_use]
    pub fn hidden_beside(&self) -> Self {
        match self.is_on_terminal {
            true => Self::hidden_on_terminal(),
            false => Self::hidden(),
        }
    }

    /// Returns whether people read the log on a terminal.
    pub fn is_on_terminal(&self) -> bool {
        self.is_on_terminal
    }

    /// Returns whether anything is drawn.
    pub fn is_shown(&self) -> bool {
        !self.drawn.is_hidden()
    }

    /// Draws `status` under the name `what` until the [`Ticker`] is dropped. `total` is the last position; `None` if there
    /// is none. Must be called within a tokio runtime.
    pub fn show(
        &self,
        what: &'static str,
        total: Option<u64>,
        status: impl Fn() -> Status + Send + 'static,
    ) -> Ticker {
        self.reset(what, total);
        let bar = self.clone();
        let task = tokio::spawn(async move {
            let mut rate = RecentRate::default();
            let mut interval = tokio::time::interval(DRAW_PERIOD);
            loop {
                interval.tick().await;
                let status = status();
                bar.draw(&status, rate.add(Instant::now(), status.records));
            }
        });
        Ticker {
            task,
            bar: self.clone(),
        }
    }

    fn reset(&self, what: &'static str, total: Option<u64>) {
        // The line has at most 80 columns. The bar takes those that remain.
        let template = match total {
            Some(_) => "{prefix} {wide_bar} {percent:>3} %  {msg}  ETA {eta}",
            None => "{prefix} {spinner} {msg}  {elapsed}",
        };
        // Each call may draw, so the template comes last.
        self.drawn.set_style(style(""));
        self.drawn.reset();
        self.drawn.set_prefix(what);
        self.drawn.set_message("");
        match total {
            Some(total) => self.drawn.set_length(total),
            None => self.drawn.unset_length(),
        }
        self.drawn.set_style(style(template));
    }

    fn draw(&self, status: &Status, rate: f64) {
        let Status { position, text, .. } = status;
        self.drawn.set_position(*position);
        self.drawn.set_message(format!("{text}  {}", HumanRate(rate)));
    }

    /// Runs `write` while the bar is removed from the terminal.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.drawn.suspend(write)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this module are valid")
}

/// The rate of the last [`RATE_WINDOW`].
#[derive(Debug, Default)]
struct RecentRate {
    /// Points in time and how many records there were; the first is the beginning of the window.
    counts: VecDeque<(Instant, u64)>,
}

impl RecentRate {
    /// Adds the number of `records` at the time `now`, and returns the rate per second.
    fn add(&mut self, now: Instant, records: u64) -> f64 {
        // Work that is started again counts from 0.
        if self.counts.back().is_some_and(|&(_, before)| before > records) {
            self.counts.clear();
        }
        self.counts.push_back((now, records));
        while let Some(&(at, _)) = self.counts.get(1)
            && now - at >= RATE_WINDOW
        {
            self.counts.pop_front();
        }
        let (from, before) = self.counts[0];
        match (now - from).as_secs_f64() {
            0.0 => 0.0,
            seconds => (records - before) as f64 / seconds,
        }
    }
}

/// A number per second for people: `1,234/s`, and with one decimal where it is low.
#[derive(Clone, Copy, Debug)]
pub struct HumanRate(pub f64);

impl fmt::Display for HumanRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(per_second) = *self;
        if per_second < 9.95 {
            write!(f, "{per_second:.1}/s")
        } else {
            write!(f, "{}/s", HumanCount(per_second.round() as u64))
        }
    }
}

/// The effort of a run, for people: `10.53 MB in 1.2 s, 16,667/s`.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Records made.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The time that it took.
    pub time: Duration,
}

impl Effort {
    /// Returns the time in seconds, rounded to milliseconds.
    pub fn seconds(&self) -> f64 {
        (self.time.as_secs_f64() * 1e3).round() / 1e3
    }

    /// Returns the records per second.
    pub fn rate(&self) -> f64 {
        self.records as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in ", DecimalBytes(self.bytes))?;
        match self.time.as_secs() {
            0..60 => write!(f, "{:.1} s", self.time.as_secs_f64())?,
            _ => write!(f, "{}", FormattedDuration(self.time))?,
        }
        write!(f, ", {}", HumanRate(self.rate()))
    }
}

/// Formats a number for people: `1,234,567`.
pub fn human_count(number: u64) -> impl fmt::Display {
    HumanCount(number)
}

/// Returns the settings that distinguish runs, in the form in which they are set:
/// `SEED=7, SHARD_INDEX=0, SHARD_COUNT=2`.
pub fn settings_text(seed: u64, shard: Shard) -> String {
    match shard.is_whole() {
        true => format!("SEED={seed}"),
        false => format!(
            "SEED={seed}, SHARD_INDEX={}, SHARD_COUNT={}",
            shard.index, shard.count
        ),
    }
}

/// What a process does with one kind of records.
#[derive(Clone, Debug)]
pub struct Work {
    /// What the records are, in the plural.
    pub kind: &'static str,
    /// How many of them this process writes.
    pub records: u64,
    /// The destination, without secrets.
    pub destination: String,
    /// The seed of the data.
    pub seed: u64,
    /// This process's part of them.
    pub shard: Shard,
}

impl Work {
    /// Logs the line at the start. `bar` is that of the log.
    pub fn announce(&self, bar: &Bar) {
        let Self {
            kind,
            records,
            ref destination,
            seed,
            shard,
        } = *self;
        if bar.is_on_terminal() {
            let (records, settings) = (human_count(records), settings_text(seed, shard));
            tracing::info!("writing {records} {kind} to {destination} ({settings})");
        } else {
            let shard = (!shard.is_whole()).then(|| shard.to_string());
            tracing::info!(kind, records, destination, seed, shard, "start");
        }
    }

    /// Logs the summary line.
    fn summarize(&self, effort: Effort, bar: &Bar) {
        let Self {
            kind, destination, ..
        } = self;
        if bar.is_on_terminal() {
            let records = human_count(effort.records);
            tracing::info!("done: {records} {kind} in {destination}: {effort}");
        } else {
            tracing::info!(
                kind,
                records = effort.records,
                bytes = effort.bytes,
                seconds = effort.seconds(),
                records_per_second = effort.rate().round(),
                destination,
                "done"
            );
        }
    }
}

/// Counts the finished records of one kind and shows their number. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Progress {
    shared: Arc<ProgressCounts>,
}

#[derive(Debug)]
struct ProgressCounts {
    work: Work,
    records: AtomicU64,
    bytes: AtomicU64,
    started: Instant,
    bar: Bar,
}

/// Ends the display of a progress when dropped.
#[derive(Debug)]
pub struct Ticker {
    task: tokio::task::JoinHandle<()>,
    bar: Bar,
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.drawn.finish_and_clear();
    }
}

impl Progress {
    /// Starts counting the records of `work` and showing them until the [`Ticker`] is dropped. Must be called within a tokio
    /// runtime.
    pub fn start(bar: &Bar, work: Work) -> (Self, Ticker) {
        let progress = Self {
            shared: Arc::new(ProgressCounts {
                work,
                records: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                started: Instant::now(),
                bar: bar.clone(),
            }),
        };
        let shown = progress.clone();
        let ticker = if bar.is_shown() {
            let Work { kind, records, .. } = progress.shared.work;
            bar.show(kind, Some(records), move || shown.status())
        } else {
            Ticker {
                task: tokio::spawn(shown.log_periodically()),
                bar: bar.clone(),
            }
        };
        (progress, ticker)
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

    /// Returns the number of records counted so far.
    pub fn records(&self) -> u64 {
        self.shared.records.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes counted so far.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    fn status(&self) -> Status {
        let (records, total) = (self.records(), self.shared.work.records);
        Status {
            position: records,
            records,
            text: format!("{}/{}", human_count(records), human_count(total)),
        }
    }

    async fn log_periodically(self) {
        let mut interval = tokio::time::interval(LOG_PERIOD);
        interval.tick().await;
        loop {
            interval.tick().await;
            self.log();
        }
    }

    fn log(&self) {
        let Work {
            kind, records: total, ..
        } = self.shared.work;
        let records = self.records();
        let rate = records as f64 / self.shared.started.elapsed().as_secs_f64();
        let eta_seconds = (rate > 0.0).then(|| (total.saturating_sub(records) as f64 / rate).ceil() as u64);
        if self.shared.bar.is_on_terminal() {
            // This work has no bar, because it runs beside other work that has one.
            let (records, total) = (human_count(records), human_count(total));
            tracing::info!("{records} of {total} {kind}, {}", HumanRate(rate));
        } else {
            tracing::info!(kind, records, total, rate = rate.round(), eta_seconds, "progress");
        }
    }

    /// Logs the summary line.
    pub fn summarize(&self) {
        let effort = Effort {
            records: self.records(),
            bytes: self.bytes(),
            time: self.shared.started.elapsed(),
        };
        self.shared.work.summarize(effort, &self.shared.bar);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use indicatif::TermLike;
    use testkit::log::LogCapture;

    use super::*;

    #[test]
    fn rates_are_short() {
        let text = |rate| HumanRate(rate).to_string();
        assert_eq!(text(0.0), "0.0/s");
        assert_eq!(text(0.123_456), "0.1/s");
        assert_eq!(text(9.94), "9.9/s");
        assert_eq!(text(9.99), "10/s");
        assert_eq!(text(12.345_6), "12/s");
        assert_eq!(text(2_719_283.123_4), "2,719,283/s");
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let mut rate = RecentRate::default();
        assert_eq!(rate.add(start, 0), 0.0);
        assert_eq!(rate.add(at(10), 100), 100.0);
        for tenths in 11..=100 {
            rate.add(at(tenths), 100);
        }
        assert_eq!(rate.add(at(101), 100), 0.0);
        // A backfill that has caught up with the clock.
        assert_eq!(rate.add(at(111), 120), 4.0);
        // Work that is started again.
        assert_eq!(rate.add(at(112), 0), 0.0);
        assert_eq!(rate.add(at(122), 50), 50.0);
        assert!(rate.counts.len() < 5, "{rate:?}");
    }

    #[test]
    fn efforts_are_for_people() {
        let text = |records, bytes, millis| {
            let time = Duration::from_millis(millis);
            Effort { records, bytes, time }.to_string()
        };
        assert_eq!(text(20_000, 10_530_000, 1_250), "10.53 MB in 1.2 s, 16,000/s");
        assert_eq!(text(1_000, 999, 200_000), "999 B in 00:03:20, 5.0/s");
        assert_eq!(text(0, 0, 0), "0 B in 0.0 s, 0.0/s");
    }

    /// A terminal of 80 columns that remembers what was written to it.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<Vec<String>>>);

    impl Screen {
        fn lines(&self) -> Vec<String> {
            self.0.lock().expect("nothing panics").clone()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
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
            self.0.lock().expect("nothing panics").push(text.to_owned());
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the last line that a bar draws.
    fn drawn(what: &'static str, total: Option<u64>, status: &Status, rate: f64) -> String {
        let screen = Screen::default();
        let bar = Bar::on(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        bar.reset(what, total);
        bar.draw(status, rate);
        bar.drawn.abandon();
        let lines = screen.lines();
        let line = lines.iter().rfind(|line| line.contains(what));
        line.expect("something is drawn").trim_end().to_owned()
    }

    fn work(records: u64) -> Work {
        Work {
            kind: "products",
            records,
            destination: "/data/lake/products".to_owned(),
            seed: 7,
            shard: Shard { index: 1, count: 3 },
        }
    }

    #[test]
    fn nothing_is_drawn_before_there_is_something_to_show() {
        let screen = Screen::default();
        let bar = Bar::on(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        bar.suspend(|| ());
        bar.drawn.tick();
        for total in [10, 20] {
            bar.reset("users", Some(total));
            bar.drawn.tick();
            bar.drawn.finish_and_clear();
        }
        let lines = screen.lines();
        let line = |text: &str| lines.iter().any(|line| line.contains(text));
        assert!(
            line("users") && line("  0 %") && !line("0/0") && !line("100 %"),
            "{lines:?}"
        );
    }

    #[tokio::test]
    async fn bars_fit_80_columns() {
        let (progress, _ticker) = Progress::start(&Bar::hidden(), work(1 << 31));
        progress.add((1 << 31) - 1, 0);
        let line = drawn("products", Some(1 << 31), &progress.status(), 2_719_283.123_4);
        assert!(line.chars().count() <= 80, "{line}");
        assert!(
            line.contains("2,147,483,647/2,147,483,648  2,719,283/s  ETA "),
            "{line}"
        );

        let endless = Status {
            position: 0,
            records: 47_123_456_789,
            text: "47,123,456,789 of 4,123,456,789 sessions".to_owned(),
        };
        for total in [None, Some(1 << 31)] {
            let line = drawn("messages", total, &endless, 1_234_567.8);
            assert!(line.chars().count() <= 80, "{line}");
            assert!(
                line.contains(" sessions  1,234,567/s  ") || line.contains(" sessions  1,234,568/s  "),
                "{line}"
            );
        }
    }

    #[tokio::test]
    async fn the_first_and_the_last_line_say_what_how_many_where_and_which() {
        let lines = |bar: &Bar, work: Work| {
            LogCapture::of(|| {
                work.announce(bar);
                let effort = Effort {
                    records: 1_000,
                    bytes: 270_000,
                    time: Duration::from_millis(500),
                };
                work.summarize(effort, bar);
            })
        };
        assert_eq!(
            lines(&Bar::hidden(), work(1_000)),
            " INFO start kind=\"products\" records=1000 destination=\"/data/lake/products\" seed=7 \
             shard=\"00001-of-00003\"\n \
             INFO done kind=\"products\" records=1000 bytes=270000 seconds=0.5 records_per_second=2000.0 \
             destination=\"/data/lake/products\"\n"
        );
        let on_terminal = Bar::hidden_on_terminal().hidden_beside();
        assert_eq!(
            lines(&on_terminal, work(1_000)),
            " INFO writing 1,000 products to /data/lake/products (SEED=7, SHARD_INDEX=1, SHARD_COUNT=3)\n \
             INFO done: 1,000 products in /data/lake/products: 270.00 kB in 0.5 s, 2,000/s\n"
        );
        let whole = Work {
            shard: Shard::WHOLE,
            ..work(1_000)
        };
        assert!(lines(&on_terminal, whole.clone()).contains("(SEED=7)\n"));
        assert!(!lines(&Bar::hidden(), whole).contains("shard"));
    }
}
