//! The data lake as a destination: files that appear whole or not at all.
//!
//! A [`Lake`] knows nothing of records. It takes blocks of bytes for a big file ([`Lake::create`]) or the
//! whole contents of a small one ([`Lake::put`]), and publishes each file atomically: a reader sees the old
//! file or the new one, never a part.
//!
//! - [`config`]: which lake, by LAKE_URL or STORAGE_SAS;
//! - [`local`]: a directory of this machine (`file:///dir`);
//! - `remote`: a storage account, through one of two doors: `blob` (Blob API) or `dfs` (Data Lake API). Both
//!   share `upload` (blocks side by side) and `request` (what is tried again, and what is said in the end).
//!   The cargo feature `lake` builds them.

#[cfg(feature = "lake")]
mod blob;
pub mod config;
#[cfg(feature = "lake")]
mod dfs;
#[cfg(feature = "lake")]
mod legacy_http;
pub mod local;
#[cfg(feature = "lake")]
mod remote;
#[cfg(feature = "lake")]
mod request;
#[cfg(feature = "lake")]
mod upload;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use self::config::{LakeConfig, Location};
use crate::error::{DestinationError, Failure};
use crate::shutdown::Shutdown;

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

    /// Removes what the work needed beside the files, such as empty working directories, when all of it is
    /// done. What cannot be removed is left without a word: it harms nobody.
    async fn tidy(&self) {}
}

/// A big file on its way into the lake.
///
/// If neither [`publish`](Self::publish) nor [`discard`](Self::discard) is called, nothing becomes visible,
/// and what was written is cleaned up by the next run.
#[async_trait]
pub trait LakeFile: Send {
    /// Appends the next block, of the size that [`Lake::blocks`] told (the last may be smaller). Returns
    /// when there is room for another, which may be before this one has arrived; a block that fails for good
    /// is reported by a later call.
    async fn append(&mut self, block: Bytes) -> Result<(), DestinationError>;

    /// Makes the file visible, whole and durable.
    async fn publish(self: Box<Self>) -> Result<(), DestinationError>;

    /// Removes what was written, as far as the destination can be reached.
    async fn discard(self: Box<Self>);
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

/// Opens the lake that the configuration names.
///
/// # Errors
/// If it cannot be reached or written, with what to check.
pub async fn open(config: &LakeConfig) -> Result<Arc<dyn Lake>, DestinationError> {
    match &config.location {
        Location::Directory(directory) => Ok(Arc::new(local::Directory::open(directory).await?)),
        #[cfg(feature = "lake")]
        Location::Account(account) => remote::open(account).await,
        #[cfg(not(feature = "lake"))]
        Location::Account(account) => Err(DestinationError::permanent(
            account.to_string(),
            "this program was built without Azure's clients",
        )
        .advise("build it with the feature `lake` of datagen-core")),
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
    match file.append(manifest).await {
        Ok(()) => file.publish().await,
        Err(error) => {
            file.discard().await;
            Err(error)
        }
    }
}

/// Runs `work`, which writes a big file, and then publishes the file, or discards it if the work failed or a
/// signal came.
///
/// # Errors
/// The work's failure, the signal, or a failure to publish.
pub async fn publish_when_done<T>(
    mut file: Box<dyn LakeFile>,
    shutdown: &Shutdown,
    work: impl AsyncFnOnce(&mut dyn LakeFile) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let result = tokio::select! {
        biased;
        signal = shutdown.requested() => Err(Failure::Interrupted(signal)),
        result = work(&mut *file) => result,
    };
    match result {
        Ok(value) => {
            file.publish().await?;
            Ok(value)
        }
        Err(failure) => {
            file.discard().await;
            Err(failure)
        }
    }
}
