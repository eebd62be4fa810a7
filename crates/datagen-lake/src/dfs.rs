//! The Data Lake API: `*.dfs.core.windows.net`, with azure_storage_datalake.
//!
//! Every file is created in `_temporary/WRITER/`, appended to, flushed, and renamed over its target, which replaces the
//! target atomically. No two attempts to create a file use the same name, so that an abandoned request that takes effect
//! late does no harm. At the end of a run, the writer's directory is removed with everything that this run or a killed one
//! left there.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use azure_core_legacy::auth::{AccessToken as LegacyToken, TokenCredential};
use azure_core_legacy::error::{Error as LegacyError, ErrorKind};
use azure_core_legacy::prelude::{MaxResults, NextMarker, Range};
use azure_core_legacy::{ClientOptions, RetryOptions, TransportOptions};
use azure_storage_datalake::clients::{DataLakeClient, DataLakeClientBuilder, DirectoryClient, FileClient};
use azure_storage_datalake::file_system::Path;
use azure_storage_legacy::{CloudLocation, StorageCredentials};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Mutex;

use super::config::Account;
use super::legacy_http::LegacyHttpClient;
use super::request::{AttemptError, RequestError, Requests, Resume, Subject, lock};
use super::upload::{self, LIST_PAGE, PUTS_IN_FLIGHT, RemoteFile, Upload};
use super::{BlockLayout, Lake, LakeFile, LakePath, SelectName, TEMPORARY, Total, UploadError, Writer};
use datagen_azure::entra::EntraCredential;
use datagen_azure::http::HttpError;
use datagen_process::error::DestinationError;

/// The encoded characters of a path segment: all but the unreserved ones of RFC 3986. The SDK encodes nothing.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A storage account that is written via its Data Lake API.
#[derive(Clone)]
pub(crate) struct DfsLake {
    api: Arc<DfsApi>,
}

struct DfsApi {
    account: Account,
    requests: Requests,
    client: DataLakeClient,
    /// Directories (`filesystem/dir`) that this process has created or found.
    created: Mutex<HashSet<String>>,
    /// Filesystems in which this process has created temporary files.
    used: std::sync::Mutex<HashSet<String>>,
    writer: Writer,
    /// Distinguishes the temporary files of this run from those of a killed one.
    run: u64,
    /// The number of the next temporary file.
    next: AtomicU64,
    resume: Resume,
}

/// The location of a file; the paths are percent-encoded.
#[derive(Clone, Debug)]
struct DfsLocation {
    subject: Subject,
    /// The directory that it is published in; empty for the root.
    parent: String,
    path: String,
    /// Its last segment.
    name: String,
}

impl DfsLake {
    /// # Errors
    /// If the SAS cannot be read.
    pub(crate) fn new(
        account: Account,
        credential: Option<EntraCredential>,
        writer: Writer,
    ) -> Result<Self, DestinationError> {
        let credentials = match (&account.sas, credential) {
            (Some(sas), _) => StorageCredentials::sas_token(sas.expose()).map_err(|_| {
                DestinationError::permanent(account.to_string(), "the SAS cannot be read")
                    .advise("copy it whole into STORAGE_SAS")
            })?,
            (None, Some(credential)) => {
                StorageCredentials::token_credential(Arc::new(LegacyCredential(credential)))
            }
            (None, None) => StorageCredentials::anonymous(),
        };
        let location = CloudLocation::Custom {
            account: account.service.host_str().unwrap_or_default().to_owned(),
            // The SDK appends paths to it, so the trailing slash is required; the configuration guarantees it.
            uri: account.service.to_string(),
        };
        let transport = TransportOptions::new(Arc::new(LegacyHttpClient::new(&account)));
        let options = ClientOptions::new(transport).retry(RetryOptions::none());
        let client = DataLakeClientBuilder::with_location(location, credentials)
            .client_options(options)
            .build();
        let api = DfsApi {
            requests: Requests::new(&account),
            client,
            account,
            created: Mutex::default(),
            used: std::sync::Mutex::default(),
            writer,
            run: rand::random(),
            next: AtomicU64::default(),
            resume: Resume::default(),
        };
        Ok(Self { api: Arc::new(api) })
    }
}

