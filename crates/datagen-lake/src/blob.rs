//! The Blob API: `*.blob.core.windows.net` and Azurite, with the official azure_storage_blob.
//!
//! A small file, or a file of a single block, is one Put Blob, which replaces an existing file atomically. The blocks of a
//! big file are staged, where no reader sees them, and appear when they are committed. Blocks that are never committed are
//! dropped by the next commit, or by the service within a week.

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
use super::request::{AttemptError, RequestError, Requests, Resume, Subject};
use super::upload::{self, LIST_PAGE, PUTS_IN_FLIGHT, RemoteFile, Upload};
use super::{BlockLayout, Lake, LakeFile, LakePath, SelectName, Total, UploadError};
use datagen_azure::entra::EntraCredential;
use datagen_azure::http::{HttpError, STALL_TIMEOUT, SdkHttpClient};
use datagen_process::error::DestinationError;

/// A storage account that is written via its Blob API.
#[derive(Clone)]
pub(crate) struct BlobLake {
    api: Arc<BlobApi>,
}

struct BlobApi {
    account: Account,
    requests: Requests,
    http: SdkHttpClient,
    credential: Option<Arc<dyn TokenCredential>>,
    resume: Resume,
}

/// The location of a blob.
#[derive(Clone, Debug)]
struct BlobLocation {
    subject: Subject,
    /// The segments of its name in the container.
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
        let api = BlobApi {
            requests: Requests::new(&account),
            http: SdkHttpClient::for_storage(&account.service)
                .stalling_after(account.stall_timeout.unwrap_or(STALL_TIMEOUT)),
            credential: credential.map(|credential| Arc::new(credential) as _),
            account,
            resume: Resume::default(),
        };
        Self { api: Arc::new(api) }
    }
}

#[async_trait]
impl Lake for BlobLake {
    fn blocks(&self, expected_bytes: u64) -> BlockLayout {
        upload::blocks(expected_bytes)
    }

    async fn create(&self, path: &LakePath) -> Result<Box<dyn LakeFile>, DestinationError> {
        let upload = BlobUpload {
            api: Arc::clone(&self.api),
            target: self.api.target(path),
            run: rand::random(),
        };
        Ok(Box::new(RemoteFile::new(Arc::new(upload))))
    }

    async fn put(&self, path: &LakePath, contents: Bytes) -> Result<(), DestinationError> {
        let (api, target) = (&*self.api, self.api.target(path));
        if api.resume.is_worth_asking() {
            if api.has(&target, &contents).await? {
                return Ok(());
            }
            api.resume.missed();
        }
        Ok(api.write(&target, &Write::Whole(contents)).await?)
    }

    fn puts_in_flight(&self) -> usize {
        PUTS_IN_FLIGHT
    }

    async fn sync(&self) -> Result<(), DestinationError> {
        // The service responds to a write only when it is durable.
        Ok(())
    }

    fn describe(&self, path: &str) -> String {
        self.api.requests.describe(path)
    }

    async fn stat(&self, path: &LakePath) -> Result<Option<Total>, DestinationError> {
        let target = self.api.target(path);
        let (requests, subject) = (&self.api.requests, &target.subject);
        let answer = requests.run(subject, |_| async {
            let found = self.api.blob(&target)?.get_properties(None).await?;
            let mut total = Total::default();
            if let Some(length) = found.content_length().ok().flatten() {
                total.add(length);
            }
            Ok(total)
        });
        requests.found(subject, answer.await)
    }

    async fn total(&self, beside: &LakePath, select: SelectName) -> Result<Option<Total>, DestinationError> {
        let BlobLocation { subject, mut names } = self.api.target(beside);
        // An empty last name, so that the prefix ends in a slash, or is empty.
        names.pop();
        names.push(String::new());
        let prefix = names.join("/");
        let answer = self.api.list(&subject, &prefix, &select);
        self.api.requests.found(&subject, answer.await)
    }
}

