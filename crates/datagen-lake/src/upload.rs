//! A file that is being sent to a storage account: a bounded number of blocks in parallel, then the commit. A file of a
//! single block is put at once.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinSet;

use super::{BlockLayout, LakeFile, UploadError};

/// The requests that differ between the two APIs.
#[async_trait]
pub(crate) trait Upload: Send + Sync + 'static {
    /// Publishes a file of a single block. No other method is called for such a file.
    async fn put(&self, contents: Bytes) -> Result<(), UploadError>;

    /// Prepares for the first of several blocks.
    async fn begin(&self) -> Result<(), UploadError>;

    /// Sends block number `index`, which begins at `offset`.
    async fn send(&self, index: u64, offset: u64, block: Bytes) -> Result<(), UploadError>;

    /// Publishes the file of `blocks` blocks and `length` bytes, all of which have been sent.
    async fn commit(&self, blocks: u64, length: u64) -> Result<(), UploadError>;
}

/// Files per page of a listing: about half a megabyte of the service's XML.
pub(crate) const LIST_PAGE: NonZeroU32 = NonZeroU32::new(500).expect("not zero");

/// How many small files are put in parallel.
pub(crate) const PUTS_IN_FLIGHT: usize = 64;

/// The service's limit for the blocks of a file. <https://learn.microsoft.com/azure/storage/blobs/scalability-targets>
const MAX_BLOCKS: u64 = 50_000;
const MIB: u64 = 1024 * 1024;
/// The size of all blocks in flight together, in bytes.
const MEMORY: usize = 48 << 20;
const MOST_IN_FLIGHT: usize = 12;

/// Returns blocks of 4 MiB, or larger ones where a file would otherwise need more blocks than the service accepts. The
/// number in flight keeps the process below 128 MiB, including their copies in the kernel and in TLS. It is at least
/// two, which takes more memory for files above about 900 GiB.
pub(crate) fn blocks(expected_bytes: u64) -> BlockLayout {
    // A fifth of the limit is reserved in case the estimate is too low.
    let least = expected_bytes.div_ceil(MAX_BLOCKS * 4 / 5);
    let bytes = least.div_ceil(MIB).clamp(4, 100) * MIB;
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    BlockLayout {
        bytes,
        in_flight: (MEMORY / bytes).clamp(2, MOST_IN_FLIGHT),
    }
}

/// Returns how many blocks of about `bytes` may be in flight: as many as [`blocks`] allowed, or fewer. The producer of
/// the blocks relies on getting its buffers back, and its blocks are somewhat smaller or larger than requested.
fn in_flight_of(bytes: usize) -> usize {
    (MEMORY * 9 / 10 / bytes.max(1)).clamp(2, MOST_IN_FLIGHT)
}

/// The [`LakeFile`] of both APIs.
pub(crate) struct RemoteFile {
    upload: Arc<dyn Upload>,
    in_flight: usize,
    /// The first block, until there is a second.
    first: Option<Bytes>,
    /// Dropping it aborts the requests in flight.
    sending: JoinSet<Result<(), UploadError>>,
    blocks: u64,
    length: u64,
}

impl RemoteFile {
    pub(crate) fn new(upload: Arc<dyn Upload>) -> Self {
        Self {
            upload,
            in_flight: MOST_IN_FLIGHT,
            first: None,
            sending: JoinSet::new(),
            blocks: 0,
            length: 0,
        }
    }

    async fn send(&mut self, block: Bytes) -> Result<(), UploadError> {
        self.in_flight = self.in_flight.min(in_flight_of(block.len()));
        while self.sending.len() >= self.in_flight {
            self.one_done().await?;
        }
        let (upload, index, offset) = (Arc::clone(&self.upload), self.blocks, self.length);
        self.blocks += 1;
        self.length += block.len() as u64;
        self.sending
            .spawn(async move { upload.send(index, offset, block).await });
        Ok(())
    }

    async fn one_done(&mut self) -> Result<(), UploadError> {
        match self.sending.join_next().await {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

#[async_trait]
impl LakeFile for RemoteFile {
    async fn append(&mut self, block: Bytes) -> Result<(), UploadError> {
        if block.is_empty() {
            return Ok(());
        }
        if self.blocks > 0 {
            return self.send(block).await;
        }
        match self.first.take() {
            None => self.first = Some(block),
            Some(first) => {
                self.upload.begin().await?;
                self.send(first).await?;
                self.send(block).await?;
            }
        }
        Ok(())
    }

    async fn publish(mut self: Box<Self>) -> Result<(), UploadError> {
        if self.blocks == 0 {
            return self.upload.put(self.first.take().unwrap_or_default()).await;
        }
        while !self.sending.is_empty() {
            self.one_done().await?;
        }
        self.upload.commit(self.blocks, self.length).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_stays_below_the_limit_of_blocks_and_every_run_below_the_limit_of_memory() {
        for expected in [0, 1, 300 << 20, 200 << 30, 1 << 40, 3 << 40] {
            let BlockLayout { bytes, in_flight } = blocks(expected);
            assert!(
                expected.div_ceil(bytes as u64) <= MAX_BLOCKS * 4 / 5,
                "{expected}"
            );
            assert!(expected > 1 << 39 || bytes * in_flight <= MEMORY, "{expected}");
            assert!(in_flight_of(bytes * 9 / 10) <= in_flight, "{expected}");
        }
        assert_eq!(
            blocks(0),
            BlockLayout {
                bytes: 4 << 20,
                in_flight: 12
            }
        );
    }
}
