//! Checks that the published files exist, before a manifest is written. This detects a server that accepts everything
//! and stores nothing, and a folder that was removed during the run.

use super::{Lake, LakePath, SelectName, Total};
use datagen_process::error::DestinationError;

/// Checks that the file at `path` has `bytes` bytes.
///
/// # Errors
/// If it is missing or has another length, or if the destination fails.
pub async fn file(lake: &dyn Lake, path: &LakePath, bytes: u64) -> Result<(), DestinationError> {
    let found = lake.stat(path).await?;
    check(lake, &path.to_string(), Total { files: 1, bytes }, found)
}

/// Checks that the number and size of the files of `folder` whose names `select` accepts are as `expected`.
///
/// # Errors
/// If they are not, or if the destination fails.
pub async fn folder(
    lake: &dyn Lake,
    folder: &'static str,
    select: SelectName,
    expected: Total,
) -> Result<(), DestinationError> {
    let found = lake.total(&LakePath::data(folder, ""), select).await?;
    check(lake, folder, expected, found)
}

fn check(lake: &dyn Lake, path: &str, expected: Total, found: Option<Total>) -> Result<(), DestinationError> {
    let destination = lake.describe(path);
    match found {
        None => {
            tracing::warn!(
                "{destination}: these credentials may not read, so what was written was not verified"
            );
            Ok(())
        }
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(DestinationError::permanent(
            destination,
            format!(
                "{} of {} bytes were written, but {} of {} bytes are there",
                files(expected.files),
                expected.bytes,
                files(found.files),
                found.bytes
            ),
        )
        .advise(
            "check that the URL is the right one and that no other program changes the files, and run again",
        )),
    }
}

fn files(count: u64) -> String {
    match count {
        1 => "1 file".to_owned(),
        _ => format!("{count} files"),
    }
}