impl BlobApi {
    fn target(&self, path: &LakePath) -> BlobLocation {
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
        BlobLocation {
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
        url.set_query(self.account.sas.as_ref().map(datagen_settings::Secret::expose));
        url
    }

    fn options(&self) -> ClientOptions {
        ClientOptions {
            transport: Some(self.http.transport()),
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        }
    }

    fn block_blob(&self, target: &BlobLocation) -> Result<BlockBlobClient, AttemptError> {
        let options = BlockBlobClientOptions {
            client_options: self.options(),
            ..Default::default()
        };
        let url = self.url(&target.subject.filesystem, &target.names);
        Ok(BlockBlobClient::new(url, self.credential.clone(), Some(options))?)
    }

    fn container(&self, subject: &Subject) -> Result<BlobContainerClient, AttemptError> {
        let options = BlobContainerClientOptions {
            client_options: self.options(),
            ..Default::default()
        };
        let url = self.url(&subject.filesystem, &[]);
        Ok(BlobContainerClient::new(
            url,
            self.credential.clone(),
            Some(options),
        )?)
    }

    fn blob(&self, target: &BlobLocation) -> Result<BlobClient, AttemptError> {
        let options = BlobClientOptions {
            client_options: self.options(),
            ..Default::default()
        };
        let url = self.url(&target.subject.filesystem, &target.names);
        Ok(BlobClient::new(url, self.credential.clone(), Some(options))?)
    }

    /// Counts the blobs whose names are `prefix` followed by a name that `select` accepts.
    async fn list(
        &self,
        subject: &Subject,
        prefix: &str,
        select: &SelectName,
    ) -> Result<Total, RequestError> {
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
                let mut pages = self.container(subject)?.list_blobs(Some(options))?.into_pages();
                match pages.next().await {
                    Some(page) => Ok(Some(page?.into_model()?)),
                    None => Ok(None),
                }
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

    /// Returns whether the blob exists with these contents, according to its length and the MD5 that the service
    /// computes for each Put Blob. <https://learn.microsoft.com/rest/api/storageservices/put-blob#remarks>
    async fn has(&self, target: &BlobLocation, contents: &Bytes) -> Result<bool, DestinationError> {
        let properties = self.requests.run(&target.subject, |_| async {
            let found = self.blob(target)?.get_properties(None).await?;
            let length = found.content_length().ok().flatten();
            let digest = found.content_md5().ok().flatten();
            Ok((length, digest))
        });
        match properties.await {
            Ok((length, digest)) => Ok(length == Some(contents.len() as u64)
                && digest.is_some_and(|digest| digest[..] == Md5::digest(contents)[..])),
            // It does not exist, or these credentials allow writing but not reading.
            Err(error) if matches!(error.status(), 403 | 404) => Ok(false),
            Err(error) => Err(self.requests.error(&target.subject, error)),
        }
    }

    /// Removes a file that blocks cannot replace: one that was written via the Data Lake API, or an append or page
    /// blob. Its removal would drop blocks that are already staged, so it comes first. The request also shows whether
    /// the container exists, before any block is sent.
    /// <https://learn.microsoft.com/azure/storage/blobs/data-lake-storage-known-issues>
    async fn make_way(&self, target: &BlobLocation) -> Result<(), DestinationError> {
        let is_in_the_way = self.in_container(target, |_| async {
            let found = self.blob(target)?.get_properties(None).await?;
            let blob_type = found.blob_type().ok().flatten();
            if blob_type.is_some_and(|blob_type| blob_type != BlobType::BlockBlob) {
                return Ok(true);
            }
            // Put Blob leaves an MD5, and a commit leaves blocks; an append via the Data Lake API leaves neither.
            if found.content_length().ok().flatten() == Some(0)
                || found.content_md5().ok().flatten().is_some()
            {
                return Ok(false);
            }
            let client = self.block_blob(target)?;
            let list = client.get_block_list(BlockListType::Committed, None).await;
            match list
                .and_then(|list| list.into_model())
                .map_err(AttemptError::from)
            {
                Ok(list) => Ok(list.committed_blocks.is_none_or(|blocks| blocks.is_empty())),
                // A block list that is too long to be read is not empty.
                Err(AttemptError::Http(HttpError::TooLong)) => Ok(false),
                Err(error) => Err(error),
            }
        });
        match is_in_the_way.await {
            Ok(true) => self.remove(target).await,
            Ok(false) => Ok(()),
            // There is no file, or these credentials or this server do not allow reading it: the commit decides.
            Err(error) if error.is_refusal() => Ok(()),
            Err(error) => Err(self.requests.error(&target.subject, error)),
        }
    }

    /// Writes to `target`. A file that cannot be replaced is removed, and with it the blocks that were staged for it. A
    /// whole file is then written again here. A file of blocks is reported as lost, and the caller can write it again
    /// from its beginning.
    async fn write(&self, target: &BlobLocation, write: &Write) -> Result<(), UploadError> {
        let attempt = |_| self.attempt(target, write);
        let mut written = self.in_container(target, attempt).await;
        if let Err(error) = &written
            && cannot_be_replaced(&error.last)
        {
            self.remove(target).await?;
            if !matches!(write, Write::Whole(_)) {
                let error = self.requests.error(&target.subject, error.clone());
                return Err(UploadError::Lost(
                    error.advise("the file that could not be replaced was removed: run again"),
                ));
            }
            written = self.in_container(target, attempt).await;
        }
        written.map_err(|error| self.requests.upload_error(&target.subject, error))
    }

    /// Sends a request to the container of `target`, which is created if it is missing.
    async fn in_container<T, F>(
        &self,
        target: &BlobLocation,
        attempt: impl FnMut(u32) -> F,
    ) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        let create = |_| async {
            self.container(&target.subject)?.create(None).await?;
            Ok(())
        };
        self.requests
            .run_or_create(&target.subject, attempt, create)
            .await
    }

    async fn attempt(&self, target: &BlobLocation, write: &Write) -> Result<(), AttemptError> {
        let client = self.block_blob(target)?;
        match write {
            Write::Whole(contents) => {
                let options = BlockBlobClientUploadOptions {
                    // One request, whatever the size.
                    partition_size: NonZero::new(u64::MAX),
                    ..BlockBlobClientUploadOptions::default()
                };
                let uploaded = client.upload(contents.clone().into(), Some(options)).await?;
                // The service computes the MD5 of what it stored.
                if uploaded
                    .content_md5
                    .is_some_and(|md5| md5[..] != Md5::digest(contents)[..])
                {
                    return Err(HttpError::Corrupted.into());
                }
            }
            Write::Block { id, contents } => {
                let length = contents.len() as u64;
                client
                    .stage_block(id, length, contents.clone().into(), None)
                    .await?;
            }
            Write::Commit { ids } => {
                let list = BlockLookupList {
                    latest: Some(ids.clone()),
                    ..BlockLookupList::default()
                };
                client
                    .commit_block_list(RequestContent::try_from(list)?, None)
                    .await?;
            }
        }
        Ok(())
    }

    async fn remove(&self, target: &BlobLocation) -> Result<(), DestinationError> {
        let file = &target.subject.file;
        tracing::info!("{file}: replacing a file of another API");
        let deleted = self.requests.run(&target.subject, |_| async {
            self.blob(target)?.delete(None).await?;
            Ok(())
        });
        match deleted.await {
            Ok(()) => Ok(()),
            Err(error) if error.status() == 404 => Ok(()),
            Err(error) => Err(self.requests.error(&target.subject, error)),
        }
    }
}

/// Returns whether a file of another type or API must be removed before the new one can be written. Other conflicts,
/// such as an immutability policy, are no reason to remove anything.
fn cannot_be_replaced(error: &AttemptError) -> bool {
    matches!(
        error.status(),
        Some((409, "InvalidBlobType" | "BlobOperationNotSupported"))
    )
}

/// A blob that is being staged.
struct BlobUpload {
    api: Arc<BlobApi>,
    target: BlobLocation,
    /// Distinguishes the blocks of this run from those of a run that was killed.
    run: u64,
}

impl BlobUpload {
    /// Returns the id of a block. All ids of a file's blocks must have the same length.
    fn block_id(&self, index: u64) -> Vec<u8> {
        format!("{:016x}-{index:08}", self.run).into_bytes()
    }
}

#[async_trait]
impl Upload for BlobUpload {
    async fn put(&self, contents: Bytes) -> Result<(), UploadError> {
        let write = Write::Whole(contents);
        self.api.write(&self.target, &write).await
    }

    async fn begin(&self) -> Result<(), UploadError> {
        Ok(self.api.make_way(&self.target).await?)
    }

    async fn send(&self, index: u64, _offset: u64, block: Bytes) -> Result<(), UploadError> {
        let write = Write::Block {
            id: self.block_id(index),
            contents: block,
        };
        self.api.write(&self.target, &write).await
    }

    async fn commit(&self, blocks: u64, _length: u64) -> Result<(), UploadError> {
        let write = Write::Commit {
            ids: (0..blocks).map(|index| self.block_id(index)).collect(),
        };
        self.api.write(&self.target, &write).await
    }
}
