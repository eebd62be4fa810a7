//! The check whether a folder already has the files of a run with a different number of shards. Such files remain, and
//! a reader of the folder reads both.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Lake, LakePath};
use datagen_process::error::DestinationError;
use datagen_process::shard::Shard;

/// Logs one warning if the lake has manifests of `folder` with a number of shards other than `shard.count`.
/// `consequence` says what that means for a reader. Lakes whose credentials do not allow listing are not checked.
///
/// # Errors
/// If the destination fails.
pub async fn warn_of_other_splits(
    lake: &dyn Lake,
    folder: &'static str,
    shard: Shard,
    consequence: &str,
) -> Result<(), DestinationError> {
    let counts = other_counts(lake, folder, shard).await?;
    if let Some(files) = describe(folder, &counts) {
        tracing::warn!(
            "{}: this run has SHARD_COUNT={}, but there are manifests of runs with {files}: {consequence}; if \
             those runs are obsolete, delete their files and manifests",
            lake.describe(folder),
            shard.count,
        );
    }
    Ok(())
}

/// Returns the numbers of shards of the manifests of `folder`, without that of `shard`.
async fn other_counts(
    lake: &dyn Lake,
    folder: &'static str,
    shard: Shard,
) -> Result<BTreeSet<u32>, DestinationError> {
    let found = Arc::new(Mutex::new(BTreeSet::new()));
    let counts = Arc::clone(&found);
    let select = move |name: &str| {
        let other = Shard::from_file_name(folder, name).filter(|other| other.count != shard.count);
        if let Some(other) = other {
            counts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(other.count);
        }
        other.is_some()
    };
    lake.total(&LakePath::manifest(folder, ""), Box::new(select))
        .await?;
    Ok(std::mem::take(
        &mut *found.lock().unwrap_or_else(PoisonError::into_inner),
    ))
}

/// Returns `SHARD_COUNT=3 (users-*-of-00003.json)` for each count, separated by commas.
fn describe(folder: &str, counts: &BTreeSet<u32>) -> Option<String> {
    let one = |count: &u32| match count {
        1 => format!("SHARD_COUNT=1 ({})", Shard::WHOLE.file_name(folder)),
        count => format!("SHARD_COUNT={count} ({folder}-*-of-{count:05}.json)"),
    };
    let all: Vec<_> = counts.iter().map(one).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::local::DirectoryLake;

    #[tokio::test]
    async fn manifests_of_other_numbers_of_shards_are_found() {
        let root = tempfile::tempdir().unwrap();
        let lake = DirectoryLake::open(root.path()).await.unwrap();
        let whole = Shard::WHOLE;
        let third = Shard { index: 1, count: 3 };
        assert_eq!(
            other_counts(&lake, "users", whole).await.unwrap(),
            BTreeSet::new()
        );
        for (folder, shard) in [("users", whole), ("users", third), ("vipusers", third)] {
            let path = LakePath::manifest(folder, shard.file_name(folder));
            lake.put(&path, Bytes::new()).await.unwrap();
        }
        let others = async |folder, shard| {
            let counts = other_counts(&lake, folder, shard).await.unwrap();
            describe(folder, &counts)
        };
        let split = "SHARD_COUNT=3 (users-*-of-00003.json)".to_owned();
        assert_eq!(others("users", whole).await, Some(split));
        let single = "SHARD_COUNT=1 (users.json)".to_owned();
        assert_eq!(others("users", third).await, Some(single));
        assert_eq!(others("vipusers", third).await, None);
        assert_eq!(others("products", whole).await, None);
    }
}
