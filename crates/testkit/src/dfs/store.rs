//! The files of the server, and the operations of the Data Lake API on them.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::contents::Contents;

/// An error as the service reports it: HTTP status and `x-ms-error-code`.
/// <https://learn.microsoft.com/rest/api/storageservices/data-lake-storage-gen2>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceError(pub u16, pub &'static str);

/// A file or a directory.
#[derive(Debug, Clone)]
pub enum Node {
    /// A directory, created explicitly or as the parent of a file.
    Directory,
    /// A file.
    File(File),
}

/// A file: what readers see, and what has been appended since the last flush.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// The flushed contents.
    pub contents: Contents,
    /// What was appended and not flushed, by position. Readers do not see it.
    pub uncommitted: BTreeMap<u64, Bytes>,
    /// Changes with each change of the file.
    pub etag: u64,
    /// Blocks of the Blob API that were staged and not committed, by id. Readers do not see them.
    pub staged: HashMap<String, Bytes>,
    /// Whether readers do not see the file: a blob is hidden as long as only blocks of it have been staged.
    pub hidden: bool,
    /// Whether the contents were appended through the Data Lake API.
    pub appended: bool,
    /// The MD5 of the contents, if they were written by a single Put Blob.
    pub md5: Option<String>,
    /// The block ids that were committed last.
    pub committed: Option<String>,
    /// Whether it is an append blob, which cannot be replaced by a block blob through the Blob API.
    pub append_blob: bool,
    /// Whether a policy forbids changing it.
    pub immutable: bool,
}

/// All filesystems of an account.
#[derive(Debug, Default)]
pub struct Store {
    filesystems: HashMap<String, BTreeMap<String, Node>>,
    changes: u64,
    /// The number of parts from which on the next commit loses them; `None` if no commit does.
    loses_parts: Option<usize>,
}

const NO_FILESYSTEM: ServiceError = ServiceError(404, "FilesystemNotFound");
const NO_PATH: ServiceError = ServiceError(404, "PathNotFound");

impl Store {
    /// Creates a filesystem.
    ///
    /// # Errors
    /// 409 if it exists.
    pub fn create_filesystem(&mut self, name: &str) -> Result<(), ServiceError> {
        if self.filesystems.contains_key(name) {
            return Err(ServiceError(409, "FilesystemAlreadyExists"));
        }
        self.filesystems.insert(name.to_owned(), BTreeMap::new());
        Ok(())
    }

    /// Removes a filesystem and everything in it.
    ///
    /// # Errors
    /// 404 if it does not exist.
    pub fn delete_filesystem(&mut self, name: &str) -> Result<(), ServiceError> {
        self.filesystems.remove(name).map(drop).ok_or(NO_FILESYSTEM)
    }

    /// Returns every path of a filesystem, in order.
    ///
    /// # Errors
    /// 404 if the filesystem does not exist.
    pub fn paths(&self, filesystem: &str) -> Result<&BTreeMap<String, Node>, ServiceError> {
        self.filesystems.get(filesystem).ok_or(NO_FILESYSTEM)
    }

    /// Returns one file or directory.
    ///
    /// # Errors
    /// 404 if it or its filesystem does not exist.
    pub fn get(&self, filesystem: &str, path: &str) -> Result<&Node, ServiceError> {
        match self.paths(filesystem)?.get(path) {
            Some(Node::File(file)) if file.hidden => Err(NO_PATH),
            found => found.ok_or(NO_PATH),
        }
    }

    /// Makes the next commit or flush of a file with at least `parts` sent parts lose all of them.
    pub fn lose_parts_once(&mut self, parts: usize) {
        self.loses_parts = Some(parts);
    }

    /// Drops the parts of a file that is about to be committed, if [`Store::lose_parts_once`] asked for it.
    fn lose_parts(&mut self, filesystem: &str, path: &str) -> Result<(), ServiceError> {
        if let Some(least) = self.loses_parts {
            let file = self.file_mut(filesystem, path)?;
            if file.staged.len().max(file.uncommitted.len()) >= least {
                file.staged.clear();
                file.uncommitted.clear();
                self.loses_parts = None;
            }
        }
        Ok(())
    }

