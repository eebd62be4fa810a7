//! The Blob door: `*.blob.core.windows.net` and Azurite, by the official azure_storage_blob.
//!
//! A small file, or one of a single block, is one Put Blob, which replaces what is there at once. A big one is
//! staged in blocks, which nobody sees, and appears by their commit. Blocks that are never committed are dropped by the next commit,
//! or by the service within a week.

use std::num::NonZero;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, RequestContent, RetryOptions};
use azure_storage_blob::models::{
    BlobClientGetPropertiesResultHeaders, BlobContainerClientListBlobsOptions, BlobType,
    BlockBlobClientUploadOptions, BlockListType, BlockLookupList,
};
use azure_storage_blob::{
    BlobClient, BlobClientOptions, BlobContainerClient, BlobContainerClientOptions, BlockBlobClient,
    BlockBlobClientOptions,
};
use bytes::Bytes;
use futures_util::StreamExt;
use md5::{Digest, Md5};
use url::Url;

use super::config::Account;
use super::request::{Fault, GaveUp, Requests, Resume, Subject};
use super::upload::{self, LIST_PAGE, PUTS_IN_FLIGHT, RemoteFile, Upload};
use super::{Blocks, Lake, LakeFile, LakePath, SelectName, Total};
use crate::azure_http::{Failure, STALL_TIMEOUT, SdkHttpClient, Server};
use crate::entra::EntraCredential;
use crate::error::DestinationError;

/// An account behind its Blob API.
#[derive(Clone)]
pub(crate) struct BlobLake {
    door: Arc<Door>,
}

struct Door {
    account: Account,
    requests: Requests,
    http: SdkHttpClient,
    credential: Option<Arc<dyn TokenCredential>>,
    resume: Resume,
}

/// A blob's place.
#[derive(Clone, Debug)]
struct Target {
    subject: Subject,
    /// Its name in the container, one element a segment.
    names: Vec<String>,
}

/// A request that changes a blob.
enum Write {
    /// Put Blob.
    Whole(Bytes),
    /// Put Block.
    Block { id: Vec<u8>, contents: Bytes },
    /// Put Block List.
    Commit { ids: Vec<Vec<u8>> },
}

impl BlobLake {
    pub(crate) fn new(account: Account, credential: Option<EntraCredential>) -> Self {
        let door = Door {
            requests: Requests::new(&account),
            http: SdkHttpClient::new(Server::Storage)
                .stalling_after(account.stall_timeout.unwrap_or(STALL_TIMEOUT)),
            credential: credential.map(|credential| Arc::new(credential) as _),
            account,
            resume: Resume::default(),
        };
        Self { door: Arc::new(door) }
    }
}

#[async_trait]
impl Lake for BlobLake {
    fn blocks(&self, expected_bytes: u64) -> Blocks {
        upload::blocks(expected_bytes)
    }

    async fn create(&self, path: &LakePath) -> Result<Box<dyn LakeFile>, DestinationError> {
        let upload = BlobUpload {
            door: Arc::clone(&self.door),
            target: self.door.target(path),
            run: rand::random(),
        };
        Ok(Box::new(RemoteFile::new(Arc::new(upload))))
    }

    async fn put(&self, path: &LakePath, contents: Bytes) -> Result<(), DestinationError> {
        let (door, target) = (&*self.door, self.door.target(path));
        if door.resume.is_worth_asking() {
            if door.has(&target, &contents).await? {
                return Ok(());
            }
            door.resume.missed();
        }
        door.write(&target, &Write::Whole(contents)).await
    }

    fn puts_in_flight(&self) -> usize {
        PUTS_IN_FLIGHT
    }

    async fn sync(&self) -> Result<(), DestinationError> {
        // The service answers a write when it is durable.
        Ok(())
    }

    fn describe(&self, path: &str) -> String {
        self.door.requests.describe(path)
    }

