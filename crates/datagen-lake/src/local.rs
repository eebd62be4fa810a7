//! A lake in a local directory: each file is written under a temporary name, made durable, and renamed.
//!
//! Temporary files are in `_temporary/`. A big one is locked by the process that writes it. Opening the lake removes
//! those that no process has locked, which are leftovers of killed runs. Other programs also use a directory with this
//! name, so only regular files whose names have the form of this crate are removed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::{BlockLayout, Lake, LakeFile, LakePath, SelectName, TEMPORARY, Total, UploadError};
use datagen_process::blocking::blocking;
use datagen_process::error::DestinationError;
use datagen_process::file_system::{self, LockState, create_directory, sync_directory};

/// Bytes per block: enough to make the cost of a system call negligible, few enough to stay in the processor's cache.
const BLOCK_BYTES: usize = 1 << 18;

/// After this many bytes, a sync starts in the background, so that the sync at the end does not have to wait for all of
/// them.
const EARLY_SYNC_BYTES: usize = 64 << 20;

/// Files per call of [`Lake::put_all`]: enough to make the cost of handing them to another thread negligible.
const FILES_PER_PUT: usize = 64;

/// The number of names that are tried for a temporary file. Processes with the same id on several machines may collide
/// in a shared directory, but not this often.
const CREATE_ATTEMPTS: u32 = 1_000;

/// A directory as a lake.
#[derive(Clone, Debug)]
pub struct DirectoryLake {
    root: PathBuf,
    /// The folders that this run has created or found. A folder that disappears later is not created again,
    /// because files that were published in it have disappeared with it.
    folders: Arc<Mutex<HashSet<PathBuf>>>,
    /// Locked for reading while a temporary file exists.
    writing: Arc<RwLock<()>>,
    /// The number of processors, at most 8: more concurrent calls would only wait for the file system's locks.
    puts_in_flight: usize,
}

impl DirectoryLake {
    /// Opens the lake in `root`, which is created if it is absent.
    ///
    /// # Errors
    /// If the directory cannot be created or listed, or `_temporary` in it is not a directory.
    pub async fn open(root: &Path) -> Result<Self, DestinationError> {
        let lake = Self {
            root: root.to_owned(),
            folders: Arc::default(),
            writing: Arc::default(),
            puts_in_flight: thread::available_parallelism().map_or(1, |n| n.get().min(8)),
        };
        let opened = lake.clone();
        blocking(move || {
            prepare_directory(&opened.root)?;
            remove_leftovers(&opened.root.join(TEMPORARY))
        })
        .await?;
        Ok(lake)
    }

    fn target(&self, path: &LakePath) -> PathBuf {
        path.in_directory()
            .iter()
            .fold(self.root.clone(), |target, name| target.join(name))
    }

    /// Creates the folder of `target`, unless this run has found it before.
    fn prepare_folder(&self, target: &Path) -> Result<(), DestinationError> {
        let folder = target.parent().expect("a target is in a folder");
        let mut prepared = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if !prepared.contains(folder) {
            if !self.root.is_dir() {
                return Err(removed(&self.root));
            }
            prepare_directory(folder)?;
            prepared.insert(folder.to_owned());
        }
        Ok(())
    }

    /// Writes a small file at once.
    ///
    /// The temporary file is not locked, which would take three more system calls. A process that starts at that moment
    /// may therefore remove it as a leftover; in that case, it is written again.
    fn put_file(&self, target: &Path, contents: &[u8]) -> Result<(), DestinationError> {
        self.prepare_folder(target)?;
        for _ in 0..CREATE_ATTEMPTS {
            let (mut file, path) = create_temporary(&self.root, target)?;
            let written = file.write_all(contents);
            drop(file);
            match written.and_then(|()| fs::rename(&path, target)) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let folder = target.parent().expect("a target is in a folder");
                    if !folder.is_dir() {
                        let _ = fs::remove_file(&path);
                        return Err(removed(folder));
                    }
                }
                Err(error) => {
                    // The next run removes what cannot be removed here.
                    let _ = fs::remove_file(&path);
                    return Err(DestinationError::io(target, &error));
                }
            }
        }
        Err(no_temporary_file(&self.root.join(TEMPORARY)))
    }
}

/// Creates the directory at `path` if it is absent, and checks that it can be listed: it is synced after files have
/// been written to it, and that must not fail after the work is done.
fn prepare_directory(path: &Path) -> Result<(), DestinationError> {
    create_directory(path)?;
    fs::read_dir(path)
        .map(drop)
        .map_err(|error| DestinationError::io(path, &error))
}

