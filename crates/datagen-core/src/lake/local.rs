//! A lake in a directory of this machine: each file is written under a temporary name, made durable, and
//! renamed to its own.
//!
//! Temporary files are in `_temporary/`, each locked by the process that writes it. Opening the lake removes
//! those that nobody holds: leftovers of runs that were killed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Blocks, Lake, LakeFile, LakePath, SelectName, TEMPORARY, Total};
use crate::blocking::blocking;
use crate::error::DestinationError;

/// Bytes a block: enough that a system call's cost disappears, few enough to stay in the processor's cache.
const BLOCK_BYTES: usize = 1 << 20;

/// After so many bytes the disk is set to work while the next ones are made, so that the end does not wait for all
/// of them.
const EARLY_SYNC_BYTES: usize = 64 << 20;

/// A directory as a lake.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Opens the lake in `root`, which is created if it is absent.
    ///
    /// # Errors
    /// If the directory cannot be created or written.
    pub async fn open(root: &Path) -> Result<Self, DestinationError> {
        let lake = Self {
            root: root.to_owned(),
        };
        let opened = lake.clone();
        blocking(move || opened.prepare()).await?;
        Ok(lake)
    }

    fn prepare(&self) -> Result<(), DestinationError> {
        let temporary = self.root.join(TEMPORARY);
        let failed = |error: io::Error| DestinationError::io(&self.root, &error);
        fs::create_dir_all(&temporary).map_err(failed)?;
        for entry in fs::read_dir(&temporary).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if remove_if_abandoned(&path) {
                tracing::debug!(path = %path.display(), "removed a leftover of an earlier run");
            }
        }
        Ok(())
    }

    fn target(&self, path: &LakePath) -> PathBuf {
        path.in_directory()
            .iter()
            .fold(self.root.clone(), |target, name| target.join(name))
    }
}

#[async_trait]
impl Lake for Directory {
    fn blocks(&self, _expected_bytes: u64) -> Blocks {
        Blocks {
            bytes: BLOCK_BYTES,
            in_flight: 1,
        }
    }

    async fn create(&self, path: &LakePath) -> Result<Box<dyn LakeFile>, DestinationError> {
        let (lake, target) = (self.clone(), self.target(path));
        let file = blocking(move || {
            prepare_target(&target)?;
            Temporary::create(&lake.root, &target)
        })
        .await?;
        Ok(Box::new(LocalFile { file: Some(file) }))
    }

    async fn put(&self, path: &LakePath, contents: Bytes) -> Result<(), DestinationError> {
        let (lake, target) = (self.clone(), self.target(path));
        blocking(move || {
            let mut file = Temporary::create(&lake.root, &target)?;
            file.write(&contents)?;
            match file.publish() {
                // The first file of its folder.
                Err((file, error)) if error.kind() == ErrorKind::NotFound => {
                    prepare_target(&target)?;
                    file.publish().map_err(|(file, error)| file.failed(&error))
                }
                result => result.map_err(|(file, error)| file.failed(&error)),
            }
        })
        .await
    }

    fn puts_in_flight(&self) -> usize {
        // More than the processors only waits for the file system's locks.
        std::thread::available_parallelism().map_or(1, |n| n.get().min(8))
    }

    async fn sync(&self) -> Result<(), DestinationError> {
        let lake = self.clone();
        blocking(move || {
            let failed = |error: io::Error| DestinationError::io(&lake.root, &error);
            sync_file_system(&lake.root).map_err(failed)
        })
        .await
    }

    fn describe(&self, path: &str) -> String {
        self.root.join(path).display().to_string()
    }

    async fn stat(&self, path: &LakePath) -> Result<Option<Total>, DestinationError> {
        let target = self.target(path);
        blocking(move || {
            let mut total = Total::default();
            match fs::metadata(&target) {
                Ok(metadata) if metadata.is_file() => total.add(metadata.len()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(DestinationError::io(&target, &error)),
            }
            Ok(Some(total))
        })
        .await
    }

    async fn total(
        &self,
        folder: &'static str,
        select: SelectName,
    ) -> Result<Option<Total>, DestinationError> {
        let folder = self.root.join(folder);
        blocking(move || {
            let failed = |error: io::Error| DestinationError::io(&folder, &error);
            let mut total = Total::default();
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(total)),
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                let entry = entry.map_err(failed)?;
                if !entry.file_name().to_str().is_some_and(&select) {
                    continue;
                }
                match entry.metadata() {
                    Ok(metadata) if metadata.is_file() => total.add(metadata.len()),
                    Ok(_) => {}
                    // Removed since it was listed.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            Ok(Some(total))
        })
        .await
    }

    async fn clean_up(&self) {
        let temporary = self.root.join(TEMPORARY);
        // While others write there it is not empty, and stays.
        let _ = blocking(move || fs::remove_dir(temporary)).await;
    }
}

/// One `syncfs` instead of an `fsync` a file: a thousand small files are durable a hundred times sooner.
#[cfg(target_os = "linux")]
fn sync_file_system(root: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(root)?)?)
}