    /// Returns the file at `path` for a write by the Blob API. If it does not exist, it is created as a hidden file,
    /// together with its parents.
    fn blob_mut(&mut self, filesystem: &str, path: &str) -> Result<&mut File, ServiceError> {
        let is_there = self.paths(filesystem)?.contains_key(path);
        if !is_there {
            self.create(filesystem, path, false, true)?;
        }
        let file = self.file_mut(filesystem, path)?;
        file.hidden |= !is_there;
        if file.immutable {
            return Err(ServiceError(409, "BlobImmutableDueToPolicy"));
        }
        if file.append_blob {
            return Err(ServiceError(409, "InvalidBlobType"));
        }
        Ok(file)
    }

    /// Put Blob: writes the whole contents at once, replacing an existing file.
    ///
    /// # Errors
    /// 404 without the filesystem, 409 if there is a directory.
    pub fn put_blob(
        &mut self,
        filesystem: &str,
        path: &str,
        contents: Bytes,
        md5: String,
    ) -> Result<u64, ServiceError> {
        self.changes += 1;
        let etag = self.changes;
        let file = self.blob_mut(filesystem, path)?;
        *file = File {
            contents: contents.into(),
            etag,
            md5: Some(md5),
            ..File::default()
        };
        Ok(etag)
    }

    /// Put Block: stages a block. All ids of a blob have the same length.
    ///
    /// # Errors
    /// 400 `InvalidBlobOrBlock` for an id of a different length.
    pub fn put_block(
        &mut self,
        filesystem: &str,
        path: &str,
        id: &str,
        block: Bytes,
    ) -> Result<(), ServiceError> {
        let file = self.blob_mut(filesystem, path)?;
        if file.staged.keys().any(|other| other.len() != id.len()) {
            return Err(ServiceError(400, "InvalidBlobOrBlock"));
        }
        file.staged.insert(id.to_owned(), block);
        Ok(())
    }

    /// Put Block List: replaces the blob by these blocks, in this order; other staged blocks are dropped.
    ///
    /// # Errors
    /// 400 `InvalidBlockList` for a block that is not staged, unless the same list was committed last; 409
    /// `BlobOperationNotSupported` for a file that was written through the Data Lake API.
    pub fn put_block_list(
        &mut self,
        filesystem: &str,
        path: &str,
        ids: &[&str],
    ) -> Result<u64, ServiceError> {
        self.lose_parts(filesystem, path)?;
        self.changes += 1;
        let etag = self.changes;
        let file = self.blob_mut(filesystem, path)?;
        if file.appended {
            return Err(ServiceError(409, "BlobOperationNotSupported"));
        }
        let list = ids.join(",");
        if file.staged.is_empty() && file.committed.as_ref() == Some(&list) {
            return Ok(etag);
        }
        let mut contents = Contents::default();
        for id in ids {
            let block = file.staged.get(*id);
            contents.push(block.ok_or(ServiceError(400, "InvalidBlockList"))?.clone());
        }
        *file = File {
            contents,
            etag,
            committed: Some(list),
            ..File::default()
        };
        Ok(etag)
    }

    /// Returns the file at `path`, to change it without the clients' knowledge.
    ///
    /// # Errors
    /// 404 if it or its filesystem does not exist, 409 if it is a directory.
    pub fn file_mut(&mut self, filesystem: &str, path: &str) -> Result<&mut File, ServiceError> {
        match self
            .filesystems
            .get_mut(filesystem)
            .ok_or(NO_FILESYSTEM)?
            .get_mut(path)
            .ok_or(NO_PATH)?
        {
            Node::File(file) => Ok(file),
            Node::Directory => Err(ServiceError(409, "InvalidResourceType")),
        }
    }

    /// Path - Create: creates an empty file that replaces an existing one, or a directory; parents are created, too.
    ///
    /// # Errors
    /// 409 `PathAlreadyExists` if it must be new (`If-None-Match: *`) but exists, or if there is a directory in place
    /// of the file; 409 `PathConflict` if there is a file in place of a parent.
    pub fn create(
        &mut self,
        filesystem: &str,
        path: &str,
        directory: bool,
        must_be_new: bool,
    ) -> Result<u64, ServiceError> {
        self.changes += 1;
        let etag = self.changes;
        let paths = self.filesystems.get_mut(filesystem).ok_or(NO_FILESYSTEM)?;
        match paths.get(path) {
            Some(Node::File(file)) if file.hidden => {}
            Some(_) if must_be_new => return Err(ServiceError(409, "PathAlreadyExists")),
            Some(Node::Directory) if directory => return Ok(etag),
            Some(Node::Directory) => return Err(ServiceError(409, "PathAlreadyExists")),
            _ => {}
        }
        for (end, _) in path.match_indices('/') {
            let parent = paths.entry(path[..end].to_owned()).or_insert(Node::Directory);
            if !matches!(parent, Node::Directory) {
                return Err(ServiceError(409, "PathConflict"));
            }
        }
        let node = if directory {
            Node::Directory
        } else {
            Node::File(File {
                etag,
                ..File::default()
            })
        };
        paths.insert(path.to_owned(), node);
        Ok(etag)
    }