/// Returns the error for a directory or temporary file that existed earlier in this run.
fn removed(path: &Path) -> DestinationError {
    DestinationError::permanent(path.display().to_string(), "it was removed during the run")
        .advise("make sure that no other program changes the lake meanwhile, and run again")
}

#[async_trait]
impl Lake for DirectoryLake {
    fn blocks(&self, _expected_bytes: u64) -> BlockLayout {
        BlockLayout {
            bytes: BLOCK_BYTES,
            in_flight: 1,
        }
    }

    async fn create(&self, path: &LakePath) -> Result<Box<dyn LakeFile>, DestinationError> {
        let (lake, target) = (self.clone(), self.target(path));
        let writing = Arc::clone(&self.writing).read_owned().await;
        let file = blocking(move || {
            lake.prepare_folder(&target)?;
            if target.is_dir() {
                return Err(DestinationError::io(&target, &ErrorKind::IsADirectory.into()));
            }
            Temporary::create(&lake.root, &target, writing)
        })
        .await?;
        Ok(Box::new(LocalFile { file: Some(file) }))
    }

    async fn put(&self, path: &LakePath, contents: Bytes) -> Result<(), DestinationError> {
        self.put_all(vec![(path.clone(), contents)]).await
    }

    async fn put_all(&self, files: Vec<(LakePath, Bytes)>) -> Result<(), DestinationError> {
        let lake = self.clone();
        let writing = Arc::clone(&self.writing).read_owned().await;
        blocking(move || {
            let _writing = writing;
            let mut files = files.iter();
            files.try_for_each(|(path, contents)| lake.put_file(&lake.target(path), contents))
        })
        .await
    }

    fn files_per_put(&self) -> usize {
        FILES_PER_PUT
    }

    fn puts_in_flight(&self) -> usize {
        self.puts_in_flight
    }

    async fn sync(&self) -> Result<(), DestinationError> {
        let folders = self
            .folders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        blocking(move || sync_folders(&folders)).await
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

    async fn total(&self, beside: &LakePath, select: SelectName) -> Result<Option<Total>, DestinationError> {
        let folder = self.root.join(beside.folder());
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
        // Calls that a signal interrupted are still running, and remove their files when they end.
        let _no_writer = self.writing.write().await;
        let temporary = self.root.join(TEMPORARY);
        // While other processes write there, the directory is not empty and stays.
        let _ = blocking(move || fs::remove_dir(temporary)).await;
    }
}

/// Syncs with one `syncfs` per file system instead of one `fsync` per file, which is a hundred times faster for a
/// thousand small files.
#[cfg(target_os = "linux")]
fn sync_folders(folders: &HashSet<PathBuf>) -> Result<(), DestinationError> {
    use std::os::unix::fs::MetadataExt;
    let mut synced = HashSet::new();
    for folder in folders {
        let mut sync = || {
            let directory = File::open(folder)?;
            if synced.insert(directory.metadata()?.dev()) {
                rustix::fs::syncfs(&directory)?;
            }
            Ok(())
        };
        sync().map_err(|error: io::Error| match error.kind() {
            ErrorKind::NotFound => removed(folder),
            _ => DestinationError::io(folder, &error),
        })?;
    }
    Ok(())
}

/// Syncs every file of the folders separately, because there is no `syncfs`.
#[cfg(not(target_os = "linux"))]
fn sync_folders(folders: &HashSet<PathBuf>) -> Result<(), DestinationError> {
    for folder in folders {
        let sync_files = || -> io::Result<()> {
            for file in fs::read_dir(folder)? {
                File::open(file?.path())?.sync_all()?;
            }
            Ok(())
        };
        sync_files().map_err(|error| DestinationError::io(folder, &error))?;
        sync_directory(folder)?;
    }
    Ok(())
}

/// The part of a temporary file's name between the name of the published file and the process id, which is followed by
/// a number.
const MARK: &str = ".datagen-";

/// Returns whether `name` is one that [`Temporary::create`] gives: `users.json.datagen-PROCESS-NUMBER`.
fn is_temporary_name(name: &OsStr) -> bool {
    let numbers = name
        .to_str()
        .and_then(|name| name.rsplit_once(MARK))
        .and_then(|(_, numbers)| numbers.split_once('-'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
}

/// Removes the temporary files of killed runs from the directory `temporary`, if it exists.
fn remove_leftovers(temporary: &Path) -> Result<(), DestinationError> {
    let failed = |error: io::Error| DestinationError::io(temporary, &error);
    match fs::symlink_metadata(temporary) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.is_symlink() => {
            return Err(DestinationError::permanent(
                temporary.display().to_string(),
                "it is a symbolic link",
            )
            .advise("remove the link: unfinished files are kept and deleted there"));
        }
        Ok(found) if !found.is_dir() => return Err(failed(ErrorKind::NotADirectory.into())),
        Ok(_) => {}
    }
    let entries = match fs::read_dir(temporary) {
        // Another process has finished and removed the directory.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    let mut kept = 0;
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if !is_temporary_name(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        match remove_if_abandoned(&path) {
            Ok(Leftover::Removed) => {
                tracing::debug!(path = %path.display(), "removed a leftover of an earlier run");
            }
            Ok(Leftover::InUse) => {}
            Ok(Leftover::Unknown) => kept += 1,
            Err(error) => tracing::warn!(
                "{}: a leftover of an earlier run could not be removed: {error}",
                path.display()
            ),
        }
    }
    if kept > 0 {
        tracing::warn!(
            "{}: {kept} unfinished files stay, because this file system has no locks that tell whether another \
             process writes them; delete them when no other run is active",
            temporary.display()
        );
    }
    Ok(())
}

/// The result for a temporary file that an earlier run may have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leftover {
    Removed,
    /// A process is writing it or has just removed it, or it is not a regular file.
    InUse,
    /// The file system has no locks.
    Unknown,
}

/// Removes a temporary file that no process has locked. The lock is held during the removal, so that a process that is
/// about to lock the file waits, and then notices that the file is gone.
fn remove_if_abandoned(path: &Path) -> io::Result<Leftover> {
    let try_to_remove = || -> io::Result<Leftover> {
        if !fs::symlink_metadata(path)?.is_file() {
            return Ok(Leftover::InUse);
        }
        let file = File::open(path)?;
        match file_system::try_lock(&file)? {
            LockState::Unsupported => return Ok(Leftover::Unknown),
            LockState::HeldElsewhere => return Ok(Leftover::InUse),
            LockState::Acquired => {}
        }
        if !is_at(&file, path)? {
            return Ok(Leftover::InUse);
        }
        fs::remove_file(path)?;
        Ok(Leftover::Removed)
    };
    match try_to_remove() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Leftover::InUse),
        result => result,
    }
}