#[async_trait]
impl Lake for DfsLake {
    fn blocks(&self, expected_bytes: u64) -> BlockLayout {
        upload::blocks(expected_bytes)
    }

    async fn create(&self, path: &LakePath) -> Result<Box<dyn LakeFile>, DestinationError> {
        let upload = DfsUpload {
            api: Arc::clone(&self.api),
            target: self.api.target(path),
            temporary: OnceLock::new(),
        };
        Ok(Box::new(RemoteFile::new(Arc::new(upload))))
    }

    async fn put(&self, path: &LakePath, contents: Bytes) -> Result<(), DestinationError> {
        let (api, target) = (&self.api, self.api.target(path));
        if api.resume.is_worth_asking() {
            if api.has(&target, &contents).await? {
                return Ok(());
            }
            api.resume.missed();
        }
        Ok(api.write(&target, contents).await?)
    }

    fn puts_in_flight(&self) -> usize {
        PUTS_IN_FLIGHT
    }

    async fn sync(&self) -> Result<(), DestinationError> {
        // The service responds to a flush only when it is durable.
        Ok(())
    }

    fn describe(&self, path: &str) -> String {
        self.api.requests.describe(path)
    }

    async fn stat(&self, path: &LakePath) -> Result<Option<Total>, DestinationError> {
        let target = self.api.target(path);
        let answer = self.api.length(&target).await;
        let answer = answer.map(|length| {
            let mut total = Total::default();
            total.add(length);
            total
        });
        self.api.requests.found(&target.subject, answer)
    }

    async fn total(&self, beside: &LakePath, select: SelectName) -> Result<Option<Total>, DestinationError> {
        let (filesystem, names) = self.api.place(beside);
        let subject = Subject {
            filesystem: filesystem.to_owned(),
            file: beside.folder(),
        };
        // Without the name of the file.
        let directory = names[..names.len() - 1].join("/");
        let mut total = Total::default();
        let add = |path: &Path| {
            let name = path.name.rsplit('/').next().unwrap_or_default();
            if !path.is_directory && select(name) {
                total.add(u64::try_from(path.content_length).unwrap_or_default());
            }
        };
        let listed = self.api.list(&subject, &directory, add).await;
        self.api.requests.found(&subject, listed.map(|()| total))
    }

    async fn clean_up(&self) {
        let used = std::mem::take(&mut *lock(&self.api.used));
        join_all(used.iter().map(|filesystem| self.api.clean_up(filesystem))).await;
    }
}

fn encode(names: &[&str]) -> Vec<String> {
    names
        .iter()
        .map(|name| utf8_percent_encode(name, SEGMENT).to_string())
        .collect()
}

