//! Runs a generator as a process, configured only by the environment variables that a test sets.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Text that tests use in place of secrets: a generator must never print it.
pub const PLANTED_SECRET: &str = "hush-hush";

/// A generator that is about to be run.
#[derive(Debug)]
pub struct GeneratorProcess {
    command: Command,
    name: String,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output and standard error.
    pub output: String,
}

impl GeneratorProcess {
    /// Creates the process of the binary at `path`, such as `env!("CARGO_BIN_EXE_gen-users")`.
    pub fn new(path: &str) -> Self {
        let name = Path::new(path)
            .file_stem()
            .and_then(OsStr::to_str)
            .expect("binaries have plain names");
        let mut command = Command::new(path);
        command.env_clear().stdin(Stdio::null());
        Self {
            command,
            name: name.to_owned(),
        }
    }

    /// Creates the process of the binary `name` of this workspace, from the same build as the running test. It exists
    /// after `cargo test --workspace`, which builds all binaries.
    ///
    /// # Panics
    /// If it has not been built.
    pub fn of_workspace(name: &str) -> Self {
        // target/debug/deps/TEST -> target/debug
        let test = std::env::current_exe().expect("the path of this test");
        let path = test
            .ancestors()
            .nth(2)
            .expect("cargo puts tests into target/PROFILE/deps");
        let path = path.join(name).with_extension(std::env::consts::EXE_EXTENSION);
        assert!(
            path.exists(),
            "{} has not been built: run `cargo test --workspace`, or `cargo build --workspace` first",
            path.display()
        );
        Self::new(path.to_str().expect("the target directory has a name in UTF-8"))
    }

    /// Creates the process of the binary at `path`, in which writing more than `blocks` of 512 bytes to a file fails.
    pub fn with_file_size_limit(path: &str, blocks: u32) -> Self {
        Self::with_limit(path, &format!("-f {blocks}"))
    }

