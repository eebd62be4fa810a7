//! The skeleton of every generator's process: configuration, telemetry, run, summary, exit code.

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use datagen_settings::catalog::{self, LogFormat};
use datagen_settings::{Environment, Problems, render, similar};

use crate::common::{self, Common};
use crate::error::Failure;
use crate::limits;
use crate::progress::Bar;
use crate::shutdown::Shutdown;
use crate::telemetry;

/// A generator: what [`main`] needs to make a process of it.
pub trait Generator: Sized {
    /// The name of its binary and the settings that it reads.
    const SETTINGS: catalog::Generator;
    /// The version of the binary's crate.
    const VERSION: &'static str;
    /// One line that says what it does.
    const ABOUT: &'static str;
    /// What a signal makes the exit code, in words.
    const EXIT_CODE_OF_SIGNALS: &'static str = "130/143 interrupted by SIGINT/SIGTERM";

    /// Reads and validates its configuration. Everything that is wrong is reported to `problems`; the result is `None`
    /// only if something was.
    fn configure(environment: &Environment, problems: &mut Problems) -> Option<Self>;

    /// Does the work, to its end or until `context.shutdown` is requested.
    fn run(self, context: Context) -> impl Future<Output = Result<(), Failure>>;
}

/// What a running generator is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// The common configuration.
    pub common: Common,
    /// The request to stop.
    pub shutdown: Shutdown,
    /// Where progress is drawn.
    pub bar: Bar,
}

/// Exit code of a destination that failed.
const EXIT_DESTINATION: u8 = 1;
/// Exit code of a wrong configuration.
const EXIT_CONFIGURATION: u8 = 2;

/// How long the end may wait for blocking calls.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(5);

/// How long a thread for blocking calls stays idle.
const IDLE_THREAD_LIMIT: Duration = Duration::from_secs(3600);

/// The whole life of a generator's process: `fn main() -> ExitCode { datagen_process::main::<GenUsers>() }`.
pub fn main<G: Generator>() -> ExitCode {
    report_panics::<G>();
    let mut arguments = std::env::args_os().skip(1);
    match (
        arguments.next().as_ref().and_then(|argument| argument.to_str()),
        arguments.next(),
    ) {
        (Some("--help" | "-h"), None) => print(&help::<G>()),
        (Some("--version" | "-V"), None) => print(&format!("{} {}\n", G::SETTINGS.name, G::VERSION)),
        _ if std::env::args_os().len() > 1 => {
            complain::<G>(
                "takes no arguments but --help and --version; it is configured by environment variables",
                LogFormat::Text,
            );
            ExitCode::from(EXIT_CONFIGURATION)
        }
        _ => run::<G>(&Environment::of_process()),
    }
}

/// Turns a panic on any thread into one line and the exit code of a failed run. A panic is a fault of the program or of a
/// library, so nothing that it interrupted may continue.
fn report_panics<G: Generator>() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let place = panic
            .location()
            .map_or_else(String::new, |place| format!(" at {place}"));
        let line = format!("internal error{place}: {message}").replace(['\n', '\r'], " ");
        complain::<G>(&line, common::log_format(&Environment::of_process()));
        std::process::exit(i32::from(EXIT_DESTINATION));
    }));
}

