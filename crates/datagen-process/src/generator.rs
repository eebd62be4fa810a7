//! What every generator's process does: configuration, telemetry, run, summary, exit code.

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use datagen_settings::catalog::{self, LogFormat};
use datagen_settings::{ConfigurationErrors, Environment, render, similar};

use crate::common::{self, Common};
use crate::error::RunError;
use crate::limits;
use crate::progress::Bar;
use crate::sample::{self, Sample};
use crate::shard::Shard;
use crate::shutdown::Shutdown;
use crate::telemetry;

/// A generator: what [`main`] needs to run it as a process.
pub trait Generator: Sized {
    /// The name of its binary and the settings that it reads.
    const SETTINGS: catalog::GeneratorSettings;
    /// The version of the binary's crate.
    const VERSION: &'static str;
    /// One line that says what it does.
    const ABOUT: &'static str;
    /// The exit codes after signals, in words.
    const EXIT_CODE_OF_SIGNALS: &'static str = "130/143 interrupted by SIGINT/SIGTERM";

    /// Reads and validates its configuration. Everything that is wrong is reported to `problems`; the result is `None`
    /// only if there are problems.
    fn configure(environment: &Environment, problems: &mut ConfigurationErrors) -> Option<Self>;

    /// Reads and validates the settings that its records depend on, for `--sample`: those of the destination are
    /// ignored. The records are those of `shard`.
    fn sample(environment: &Environment, shard: Shard, problems: &mut ConfigurationErrors) -> Option<Sample>;

    /// Does the work, to its end or until `context.shutdown` is requested.
    fn run(self, context: Context) -> impl Future<Output = Result<(), RunError>>;
}

/// What a running generator receives.
#[derive(Clone, Debug)]
pub struct Context {
    /// The common configuration.
    pub common: Common,
    /// The request to stop.
    pub shutdown: Shutdown,
    /// The bar that shows the progress.
    pub bar: Bar,
}

/// The exit code if a destination failed.
const EXIT_DESTINATION: u8 = 1;
/// The exit code of a wrong configuration.
const EXIT_CONFIGURATION: u8 = 2;

/// How long the process may wait for blocking calls at its end.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(5);

/// How long a thread for blocking calls stays idle.
const IDLE_THREAD_LIMIT: Duration = Duration::from_secs(3600);

/// Runs a generator's process from start to exit: `fn main() -> ExitCode { datagen_process::main::<GenUsers>() }`.
pub fn main<G: Generator>() -> ExitCode {
    report_panics::<G>();
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let arguments: Vec<&str> = arguments
        .iter()
        .flat_map(|argument| match argument.strip_prefix("--sample=") {
            Some(count) => vec!["--sample", count],
            None => vec![argument.as_str()],
        })
        .collect();
    match arguments.as_slice() {
        [] => run::<G>(&Environment::of_process()),
        ["--help" | "-h"] => print(&help::<G>()),
        ["--version" | "-V"] => print(&format!("{} {}\n", G::SETTINGS.name, G::VERSION)),
        ["--sample"] => print_sample::<G>(&Environment::of_process(), None),
        ["--sample", count] => match count.parse() {
            Ok(count) => print_sample::<G>(&Environment::of_process(), Some(count)),
            Err(_) => {
                complain::<G>(
                    "--sample takes a number of records, such as --sample 20",
                    LogFormat::Text,
                );
                ExitCode::from(EXIT_CONFIGURATION)
            }
        },
        _ => {
            complain::<G>(
                "takes no arguments but --help, --version and --sample [N]; it is configured by environment variables",
                LogFormat::Text,
            );
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}

/// Prints the first records, by default [`sample::DEFAULT_COUNT`] or all if there are fewer.
fn print_sample<G: Generator>(environment: &Environment, count: Option<u64>) -> ExitCode {
    let log_format = common::log_format(environment);
    let mut problems = ConfigurationErrors::default();
    let common = Common::read(environment, &mut problems);
    let sample = match G::sample(environment, common.shard, &mut problems) {
        Some(sample) if problems.is_empty() => sample,
        _ => return fail::<G>(&RunError::Configuration(problems), log_format),
    };
    match sample.print(
        count.unwrap_or(sample::DEFAULT_COUNT),
        &mut std::io::stdout().lock(),
    ) {
        Ok(printed) if count.is_some_and(|count| printed < count) => {
            complain::<G>(&format!("--sample: there are only {printed} records"), log_format);
            ExitCode::from(EXIT_CONFIGURATION)
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            complain::<G>(&format!("cannot write to standard output: {error}"), log_format);
            ExitCode::from(EXIT_DESTINATION)
        }
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
    // The clock is checked before the configuration is read, because the defaults of dates depend on it.
    let workers = match limits::check() {
        Ok(workers) => workers,
        Err(error) => return fail::<G>(&RunError::Destination(error), common::log_format(environment)),
    };
    let (common, generator) = match configure::<G>(environment) {
        Ok(configured) => configured,
        Err(problems) => {
            return fail::<G>(
                &RunError::Configuration(problems),
                common::log_format(environment),
            );
        }
    };
    let log_format = common.log_format;
    let bar = Bar::new(log_format == LogFormat::Text);
    telemetry::init(log_format, &common.log_filter, common.colors, &bar);
    warn_of_misspellings::<G>(environment);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.get())
        // Idle threads for blocking calls are kept, because a new one may not start if the number of threads is
        // limited.
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
                tracing::warn!("signals cannot be handled, so the process will stop abruptly: {error}");
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
    // Interrupted file system calls finish and clean up, but a thread that waits for something that does not respond
    // must not keep the process alive.
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
fn configure<G: Generator>(environment: &Environment) -> Result<(Common, G), ConfigurationErrors> {
    let mut problems = ConfigurationErrors::default();
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

fn fail<G: Generator>(failure: &RunError, log_format: LogFormat) -> ExitCode {
    match failure {
        RunError::Configuration(problems) => {
            problems.lines().for_each(|line| complain::<G>(&line, log_format));
            ExitCode::from(EXIT_CONFIGURATION)
        }
        RunError::Destination(_) => {
            complain::<G>(&failure.to_string(), log_format);
            ExitCode::from(EXIT_DESTINATION)
        }
        RunError::Interrupted(signal) => {
            complain::<G>(&failure.to_string(), log_format);
            ExitCode::from(signal.exit_code())
        }
    }
}

/// Writes a line to standard error, whatever RUST_LOG says. For collectors, it has the fields of the log's lines. A
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

/// Returns the text of `--help`.
fn help<G: Generator>() -> String {
    format!(
        "{} {}: {}\n\n\
         It is configured by environment variables. --sample [N] prints the first N records, by default {}, to standard\n\
         output and needs no destination.\n{}\n\
         Exit codes: 0 done, 1 the destination failed, 2 wrong configuration, {}.\n",
        G::SETTINGS.name,
        G::VERSION,
        G::ABOUT,
        sample::DEFAULT_COUNT,
        render::help(&G::SETTINGS),
        G::EXIT_CODE_OF_SIGNALS
    )
}