    /// Creates the process of the binary at `path` under a limit of the shell's `ulimit`, such as `-n 6`.
    fn with_limit(path: &str, limit: &str) -> Self {
        let mut generator = Self::new(path);
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(format!("ulimit {limit}; exec {path} \"$@\""))
            .arg("sh");
        command.env_clear().stdin(Stdio::null());
        generator.command = command;
        generator
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets variables.
    #[must_use]
    pub fn envs<'a>(mut self, pairs: impl IntoIterator<Item = (&'a str, OsString)>) -> Self {
        self.command.envs(pairs);
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    /// Runs the process until it ends.
    pub fn run(mut self) -> Finished {
        let output = self
            .command
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let text = |bytes| String::from_utf8(bytes).expect("generators print UTF-8");
        Finished {
            code: output.status.code(),
            output: text(output.stdout) + &text(output.stderr),
        }
    }

    /// Runs the process until it ends, and asserts that it succeeds.
    pub fn succeed(self) -> Finished {
        let name = self.name.clone();
        let finished = self.run();
        assert_eq!(finished.code, Some(0), "{name}: {}", finished.output);
        finished
    }

    /// Starts the process and leaves it running. Its standard error is a pipe, which must be read before it is full.
    pub fn start_logging(mut self) -> Child {
        self.command.stdout(Stdio::null()).stderr(Stdio::piped());
        self.command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Starts the process and leaves it running. Its output is discarded.
    pub fn start(mut self) -> Child {
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        self.command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Runs the process until it ends, asserts that it succeeds, and returns its peak memory in KiB.
    #[cfg(target_os = "linux")]
    pub fn peak_memory(self) -> u64 {
        let name = self.name.clone();
        let mut child = self.start();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        let code = loop {
            if let Some(status) = child.try_wait().expect("the child is ours") {
                break status.code();
            }
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let high_water = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            if let Some(kib) = high_water.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok()) {
                peak = kib;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert_eq!(code, Some(0), "{name}");
        assert!(peak > 0, "{name} was not seen");
        peak
    }

    /// Runs the process for `time`, or until it ends if that is sooner, and kills it with SIGKILL.
    pub fn run_and_kill_after(self, time: Duration) {
        let mut child = self.start();
        std::thread::sleep(time);
        // If it has ended, there is nothing to kill.
        let _ = child.kill();
        child.wait().expect("the child is ours");
    }
}

/// Runs the binary at `path` with each configuration of `cases` and checks that it is rejected: exit code 2, one clear
/// line per problem and nothing else, no panic, no planted secret.
///
/// A case is a block of lines: first the differences from the configuration `good`, which are `NAME=value`, or `-NAME`
/// for a variable that is not set; then, indented, texts that the reported lines contain, one for each line.
pub fn assert_refused(path: &str, good: &[(&str, &str)], cases: &str) {
    let mut lines = cases.lines().peekable();
    while lines.peek().is_some() {
        let block = |is_indented: bool| move |line: &&str| line.starts_with(' ') == is_indented;
        let set: Vec<_> = std::iter::from_fn(|| lines.next_if(block(false))).collect();
        let expected: Vec<_> = std::iter::from_fn(|| lines.next_if(block(true)).map(str::trim)).collect();
        let output = assert_reported(path, good, &set, 2, &expected);
        assert_eq!(output.lines().count(), expected.len(), "{set:?}: {output}");
    }
}

/// Runs the binary at `path` with the variable `set` on top of the configuration `good`, and checks that the destination
/// fails: exit code 1, and one clear line that contains `expected`.
pub fn assert_fails(path: &str, good: &[(&str, &str)], set: (&str, &str), expected: &str) {
    assert_reported(path, good, &[&format!("{}={}", set.0, set.1)], 1, &[expected]);
}

fn assert_reported(
    path: &str,
    good: &[(&str, &str)],
    set: &[&str],
    expected_code: i32,
    expected: &[&str],
) -> String {
    let mut generator = GeneratorProcess::new(path);
    let prefix = format!("{}: ", generator.name);
    generator = generator.envs(good.iter().map(|(name, value)| (*name, value.into())));
    for variable in set {
        match variable.split_once('=') {
            Some((name, value)) => generator = generator.env(name, value),
            None => {
                generator.command.env_remove(&variable[1..]);
            }
        }
    }
    let Finished { code, output } = generator.run();
    assert_eq!(code, Some(expected_code), "{set:?}: {output}");
    let lines: Vec<_> = output.lines().filter(|line| line.starts_with(&prefix)).collect();
    assert_eq!(lines.len(), expected.len(), "{set:?}: {output}");
    for expected in expected {
        assert!(
            lines.iter().any(|line| line.contains(expected)),
            "{set:?}: {output}"
        );
    }
    assert_harmless(&output);
    output
}

/// Checks that `--help` of the binary at `path` describes each of `variables`.
pub fn assert_help_lists<'a>(path: &str, variables: impl IntoIterator<Item = &'a str>) {
    let help = GeneratorProcess::new(path).arg("--help").succeed().output;
    for variable in variables {
        assert!(help.contains(&format!("\n  {variable}")), "{variable} in {help}");
    }
}

/// Runs the binary at `path` with the configuration `good` under limits that are too low for it, and on a machine whose
/// clock is before 1970. Checks that each run ends with one clear line and exit code 1.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn assert_limits_are_reported(path: &str, good: &[(&str, &str)]) {
    use crate::system_calls::{SystemCallFault, with_fault};
    // The smallest address space, in KiB, that is enough to load the binary.
    let loadable = (1..)
        .map(|step| step * 4096)
        .find(|kib| {
            let generator = GeneratorProcess::with_limit(path, &format!("-v {kib}"));
            generator.arg("--help").run().code == Some(0)
        })
        .expect("some size is enough");
    let limited = |limit: String| GeneratorProcess::with_limit(path, &limit);
    let faulty = |fault| with_fault(GeneratorProcess::new(path), &fault);
    let cases = [
        (limited(format!("-v {}", loadable + 4096)), "ulimit -v"),
        (limited("-n 6".to_owned()), "ulimit -n"),
        (faulty(SystemCallFault::Threads(0)), "ulimit -u"),
        (faulty(SystemCallFault::Threads(1)), "ulimit -u"),
        (faulty(SystemCallFault::Threads(2)), "ulimit -u"),
        (faulty(SystemCallFault::Threads(6)), "ulimit -u"),
        (faulty(SystemCallFault::Clock(-1)), "the clock is before 1970"),
    ];
    for (mut generator, expected) in cases {
        let start = format!("{}: this machine: ", generator.name);
        for (variable, value) in good {
            generator = generator.env(variable, value);
        }
        let Finished { code, output } = generator.run();
        assert_eq!(code, Some(1), "{expected}: {output}");
        assert!(
            output.starts_with(&start) && output.contains(expected) && output.lines().count() == 1,
            "{expected}: {output}"
        );
        assert_harmless(&output);
    }
}

/// Checks `--sample` of the binary at `path`, which needs no destination. With `settings` there are `available`
/// records, which must be more than 10. Returns them.
pub fn assert_samples(path: &str, settings: &[(&str, &str)], available: usize) -> Vec<String> {
    let run = |arguments: &[&str]| {
        let output = Command::new(path)
            .args(arguments)
            .env_clear()
            .envs(settings.iter().copied())
            .output()
            .expect("the generator starts");
        let lines: Vec<String> = String::from_utf8(output.stdout)
            .expect("UTF-8")
            .lines()
            .map(str::to_owned)
            .collect();
        (
            output.status.code(),
            lines,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, all, errors) = run(&["--sample", &available.to_string()]);
    assert_eq!((code, all.len(), errors.as_str()), (Some(0), available, ""));
    for line in &all {
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    }
    assert_eq!(run(&["--sample"]), (Some(0), all[..10].to_vec(), String::new()));
    assert_eq!(run(&["--sample=3"]), (Some(0), all[..3].to_vec(), String::new()));
    assert_eq!(run(&["--sample", "0"]), (Some(0), Vec::new(), String::new()));

    let (code, lines, errors) = run(&["--sample", &(available + 1).to_string()]);
    assert_eq!((code, &lines), (Some(2), &all));
    assert!(
        errors.contains(&format!("there are only {available} records")),
        "{errors}"
    );
    for bad in [
        &["--sample", "many"][..],
        &["--sample", "-1"],
        &["--sample", "1", "2"],
    ] {
        let (code, lines, errors) = run(bad);
        assert_eq!(
            (code, lines.len(), errors.lines().count()),
            (Some(2), 0, 1),
            "{bad:?}"
        );
    }
    all
}

/// Checks that the binary at `path` succeeds when the reader of a long sample closes its end of the pipe.
pub fn assert_sample_ends_with_its_reader(path: &str, settings: &[(&str, &str)]) {
    let mut child = Command::new(path)
        .args(["--sample", "1000000"])
        .env_clear()
        .envs(settings.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the generator starts");
    let mut first = String::new();
    let reader = child.stdout.take().expect("the output is piped");
    BufReader::new(reader).read_line(&mut first).expect("a line");
    let output = child.wait_with_output().expect("the child is ours");
    assert_eq!(output.status.code(), Some(0));
    assert!(first.ends_with("}\n") && output.stderr.is_empty(), "{first}");
}

/// Runs `generator`, asserts that it succeeds, and checks that the first line of its log names `destination` and the
/// seed, and that a line at the end says that it has written there.
pub fn assert_start_and_end_name(generator: GeneratorProcess, destination: &str) {
    let finished = generator.env("LOG_FORMAT", "json").env("SEED", "7").succeed();
    let lines: Vec<serde_json::Value> = finished
        .output
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let first = lines.first().expect("a line at the start");
    assert_eq!(
        (&first["destination"], &first["seed"]),
        (&destination.into(), &7.into()),
        "{first}"
    );
    let is_end = |line: &serde_json::Value| line["message"] == "done" && line["destination"] == destination;
    let seconds = lines
        .iter()
        .find(|line| is_end(line))
        .map(|line| &line["seconds"]);
    assert!(
        seconds.is_some_and(serde_json::Value::is_number),
        "{}",
        finished.output
    );
    assert_eq!(
        lines.last().map(|line| &line["message"]),
        Some(&"done".into()),
        "{}",
        finished.output
    );
}

/// Checks that `output` contains neither a panic nor a planted secret.
pub fn assert_harmless(output: &str) {
    for bad in ["panicked", "RUST_BACKTRACE", "stack backtrace", PLANTED_SECRET] {
        assert!(!output.contains(bad), "{bad:?} in {output}");
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// If `child` ends before the condition holds.
pub fn wait_until(child: &mut Child, mut condition: impl FnMut() -> bool) {
    while !condition() {
        let ended = child.try_wait().expect("the child is ours");
        // The process may have fulfilled the condition and then ended.
        assert!(ended.is_none() || condition(), "ended too early: {ended:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a signal by its name, such as `TERM` or `INT`.
///
/// # Panics
/// If the process has ended.
#[cfg(unix)]
pub fn send_signal(child: &Child, signal: &str) {
    let status = Command::new("kill")
        .arg(format!("-{signal}"))
        .arg(child.id().to_string())
        .status();
    assert!(status.expect("kill is a standard utility").success());
}