    async fn stat(&self, path: &LakePath) -> Result<Option<Total>, DestinationError> {
        let target = self.door.target(path);
        let (requests, subject) = (&self.door.requests, &target.subject);
        let answer = requests.run(subject, |_| async {
            let found = self
                .door
                .blob(&target)?
                .get_properties(None)
                .await
                .map_err(|error| Fault::of(&error))?;
            let mut total = Total::default();
            if let Some(length) = found.content_length().ok().flatten() {
                total.add(length);
            }
            Ok(total)
        });
        requests.found(subject, answer.await)
    }

    async fn total(&self, beside: &LakePath, select: SelectName) -> Result<Option<Total>, DestinationError> {
        let Target { subject, mut names } = self.door.target(beside);
        // An empty last name, so that the prefix ends in a slash, or is empty.
        names.pop();
        names.push(String::new());
        let prefix = names.join("/");
        let answer = self.door.list(&subject, &prefix, &select);
        self.door.requests.found(&subject, answer.await)
    }
}

impl Door {
    fn target(&self, path: &LakePath) -> Target {
        let (container, mut names, in_container) = match &self.account.filesystem {
            Some(filesystem) => {
                let directory = self.account.directory.clone();
                (filesystem.as_str(), directory, path.in_directory().to_vec())
            }
            None => {
                let (container, names) = path.in_own_filesystem();
                (container, Vec::new(), names)
            }
        };
        names.extend(in_container.into_iter().map(str::to_owned));
        Target {
            subject: Subject {
                filesystem: container.to_owned(),
                file: path.to_string(),
            },
            names,
        }
    }

