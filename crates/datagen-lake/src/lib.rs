//! The data lake as a destination: files that appear whole or not at all.
//!
//! A [`Lake`] knows nothing about records. It takes blocks of bytes for a big file ([`Lake::create`]) or the complete
//! contents of a small one ([`Lake::put`]), and publishes each file atomically: a reader sees the old file or the new
//! one, never a part. A [`session`] opens the lake for a run and cleans up after it.
//!
//! - [`config`]: the choice of the lake, by LAKE_URL or STORAGE_SAS;
//! - [`local`]: a local directory (`file:///dir`);
//! - `remote`: a storage account, via one of its two APIs: `blob` (Blob API) or `dfs` (Data Lake API). Both
//!   share `upload` (parallel blocks), `request` (retries) and `advice` (what to do about an error). They are built with
//!   the cargo feature `azure`;
//! - `sas`: the shared access signature in STORAGE_SAS;
//! - [`splits`]: a warning about the files of a run with a different number of shards;
//! - [`verify`]: the check that all published files exist.

#![warn(missing_docs)]

#[cfg(feature = "azure")]
mod advice;
#[cfg(feature = "azure")]
mod blob;
pub mod config;
#[cfg(feature = "azure")]
mod dfs;
#[cfg(feature = "azure")]
mod legacy_http;
pub mod local;
#[cfg(feature = "azure")]
mod remote;
#[cfg(feature = "azure")]
mod request;
mod sas;
pub mod splits;
#[cfg(feature = "azure")]
mod upload;
pub mod verify;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::timeout;

use self::config::{LakeConfig, Location};
use datagen_process::error::{DestinationError, RunError};
use datagen_process::shard::Shard;
use datagen_process::shutdown::Shutdown;

/// The time limit for cleaning up after a run: a process that has received a signal has about ten seconds.
const CLEANING: Duration = Duration::from_secs(5);

/// The directory of files that are not published yet. Readers of data lakes ignore names that begin with `_`.
const TEMPORARY: &str = "_temporary";

/// A destination of files.
#[async_trait]
pub trait Lake: Send + Sync {
    /// Returns the blocks into which a big file of about `expected_bytes` is divided.
    fn blocks(&self, expected_bytes: u64) -> BlockLayout;

    /// Starts a big file. Nothing is visible at `path` before [`LakeFile::publish`].
    async fn create(&self, path: &LakePath) -> Result<Box<dyn LakeFile>, DestinationError>;

    /// Writes a small file at once, replacing an existing one.
    async fn put(&self, path: &LakePath, contents: Bytes) -> Result<(), DestinationError>;

    /// Writes small files like [`put`](Self::put), one after the other, until the first error.
    async fn put_all(&self, files: Vec<(LakePath, Bytes)>) -> Result<(), DestinationError> {
        for (path, contents) in files {
            self.put(&path, contents).await?;
        }
        Ok(())
    }

    /// Returns how many files [`put_all`](Self::put_all) should get at once, unless collecting that many takes too
    /// long.
    fn files_per_put(&self) -> usize {
        1
    }

    /// Returns how many calls of [`put`](Self::put) or [`put_all`](Self::put_all) should be in progress at the same
    /// time.
    fn puts_in_flight(&self) -> usize;

    /// Returns when every file that was put is durable, that is, would survive a power failure.
    async fn sync(&self) -> Result<(), DestinationError>;

    /// Returns the form in which messages name `path` of this lake.
    fn describe(&self, path: &str) -> String;

    /// Returns the number (0 or 1) and the size of the files at `path`. `None` if the credentials allow writing but not
    /// reading.
    ///
    /// # Errors
    /// If the destination fails.
    async fn stat(&self, path: &LakePath) -> Result<Option<Total>, DestinationError>;

    /// Counts the files directly in the folder of `beside` whose names `select` accepts. A missing folder has none.
    /// `None` if the credentials allow writing but not listing.
    ///
    /// # Errors
    /// If the destination fails.
    async fn total(&self, beside: &LakePath, select: SelectName) -> Result<Option<Total>, DestinationError>;

    /// Removes unfinished files and empty working directories of this writer, and of writers that cannot be running at the
    /// same time. No file may be in progress. What cannot be removed is harmless and left to the next run.
    async fn clean_up(&self) {}
}

/// A big file that is being written.
///
/// If it is dropped before it is published, nothing becomes visible, and [`Lake::clean_up`] removes what was
/// written.
#[async_trait]
pub trait LakeFile: Send {
    /// Appends the next block, of the size that [`Lake::blocks`] returned (the last may be smaller). Returns when there
    /// is room for another, which may be before this one has arrived. The error of a block may be returned by a later
    /// call.
    async fn append(&mut self, block: Bytes) -> Result<(), UploadError>;

    /// Makes the complete file visible and durable.
    async fn publish(self: Box<Self>) -> Result<(), UploadError>;
}

/// One shard of a generator that writes to a lake. Its unfinished files are in a directory of its name, which
/// distinguishes them from those of other running writers.
#[derive(Clone, Debug)]
pub struct Writer {
    program: &'static str,
    shard: Shard,
}

impl Writer {
    /// Creates the writer of `shard` of the generator `program`.
    pub fn new(program: &'static str, shard: Shard) -> Self {
        Self { program, shard }
    }

    /// Returns whether the writer `name` cannot be running at the same time as this one: it is either this one in an
    /// earlier run, or a shard of the same program with another SHARD_COUNT.
    #[cfg(feature = "azure")]
    fn succeeds(&self, name: &str) -> bool {
        let cut = name
            .strip_prefix(self.program)
            .and_then(|rest| rest.rsplit_once("-of-"))
            .and_then(|(_, count)| count.parse::<u32>().ok());
        name == self.to_string() || cut.is_some_and(|count| count != self.shard.count)
    }
}

