//! SIGTERM and SIGINT: the first requests an orderly stop, the second ends the process immediately. Signals within
//! a second count as one.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Signals that follow the first within this time belong to it: `timeout` signals the process and then its group, and
/// a terminal and a supervisor may both pass on one Ctrl-C.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// The signal that requested the shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: `docker stop`, `kill`, a container group that is being deleted.
    Terminate,
}

impl Signal {
    /// Returns the exit code by the shell's convention: 128 + the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// The request to stop, for every part of the process. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    signal: Arc<OnceLock<Signal>>,
}

impl Shutdown {
    /// Creates a shutdown that the process's signals request. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the operating system refuses the signal handlers.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let mut signals = Signals::listen()?;
        let requested = shutdown.clone();
        tokio::spawn(async move {
            requested.request(signals.next().await);
            let first = Instant::now();
            loop {
                let signal = signals.next().await;
                if !is_same_request(first, Instant::now()) {
                    std::process::exit(i32::from(signal.exit_code()));
                }
            }
        });
        Ok(shutdown)
    }

    /// Requests the shutdown. Only the first signal counts.
    pub fn request(&self, signal: Signal) {
        let _ = self.signal.set(signal);
        self.token.cancel();
    }

    /// Returns the signal, if one has arrived.
    pub fn signal(&self) -> Option<Signal> {
        self.signal.get().copied()
    }

    /// Waits until a signal arrives.
    pub async fn requested(&self) -> Signal {
        self.token.cancelled().await;
        self.signal().unwrap_or(Signal::Terminate)
    }
}

/// Returns whether a signal at `now` belongs to the request of the signal at `first`.
fn is_same_request(first: Instant, now: Instant) -> bool {
    now.duration_since(first) < SAME_REQUEST
}

/// The two signals of this operating system.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(not(unix))]
    fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) -> Signal {
        #[cfg(unix)]
        return tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        };
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
            Signal::Interrupt
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_within_a_second_are_one() {
        let first = Instant::now();
        let after = |milliseconds| is_same_request(first, first + Duration::from_millis(milliseconds));
        assert!(after(0) && after(999));
        assert!(!after(1_000) && !after(60_000));
    }
}