    /// Path - Update, `action=append`: keeps the bytes until a flush; a second append at the same position
    /// replaces the first.
    ///
    /// # Errors
    /// 400 if nothing is appended, or if the position is before the end of what was flushed.
    pub fn append(
        &mut self,
        filesystem: &str,
        path: &str,
        position: u64,
        bytes: Bytes,
    ) -> Result<(), ServiceError> {
        let file = self.file_mut(filesystem, path)?;
        if bytes.is_empty() {
            return Err(ServiceError(400, "InvalidHeaderValue"));
        }
        if position < file.contents.length() {
            return Err(ServiceError(400, "InvalidAppendPosition"));
        }
        file.uncommitted.insert(position, bytes);
        Ok(())
    }

    /// Path - Update, `action=flush`: makes what was appended visible, up to `position`, which must be where it ends;
    /// there must be no gap.
    ///
    /// # Errors
    /// 400 `InvalidFlushPosition`.
    pub fn flush(&mut self, filesystem: &str, path: &str, position: u64) -> Result<u64, ServiceError> {
        self.lose_parts(filesystem, path)?;
        self.changes += 1;
        let etag = self.changes;
        let file = self.file_mut(filesystem, path)?;
        let mut contents = file.contents.clone();
        for (at, bytes) in &file.uncommitted {
            if *at != contents.length() {
                return Err(ServiceError(400, "InvalidFlushPosition"));
            }
            contents.push(bytes.clone());
        }
        if position != contents.length() {
            return Err(ServiceError(400, "InvalidFlushPosition"));
        }
        *file = File {
            contents,
            etag,
            appended: true,
            ..File::default()
        };
        Ok(etag)
    }

    /// Path - Create with `x-ms-rename-source`: moves a file, replacing an existing one.
    ///
    /// # Errors
    /// 404 `SourcePathNotFound`, 404 `RenameDestinationParentPathNotFound`, 409 if there is a directory.
    pub fn rename(&mut self, from: (&str, &str), to: (&str, &str)) -> Result<(), ServiceError> {
        let source = self.filesystems.get(from.0).ok_or(NO_FILESYSTEM)?;
        let Some(Node::File(_)) = source.get(from.1) else {
            return Err(ServiceError(404, "SourcePathNotFound"));
        };
        let target = self.filesystems.get(to.0).ok_or(NO_FILESYSTEM)?;
        if let Some((parent, _)) = to.1.rsplit_once('/')
            && !matches!(target.get(parent), Some(Node::Directory))
        {
            return Err(ServiceError(404, "RenameDestinationParentPathNotFound"));
        }
        if matches!(target.get(to.1), Some(Node::Directory)) {
            return Err(ServiceError(409, "PathAlreadyExists"));
        }
        let node = self
            .filesystems
            .get_mut(from.0)
            .and_then(|paths| paths.remove(from.1))
            .ok_or(NO_PATH)?;
        self.filesystems
            .get_mut(to.0)
            .ok_or(NO_FILESYSTEM)?
            .insert(to.1.to_owned(), node);
        Ok(())
    }

    /// Path - Delete.
    ///
    /// # Errors
    /// 404 if it does not exist, 409 `DirectoryNotEmpty` without `recursive`.
    pub fn delete(&mut self, filesystem: &str, path: &str, recursive: bool) -> Result<(), ServiceError> {
        let paths = self.filesystems.get_mut(filesystem).ok_or(NO_FILESYSTEM)?;
        match paths.get(path) {
            None => return Err(NO_PATH),
            Some(Node::File(file)) if file.immutable => {
                return Err(ServiceError(409, "BlobImmutableDueToPolicy"));
            }
            Some(_) => {}
        }
        let below = format!("{path}/");
        if !recursive && paths.keys().any(|other| other.starts_with(&below)) {
            return Err(ServiceError(409, "DirectoryNotEmpty"));
        }
        paths.retain(|other, _| other != path && !other.starts_with(&below));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        let mut store = Store::default();
        store.create_filesystem("lake").unwrap();
        store.create("lake", "users/users.json", false, false).unwrap();
        store
    }

