//! The directory of the playground. It may contain other files, so that only files that an earlier playground created
//! are removed, and nothing is removed from a directory that no playground has filled.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The file that marks a directory as filled by a playground.
const MARKER: &str = ".dataplayground";

const MARKER_TEXT: &str = "cargo xtask playground has filled this directory. It replaces what it wrote here when it is \
                           run again, and only if this file is present.\n";

/// The files that a playground creates in its directory. `*` stands for a part of a file name.
const CREATED_FILES: [&str; 23] = [
    "lake/users/users.json",
    "lake/vipusers/vipusers.json",
    "lake/products/product_*.json",
    "lake/_datagen/*.json",
    // Leftovers of a generator that was killed.
    "lake/_temporary/users.json.*",
    "lake/_temporary/vipusers.json.*",
    "lake/_temporary/products.json.*",
    "lake/_temporary/product_*",
    "stream/pageviews.jsonl",
    "stream/stars.jsonl",
    "stream/_datagen/stream.json",
    // Left behind by a stream that was killed.
    "stream/_datagen/stream.json.*",
    "orders.db",
    "orders.db-journal",
    "orders.db-wal",
    "orders.db-shm",
    "playground.db",
    "playground.db-journal",
    "playground.db-wal",
    "playground.db-shm",
    "report.html",
    // Created from the other files by docs/exercises/exercises.py, and out of date when they are replaced.
    "exercises.duckdb",
    "exercises.duckdb.wal",
];

/// A directory that a playground may fill.
pub(super) struct Directory {
    /// The absolute path.
    path: PathBuf,
    /// What an earlier playground created in the directory.
    earlier: Found,
}

impl Directory {
    /// Creates the directory if it does not exist, and marks it as a playground. Nothing is removed yet.
    ///
    /// # Errors
    /// If the paths of a playground contain something that no playground created.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let path = directory.canonicalize()?;
        let mut found = Found::default();
        let places: BTreeSet<_> = CREATED_FILES
            .iter()
            .filter_map(|name| name.split('/').next())
            .collect();
        for place in places {
            found.add(&path, &path.join(place))?;
        }
        let marker = path.join(MARKER);
        let in_the_way = if marker.exists() {
            found.foreign.first()
        } else {
            found.all().next()
        };
        if let Some(file) = in_the_way {
            bail!(
                "{} is in the way: {} does not say that a playground created it; move it away, or give another --dir",
                file.display(),
                marker.display()
            );
        }
        fs::write(&marker, MARKER_TEXT).with_context(|| format!("cannot write {}", marker.display()))?;
        Ok(Self { path, earlier: found })
    }

    /// Removes what an earlier playground created, and returns the directory's absolute path.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub(super) fn clear(self) -> Result<PathBuf> {
        let Found {
            files, directories, ..
        } = &self.earlier;
        let files = files.iter().map(|path| (path, fs::remove_file(path)));
        // Only empty directories can be removed: anything that has been added since is kept, and stops the playground.
        let directories = directories.iter().map(|path| (path, fs::remove_dir(path)));
        for (path, removed) in files.chain(directories) {
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(self.path)
    }
}

/// What exists at the paths of a playground. Directories come after their contents.
#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    foreign: Vec<PathBuf>,
}

impl Found {
    /// Adds `path`, which need not exist, and everything below it. Symbolic links are not followed.
    fn add(&mut self, root: &Path, path: &Path) -> Result<()> {
        let context = || format!("cannot read {}", path.display());
        let kind = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(context),
        };
        let name = path.strip_prefix(root).expect("the path is below the root");
        if kind.is_dir() {
            for entry in fs::read_dir(path).with_context(context)? {
                self.add(root, &entry.with_context(context)?.path())?;
            }
            self.directories.push(path.to_owned());
        } else if kind.is_file() && is_created(name) {
            self.files.push(path.to_owned());
        } else {
            self.foreign.push(path.to_owned());
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.foreign.iter().chain(&self.files).chain(&self.directories)
    }
}

/// Returns whether a playground creates the file `name`, which is relative to the directory.
fn is_created(name: &Path) -> bool {
    let name = name.to_string_lossy();
    CREATED_FILES.iter().any(|pattern| match pattern.split_once('*') {
        None => name == *pattern,
        Some((before, after)) => name
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|part| !part.contains('/')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(directory: &Path) -> Result<PathBuf> {
        Directory::open(directory)?.clear()
    }

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    /// Returns a directory as a playground leaves it.
    fn playground() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path()).unwrap();
        for name in [
            "lake/users/users.json",
            "lake/vipusers/vipusers.json",
            "lake/products/product_0.json",
            "lake/products/product_123.json",
            "lake/_datagen/users.json",
            "stream/pageviews.jsonl",
            "stream/stars.jsonl",
            "stream/_datagen/stream.json",
            "orders.db",
            "orders.db-journal",
            "playground.db",
            "report.html",
            "exercises.duckdb",
        ] {
            write(&directory.path().join(name));
        }
        directory
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_an_earlier_playground_created_is_removed_and_nothing_else() {
        let directory = playground();
        write(&directory.path().join("notebooks/lake/users.ipynb"));
        prepare(directory.path()).unwrap();
        assert_eq!(names(directory.path()), [MARKER, "notebooks"]);
        assert_eq!(names(&directory.path().join("notebooks/lake")), ["users.ipynb"]);
    }

    #[test]
    fn without_the_marker_nothing_is_removed() {
        for name in [
            "lake/notes.txt",
            "lake/users/users.json",
            "stream/stars.jsonl",
            "orders.db",
        ] {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join(name);
            write(&file);
            let error = prepare(directory.path()).unwrap_err().to_string();
            assert!(
                error.contains(name) && error.contains("give another --dir"),
                "{error}"
            );
            assert!(file.exists(), "{name}");
            // A second attempt does not mistake the result of the first one for a playground.
            prepare(directory.path()).unwrap_err();
            assert!(file.exists(), "{name}");
        }
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("lake")).unwrap();
        prepare(directory.path()).unwrap_err();
        assert_eq!(names(directory.path()), ["lake"]);
    }

    #[test]
    fn a_users_file_among_the_playgrounds_own_stops_it_before_anything_is_removed() {
        for name in [
            "lake/notes.txt",
            "lake/products/product_1.csv",
            "lake/users/mine/users.json",
            "stream/pageviews.jsonl.bak",
        ] {
            let directory = playground();
            let file = directory.path().join(name);
            write(&file);
            let error = prepare(directory.path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("move it away"), "{error}");
            assert!(file.exists() && directory.path().join("lake/users/users.json").exists());
        }
    }

    #[cfg(unix)]
    #[test]
    fn symbolic_links_are_not_followed() {
        let elsewhere = tempfile::tempdir().unwrap();
        let file = elsewhere.path().join("users/users.json");
        write(&file);
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path()).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), directory.path().join("lake")).unwrap();
        prepare(directory.path()).unwrap_err();
        assert!(file.exists());
    }
}