fn run<G: Generator>(environment: &Environment) -> ExitCode {
    // The clock comes first: the defaults of dates depend on it.
    let workers = match limits::check() {
        Ok(workers) => workers,
        Err(error) => return fail::<G>(&Failure::Destination(error), common::log_format(environment)),
    };
    let (common, generator) = match configure::<G>(environment) {
        Ok(configured) => configured,
        Err(problems) => {
            return fail::<G>(&Failure::Configuration(problems), common::log_format(environment));
        }
    };
    let log_format = common.log_format;
    let bar = Bar::new(log_format == LogFormat::Text);
    telemetry::init(log_format, &common.log_filter, common.colors, &bar);
    warn_of_misspellings::<G>(environment);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.get())
        // Under a limit of threads, an idle thread for blocking calls must not be lost to other uses.
        .thread_keep_alive(IDLE_THREAD_LIMIT)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain::<G>(&format!("cannot start its threads: {error}"), log_format);
            return ExitCode::from(EXIT_DESTINATION);
        }
    };
    let result = runtime.block_on(async {
        if let Err(error) = catch_file_size_signal() {
            tracing::warn!("a file at its size limit (ulimit -f) will end this process: {error}");
        }
        let shutdown = match Shutdown::on_signals() {
            Ok(shutdown) => shutdown,
            Err(error) => {
                tracing::warn!("signals cannot be handled, so a stop will be abrupt: {error}");
                Shutdown::default()
            }
        };
        generator
            .run(Context {
                common,
                shutdown,
                bar,
            })
            .await
    });
    // File system calls that a signal interrupted finish and clean up; a thread that waits for something that does not
    // respond must not keep the process alive.
    runtime.shutdown_timeout(CLEAN_UP_LIMIT);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail::<G>(&failure, log_format),
    }
}

/// Lets a write beyond the limit of the file size (ulimit -f) fail with an error. Without a handler, SIGXFSZ ends
/// the process without a message.
#[cfg(unix)]
fn catch_file_size_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    // The handler stays when the stream of signals is dropped.
    signal(SignalKind::from_raw(libc::SIGXFSZ)).map(drop)
}

#[cfg(not(unix))]
fn catch_file_size_signal() -> std::io::Result<()> {
    Ok(())
}

/// Reads the whole configuration, so that all its problems are reported together.
fn configure<G: Generator>(environment: &Environment) -> Result<(Common, G), Problems> {
    let mut problems = Problems::default();
    let common = Common::read(environment, &mut problems);
    match G::configure(environment, &mut problems) {
        Some(generator) if problems.is_empty() => Ok((common, generator)),
        _ => Err(problems),
    }
}

/// Warns of variables that are probably misspelt settings, and therefore have no effect.
fn warn_of_misspellings<G: Generator>(environment: &Environment) {
    for misspelling in similar::misspellings(environment, G::SETTINGS.variables()) {
        let similar::Misspelling { found, known } = misspelling;
        tracing::warn!("{found} is not a setting and has no effect: is {known} meant?");
    }
}

fn fail<G: Generator>(failure: &Failure, log_format: LogFormat) -> ExitCode {
    match failure {
        Failure::Configuration(problems) => {
            problems.lines().for_each(|line| complain::<G>(&line, log_format));
            ExitCode::from(EXIT_CONFIGURATION)
        }
        Failure::Destination(_) => {
            complain::<G>(&failure.to_string(), log_format);
            ExitCode::from(EXIT_DESTINATION)
        }
        Failure::Interrupted(signal) => {
            complain::<G>(&failure.to_string(), log_format);
            ExitCode::from(signal.exit_code())
        }
    }
}

/// Writes a line to standard error, whatever RUST_LOG says; for collectors with the fields of the log's lines. A
/// closed standard error must not turn a clean exit into a panic.
fn complain<G: Generator>(line: &str, log_format: LogFormat) {
    let line = format!("{}: {line}", G::SETTINGS.name);
    let line = match log_format {
        LogFormat::Text => line,
        LogFormat::Json => {
            // `Utc::now` panics if the clock is before 1970.
            let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
            let now = now.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            serde_json::json!({ "timestamp": now, "level": "ERROR", "message": line }).to_string()
        }
    };
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The text of `--help`.
fn help<G: Generator>() -> String {
    format!(
        "{} {}: {}\n\nIt takes no arguments and is configured by environment variables:\n{}\n\
         Exit codes: 0 done, 1 the destination failed, 2 wrong configuration, {}.\n",
        G::SETTINGS.name,
        G::VERSION,
        G::ABOUT,
        render::help(&G::SETTINGS),
        G::EXIT_CODE_OF_SIGNALS
    )
}