/// Returns whether `file` is still the file at `path`, that is, neither removed nor replaced by another of the same
/// name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let ours = identity(file.metadata()?);
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(identity(found) == ours),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// There are no file identities to compare, so the name decides: no two processes use the same one.
#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

/// A file that is not published yet. Dropping it removes it.
#[derive(Debug)]
struct Temporary {
    file: File,
    /// Bytes written since the last early sync began.
    unsynced: usize,
    /// The early sync in progress. It shares the file's error state, so its result must be checked.
    early_sync: Option<JoinHandle<io::Result<()>>>,
    path: PathBuf,
    target: PathBuf,
    /// Whether the file is still at `path`, that is, not renamed yet.
    is_ours: bool,
    /// Held while the file exists; released after the file has been removed.
    _writing: OwnedRwLockReadGuard<()>,
}

/// Creates a file with a unique name in `_temporary/`.
fn create_temporary(root: &Path, target: &Path) -> Result<(File, PathBuf), DestinationError> {
    // Containers that share a directory may all have the process id 1, so each process counts from a random number.
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(rand::random::<u32>().into()));
    static PROCESS: LazyLock<u32> = LazyLock::new(std::process::id);
    let directory = root.join(TEMPORARY);
    let name = target.file_name().expect("a target has a name").to_string_lossy();
    for _ in 0..CREATE_ATTEMPTS {
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{name}{MARK}{}-{unique}", *PROCESS));
        match File::create_new(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // The directory is absent, or another process has finished and removed it because it was empty.
            Err(error) if error.kind() == ErrorKind::NotFound => match fs::create_dir(&directory) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(removed(root)),
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(DestinationError::io(&directory, &error));
                }
                _ => {}
            },
            Err(error) => return Err(DestinationError::io(&path, &error)),
        }
    }
    Err(no_temporary_file(&directory))
}

/// Creates a file with a unique name in `_temporary/`, and locks it.
fn create_locked(root: &Path, target: &Path) -> Result<(File, PathBuf), DestinationError> {
    for _ in 0..CREATE_ATTEMPTS {
        let (file, path) = create_temporary(root, target)?;
        match file_system::lock(&file).and_then(|()| is_at(&file, &path)) {
            Ok(true) => return Ok((file, path)),
            // Another process removed the file as a leftover before it was locked.
            Ok(false) => {}
            Err(error) => {
                let _ = fs::remove_file(&path);
                return Err(DestinationError::io(&path, &error));
            }
        }
    }
    Err(no_temporary_file(&root.join(TEMPORARY)))
}