/// Without `syncfs`, every file of the folders is synced by itself.
#[cfg(not(target_os = "linux"))]
fn sync_file_system(root: &Path) -> io::Result<()> {
    for folder in fs::read_dir(root)? {
        let folder = folder?;
        if folder.file_type()?.is_dir() {
            for file in fs::read_dir(folder.path())? {
                File::open(file?.path())?.sync_all()?;
            }
        }
    }
    Ok(())
}

/// Removes a temporary file that nobody holds. Its lock is held meanwhile, so that whoever is about to hold the
/// file waits, and then sees that it is gone.
fn remove_if_abandoned(path: &Path) -> bool {
    File::open(path)
        .is_ok_and(|file| file.try_lock().is_ok() && is_at(&file, path) && fs::remove_file(path).is_ok())
}

/// Whether `file` is what is at `path`, and not removed, or replaced by another of the same name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => identity(ours) == identity(there),
        _ => false,
    }
}

/// Where files have no identity to be asked for, their names must do: no two processes use the same.
#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

/// Creates the folder of `target`, and refuses one that is a directory.
fn prepare_target(target: &Path) -> Result<(), DestinationError> {
    let folder = target.parent().expect("a target is in a folder");
    fs::create_dir_all(folder).map_err(|error| DestinationError::io(folder, &error))?;
    if target.is_dir() {
        return Err(DestinationError::io(target, &ErrorKind::IsADirectory.into()));
    }
    Ok(())
}

/// A file that is not published yet. Dropping it removes it.
#[derive(Debug)]
struct Temporary {
    file: File,
    /// Bytes written since the last early sync began.
    unsynced: usize,
    /// The early sync under way. It shares the file's error state, so that its result is asked for.
    early_sync: Option<JoinHandle<io::Result<()>>>,
    path: PathBuf,
    target: PathBuf,
}

impl Temporary {
    fn create(root: &Path, target: &Path) -> Result<Self, DestinationError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let directory = root.join(TEMPORARY);
        let name = target.file_name().expect("a target has a name").to_string_lossy();
        loop {
            let unique = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("{name}.{}-{unique}", std::process::id()));
            let result = File::create_new(&path).and_then(|file| {
                file.lock()?;
                Ok(file)
            });
            match result {
                // Another process may have taken the file for a leftover before it was locked.
                Ok(file) if is_at(&file, &path) => {
                    return Ok(Self {
                        file,
                        unsynced: 0,
                        early_sync: None,
                        path,
                        target: target.to_owned(),
                    });
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                // Another process was done and removed the directory, which looked unused.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    fs::create_dir_all(&directory)
                        .map_err(|error| DestinationError::io(&directory, &error))?;
                }
                Err(error) => return Err(DestinationError::io(&path, &error)),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DestinationError> {
        self.file
            .write_all(bytes)
            .and_then(|()| self.sync_early(bytes.len()))
            .map_err(|error| self.failed(&error))
    }

    fn sync_early(&mut self, written: usize) -> io::Result<()> {
        self.unsynced += written;
        let free = self.early_sync.as_ref().is_none_or(JoinHandle::is_finished);
        if self.unsynced < EARLY_SYNC_BYTES || !free {
            return Ok(());
        }
        self.end_early_sync()?;
        let file = self.file.try_clone()?;
        // Without a thread for it, the end has more to do and the data are the same.
        let thread = thread::Builder::new().name("early-sync".to_owned());
        self.early_sync = thread.spawn(move || file.sync_data()).ok();
        self.unsynced = 0;
        Ok(())
    }

    fn end_early_sync(&mut self) -> io::Result<()> {
        match self.early_sync.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }

    /// Makes what was written durable.
    fn sync(&mut self) -> Result<(), DestinationError> {
        self.end_early_sync()
            .and_then(|()| self.file.sync_all())
            .map_err(|error| self.failed(&error))
    }

    /// Renames the file to its own name. Gives the file back if that fails.
    fn publish(self) -> Result<(), (Self, io::Error)> {
        match fs::rename(&self.path, &self.target) {
            Ok(()) => Ok(()),
            Err(error) => Err((self, error)),
        }
    }

    fn failed(&self, error: &io::Error) -> DestinationError {
        DestinationError::io(&self.target, error)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After publication there is nothing by this name.
        let _ = fs::remove_file(&self.path);
    }
}

/// A big file, handed to a thread and back for each write; `None` only while a thread has it. If that write is
/// cancelled, the file is removed when the thread is done with it.
#[derive(Debug)]
struct LocalFile {
    file: Option<Temporary>,
}

impl LocalFile {
    fn take(&mut self) -> Temporary {
        self.file
            .take()
            .expect("an append that was cancelled ends the file")
    }
}

#[async_trait]
impl LakeFile for LocalFile {
    async fn append(&mut self, block: Bytes) -> Result<(), DestinationError> {
        let mut file = self.take();
        let (file, result) = blocking(move || {
            let result = file.write(&block);
            (file, result)
        })
        .await;
        self.file = Some(file);
        result
    }