impl DfsApi {
    /// Returns the filesystem of `path`, and the segments of the path in it.
    fn place<'p>(&'p self, path: &'p LakePath) -> (&'p str, Vec<&'p str>) {
        let (filesystem, names) = match &self.account.filesystem {
            Some(filesystem) => (filesystem.as_str(), path.in_directory().to_vec()),
            None => path.in_own_filesystem(),
        };
        let directory = self.account.directory.iter().map(String::as_str);
        (filesystem, directory.chain(names).collect())
    }

    fn target(&self, path: &LakePath) -> DfsLocation {
        let (filesystem, names) = self.place(path);
        let subject = Subject {
            filesystem: filesystem.to_owned(),
            file: path.to_string(),
        };
        let mut names = encode(&names);
        let path = names.join("/");
        let name = names.pop().unwrap_or_default();
        DfsLocation {
            subject,
            parent: names.join("/"),
            path,
            name,
        }
    }

    /// Returns the segments of the URL's directory, percent-encoded.
    fn root(&self) -> Vec<String> {
        let directory: Vec<&str> = self.account.directory.iter().map(String::as_str).collect();
        encode(&directory)
    }

    /// Returns the percent-encoded path of `name` among the temporary files, or of their directory if `name` is empty.
    fn temporary(&self, name: &[&str]) -> String {
        [self.root(), encode(&[TEMPORARY]), encode(name)]
            .concat()
            .join("/")
    }

    fn file(&self, target: &DfsLocation, path: &str) -> FileClient {
        self.client
            .file_system_client(&target.subject.filesystem)
            .get_file_client(path)
    }

    fn directory(&self, filesystem: &str, path: &str) -> DirectoryClient {
        self.client
            .file_system_client(filesystem)
            .get_directory_client(path)
    }

    /// Sends the SDK's request that `make` returns, until it succeeds or fails for good.
    async fn run<T, F>(&self, subject: &Subject, make: impl Fn() -> F) -> Result<T, RequestError>
    where
        F: IntoFuture<Output = azure_core_legacy::Result<T>>,
    {
        let attempt = |_| {
            let request = make();
            async move { Ok(request.into_future().await?) }
        };
        self.requests.run(subject, attempt).await
    }

    /// Returns whether the file exists with these contents. Reading it costs a tenth of the four requests that write
    /// it. The service keeps no digest of a file that was appended to.
    async fn has(&self, target: &DfsLocation, contents: &Bytes) -> Result<bool, DestinationError> {
        // One more byte is requested, to detect a longer file. For a range without an end, the SDK sends an end that
        // some servers cannot parse.
        let end = contents.len() as u64 + 1;
        let read = || self.file(target, &target.path).read().range(Range::Range(0..end));
        match self.run(&target.subject, read).await {
            Ok(found) => Ok(found.data == *contents),
            // It does not exist, or is empty (which has no range), or these credentials or this server do not allow
            // reading it.
            Err(error) if matches!(error.status(), 400 | 403 | 404 | 416) => Ok(false),
            // The response of a server that ignores ranges.
            Err(error) if matches!(error.last, AttemptError::Http(HttpError::TooLong)) => Ok(false),
            Err(error) => Err(self.requests.error(&target.subject, error)),
        }
    }

    /// Writes and publishes a file, and does so once more from its beginning if the service lost a part of it.
    async fn write(&self, target: &DfsLocation, contents: Bytes) -> Result<(), UploadError> {
        match self.write_once(target, contents.clone()).await {
            Err(UploadError::Lost(error)) => {
                tracing::warn!("sending the file again after: {error}");
                self.write_once(target, contents).await
            }
            written => written,
        }
    }

    async fn write_once(&self, target: &DfsLocation, contents: Bytes) -> Result<(), UploadError> {
        let temporary = self.begin(target).await?;
        let length = contents.len() as u64;
        if length > 0 {
            self.append(target, &temporary, 0, contents).await?;
        }
        self.publish(target, &temporary, length).await
    }

    /// Creates an empty temporary file and returns its path. This request also shows whether the filesystem exists.
    async fn begin(&self, target: &DfsLocation) -> Result<String, UploadError> {
        lock(&self.used).insert(target.subject.filesystem.clone());
        let create_file = |_| {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let unique = format!("{}.{:016x}-{number}", target.name, self.run);
            let path = self.temporary(&[&self.writer.to_string(), &unique]);
            let request = self.file(target, &path).create();
            async move {
                request.into_future().await?;
                Ok(path)
            }
        };
        let create_filesystem = |_| {
            let request = self
                .client
                .file_system_client(&target.subject.filesystem)
                .create();
            async move {
                request.into_future().await?;
                Ok(())
            }
        };
        self.requests
            .run_or_create(&target.subject, create_file, create_filesystem)
            .await
            .map_err(|error| self.requests.upload_error(&target.subject, error))
    }

    async fn append(
        &self,
        target: &DfsLocation,
        temporary: &str,
        offset: u64,
        block: Bytes,
    ) -> Result<(), UploadError> {
        let position = i64::try_from(offset).unwrap_or(i64::MAX);
        let append = || self.file(target, temporary).append(position, block.clone());
        self.run(&target.subject, append)
            .await
            .map(drop)
            .map_err(|error| self.requests.upload_error(&target.subject, error))
    }

    async fn flush(&self, target: &DfsLocation, temporary: &str, length: u64) -> Result<(), UploadError> {
        let position = i64::try_from(length).unwrap_or(i64::MAX);
        let flush = || self.file(target, temporary).flush(position);
        self.run(&target.subject, flush)
            .await
            .map(drop)
            .map_err(|error| self.requests.upload_error(&target.subject, error))
    }

    /// Flushes the temporary file and renames it over its target, whose directory must exist by then.
    async fn publish(&self, target: &DfsLocation, temporary: &str, length: u64) -> Result<(), UploadError> {
        let make_directory = async { Ok(self.make_directory(target).await?) };
        tokio::try_join!(self.flush(target, temporary, length), make_directory)?;
        let mut is_retried = false;
        let renamed = self.requests.run(&target.subject, |attempt| {
            is_retried = attempt > 0;
            let rename = self.file(target, temporary).rename(&target.path);
            async move { Ok(rename.into_future().await?) }
        });
        match renamed.await {
            Ok(()) => Ok(()),
            // An earlier attempt may have taken effect although its response was lost. The source is then missing
            // because it has become the target.
            Err(error)
                if is_retried && error.status() == 404 && self.is_published(target, length).await? =>
            {
                Ok(())
            }
            Err(error) => Err(self.requests.upload_error(&target.subject, error)),
        }
    }

    async fn is_published(&self, target: &DfsLocation, length: u64) -> Result<bool, DestinationError> {
        match self.length(target).await {
            Ok(found) => Ok(found == length),
            Err(error) if error.status() == 404 => Ok(false),
            Err(error) => Err(self.requests.error(&target.subject, error)),
        }
    }

    /// Returns the length of the published file.
    async fn length(&self, target: &DfsLocation) -> Result<u64, RequestError> {
        let properties = || self.file(target, &target.path).get_properties();
        let found = self.run(&target.subject, properties).await?;
        let length = found.content_length.and_then(|length| u64::try_from(length).ok());
        Ok(length.unwrap_or_default())
    }

    /// Creates the directory that the file is published in, unless this process has created or found it before.
    async fn make_directory(&self, target: &DfsLocation) -> Result<(), DestinationError> {
        if target.parent.is_empty() {
            return Ok(());
        }
        let key = format!("{}/{}", target.subject.filesystem, target.parent);
        let mut created = self.created.lock().await;
        if created.contains(&key) {
            return Ok(());
        }
        let create = || {
            self.directory(&target.subject.filesystem, &target.parent)
                .create_if_not_exists()
        };
        match self.run(&target.subject, create).await {
            Ok(_) => {}
            // It exists already. If it is not a directory, the rename fails.
            Err(error) if matches!(error.status(), 409 | 412) => {}
            Err(error) => return Err(self.requests.error(&target.subject, error)),
        }
        created.insert(key);
        Ok(())
    }

    /// Removes the temporary files of this writer and of those that it succeeds, and then the directory of all
    /// temporary files if it is empty. Otherwise, it has files of writers that are running, or that will never run
    /// again.
    async fn clean_up(&self, filesystem: &str) {
        let subject = Subject {
            filesystem: filesystem.to_owned(),
            file: TEMPORARY.to_owned(),
        };
        let own = self.temporary(&[&self.writer.to_string()]);
        let cleaned = async {
            self.remove_directory(&subject, &own, true).await?;
            let all = self.temporary(&[]);
            match self.remove_directory(&subject, &all, false).await {
                Err(error) if error.status() == 409 => {}
                removed => return removed,
            }
            let directories = self.writers(&subject).await?;
            let remains = directories.iter().filter(|name| self.writer.succeeds(name));
            for name in remains {
                tracing::info!("removing {TEMPORARY}/{name}, which a killed run left");
                self.remove_directory(&subject, &self.temporary(&[name]), true)
                    .await?;
            }
            match self.remove_directory(&subject, &all, false).await {
                Err(error) if error.status() == 409 => Ok(()),
                removed => removed,
            }
        };
        if let Err(error) = cleaned.await {
            tracing::debug!("{own} was not removed: {}", error.last);
        }
    }

    /// Returns the names of the directories of temporary files.
    async fn writers(&self, subject: &Subject) -> Result<Vec<String>, RequestError> {
        let names = self.account.directory.iter().map(String::as_str);
        let directory = names.chain([TEMPORARY]).collect::<Vec<_>>().join("/");
        let mut names = Vec::new();
        let add = |path: &Path| names.extend(path.name.rsplit('/').next().map(str::to_owned));
        self.list(subject, &directory, add).await?;
        Ok(names)
    }

    /// Passes each entry of `directory`, which is not percent-encoded, to `visit`.
    async fn list(
        &self,
        subject: &Subject,
        directory: &str,
        mut visit: impl FnMut(&Path),
    ) -> Result<(), RequestError> {
        let mut continuation: Option<NextMarker> = None;
        loop {
            let page = self.requests.run(subject, |_| {
                let client = self.client.file_system_client(&subject.filesystem);
                let page = MaxResults::new(LIST_PAGE);
                let mut request = client.list_paths().recursive(false).max_results(page);
                if !directory.is_empty() {
                    request = request.directory(directory.to_owned());
                }
                if let Some(continuation) = continuation.clone() {
                    request = request.continuation(continuation);
                }
                let mut pages = request.into_stream();
                async move { Ok(pages.next().await.transpose()?) }
            });
            let Some(page) = page.await? else { return Ok(()) };
            page.paths.iter().for_each(&mut visit);
            continuation = page.continuation;
            if continuation.is_none() {
                return Ok(());
            }
        }
    }

    /// Removes a directory, with its contents or only if it is empty. A missing directory is not an error.
    async fn remove_directory(
        &self,
        subject: &Subject,
        path: &str,
        recursive: bool,
    ) -> Result<(), RequestError> {
        let delete = |_| async {
            let mut steps = self
                .directory(&subject.filesystem, path)
                .delete(recursive)
                .into_stream();
            while let Some(step) = steps.next().await {
                step?;
            }
            Ok(())
        };
        match self.requests.run(subject, delete).await {
            Err(error) if error.status() == 404 => Ok(()),
            removed => removed,
        }
    }
}

