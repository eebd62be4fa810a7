//! The log: one line an event on standard error, for people or as JSON, with the libraries that print
//! secrets kept quiet.

use std::io::{self, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::progress::Bar;

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Libraries that write URLs with their SAS, request headers or bodies at DEBUG and TRACE: never below INFO,
/// whatever RUST_LOG says. Matched as prefixes of a log line's target.
const CAPPED_AT_INFO: &[&str] = &[
    "reqwest",
    "hyper",
    "h2",
    "rustls",
    "tiberius",
    "rdkafka",
    "librdkafka",
];

/// Azure's SDKs, which besides log each answer that is not a success at INFO, expected ones too: never below
/// WARN.
const CAPPED_AT_WARN: &[&str] = &["azure_", "typespec"];

/// A library that logs every error it also returns, which the program tells better: silent unless RUST_LOG
/// names it.
const TOLD_BY_US: &str = "tiberius";

/// The most that is let through from a log line's target.
fn cap(target: &str, directives: &str) -> LevelFilter {
    let is_of = |libraries: &[&str]| libraries.iter().any(|library| target.starts_with(library));
    if target.starts_with(TOLD_BY_US) && !directives.contains(TOLD_BY_US) {
        LevelFilter::OFF
    } else if is_of(CAPPED_AT_WARN) {
        LevelFilter::WARN
    } else if is_of(CAPPED_AT_INFO) {
        LevelFilter::INFO
    } else {
        LevelFilter::TRACE
    }
}

/// Whether `directives` is something that [`init`] can use.
///
/// # Errors
/// What is wrong with it. The text itself is not repeated.
pub fn check_filter(directives: &str) -> Result<(), &'static str> {
    match EnvFilter::builder().parse(directives) {
        Ok(_) => Ok(()),
        Err(_) => Err("it cannot be parsed"),
    }
}

/// Starts logging. `bar` is drawn below the log lines on a terminal.
///
/// Later calls in the same process change nothing, so that tests may run several generators.
pub fn init(format: LogFormat, directives: &str, bar: &Bar) {
    let allowed = EnvFilter::builder().parse_lossy(directives);
    let directives = directives.to_owned();
    let harmless = filter_fn(move |event| *event.level() <= cap(event.target(), &directives));
    let writer = BesideBar(bar.clone());
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_target(false);
    let layer = match format {
        LogFormat::Text => layer.with_ansi(bar.is_shown()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(allowed.and(harmless)))
        .try_init();
}

/// Writes to standard error, with the progress bar out of the way.
struct BesideBar(Bar);

impl<'a> MakeWriter<'a> for BesideBar {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(&self.0)
    }
}

/// One event's writer: `tracing_subscriber` writes each event by one call.
struct LineWriter<'a>(&'a Bar);

impl Write for LineWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_that_print_secrets_are_kept_quiet_and_ours_are_not() {
        assert_eq!(cap("azure_storage::authorization", "trace"), LevelFilter::WARN);
        assert_eq!(cap("typespec_client_core::http", "trace"), LevelFilter::WARN);
        assert_eq!(cap("hyper_util::client", "trace"), LevelFilter::INFO);
        assert_eq!(cap("datagen_core::lake", "trace"), LevelFilter::TRACE);
        assert_eq!(cap("gen_users", "trace"), LevelFilter::TRACE);
    }
}
