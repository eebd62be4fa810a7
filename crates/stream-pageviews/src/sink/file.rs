//! Two local files, `pageviews.jsonl` and `stars.jsonl`: one JSON object per line, in sending order.
//!
//! The lines of a batch are written by one system call, and removed again if it fails. If the process is killed during
//! that call, a partial line may remain: it is removed before anything is appended. Processes that share a directory
//! (shards) take turns using a lock on each file, so that no process removes what another one has written.
//!
//! A file may be renamed or removed while it is open, for instance by a log rotation. Before each write, the open file
//! is compared with the one at the path. A renamed file keeps its lines, and a new file is begun. The lines in a file
//! that was removed or truncated are lost: the stream continues in a new file, counts them, and ends with an error.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datagen_process::error::DestinationError;
use datagen_process::file_system::{create_directory, lock, sync_directory, unlock};

use super::{Delivery, MessageCounter, Sink};
use crate::message::{Message, Topic};

/// The two files.
#[derive(Debug)]
pub struct FileSink {
    /// By [`Topic`].
    logs: Mutex<[Log; 2]>,
    taken: MessageCounter,
}

/// How many bytes of a file's end are read at once to find its last whole line.
const BLOCK: u64 = 4096;

/// How often opening a file is attempted if it is moved away in the meantime.
const OPEN_ATTEMPTS: u32 = 10;

/// A file that grows by whole lines.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    /// Where the file ended, after a whole line, when this process last released it.
    end: u64,
    /// The lines of a batch that have not been written yet.
    lines: Vec<u8>,
    /// The number of these lines.
    line_count: u64,
    /// The number of lines that this process has written to the open file.
    written: u64,
    /// The number of lines of this process in files that were removed or truncated.
    lost: u64,
}

impl FileSink {
    /// Opens the files in `directory`. The directory and the files are created if they are absent.
    ///
    /// # Errors
    /// If the files cannot be created or written.
    pub fn open(directory: &Path) -> Result<Self, DestinationError> {
        create_directory(directory)?;
        let [pageviews, stars] =
            Topic::ALL.map(|topic| Log::open(directory.join(format!("{}.jsonl", topic.name()))));
        let logs = [pageviews?, stars?];
        // The files themselves are synced at the end; their names are made durable now.
        sync_directory(directory)?;
        let present: u64 = logs.iter().map(|log| log.end).sum();
        if present > 0 {
            tracing::info!(
                bytes = present,
                "{} has lines of earlier runs or of other shards: this run appends to them",
                directory.display()
            );
        }
        Ok(Self {
            logs: Mutex::new(logs),
            taken: MessageCounter::default(),
        })
    }

    /// Returns the files. A panic elsewhere leaves them in the same consistent state as an error does.
    fn logs(&self) -> MutexGuard<'_, [Log; 2]> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn send(&self, messages: &[Message<'_>]) -> Result<(), DestinationError> {
        let mut logs = self.logs();
        for message in messages {
            let log = &mut logs[message.topic as usize];
            log.lines.extend_from_slice(message.payload);
            log.lines.push(b'\n');
            log.line_count += 1;
        }
        // This takes some microseconds in the page cache, which is not worth a separate thread.
        logs.iter_mut().try_for_each(Log::append)?;
        let mut taking = self.taken.start();
        messages.iter().for_each(|message| taking.add(message));
        Ok(())
    }

    async fn flush(&self, _limit: Duration) -> Result<(), DestinationError> {
        let mut logs = self.logs();
        logs.iter_mut().try_for_each(|log| {
            let synced = log.finish();
            synced.map_err(|error| DestinationError::io(&log.path, &error))
        })?;
        match logs.iter().find(|log| log.lost > 0) {
            Some(log) => Err(DestinationError::permanent(
                log.path.display().to_string(),
                "it was removed or cut off while the stream wrote to it",
            )
            .advise("rename a file that is to be kept; the stream then begins a new one")),
            None => Ok(()),
        }
    }

    fn delivery(&self) -> Delivery {
        let lost = self.logs().iter().map(|log| log.lost).sum();
        let delivery = self.taken.delivered();
        Delivery {
            delivered: delivery.delivered.saturating_sub(lost),
            lost,
            ..delivery
        }
    }
}

impl Log {
    /// Opens the file at `path`, which is created if it is absent, and removes a partial line at its end.
    fn open(path: PathBuf) -> Result<Self, DestinationError> {
        let file = open_file(&path)?;
        let mut log = Self {
            path,
            file,
            end: 0,
            lines: Vec::new(),
            line_count: 0,
            written: 0,
            lost: 0,
        };
        log.append_in_turn()?;
        Ok(log)
    }

