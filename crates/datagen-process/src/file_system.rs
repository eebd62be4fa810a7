//! What local destinations need from the file system: locks, where it has any, and directories that survive a power
//! failure.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::DestinationError;

/// The result of requesting a lock without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockState {
    /// This process has the lock now.
    Acquired,
    /// Another open file has it.
    HeldElsewhere,
    /// The file system has no locks.
    Unsupported,
}

/// Waits for the exclusive lock of `file`. On a file system without locks (some network mounts and container volumes), the
/// file counts as locked, since one process can still use it.
///
/// # Errors
/// If the file system has locks and cannot provide this one.
pub fn lock(file: &File) -> io::Result<()> {
    unless_unsupported(file.lock())
}

/// Releases the lock of `file`.
///
/// # Errors
/// If the file system has locks and cannot release this one.
pub fn unlock(file: &File) -> io::Result<()> {
    unless_unsupported(file.unlock())
}

/// Requests the exclusive lock of `file` without waiting for it.
///
/// # Errors
/// If the file system has locks and cannot determine the state of this one.
pub fn try_lock(file: &File) -> io::Result<LockState> {
    match file.try_lock() {
        Ok(()) => Ok(LockState::Acquired),
        Err(TryLockError::WouldBlock) => Ok(LockState::HeldElsewhere),
        Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(LockState::Unsupported),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn unless_unsupported(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if has_no_locks(&error) => Ok(()),
        result => result,
    }
}

/// Returns whether `error` comes from a file system without locks: ENOSYS and EOPNOTSUPP, or ENOLCK of a network file
/// system whose lock service is absent.
#[cfg(unix)]
fn has_no_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error)
        .is_some_and(|errno| [Errno::NOSYS, Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOTSUP].contains(&errno))
}

#[cfg(not(unix))]
fn has_no_locks(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Unsupported
}

/// Creates the directory at `path`, and its parents, where they are absent, and makes the new ones durable.
///
/// # Errors
/// If one cannot be created, or a parent of a new one cannot be read. The message names the directory.
pub fn create_directory(path: &Path) -> Result<(), DestinationError> {
    let failed = |error: io::Error| DestinationError::io(path, &error);
    let mut created = fs::create_dir(path);
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        // The root of the file system.
        None => return Ok(()),
    };
    if matches!(&created, Err(error) if error.kind() == ErrorKind::NotFound) {
        create_directory(parent)?;
        created = fs::create_dir(path);
    }
    match created {
        Ok(()) => sync_directory(parent),
        // If the directory exists, the reason does not matter.
        Err(error) => match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(failed(ErrorKind::NotADirectory.into())),
            Err(_) => Err(failed(error)),
        },
    }
}

/// Makes the creation, removal and renaming of files in the directory at `path` durable.
///
/// # Errors
/// If the directory cannot be read or the file system fails.
pub fn sync_directory(path: &Path) -> Result<(), DestinationError> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(path).and_then(|directory| directory.sync_all()) {
        // Some file systems cannot sync a directory by itself.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        result => result.map_err(|error| DestinationError::io(path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_created_with_their_parents_and_obstacles_are_named() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b/c");
        for _ in 0..2 {
            create_directory(&deep).unwrap();
            assert!(deep.is_dir());
        }
        create_directory(Path::new("/")).unwrap();

        fs::write(root.path().join("file"), "").unwrap();
        for path in ["file", "file/below"] {
            let error = create_directory(&root.path().join(path)).unwrap_err().to_string();
            assert!(
                error.contains("a file stands where a directory is needed"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_lock_is_held_by_one_open_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other = File::open(file.path()).unwrap();
        lock(file.as_file()).unwrap();
        assert_eq!(try_lock(&other).unwrap(), LockState::HeldElsewhere);
        unlock(file.as_file()).unwrap();
        assert_eq!(try_lock(&other).unwrap(), LockState::Acquired);
    }
}
