//! Two files of this machine, `pageviews.jsonl` and `stars.jsonl`: one JSON object a line, appended session
//! by session.
//!
//! A session's lines are written by one system call, and taken back if it fails. A kill may still cut that
//! call short: the half line is removed before anything is appended to it, while a session cut between two
//! lines cannot be told from a whole one. Processes that share a directory (shards) take turns by a lock on
//! each file, so that none removes what another has written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datagen_process::error::DestinationError;
use datagen_process::file_system::{create_directory, lock, sync_directory, unlock};

use super::{Delivery, Sink, Taken};
use crate::visit::{Batch, Topic};

/// The two files.
#[derive(Debug)]
pub struct Files {
    /// By [`Topic`].
    logs: Mutex<[Log; 2]>,
    taken: Taken,
}

/// How much of a file's end is read at once to find its last whole line.
const BLOCK: u64 = 4096;

/// A file that grows by whole lines.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    /// Where the file ended, after a whole line, when this process last let go of it.
    end: u64,
    /// A session's lines, before they are written.
    lines: Vec<u8>,
}

impl Files {
    /// Opens the files in `directory`, which are created with it if they are absent.
    ///
    /// # Errors
    /// If they cannot be created or written.
    pub fn open(directory: &Path) -> Result<Self, DestinationError> {
        create_directory(directory)?;
        let [pageviews, stars] =
            Topic::ALL.map(|topic| Log::open(directory.join(format!("{}.jsonl", topic.name()))));
        let logs = [pageviews?, stars?];
        // The files themselves are synced at the end; that they are there is made durable now.
        sync_directory(directory)?;
        Ok(Self {
            logs: Mutex::new(logs),
            taken: Taken::default(),
        })
    }

    /// The files. A panic elsewhere leaves them as whole as an error does.
    fn logs(&self) -> MutexGuard<'_, [Log; 2]> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sink for Files {
    async fn send(&self, batch: Batch<'_>) -> Result<(), DestinationError> {
        let mut logs = self.logs();
        for message in batch.messages() {
            let lines = &mut logs[message.topic as usize].lines;
            lines.extend_from_slice(message.payload);
            lines.push(b'\n');
        }
        // Some microseconds in the page cache: not worth a thread.
        logs.iter_mut().try_for_each(Log::append)?;
        batch.messages().for_each(|message| self.taken.add(&message));
        Ok(())
    }

    /// Files have no times that could tell which lines belong together.
    fn wants_sessions_whole(&self) -> bool {
        true
    }

    async fn flush(&self, _limit: Duration) -> Result<(), DestinationError> {
        self.logs().iter().try_for_each(|log| {
            log.file
                .sync_all()
                .map_err(|error| DestinationError::io(&log.path, &error))
        })
    }

    fn delivery(&self) -> Delivery {
        self.taken.delivered()
    }
}

impl Log {
    /// Opens the file at `path`, which is created if it is absent, and removes a half line at its end.
    fn open(path: PathBuf) -> Result<Self, DestinationError> {
        let file = File::options().create(true).read(true).append(true).open(&path);
        let file = file.map_err(|error| DestinationError::io(&path, &error))?;
        let metadata = file
            .metadata()
            .map_err(|error| DestinationError::io(&path, &error))?;
        if !metadata.is_file() {
            // A pipe or a device has no end to append whole lines to, and may wait for ever for a reader.
            return Err(
                DestinationError::permanent(path.display().to_string(), "it is not a regular file")
                    .advise("move it, or give another directory"),
            );
        }
        let mut log = Self {
            path,
            file,
            end: 0,
            lines: Vec::new(),
        };
        match log.append_in_turn() {
            Ok(()) => Ok(log),
            Err(error) => Err(DestinationError::io(&log.path, &error)),
        }
    }

    /// Appends the lines, all or none.
    fn append(&mut self) -> Result<(), DestinationError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let result = self.append_in_turn();
        self.lines.clear();
        result.map_err(|error| DestinationError::io(&self.path, &error))
    }

    /// Appends while no other process does.
    fn append_in_turn(&mut self) -> io::Result<()> {
        lock(&self.file)?;
        let appended = self.append_whole();
        appended.and(unlock(&self.file))
    }

    fn append_whole(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length != self.end {
            // Somebody else was here, and may have been killed in the middle of a line.
            self.end = end_of_last_line(&mut self.file, length)?;
            if self.end < length {
                self.file.set_len(self.end)?;
            }
        }
        self.file.write_all(&self.lines).inspect_err(|_| {
            // The first error is the one to report.
            let _ = self.file.set_len(self.end);
        })?;
        self.end += self.lines.len() as u64;
        Ok(())
    }
}

/// Where the last whole line of `file`, which is `length` bytes long, ends.
fn end_of_last_line(file: &mut File, length: u64) -> io::Result<u64> {
    let mut block = Vec::new();
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use datagen_core::model::Profile;
    use datagen_core::model::session::Sessions;

    use super::*;
    use crate::visit::Visit;

    #[tokio::test]
    async fn sessions_are_appended_whole_to_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let sessions = Sessions::new(Profile::Uniform, 0, 9, 9);
        let mut visit = Visit::default();
        let (mut pageviews, mut stars) = (0, 0);
        for range in [0..100, 100..150] {
            let files = Files::open(directory.path()).unwrap();
            for id in range {
                let session = sessions.get(id);
                visit.fill(&session);
                pageviews += session.pageview_count;
                stars += u64::from(session.stars.is_some());
                files.send(visit.whole()).await.unwrap();
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

    #[tokio::test]
    async fn a_half_line_left_by_a_kill_is_removed_before_anything_follows() {
        let long = "x".repeat(3 * BLOCK as usize);
        let line_at_a_blocks_edge = "y".repeat(BLOCK as usize - 1) + "\n";
        for (left, kept) in [
            ("", ""),
            ("{}\n", "{}\n"),
            ("{}\n{\"user_id\":1", "{}\n"),
            (&long, ""),
            (&format!("{{}}\n{long}"), "{}\n"),
            (&format!("{line_at_a_blocks_edge}{long}"), &line_at_a_blocks_edge),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("pageviews.jsonl");
            let text = || fs::read_to_string(&path).unwrap();
            fs::write(&path, left).unwrap();
            let files = Files::open(directory.path()).unwrap();
            assert_eq!(text(), kept);

            // Another process is killed while this one runs.
            fs::write(&path, format!("{kept}{left}")).unwrap();
            let session = Sessions::new(Profile::Uniform, 0, 9, 9).get(0);
            let mut visit = Visit::default();
            visit.fill(&session);
            files.send(visit.whole()).await.unwrap();
            let added = text().strip_prefix(&kept.repeat(2)).map(str::to_owned).unwrap();
            assert!(added.starts_with("{\"user_id\"") && added.ends_with("}\n"));
            assert_eq!(added.lines().count() as u64, session.pageview_count);
        }
    }
}
