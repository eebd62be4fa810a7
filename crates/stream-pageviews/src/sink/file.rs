//! Two files of this machine, `pageviews.jsonl` and `stars.jsonl`: one JSON object a line, appended session
//! by session.
//!
//! A session's lines are written by one system call, and taken back if it fails: a file never ends in the
//! middle of a session.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datagen_core::error::DestinationError;

use super::Sink;
use crate::visit::{Topic, Visit};

/// The two files, by [`Topic`].
#[derive(Debug)]
pub struct Files(Mutex<[Log; 2]>);

/// A file that grows by whole lines.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    /// A session's lines, before they are written.
    lines: Vec<u8>,
}

impl Files {
    /// Opens the files in `directory`, which are created with it if they are absent.
    ///
    /// # Errors
    /// If they cannot be created or written.
    pub fn open(directory: &Path) -> Result<Self, DestinationError> {
        fs::create_dir_all(directory).map_err(|error| DestinationError::io(directory, &error))?;
        let open = |topic: Topic| {
            let path = directory.join(format!("{}.jsonl", topic.name()));
            let file = File::options().create(true).append(true).open(&path);
            let file = file.map_err(|error| DestinationError::io(&path, &error))?;
            Ok(Log {
                path,
                file,
                lines: Vec::new(),
            })
        };
        let [pageviews, stars] = Topic::ALL.map(open);
        Ok(Self(Mutex::new([pageviews?, stars?])))
    }

    /// The files. A panic elsewhere leaves them as whole as an error does.
    fn logs(&self) -> MutexGuard<'_, [Log; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sink for Files {
    async fn send(&self, visit: &Visit) -> Result<(), DestinationError> {
        let mut logs = self.logs();
        for message in visit.messages() {
            let lines = &mut logs[message.topic as usize].lines;
            lines.extend_from_slice(message.payload);
            lines.push(b'\n');
        }
        // Some microseconds in the page cache: not worth a thread.
        logs.iter_mut().try_for_each(Log::append)
    }

    async fn flush(&self, _limit: Duration) -> Result<(), DestinationError> {
        self.logs().iter().try_for_each(|log| {
            log.file
                .sync_all()
                .map_err(|error| DestinationError::io(&log.path, &error))
        })
    }
}

impl Log {
    /// Appends the lines, all or none.
    fn append(&mut self) -> Result<(), DestinationError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let result = self.write_whole();
        self.lines.clear();
        result.map_err(|error| DestinationError::io(&self.path, &error))
    }

    fn write_whole(&mut self) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        self.file.write_all(&self.lines).inspect_err(|_| {
            // The first error is the one to report.
            let _ = self.file.set_len(before);
        })
    }
}

#[cfg(test)]
mod tests {
    use datagen_core::model::session::Sessions;

    use super::*;

    #[tokio::test]
    async fn sessions_are_appended_whole_to_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let sessions = Sessions::new(0, 9, 9);
        let mut visit = Visit::default();
        let (mut pageviews, mut stars) = (0, 0);
        for range in [0..100, 100..150] {
            let files = Files::open(directory.path()).unwrap();
            for id in range {
                let session = sessions.get(id);
                visit.fill(&session);
                pageviews += session.pageview_count;
                stars += u64::from(session.stars.is_some());
                files.send(&visit).await.unwrap();
                let lines = |name: &str| {
                    let text = fs::read_to_string(directory.path().join(name)).unwrap();
                    assert!(text.is_empty() || text.ends_with("}\n"));
                    text.lines().count() as u64
                };
                assert_eq!(
                    (lines("pageviews.jsonl"), lines("stars.jsonl")),
                    (pageviews, stars)
                );
            }
            files.flush(Duration::ZERO).await.unwrap();
        }
        assert!(stars > 0);
    }
}