    fn contents(store: &Store, path: &str) -> Bytes {
        match store.get("lake", path).unwrap() {
            Node::File(file) => file.contents.to_bytes(),
            Node::Directory => panic!("{path} is a directory"),
        }
    }

    #[test]
    fn appended_data_is_invisible_until_a_flush_without_gaps() {
        let (mut store, path) = (store(), "users/users.json");
        store.append("lake", path, 3, Bytes::from_static(b"def")).unwrap();
        let gap = store.flush("lake", path, 6);
        assert_eq!(gap, Err(ServiceError(400, "InvalidFlushPosition")));
        store.append("lake", path, 0, Bytes::from_static(b"abc")).unwrap();
        assert_eq!(contents(&store, path), "");
        let short = store.flush("lake", path, 5);
        assert_eq!(short, Err(ServiceError(400, "InvalidFlushPosition")));
        store.flush("lake", path, 6).unwrap();
        assert_eq!(contents(&store, path), "abcdef");
        let behind = store.append("lake", path, 2, Bytes::from_static(b"x"));
        assert_eq!(behind, Err(ServiceError(400, "InvalidAppendPosition")));
        assert_eq!(
            store.append("lake", path, 6, Bytes::new()),
            Err(ServiceError(400, "InvalidHeaderValue"))
        );
    }

    #[test]
    fn staged_blocks_are_invisible_until_their_commit() {
        let (mut store, path) = (store(), "users/blob.json");
        store
            .put_block("lake", path, "1", Bytes::from_static(b"b"))
            .unwrap();
        store
            .put_block("lake", path, "0", Bytes::from_static(b"a"))
            .unwrap();
        assert_eq!(store.get("lake", path).unwrap_err(), NO_PATH);
        let long = store.put_block("lake", path, "22", Bytes::from_static(b"c"));
        assert_eq!(long, Err(ServiceError(400, "InvalidBlobOrBlock")));
        assert_eq!(
            store.put_block_list("lake", path, &["0", "2"]),
            Err(ServiceError(400, "InvalidBlockList"))
        );
        store.put_block_list("lake", path, &["0", "1"]).unwrap();
        assert_eq!(contents(&store, path), "ab");
        store.put_block_list("lake", path, &["0", "1"]).unwrap();
        store.flush("lake", "users/users.json", 0).unwrap();
        store
            .put_block("lake", "users/users.json", "0", Bytes::from_static(b"a"))
            .unwrap();
        let over = store.put_block_list("lake", "users/users.json", &["0"]);
        assert_eq!(over, Err(ServiceError(409, "BlobOperationNotSupported")));
    }

    #[test]
    fn rename_replaces_a_file_and_wants_a_parent() {
        let mut store = store();
        let from = ("lake", "_temporary/a");
        store.create("lake", from.1, false, true).unwrap();
        store
            .append("lake", from.1, 0, Bytes::from_static(b"new"))
            .unwrap();
        store.flush("lake", from.1, 3).unwrap();
        let orphan = store.rename(from, ("lake", "nowhere/a"));
        assert_eq!(
            orphan,
            Err(ServiceError(404, "RenameDestinationParentPathNotFound"))
        );
        store.rename(from, ("lake", "users/users.json")).unwrap();
        assert_eq!(contents(&store, "users/users.json"), "new");
        let again = store.rename(from, ("lake", "users/users.json"));
        assert_eq!(again, Err(ServiceError(404, "SourcePathNotFound")));
    }

    #[test]
    fn create_overwrites_unless_it_must_be_new() {
        let mut store = store();
        let again = store.create("lake", "users/users.json", false, true);
        assert_eq!(again, Err(ServiceError(409, "PathAlreadyExists")));
        store.create("lake", "users/users.json", false, false).unwrap();
        assert_eq!(
            store.create("lake", "users/users.json/x", false, false),
            Err(ServiceError(409, "PathConflict"))
        );
        assert_eq!(
            store.delete("lake", "users", false),
            Err(ServiceError(409, "DirectoryNotEmpty"))
        );
        store.delete("lake", "users", true).unwrap();
        assert!(store.paths("lake").unwrap().is_empty());
    }
}