    /// Appends the lines, all or none.
    fn append(&mut self) -> Result<(), DestinationError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let result = self.append_in_turn();
        self.lines.clear();
        self.line_count = 0;
        result
    }

    /// Appends the lines to the file that is at the path, while no other process appends.
    fn append_in_turn(&mut self) -> Result<(), DestinationError> {
        for _ in 0..OPEN_ATTEMPTS {
            let appended = lock(&self.file).and_then(|()| {
                let appended = self.append_if_in_place();
                let unlocked = unlock(&self.file);
                let appended = appended?;
                unlocked.map(|()| appended)
            });
            if appended.map_err(|error| DestinationError::io(&self.path, &error))? {
                return Ok(());
            }
            self.leave()
                .map_err(|error| DestinationError::io(&self.path, &error))?;
            let directory = self.path.parent().unwrap_or(Path::new("."));
            create_directory(directory)?;
            self.file = open_file(&self.path)?;
            self.end = 0;
            sync_directory(directory)?;
        }
        Err(
            DestinationError::permanent(self.path.display().to_string(), "it keeps being moved away")
                .advise("give a directory in which only this stream writes"),
        )
    }

    /// Appends the lines if the open file is still the one at the path. Returns whether it is.
    fn append_if_in_place(&mut self) -> io::Result<bool> {
        let metadata = self.file.metadata()?;
        if !is_in_place(&metadata, &self.path)? {
            return Ok(false);
        }
        let length = metadata.len();
        if length < self.end {
            // Another process that shares the file never removes a whole line.
            self.lose("was cut off");
        }
        if length != self.end {
            // Another process has written, and may have been killed in the middle of a line.
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
        self.written += self.line_count;
        Ok(true)
    }

    /// Makes the lines durable, or leaves the file if it is no longer at the path.
    fn finish(&mut self) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        if !is_in_place(&metadata, &self.path)? {
            return self.leave();
        }
        if metadata.len() < self.end {
            self.lose("was cut off");
        }
        self.file.sync_all()
    }

    /// Finishes with the open file, which is no longer at the path: its lines are made durable if it was renamed, and
    /// counted as lost if it was removed.
    fn leave(&mut self) -> io::Result<()> {
        if is_removed(&self.file.metadata()?) {
            self.lose("was removed");
            return Ok(());
        }
        if self.written > 0 {
            tracing::info!(
                messages = self.written,
                "{} was renamed and keeps its lines",
                self.path.display()
            );
            self.written = 0;
        }
        self.file.sync_all()
    }

    /// Counts the lines of this process in the open file as lost.
    fn lose(&mut self, how: &str) {
        if self.written > 0 {
            tracing::warn!(
                messages = self.written,
                "{} {how}: the messages in it are lost",
                self.path.display()
            );
        }
        self.lost += std::mem::take(&mut self.written);
    }
}

/// Opens the file at `path` for appending, and creates it if it is absent.
fn open_file(path: &Path) -> Result<File, DestinationError> {
    let file = File::options().create(true).read(true).append(true).open(path);
    let file = file.map_err(|error| DestinationError::io(path, &error))?;
    let metadata = file
        .metadata()
        .map_err(|error| DestinationError::io(path, &error))?;
    if !metadata.is_file() {
        // A pipe or a device has no end at which whole lines could be appended, and may wait forever for a reader.
        return Err(
            DestinationError::permanent(path.display().to_string(), "it is not a regular file")
                .advise("move it, or give another directory"),
        );
    }
    Ok(file)
}