    fn url(&self, container: &str, names: &[String]) -> Url {
        let mut url = self.account.service.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(container).extend(names);
        }
        url.set_query(self.account.sas.as_ref().map(crate::secret::Secret::expose));
        url
    }

    fn options(&self) -> ClientOptions {
        ClientOptions {
            transport: Some(self.http.transport()),
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        }
    }

    fn block_blob(&self, target: &Target) -> Result<BlockBlobClient, Fault> {
        let options = BlockBlobClientOptions {
            client_options: self.options(),
            ..Default::default()
        };
        let url = self.url(&target.subject.filesystem, &target.names);
        BlockBlobClient::new(url, self.credential.clone(), Some(options)).map_err(|error| Fault::of(&error))
    }

    fn container(&self, subject: &Subject) -> Result<BlobContainerClient, Fault> {
        let options = BlobContainerClientOptions {
            client_options: self.options(),
            ..Default::default()
        };
        let url = self.url(&subject.filesystem, &[]);
        BlobContainerClient::new(url, self.credential.clone(), Some(options))
            .map_err(|error| Fault::of(&error))
    }

    fn blob(&self, target: &Target) -> Result<BlobClient, Fault> {
        let options = BlobClientOptions {
            client_options: self.options(),
            ..Default::default()
        };
        let url = self.url(&target.subject.filesystem, &target.names);
        BlobClient::new(url, self.credential.clone(), Some(options)).map_err(|error| Fault::of(&error))
    }

    /// Adds up the blobs whose names are `prefix` and one that `select` accepts.
    async fn list(&self, subject: &Subject, prefix: &str, select: &SelectName) -> Result<Total, GaveUp> {
        let mut total = Total::default();
        let mut marker = None;
        loop {
            let page = self.requests.run(subject, |_| async {
                let options = BlobContainerClientListBlobsOptions {
                    marker: marker.clone(),
                    maxresults: i32::try_from(LIST_PAGE.get()).ok(),
                    prefix: Some(prefix.to_owned()),
                    ..Default::default()
                };
                let pages = self.container(subject)?.list_blobs(Some(options));
                let mut pages = pages.map_err(|error| Fault::of(&error))?.into_pages();
                let page = pages.next().await.transpose();
                let page = page.and_then(|page| page.map(azure_core::http::Response::into_model).transpose());
                page.map_err(|error| Fault::of(&error))
            });
            let page = page.await?.unwrap_or_default();
            for blob in page.blob_items {
                let name = blob.name.unwrap_or_default();
                let length = blob.properties.and_then(|properties| properties.content_length);
                if let (Some(name), Some(length)) = (name.strip_prefix(prefix), length)
                    && select(name)
                {
                    total.add(length);
                }
            }
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(total);
            }
        }
    }

    /// Whether the blob is there with these contents, by its length and the MD5 that the service computes
    /// for each Put Blob. <https://learn.microsoft.com/rest/api/storageservices/put-blob#remarks>
    async fn has(&self, target: &Target, contents: &Bytes) -> Result<bool, DestinationError> {
        let properties = self.requests.run(&target.subject, |_| async {
            let found = self
                .blob(target)?
                .get_properties(None)
                .await
                .map_err(|error| Fault::of(&error))?;
            let length = found.content_length().ok().flatten();
            let digest = found.content_md5().ok().flatten();
            Ok((length, digest))
        });
        match properties.await {
            Ok((length, digest)) => Ok(length == Some(contents.len() as u64)
                && digest.is_some_and(|digest| digest[..] == Md5::digest(contents)[..])),
            Err(GaveUp { fault, .. }) if matches!(fault.status(), Some((404, _))) => Ok(false),
            // A SAS without the right to read can still write.
            Err(GaveUp { fault, .. }) if matches!(fault.status(), Some((403, _))) => Ok(false),
            Err(gave_up) => Err(self.requests.error(&target.subject, &gave_up)),
        }
    }

    /// Removes a file that cannot be replaced by blocks: one that was appended through the Data Lake API, or
    /// an append or page blob. Its removal would drop blocks that are already staged, so it comes first. The
    /// question also tells whether the container is there, before a block is sent in vain.
    /// <https://learn.microsoft.com/azure/storage/blobs/data-lake-storage-known-issues>
    async fn make_way(&self, target: &Target) -> Result<(), DestinationError> {
        let is_in_the_way = self.in_container(target, |_| async {
            let found = self
                .blob(target)?
                .get_properties(None)
                .await
                .map_err(|error| Fault::of(&error))?;
            let blob_type = found.blob_type().ok().flatten();
            if blob_type.is_some_and(|blob_type| blob_type != BlobType::BlockBlob) {
                return Ok(true);
            }
            // One Put Blob leaves an MD5, a commit leaves blocks.
            if found.content_length().ok().flatten() == Some(0)
                || found.content_md5().ok().flatten().is_some()
            {
                return Ok(false);
            }
            let client = self.block_blob(target)?;
            let list = client.get_block_list(BlockListType::Committed, None).await;
            let list = list.and_then(|list| list.into_model());
            match list.map_err(|error| Fault::of(&error)) {
                Ok(list) => Ok(list.committed_blocks.is_none_or(|blocks| blocks.is_empty())),
                // A long list is not empty.
                Err(Fault::Http(Failure::TooLong)) => Ok(false),
                Err(fault) => Err(fault),
            }
        });
        match is_in_the_way.await {
            Ok(true) => self.remove(target).await,
            Ok(false) => Ok(()),
            // There is nothing, or it is not to be read by these credentials or from this server: the commit
            // will tell.
            Err(gave_up) if gave_up.is_answer() => Ok(()),
            Err(gave_up) => Err(self.requests.error(&target.subject, &gave_up)),
        }
    }

    /// Writes to `target`. What stands in the way is removed, and with it the blocks that were staged there:
    /// then a whole file is written at once, and one of blocks fails in a way that a new beginning mends.
    async fn write(&self, target: &Target, write: &Write) -> Result<(), DestinationError> {
        let attempt = |_| self.attempt(target, write);
        let mut written = self.in_container(target, attempt).await;
        if let Err(gave_up) = &written
            && stands_in_the_way(&gave_up.fault)
        {
            self.remove(target).await?;
            if !matches!(write, Write::Whole(_)) {
                let error = self.requests.error(&target.subject, gave_up);
                return Err(DestinationError {
                    transient: true,
                    ..error.advise("what stood in the way was removed: run again")
                });
            }
            written = self.in_container(target, attempt).await;
        }
        written.map_err(|gave_up| self.requests.error(&target.subject, &gave_up))
    }

    /// Sends a request to the container of `target`, which is made if it is missing.
    async fn in_container<T, F>(&self, target: &Target, attempt: impl FnMut(u32) -> F) -> Result<T, GaveUp>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let create = |_| async {
            let created = self.container(&target.subject)?.create(None).await;
            created.map(drop).map_err(|error| Fault::of(&error))
        };
        self.requests
            .run_or_create(&target.subject, attempt, create)
            .await
    }

    async fn attempt(&self, target: &Target, write: &Write) -> Result<(), Fault> {
        let client = self.block_blob(target)?;
        let written = match write {
            Write::Whole(contents) => {
                let options = BlockBlobClientUploadOptions {
                    // One request, whatever the size.
                    partition_size: NonZero::new(u64::MAX),
                    ..BlockBlobClientUploadOptions::default()
                };
                let uploaded = client.upload(contents.clone().into(), Some(options)).await;
                let uploaded = uploaded.map_err(|error| Fault::of(&error))?;
                // The service computes the MD5 of what it stored.
                if uploaded
                    .content_md5
                    .is_some_and(|md5| md5[..] != Md5::digest(contents)[..])
                {
                    return Err(Fault::Http(Failure::Corrupted));
                }
                Ok(())
            }
            Write::Block { id, contents } => {
                let length = contents.len() as u64;
                client
                    .stage_block(id, length, contents.clone().into(), None)
                    .await
                    .map(drop)
            }
            Write::Commit { ids } => {
                let list = BlockLookupList {
                    latest: Some(ids.clone()),
                    ..BlockLookupList::default()
                };
                match RequestContent::try_from(list) {
                    Ok(list) => client.commit_block_list(list, None).await.map(drop),
                    Err(error) => Err(error),
                }
            }
        };
        written.map_err(|error| Fault::of(&error))
    }

    async fn remove(&self, target: &Target) -> Result<(), DestinationError> {
        let file = &target.subject.file;
        tracing::info!("{file}: replacing a file of another API");
        let deleted = self.requests.run(&target.subject, |_| async {
            let deleted = self.blob(target)?.delete(None).await;
            deleted.map(drop).map_err(|error| Fault::of(&error))
        });
        match deleted.await {
            Ok(()) => Ok(()),
            Err(GaveUp { fault, .. }) if matches!(fault.status(), Some((404, _))) => Ok(()),
            Err(gave_up) => Err(self.requests.error(&target.subject, &gave_up)),
        }
    }
}

