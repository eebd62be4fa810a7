//! Blocking calls, such as those of file systems and SQLite, on threads for that purpose.

/// Runs `work` on a thread for blocking calls. A panic of `work` continues in the caller.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
