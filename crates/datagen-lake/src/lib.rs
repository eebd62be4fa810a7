//! The data lake as a destination: files that appear whole or not at all.
//!
//! A [`Lake`] knows nothing of records. It takes blocks of bytes for a big file ([`Lake::create`]) or the
//! whole contents of a small one ([`Lake::put`]), and publishes each file atomically: a reader sees the old
//! file or the new one, never a part. A [`session`] is a run's whole time with its lake.
//!
//! - [`config`]: which lake, by LAKE_URL or STORAGE_SAS;
//! - [`local`]: a directory of this machine (`file:///dir`);
//! - `remote`: a storage account, via one of its two APIs: `blob` (Blob API) or `dfs` (Data Lake API). Both
//!   share `upload` (parallel blocks) and `request` (retries, and the error that is reported in the end). They are
//!   built with the cargo feature `azure`;
//! - [`splits`]: a warning about the files of a run with another number of shards;
//! - [`verify`]: the check that everything published is there.

#![warn(missing_docs)]

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
use datagen_process::error::{DestinationError, Failure};
use datagen_process::shard::Shard;
use datagen_process::shutdown::Shutdown;

/// How long cleaning up behind a run may take: a process that was told to stop has about ten seconds.
const CLEANING: Duration = Duration::from_secs(5);

/// Where files are before they are published. Readers of lakes pass over names that begin with `_`.
const TEMPORARY: &str = "_temporary";

/// A destination of files.
#[async_trait]
pub trait Lake: Send + Sync {
    /// How it wants a big file of about `expected_bytes` to be cut and sent.
    fn blocks(&self, expected_bytes: u64) -> Blocks;

    /// Begins a big file. Nothing is visible at `path` before [`LakeFile::publish`].
    async fn create(&self, path: &LakePath) -> Result<Box<dyn LakeFile>, DestinationError>;

    /// Writes a small file whole, replacing one that is there.
    async fn put(&self, path: &LakePath, contents: Bytes) -> Result<(), DestinationError>;

    /// How many calls of [`put`](Self::put) are worth having under way at once.
    fn puts_in_flight(&self) -> usize;

    /// Returns when every file that was put is durable: would survive a power failure.
    async fn sync(&self) -> Result<(), DestinationError>;

    /// How `path` of this lake is named in messages.
    fn describe(&self, path: &str) -> String;

    /// The file at `path`: one file, or none, and its bytes. `None` if the credentials may write but not read.
    ///
    /// # Errors
    /// If the destination fails.
    async fn stat(&self, path: &LakePath) -> Result<Option<Total>, DestinationError>;

    /// The files directly in the folder of `beside` whose names `select` accepts. A folder that is missing has
    /// none. `None` if the credentials may write but not list.
    ///
    /// # Errors
    /// If the destination fails.
    async fn total(&self, beside: &LakePath, select: SelectName) -> Result<Option<Total>, DestinationError>;

    /// Removes what there is beside the published files when nothing is under way any more: what this writer,
    /// or one that cannot be at work beside it, left unfinished, and empty working directories. What cannot
    /// be removed harms nobody and is left to the next run.
    async fn clean_up(&self) {}
}

/// A big file on its way into the lake.
///
/// If it is dropped before it is published, nothing becomes visible, and [`Lake::clean_up`] removes what was
/// written.
#[async_trait]
pub trait LakeFile: Send {
    /// Appends the next block, of the size that [`Lake::blocks`] told (the last may be smaller). Returns
    /// when there is room for another, which may be before this one has arrived; a block that fails for good
    /// is reported by a later call.
    async fn append(&mut self, block: Bytes) -> Result<(), DestinationError>;

    /// Makes the file visible, whole and durable. After a failure that is transient the same file may be
    /// written again from its beginning.
    async fn publish(self: Box<Self>) -> Result<(), DestinationError>;
}

/// Who writes to a lake: one shard of a generator. Its name is the place of its unfinished files, by which
/// they are told from those of others that are at work.
#[derive(Clone, Debug)]
pub struct Writer {
    program: &'static str,
    shard: Shard,
}

impl Writer {
    /// `shard` of the generator `program`.
    pub fn new(program: &'static str, shard: Shard) -> Self {
        Self { program, shard }
    }

    /// Whether the writer called `name` cannot be at work beside this one: it is this one, killed earlier, or
    /// it has the same program's work cut into another number of shards.
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

/// Some files of a lake.
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

/// How a lake wants a big file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Bytes a block, about.
    pub bytes: usize,
    /// Blocks under way at once at the most: memory is at least `bytes * in_flight`.
    pub in_flight: usize,
}

/// A file's place in the lake.
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

/// The folder of manifests. Readers of lakes pass over names that begin with `_`.
const MANIFESTS: &str = "_datagen";

impl LakePath {
    /// `FOLDER/NAME`.
    pub fn data(folder: &'static str, name: impl Into<String>) -> Self {
        Self {
            area: Area::Data,
            folder,
            name: name.into(),
        }
    }

    /// `_datagen/NAME`, the manifest of what is in `FOLDER`.
    pub fn manifest(folder: &'static str, name: impl Into<String>) -> Self {
        Self {
            area: Area::Manifest,
            folder,
            name: name.into(),
        }
    }

    /// The folder's path below the root of a lake that has one: `users`, `_datagen`.
    pub fn folder(&self) -> String {
        self.in_directory()[0].to_owned()
    }

    /// The path below the root of a lake that has one: `users/users.json`, `_datagen/users.json`.
    pub fn in_directory(&self) -> [&str; 2] {
        match self.area {
            Area::Data => [self.folder, &self.name],
            Area::Manifest => [MANIFESTS, &self.name],
        }
    }

    /// The filesystem and the path in it, where the URL names no filesystem and each kind is its own:
    /// `users` and `users.json`, or `users` and `_datagen/users.json`.
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

/// A run's time with its lake: opens it, runs `work` on it and cleans up behind it, however it ends. A signal
/// drops the work wherever it is, be it waiting for an answer or for the next attempt, so that a lake that
/// does not answer cannot hold a process that was told to stop.
///
/// # Errors
/// The signal, the work's failure, or a lake that cannot be opened.
pub async fn session<T, F>(
    config: &LakeConfig,
    writer: Writer,
    shutdown: &Shutdown,
    work: impl FnOnce(Arc<dyn Lake>) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let lake = unless_stopped(shutdown, async { Ok(open(config, writer).await?) }).await?;
    let result = unless_stopped(shutdown, work(Arc::clone(&lake))).await;
    if timeout(CLEANING, lake.clean_up()).await.is_err() {
        tracing::warn!(
            "the lake does not answer: temporary files may be left there; the next run removes them"
        );
    }
    result
}

async fn unless_stopped<T>(
    shutdown: &Shutdown,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        signal = shutdown.requested() => Err(Failure::Interrupted(signal)),
        result = work => result,
    }
}

/// Opens the lake that the configuration names, for `writer`.
///
/// # Errors
/// If it cannot be reached or written, with what to check.
pub async fn open(config: &LakeConfig, writer: Writer) -> Result<Arc<dyn Lake>, DestinationError> {
    match &config.location {
        // Its locks tell unfinished files that are written from those that are left.
        Location::Directory(directory) => Ok(Arc::new(local::Directory::open(directory).await?)),
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
    file.publish().await
}

#[cfg(all(test, feature = "azure"))]
mod tests {
    use super::*;

    #[test]
    fn a_writer_succeeds_itself_and_other_cuts_of_its_work() {
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