/// Whether a file of another type or API is in the place, which must be removed before it can be written.
/// Other conflicts, such as a policy of immutability, are no reason to remove anything.
fn stands_in_the_way(fault: &Fault) -> bool {
    matches!(
        fault.status(),
        Some((409, "InvalidBlobType" | "BlobOperationNotSupported"))
    )
}

/// A blob that is being staged.
struct BlobUpload {
    door: Arc<Door>,
    target: Target,
    /// Tells this run's blocks from those of a run that was killed.
    run: u64,
}

impl BlobUpload {
    /// All of one length, as the service wants them.
    fn block_id(&self, index: u64) -> Vec<u8> {
        format!("{:016x}-{index:08}", self.run).into_bytes()
    }
}

#[async_trait]
impl Upload for BlobUpload {
    async fn put(&self, contents: Bytes) -> Result<(), DestinationError> {
        let write = Write::Whole(contents);
        self.door.write(&self.target, &write).await
    }

    async fn begin(&self) -> Result<(), DestinationError> {
        self.door.make_way(&self.target).await
    }

    async fn send(&self, index: u64, _offset: u64, block: Bytes) -> Result<(), DestinationError> {
        let write = Write::Block {
            id: self.block_id(index),
            contents: block,
        };
        self.door.write(&self.target, &write).await
    }

    async fn commit(&self, blocks: u64, _length: u64) -> Result<(), DestinationError> {
        let write = Write::Commit {
            ids: (0..blocks).map(|index| self.block_id(index)).collect(),
        };
        self.door.write(&self.target, &write).await
    }
}