    async fn publish(mut self: Box<Self>) -> Result<(), DestinationError> {
        let mut file = self.take();
        blocking(move || {
            file.sync()?;
            let folder = file.target.parent().expect("a target is in a folder").to_owned();
            file.publish().map_err(|(file, error)| file.failed(&error))?;
            sync_directory(&folder).map_err(|error| DestinationError::io(&folder, &error))
        })
        .await
    }
}

/// Makes a rename in `folder` durable.
fn sync_directory(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(directory) else {
            return Vec::new();
        };
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_big_file_appears_whole_and_replaces_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        let lake = Directory::open(root.path()).await.unwrap();
        let path = LakePath::data("users", "users.json");
        let target = root.path().join("users/users.json");
        for contents in ["first\n", "second\n"] {
            let before = fs::read(&target).ok();
            let mut file = lake.create(&path).await.unwrap();
            file.append(Bytes::from(contents)).await.unwrap();
            assert_eq!(
                fs::read(&target).ok(),
                before,
                "nothing changes before publication"
            );
            file.append(Bytes::from("end\n")).await.unwrap();
            file.publish().await.unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), format!("{contents}end\n"));
        }
        lake.clean_up().await;
        assert!(!root.path().join(TEMPORARY).exists());
    }

    #[tokio::test]
    async fn a_dropped_file_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let lake = Directory::open(root.path()).await.unwrap();
        let mut file = lake.create(&LakePath::data("users", "users.json")).await.unwrap();
        file.append(Bytes::from("part")).await.unwrap();
        drop(file);
        assert_eq!(names(&root.path().join("users")), Vec::<String>::new());
        assert_eq!(names(&root.path().join(TEMPORARY)), Vec::<String>::new());
    }

    #[tokio::test]
    async fn opening_removes_leftovers_but_not_files_that_are_being_written() {
        let root = tempfile::tempdir().unwrap();
        let lake = Directory::open(root.path()).await.unwrap();
        let mut alive = lake.create(&LakePath::data("users", "users.json")).await.unwrap();
        fs::write(root.path().join("_temporary/users.json.1-0"), "left over").unwrap();
        Directory::open(root.path()).await.unwrap();
        assert_eq!(names(&root.path().join(TEMPORARY)).len(), 1);
        alive.append(Bytes::from("whole")).await.unwrap();
        alive.publish().await.unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("users/users.json")).unwrap(),
            "whole"
        );
    }

    #[test]
    fn a_file_that_is_being_created_is_never_taken_for_a_leftover() {
        let root = tempfile::tempdir().unwrap();
        let temporary = root.path().join(TEMPORARY);
        fs::create_dir(&temporary).unwrap();
        let target = root.path().join("file");
        let sweep = || {
            let entries = fs::read_dir(&temporary).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                remove_if_abandoned(&path);
            }
        };
        let create = || {
            for _ in 0..1_000 {
                let file = Temporary::create(root.path(), &target).unwrap();
                sweep();
                file.publish().map_err(|(_, error)| error).unwrap();
            }
        };
        thread::scope(|scope| {
            let creators: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
            while creators.iter().any(|creator| !creator.is_finished()) {
                sweep();
            }
        });
    }

    #[tokio::test]
    async fn small_files_replace_each_other_and_errors_name_the_path() {
        let root = tempfile::tempdir().unwrap();
        let lake = Directory::open(root.path()).await.unwrap();
        let path = LakePath::data("products", "product_0.json");
        lake.put(&path, Bytes::from("a")).await.unwrap();
        lake.put(&path, Bytes::from("b")).await.unwrap();
        lake.sync().await.unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("products/product_0.json")).unwrap(),
            "b"
        );

        fs::write(root.path().join("vipusers"), "a file").unwrap();
        let error = lake
            .put(&LakePath::data("vipusers", "vipusers.json"), Bytes::new())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("vipusers"), "{error}");
        fs::create_dir_all(root.path().join("users/users.json")).unwrap();
        let error = lake
            .create(&LakePath::data("users", "users.json"))
            .await
            .err()
            .unwrap();
        assert!(
            error
                .to_string()
                .contains("a directory stands where a file is needed"),
            "{error}"
        );
    }
}