fn no_temporary_file(directory: &Path) -> DestinationError {
    DestinationError::permanent(
        directory.display().to_string(),
        format!("no temporary file could be created in {CREATE_ATTEMPTS} attempts"),
    )
    .advise("delete what earlier runs left there when no other run is active")
}

impl Temporary {
    fn create(
        root: &Path,
        target: &Path,
        writing: OwnedRwLockReadGuard<()>,
    ) -> Result<Self, DestinationError> {
        let (file, path) = create_locked(root, target)?;
        Ok(Self {
            file,
            unsynced: 0,
            early_sync: None,
            path,
            target: target.to_owned(),
            is_ours: true,
            _writing: writing,
        })
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
        // If the thread cannot be started, the sync at the end takes longer; the data are the same.
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

    /// Renames the file to the name under which it is published.
    fn publish(mut self) -> Result<(), DestinationError> {
        match fs::rename(&self.path, &self.target) {
            Ok(()) => {
                self.is_ours = false;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let folder = self.target.parent().expect("a target is in a folder");
                let missing = if folder.is_dir() { &self.path } else { folder };
                Err(removed(missing))
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &io::Error) -> DestinationError {
        DestinationError::io(&self.target, error)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_ours {
            // The next run removes what cannot be removed here.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A big file, which is handed to a thread and back for each write; `None` only while a thread has it. If that write is
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
    async fn append(&mut self, block: Bytes) -> Result<(), UploadError> {
        let mut file = self.take();
        let (file, result) = blocking(move || {
            let result = file.write(&block);
            (file, result)
        })
        .await;
        self.file = Some(file);
        Ok(result?)
    }

    async fn publish(mut self: Box<Self>) -> Result<(), UploadError> {
        let mut file = self.take();
        let published = blocking(move || {
            file.sync()?;
            let folder = file.target.parent().expect("a target is in a folder").to_owned();
            file.publish()?;
            sync_directory(&folder)
        });
        Ok(published.await?)
    }
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
        let lake = DirectoryLake::open(root.path()).await.unwrap();
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
        let lake = DirectoryLake::open(root.path()).await.unwrap();
        let mut file = lake.create(&LakePath::data("users", "users.json")).await.unwrap();
        file.append(Bytes::from("part")).await.unwrap();
        drop(file);
        assert_eq!(names(&root.path().join("users")), Vec::<String>::new());
        assert_eq!(names(&root.path().join(TEMPORARY)), Vec::<String>::new());
    }

    #[tokio::test]
    async fn opening_removes_leftovers_but_not_files_that_are_being_written() {
        let root = tempfile::tempdir().unwrap();
        let lake = DirectoryLake::open(root.path()).await.unwrap();
        let mut alive = lake.create(&LakePath::data("users", "users.json")).await.unwrap();
        fs::write(root.path().join("_temporary/users.json.datagen-1-0"), "left over").unwrap();
        DirectoryLake::open(root.path()).await.unwrap();
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
                remove_if_abandoned(&path).unwrap();
            }
        };
        let create = || {
            for _ in 0..1_000 {
                let (file, path) = create_locked(root.path(), &target).unwrap();
                sweep();
                assert!(is_at(&file, &path).unwrap());
                fs::rename(&path, &target).unwrap();
            }
        };
        thread::scope(|scope| {
            let creators: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
            while creators.iter().any(|creator| !creator.is_finished()) {
                sweep();
            }
        });
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn small_files_are_written_again_when_another_process_removes_them_as_leftovers() {
        let root = tempfile::tempdir().unwrap();
        let lake = DirectoryLake::open(root.path()).await.unwrap();
        let path = |id: usize| LakePath::data("products", format!("product_{id}.json"));
        let removed = Arc::new(AtomicU64::new(0));
        let (sweeps, temporary) = (Arc::clone(&removed), root.path().join(TEMPORARY));
        let sweeper = thread::spawn(move || {
            // The test holds the other reference until its writes are done.
            while Arc::strong_count(&sweeps) > 1 {
                let entries = fs::read_dir(&temporary).into_iter().flatten().flatten();
                for path in entries.map(|entry| entry.path()) {
                    if remove_if_abandoned(&path).unwrap() == Leftover::Removed {
                        sweeps.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let mut written = 0;
        while removed.load(Ordering::Relaxed) < 20 {
            let files = (written..written + 100).map(|id| (path(id), Bytes::from(id.to_string())));
            lake.put_all(files.collect()).await.unwrap();
            written += 100;
        }
        drop(removed);
        sweeper.join().unwrap();
        for id in 0..written {
            let file = root.path().join(format!("products/product_{id}.json"));
            assert_eq!(fs::read_to_string(file).unwrap(), id.to_string());
        }
        assert_eq!(names(&root.path().join(TEMPORARY)), Vec::<String>::new());
    }

    #[tokio::test]
    async fn small_files_replace_each_other_and_errors_name_the_path() {
        let root = tempfile::tempdir().unwrap();
        let lake = DirectoryLake::open(root.path()).await.unwrap();
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

    #[cfg(unix)]
    #[tokio::test]
    async fn only_files_of_our_own_are_removed_from_a_shared_temporary_directory() {
        let root = tempfile::tempdir().unwrap();
        let temporary = root.path().join(TEMPORARY);
        fs::create_dir_all(temporary.join("0/users.json.datagen-1-1")).unwrap();
        let foreign = [
            "part-00000.parquet",
            "users.json",
            "users.json.1-0",
            "users.json.datagen-1",
            "users.json.datagen-1-x",
            "users.json.datagen--",
        ];
        for name in foreign {
            fs::write(temporary.join(name), "another program's").unwrap();
        }
        let elsewhere = root.path().join("notes.txt");
        fs::write(&elsewhere, "mine").unwrap();
        std::os::unix::fs::symlink(&elsewhere, temporary.join("users.json.datagen-1-2")).unwrap();
        let fifo = temporary.join("users.json.datagen-1-3");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        fs::create_dir(temporary.join("users.json.datagen-1-4")).unwrap();
        fs::write(temporary.join("users.json.datagen-1-5"), "left over").unwrap();
        let before = names(&temporary).len();

        let lake = DirectoryLake::open(root.path()).await.unwrap();
        lake.clean_up().await;
        assert_eq!(names(&temporary).len(), before - 1);
        assert!(!temporary.join("users.json.datagen-1-5").exists());
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_temporary_directory_that_is_something_else_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let note = elsewhere.path().join("users.json.datagen-1-0");
        fs::write(&note, "mine").unwrap();
        let temporary = root.path().join(TEMPORARY);
        std::os::unix::fs::symlink(elsewhere.path(), &temporary).unwrap();
        let error = DirectoryLake::open(root.path()).await.unwrap_err().to_string();
        assert!(
            error.contains("_temporary: it is a symbolic link; remove the link"),
            "{error}"
        );
        assert!(note.exists());

        fs::remove_file(&temporary).unwrap();
        fs::write(&temporary, "").unwrap();
        let error = DirectoryLake::open(root.path()).await.unwrap_err().to_string();
        assert!(
            error.contains("a file stands where a directory is needed"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn what_disappears_during_a_run_is_an_error_and_is_not_created_again() {
        let root = tempfile::tempdir().unwrap();
        let lake = DirectoryLake::open(root.path()).await.unwrap();
        let path = |id: u32| LakePath::data("products", format!("product_{id}.json"));
        lake.put(&path(0), Bytes::from("a")).await.unwrap();
        fs::remove_dir_all(root.path().join("products")).unwrap();
        let error = lake
            .put(&path(1), Bytes::from("b"))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("products: it was removed during the run"),
            "{error}"
        );
        let error = lake.sync().await.unwrap_err().to_string();
        assert!(
            error.contains("products: it was removed during the run"),
            "{error}"
        );

        fs::remove_dir_all(root.path()).unwrap();
        let vips = LakePath::data("vipusers", "vipusers.json");
        let error = lake.put(&vips, Bytes::new()).await.unwrap_err().to_string();
        assert!(error.contains("it was removed during the run"), "{error}");
        assert!(!root.path().exists());
        // The guard expects the directory to exist.
        fs::create_dir(root.path()).unwrap();
    }

    #[tokio::test]
    async fn cleaning_up_waits_for_files_that_are_still_being_dropped() {
        let root = tempfile::tempdir().unwrap();
        let lake = DirectoryLake::open(root.path()).await.unwrap();
        let file = lake.create(&LakePath::data("users", "users.json")).await.unwrap();
        let cleaned = tokio::spawn({
            let lake = lake.clone();
            async move { lake.clean_up().await }
        });
        tokio::task::yield_now().await;
        assert!(!cleaned.is_finished());
        drop(file);
        cleaned.await.unwrap();
        assert!(!root.path().join(TEMPORARY).exists());
    }

    #[test]
    fn temporary_files_have_names_that_are_known_again() {
        let root = tempfile::tempdir().unwrap();
        let (_file, path) = create_locked(root.path(), Path::new("product_1.json")).unwrap();
        assert!(is_temporary_name(path.file_name().unwrap()), "{}", path.display());
    }
}