/// Returns whether the open file with this metadata is the one at `path`.
#[cfg(unix)]
fn is_in_place(open: &Metadata, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (open.dev(), open.ino())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Other systems do not allow a file to be moved or removed while it is open.
#[cfg(not(unix))]
fn is_in_place(_open: &Metadata, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Returns whether the open file with this metadata no longer has a name.
#[cfg(unix)]
fn is_removed(open: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    open.nlink() == 0
}

#[cfg(not(unix))]
fn is_removed(_open: &Metadata) -> bool {
    false
}

/// Returns the offset at which the last whole line of `file` ends. The file is `length` bytes long.
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
    use super::*;
    use crate::message::testing::messages;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[tokio::test]
    async fn batches_are_appended_whole_to_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let mut sent = [String::new(), String::new()];
        for range in [0..600, 600..1_000] {
            let files = FileSink::open(directory.path()).unwrap();
            for batch in messages(range).messages().chunks(100) {
                files.send(batch).await.unwrap();
                for message in batch {
                    let sent = &mut sent[message.topic as usize];
                    sent.push_str(std::str::from_utf8(message.payload).unwrap());
                    sent.push('\n');
                }
                for topic in Topic::ALL {
                    let path = directory.path().join(format!("{}.jsonl", topic.name()));
                    assert!(text(&path) == sent[topic as usize]);
                }
            }
            files.flush(Duration::ZERO).await.unwrap();
        }
        assert!(sent.iter().all(|sent| !sent.is_empty()));
    }

    #[tokio::test]
    async fn a_half_line_left_by_a_kill_is_removed_before_anything_follows() {
        let long = "x".repeat(3 * BLOCK as usize);
        let line_at_a_blocks_edge = "y".repeat(BLOCK as usize - 1) + "\n";
        let one = messages(0..1);
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
            fs::write(&path, left).unwrap();
            let files = FileSink::open(directory.path()).unwrap();
            assert_eq!(text(&path), kept);

            // Another process is killed while this one runs.
            fs::write(&path, format!("{kept}{left}")).unwrap();
            files.send(&one.messages()).await.unwrap();
            let added = text(&path)
                .strip_prefix(&kept.repeat(2))
                .map(str::to_owned)
                .unwrap();
            assert!(added.starts_with("{\"user_id\"") && added.ends_with("}\n"));
            assert_eq!(added.lines().count(), one.messages().len());
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_renamed_file_keeps_its_lines_and_a_new_one_is_begun() {
        for whole_directory in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let directory = root.path().join("stream");
            let path = directory.join("pageviews.jsonl");
            let files = FileSink::open(&directory).unwrap();
            let all = messages(0..10);
            let all = all.messages();
            files.send(&all).await.unwrap();
            let expected = text(&path);
            let renamed = match whole_directory {
                true => {
                    fs::rename(&directory, root.path().join("old")).unwrap();
                    root.path().join("old/pageviews.jsonl")
                }
                false => {
                    fs::rename(&path, root.path().join("pageviews.1")).unwrap();
                    root.path().join("pageviews.1")
                }
            };
            files.send(&all).await.unwrap();
            files.flush(Duration::ZERO).await.unwrap();
            assert_eq!(text(&renamed), expected);
            assert_eq!(text(&path), expected);
            let delivery = files.delivery();
            assert_eq!((delivery.delivered, delivery.lost), (2 * all.len() as u64, 0));
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_lines_of_a_removed_file_are_counted_as_lost() {
        for (whole_directory, goes_on) in [(false, true), (true, true), (false, false), (true, false)] {
            let root = tempfile::tempdir().unwrap();
            let directory = root.path().join("stream");
            let path = directory.join("pageviews.jsonl");
            let files = FileSink::open(&directory).unwrap();
            let all = messages(0..10);
            // Without star ratings, so that the other file has no lines.
            let all = all.messages();
            let all: Vec<_> = all.into_iter().filter(|m| m.topic == Topic::Pageviews).collect();
            files.send(&all).await.unwrap();
            match whole_directory {
                true => fs::remove_dir_all(&directory).unwrap(),
                false => fs::remove_file(&path).unwrap(),
            }
            if goes_on {
                files.send(&all).await.unwrap();
                assert_eq!(text(&path).lines().count(), all.len());
            }
            for _ in 0..2 {
                let error = files.flush(Duration::ZERO).await.unwrap_err().to_string();
                assert!(error.contains("pageviews.jsonl: it was removed"), "{error}");
            }
            let sent = if goes_on { 2 } else { 1 } * all.len() as u64;
            let lost = all.len() as u64;
            let delivery = files.delivery();
            assert_eq!((delivery.delivered, delivery.lost), (sent - lost, lost));
        }
    }

    #[tokio::test]
    async fn the_lines_of_a_file_that_was_cut_off_are_counted_as_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pageviews.jsonl");
        let files = FileSink::open(directory.path()).unwrap();
        let all = messages(0..10);
        let all = all.messages();
        files.send(&all).await.unwrap();
        let lost = text(&path).lines().count() as u64;
        fs::write(&path, "").unwrap();
        files.send(&all).await.unwrap();
        files.flush(Duration::ZERO).await.unwrap_err();
        assert_eq!(files.delivery().lost, lost);
        assert_eq!(text(&path).lines().count() as u64, lost);
    }
}