/// A big file under its temporary name.
struct DfsUpload {
    api: Arc<DfsApi>,
    target: DfsLocation,
    /// The path of the temporary file, once it has been created.
    temporary: OnceLock<String>,
}

impl DfsUpload {
    fn temporary(&self) -> &str {
        self.temporary
            .get()
            .expect("the file is created before its first block is sent")
    }
}

#[async_trait]
impl Upload for DfsUpload {
    async fn put(&self, contents: Bytes) -> Result<(), UploadError> {
        self.api.write(&self.target, contents).await
    }

    async fn begin(&self) -> Result<(), UploadError> {
        let temporary = self.api.begin(&self.target).await?;
        self.temporary.get_or_init(|| temporary);
        Ok(())
    }

    async fn send(&self, _index: u64, offset: u64, block: Bytes) -> Result<(), UploadError> {
        self.api
            .append(&self.target, self.temporary(), offset, block)
            .await
    }

    async fn commit(&self, _blocks: u64, length: u64) -> Result<(), UploadError> {
        self.api.publish(&self.target, self.temporary(), length).await
    }
}

/// The shared credential for clients of azure_core 0.21. It keeps its tokens.
#[derive(Debug)]
struct LegacyCredential(EntraCredential);

#[async_trait]
impl TokenCredential for LegacyCredential {
    async fn get_token(&self, scopes: &[&str]) -> azure_core_legacy::Result<LegacyToken> {
        let scope = scopes
            .first()
            .copied()
            .unwrap_or(datagen_azure::entra::STORAGE_SCOPE);
        let token = self.0.token(scope).await.map_err(|error| {
            let message = error.to_string();
            LegacyError::full(ErrorKind::Credential, error, message)
        })?;
        Ok(LegacyToken::new(
            token.secret().to_owned(),
            token.expires_on().into(),
        ))
    }

    async fn clear_cache(&self) -> azure_core_legacy::Result<()> {
        Ok(())
    }
}