/// `gen-users-00002-of-00007`.
impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.program, self.shard)
    }
}

/// Chooses files by their names, without their folder.
pub type SelectName = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// A number of files and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How many files.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

impl Total {
    /// Adds a file of `bytes` bytes.
    pub fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// The division of a big file into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLayout {
    /// The approximate size of a block in bytes.
    pub bytes: usize,
    /// The maximum number of blocks in flight. They take at least `bytes * in_flight` bytes of memory.
    pub in_flight: usize,
}

/// Why a file could not be written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UploadError {
    /// The destination no longer has what was appended to the unpublished file. Writing the file again from its
    /// beginning can help.
    #[error(transparent)]
    Lost(DestinationError),
    /// The destination failed.
    #[error(transparent)]
    Failed(#[from] DestinationError),
}

impl From<UploadError> for DestinationError {
    fn from(error: UploadError) -> Self {
        let (UploadError::Lost(error) | UploadError::Failed(error)) = error;
        error
    }
}

impl From<UploadError> for RunError {
    fn from(error: UploadError) -> Self {
        Self::Destination(error.into())
    }
}

/// The location of a file in the lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakePath {
    area: Area,
    /// The folder of the kind: `users`.
    folder: &'static str,
    /// The file's name: `users.json`.
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Area {
    Data,
    Manifest,
}

/// The folder of manifests. Readers of data lakes ignore names that begin with `_`.
const MANIFESTS: &str = "_datagen";

impl LakePath {
    /// Returns the path `FOLDER/NAME`.
    pub fn data(folder: &'static str, name: impl Into<String>) -> Self {
        Self {
            area: Area::Data,
            folder,
            name: name.into(),
        }
    }

    /// Returns the path `_datagen/NAME`, the manifest of what is in `FOLDER`.
    pub fn manifest(folder: &'static str, name: impl Into<String>) -> Self {
        Self {
            area: Area::Manifest,
            folder,
            name: name.into(),
        }
    }

    /// Returns the folder's path below the root of a lake that has one: `users`, `_datagen`.
    pub fn folder(&self) -> String {
        self.in_directory()[0].to_owned()
    }

    /// Returns the path below the root of a lake that has one: `users/users.json`, `_datagen/users.json`.
    pub fn in_directory(&self) -> [&str; 2] {
        match self.area {
            Area::Data => [self.folder, &self.name],
            Area::Manifest => [MANIFESTS, &self.name],
        }
    }

    /// Returns the filesystem and the path in it, for a URL that names no filesystem, where each kind has a separate
    /// one: `users` and `users.json`, or `users` and `_datagen/users.json`.
    pub fn in_own_filesystem(&self) -> (&'static str, Vec<&str>) {
        match self.area {
            Area::Data => (self.folder, vec![&self.name]),
            Area::Manifest => (self.folder, vec![MANIFESTS, &self.name]),
        }
    }
}

impl fmt::Display for LakePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_directory().join("/"))
    }
}

/// Opens a lake, runs `work` on it and cleans up, however the work ends. A signal drops the work at any point, so that
/// a lake that does not respond cannot keep the process from stopping.
///
/// # Errors
/// The signal, the work's failure, or a lake that cannot be opened.
pub async fn session<T, F>(
    config: &LakeConfig,
    writer: Writer,
    shutdown: &Shutdown,
    work: impl FnOnce(Arc<dyn Lake>) -> F,
) -> Result<T, RunError>
where
    F: Future<Output = Result<T, RunError>>,
{
    let lake = unless_stopped(shutdown, async { Ok(open(config, writer).await?) }).await?;
    let result = unless_stopped(shutdown, work(Arc::clone(&lake))).await;
    if timeout(CLEANING, lake.clean_up()).await.is_err() {
        tracing::warn!(
            "the lake does not respond: temporary files may remain there; the next run removes them"
        );
    }
    result
}

async fn unless_stopped<T>(
    shutdown: &Shutdown,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    tokio::select! {
        biased;
        signal = shutdown.requested() => Err(RunError::Interrupted(signal)),
        result = work => result,
    }
}

/// Opens the lake that the configuration names, for `writer`.
///
/// # Errors
/// If the lake cannot be reached or written to. The error says what to check.
pub async fn open(config: &LakeConfig, writer: Writer) -> Result<Arc<dyn Lake>, DestinationError> {
    // Only remote lakes name their temporary files after the writer.
    #[cfg(not(feature = "azure"))]
    let _ = writer;
    match &config.location {
        // The locks of local files distinguish files in progress from leftovers.
        Location::Directory(directory) => Ok(Arc::new(local::DirectoryLake::open(directory).await?)),
        #[cfg(feature = "azure")]
        Location::Account(account) => remote::open(account, writer).await,
    }
}

/// Writes a manifest, durably.
///
/// # Errors
/// If the lake fails.
pub async fn write_manifest(
    lake: &dyn Lake,
    path: &LakePath,
    manifest: Bytes,
) -> Result<(), DestinationError> {
    let mut file = lake.create(path).await?;
    file.append(manifest).await?;
    Ok(file.publish().await?)
}

#[cfg(all(test, feature = "azure"))]
mod tests {
    use super::*;

    #[test]
    fn a_writer_succeeds_itself_and_shards_of_other_numbers() {
        let writer = Writer::new("gen-users", Shard { index: 2, count: 7 });
        for (name, expected) in [
            ("gen-users-00002-of-00007", true),
            ("gen-users-00003-of-00007", false),
            ("gen-users-00000-of-00001", true),
            ("gen-products-00000-of-00001", false),
            ("gen-users", false),
            ("something-of-else", false),
        ] {
            assert_eq!(writer.succeeds(name), expected, "{name}");
        }
    }
}
