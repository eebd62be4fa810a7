//! A strict Data Lake Storage Gen2 server in memory, written from Microsoft's REST documentation, because no released
//! emulator supports append and flush.
//!
//! It is strict wherever a client can make mistakes: positions of appends and flushes, lengths, permissions of the SAS,
//! the separate SAS for the source of a rename, parents of the target of a rename. Readers see only what was flushed.
//! It does not inject faults: put [`crate::faults`] in front of it.
//!
//! An account has two APIs: the server also implements the requests of the Blob API that write files (Put Blob, Put
//! Block, Put Block List, and their reads), so that both can be used for one file. For the Blob API, Azurite is the
//! reference; the implementation here is for tests without other programs, and for comparisons on one server.
//!
//! Paths are `/ACCOUNT/FILESYSTEM/PATH`, as in all emulators.

pub mod auth;
pub mod contents;
pub mod store;

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;
use tokio::{net::TcpListener, time::Instant};
use url::form_urlencoded;

use self::{
    auth::{Needs, SharedKeyAccount},
    store::{Node, ServiceError, Store},
};

use crate::lock;

/// The service's limit for one append. <https://learn.microsoft.com/rest/api/storageservices/datalakestoragegen2/path/update>
const APPEND_LIMIT: usize = 100 * 1024 * 1024;

/// What happens to the bytes of appends, blocks and blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// They are kept and can be read back.
    Kept,
    /// They are counted and dropped; a file reads as zeros. This is for comparing the speed of clients: a server that
    /// keeps everything would spend more time on its memory than on its clients.
    Dropped {
        /// The rate at which all requests together are read, in bytes per second, as over a link; 0 means no limit.
        rate: u64,
    },
}

/// What the bytes of [`Bodies::Dropped`] read as. Nothing writes to it, so that it takes no memory.
static ZEROS: [u8; APPEND_LIMIT] = [0; APPEND_LIMIT];

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub struct DfsServer {
    address: SocketAddr,
    shared: Arc<DfsState>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct DfsState {
    account: SharedKeyAccount,
    latency: Duration,
    bodies: Bodies,
    /// Until when the link of [`Bodies::Dropped`] is in use.
    busy_until: Mutex<Instant>,
    store: Mutex<Store>,
    tokens: Mutex<HashSet<String>>,
    peculiar: AtomicBool,
    log: Mutex<Vec<String>>,
}

impl DfsServer {
    /// Starts a server for `account` at `address` (port 0 picks a free one), which adds `latency` to each answer.
    ///
    /// # Errors
    /// If the address is in use.
    pub async fn start(
        address: SocketAddr,
        account: SharedKeyAccount,
        latency: Duration,
        bodies: Bodies,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(DfsState {
            account,
            latency,
            bodies,
            busy_until: Mutex::new(Instant::now()),
            store: Mutex::default(),
            tokens: Mutex::default(),
            peculiar: AtomicBool::default(),
            log: Mutex::default(),
        });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the DFS server stopped: {error}");
            }
        });
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Returns the address at which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of `path` with a SAS that allows everything for an hour.
    pub fn url_with_sas(&self, path: &str) -> String {
        let account = &self.shared.account;
        let sas = account.sas(auth::SasScope::Account, "rcwdlm", chrono::Duration::hours(1));
        format!("http://{}/{}/{path}?{sas}", self.address, account.name)
    }

    /// Returns the files of the server, to inspect them or to change them without the clients' knowledge.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.shared.store)
    }

    /// Accepts `token` as a bearer token with all rights.
    pub fn accept_token(&self, token: impl Into<String>) {
        lock(&self.shared.tokens).insert(token.into());
    }

    /// From now on, answers differ in ways that should not matter to clients: a different status for conditions that
    /// failed, a request id that is not a UUID, an error code only in the body.
    pub fn be_peculiar(&self) {
        self.shared.peculiar.store(true, Ordering::Relaxed);
    }

    /// Returns one line `METHOD PATH OPERATION STATUS` for each request received, without queries.
    pub fn log(&self) -> Vec<String> {
        lock(&self.shared.log).clone()
    }

    /// Returns the flushed contents of every file of `filesystem`, by path; empty if there is no such filesystem.
    pub fn files(&self, filesystem: &str) -> Vec<(String, Bytes)> {
        let store = self.store();
        let Ok(paths) = store.paths(filesystem) else {
            return Vec::new();
        };
        let file = |(path, node): (&String, &Node)| match node {
            Node::File(file) if !file.hidden => Some((path.clone(), file.contents.to_bytes())),
            _ => None,
        };
        paths.iter().filter_map(file).collect()
    }
}

impl Drop for DfsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type BodyError = Box<dyn std::error::Error + Send + Sync>;

async fn keep(body: Body) -> Result<Bytes, BodyError> {
    Ok(Limited::new(body, APPEND_LIMIT).collect().await?.to_bytes())
}

async fn drain(body: Body, rate: u64, busy_until: &Mutex<Instant>) -> Result<Bytes, BodyError> {
    let (mut body, mut length) = (Limited::new(body, APPEND_LIMIT), 0);
    while let Some(frame) = body.frame().await {
        let bytes = frame?.data_ref().map_or(0, Bytes::len);
        length += bytes;
        if rate > 0 {
            let free_at = {
                let mut busy_until = lock(busy_until);
                let taken = Duration::from_secs_f64(bytes as f64 / rate as f64);
                *busy_until = (*busy_until).max(Instant::now()) + taken;
                *busy_until
            };
            tokio::time::sleep_until(free_at).await;
        }
    }
    Ok(Bytes::from_static(&ZEROS[..length]))
}

async fn answer(State(shared): State<Arc<DfsState>>, request: Request) -> Response<Body> {
    let line = format!("{} {}", request.method(), request.uri().path());
    let call = match Call::read(&shared, request).await {
        Ok(call) => call,
        Err(error) => return shared.manner(reply_error(error)),
    };
    let result = call.perform(&shared);
    let status = result
        .as_ref()
        .map_or_else(|error| error.0, |reply| reply.status().as_u16());
    lock(&shared.log).push(format!("{line} {:?} {status}", call.operation));
    tokio::time::sleep(shared.latency).await;
    shared.manner(result.unwrap_or_else(reply_error))
}

impl DfsState {
    fn manner(&self, mut answer: Response<Body>) -> Response<Body> {
        if self.peculiar.load(Ordering::Relaxed) {
            let headers = answer.headers_mut();
            headers.insert("x-ms-request-id", HeaderValue::from_static("42"));
            headers.insert("x-ms-namespace-enabled", HeaderValue::from_static("True"));
            let code = headers.remove("x-ms-error-code");
            if code.is_some_and(|code| code == "PathAlreadyExists") {
                *answer.status_mut() = StatusCode::PRECONDITION_FAILED;
            }
        }
        answer
    }
}

fn reply(status: u16) -> axum::http::response::Builder {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    Response::builder()
        .status(status)
        .header("x-ms-version", "2023-11-03")
        .header("x-ms-request-id", format!("00000000-0000-4000-8000-{id:012x}"))
        .header(
            "Last-Modified",
            chrono::Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        )
        .header("x-ms-namespace-enabled", "true")
}

fn empty(status: u16, etag: u64) -> Response<Body> {
    with_body(
        reply(status).header("ETag", format!("\"0x{etag:X}\"")),
        Body::empty(),
    )
}

fn with_body(builder: axum::http::response::Builder, body: impl Into<Body>) -> Response<Body> {
    builder.body(body.into()).expect("the headers are ASCII")
}

fn reply_error(ServiceError(status, code): ServiceError) -> Response<Body> {
    let message = serde_json::json!({"error": {"code": code, "message": format!("{code}: see the service's documentation.")}});
    with_body(
        reply(status)
            .header("x-ms-error-code", code)
            .header("Content-Type", "application/json;charset=utf-8"),
        message.to_string(),
    )
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operation {
    CreateFilesystem,
    DeleteFilesystem,
    FilesystemProperties,
    List,
    ListBlobs,
    Create { directory: bool },
    Rename,
    Append { position: u64 },
    Flush { position: u64 },
    Properties,
    Read,
    Delete,
    PutBlob,
    PutBlock,
    PutBlockList,
    GetBlockList,
}

impl Operation {
    /// Returns the permissions, any one of which allows the operation.
    fn needs(&self) -> Needs {
        match self {
            Self::CreateFilesystem => &['c', 'w'],
            Self::DeleteFilesystem | Self::Delete => &['d'],
            Self::FilesystemProperties | Self::Properties | Self::Read | Self::GetBlockList => &['r'],
            Self::List | Self::ListBlobs => &['l'],
            Self::Create { .. } => &['c', 'w'],
            Self::Rename => &['m', 'w'],
            Self::Append { .. } => &['a', 'w'],
            Self::Flush { .. } | Self::PutBlock | Self::PutBlockList => &['w'],
            Self::PutBlob => &['c', 'w'],
        }
    }
}

/// A request that was read and authorized.
#[derive(Debug)]
struct Call {
    operation: Operation,
    filesystem: String,
    path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
}

const BAD_QUERY: ServiceError = ServiceError(400, "InvalidQueryParameterValue");

impl Call {
    async fn read(shared: &DfsState, request: Request) -> Result<Self, ServiceError> {
        let (parts, body) = request.into_parts();
        let bad_uri = ServiceError(400, "InvalidUri");
        let raw = parts.uri.query().unwrap_or_default();
        let query: Vec<(String, String)> = form_urlencoded::parse(raw.as_bytes()).into_owned().collect();
        let decoded = percent_decode_str(parts.uri.path())
            .decode_utf8()
            .map_err(|_| bad_uri)?;
        let (filesystem, path) = split(&decoded, &shared.account.name).ok_or(bad_uri)?;
        if parts.headers.get("x-ms-version").is_none() {
            return Err(ServiceError(400, "MissingRequiredHeader"));
        }
        let find = |name: &str| {
            query
                .iter()
                .find(|pair| pair.0 == name)
                .map(|pair| pair.1.as_str())
        };
        let takes_bytes = matches!(find("comp"), Some("block")) || find("action") == Some("append");
        let body = match shared.bodies {
            Bodies::Dropped { rate } if takes_bytes => drain(body, rate, &shared.busy_until).await,
            _ => keep(body).await,
        };
        let body = body.map_err(|_| ServiceError(413, "RequestBodyTooLarge"))?;
        if parts.headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(ServiceError(411, "MissingContentLengthHeader"));
        }
        let is_blob = parts
            .headers
            .get("x-ms-blob-type")
            .is_some_and(|kind| kind == "BlockBlob");
        let renames = parts.headers.contains_key("x-ms-rename-source");
        let operation = operation(&parts.method, path.is_empty(), renames, is_blob, find)?;
        authorize(shared, &parts.headers, raw, &filesystem, operation.needs())?;
        let of_filesystems = matches!(
            operation,
            Operation::CreateFilesystem | Operation::DeleteFilesystem
        );
        if of_filesystems && find("sig").is_some() && find("ss").is_none() {
            // Only an account SAS may do this, whatever the permissions of a SAS for a filesystem.
            return Err(ServiceError(403, "AuthorizationFailure"));
        }
        Ok(Self {
            operation,
            filesystem,
            path,
            headers: parts.headers,
            query,
            body,
        })
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|pair| pair.0 == name)
            .map(|pair| pair.1.as_str())
    }

    fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get(HeaderName::from_static(name))?.to_str().ok()
    }

    fn perform(&self, shared: &DfsState) -> Result<Response<Body>, ServiceError> {
        let mut store = lock(&shared.store);
        let (filesystem, path) = (self.filesystem.as_str(), self.path.as_str());
        let must_be_empty = !matches!(
            self.operation,
            Operation::Append { .. } | Operation::PutBlob | Operation::PutBlock | Operation::PutBlockList
        );
        if must_be_empty && !self.body.is_empty() {
            return Err(ServiceError(400, "ContentLengthMustBeZero"));
        }
        match self.operation {
            Operation::CreateFilesystem => store.create_filesystem(filesystem).map(|()| empty(201, 1)),
            Operation::DeleteFilesystem => store.delete_filesystem(filesystem).map(|()| empty(202, 1)),
            Operation::FilesystemProperties => store.paths(filesystem).map(|_| empty(200, 1)),
            Operation::List => self.list(&store),
            Operation::ListBlobs => self.list_blobs(&store),
            Operation::Create { directory } => {
                let must_be_new = self.header("if-none-match") == Some("*");
                store
                    .create(filesystem, path, directory, must_be_new)
                    .map(|etag| empty(201, etag))
            }
            Operation::Rename => {
                let source = self.header("x-ms-rename-source").unwrap_or_default();
                let (source, sas) = source.split_once('?').unwrap_or((source, ""));
                let source = percent_decode_str(source).decode_utf8().map_err(|_| BAD_QUERY)?;
                // The format is /FILESYSTEM/PATH without an account, unlike the path of the request here.
                let source = source
                    .strip_prefix('/')
                    .ok_or(ServiceError(400, "InvalidRenameSourcePath"))?;
                let (from, from_path) = source
                    .split_once('/')
                    .ok_or(ServiceError(400, "InvalidRenameSourcePath"))?;
                if self.find("sig").is_some() {
                    // The source has a separate signature, as in the official SDKs.
                    shared.account.check_sas(sas, from, &['m', 'd'])?;
                }
                store
                    .rename((from, from_path), (filesystem, path))
                    .map(|()| empty(201, 1))
            }
            Operation::Append { position } => store
                .append(filesystem, path, position, self.body.clone())
                .map(|()| empty(202, 1)),
            Operation::Flush { position } => store
                .flush(filesystem, path, position)
                .map(|etag| empty(200, etag)),
            Operation::PutBlob => {
                let md5 = STANDARD.encode(Md5::digest(&self.body));
                store
                    .put_blob(filesystem, path, self.body.clone(), md5)
                    .map(|etag| empty(201, etag))
            }
            Operation::PutBlock => {
                let id = self.find("blockid").ok_or(BAD_QUERY)?;
                store
                    .put_block(filesystem, path, id, self.body.clone())
                    .map(|()| empty(201, 1))
            }
            Operation::PutBlockList => {
                let list = str::from_utf8(&self.body).map_err(|_| ServiceError(400, "InvalidXmlDocument"))?;
                let ids: Vec<&str> = list
                    .split("<Latest>")
                    .skip(1)
                    .filter_map(|rest| rest.split_once("</Latest>"))
                    .map(|(id, _)| id)
                    .collect();
                store
                    .put_block_list(filesystem, path, &ids)
                    .map(|etag| empty(201, etag))
            }
            Operation::GetBlockList => {
                let Node::File(file) = store.get(filesystem, path)? else {
                    return Err(ServiceError(409, "InvalidResourceType"));
                };
                if file.append_blob {
                    return Err(ServiceError(409, "InvalidBlobType"));
                }
                let ids = file.committed.iter().flat_map(|ids| ids.split(','));
                let blocks: String = ids
                    .map(|id| format!("<Block><Name>{id}</Name><Size>1</Size></Block>"))
                    .collect();
                let list = format!("<BlockList><CommittedBlocks>{blocks}</CommittedBlocks></BlockList>");
                Ok(with_body(
                    reply(200).header("Content-Type", "application/xml"),
                    list,
                ))
            }
            Operation::Properties | Operation::Read => self.read_path(store.get(filesystem, path)?),
            Operation::Delete => {
                let recursive = self.find("recursive") == Some("true");
                // The service distinguishes its APIs by the host; here both APIs have the same host.
                let blob_api = self
                    .header("user-agent")
                    .is_some_and(|sdk| sdk.contains("storage_blob"));
                let status = if blob_api { 202 } else { 200 };
                store
                    .delete(filesystem, path, recursive)
                    .map(|()| empty(status, 1))
            }
        }
    }

    /// Returns a page of paths; the continuation is the last path of the page.
    fn list(&self, store: &Store) -> Result<Response<Body>, ServiceError> {
        let directory = self.find("directory").unwrap_or_default().trim_matches('/');
        let recursive = self.find("recursive") == Some("true");
        let page: usize = self
            .find("maxResults")
            .map_or(Ok(5000), str::parse)
            .map_err(|_| BAD_QUERY)?;
        let after = self.find("continuation").unwrap_or_default();
        let all = store.paths(&self.filesystem)?;
        if !directory.is_empty() && !matches!(all.get(directory), Some(Node::Directory)) {
            return Err(ServiceError(404, "PathNotFound"));
        }
        let below = if directory.is_empty() {
            String::new()
        } else {
            format!("{directory}/")
        };
        let listed = |path: &str| {
            path.strip_prefix(&below)
                .is_some_and(|rest| recursive || !rest.contains('/'))
                && path > after
        };
        let mut chosen: Vec<_> = all
            .iter()
            .filter(|(path, _)| listed(path))
            .take(page + 1)
            .collect();
        let more = chosen.len() > page;
        chosen.truncate(page);
        let entries: Vec<_> = chosen
            .iter()
            .map(|(path, node)| match node {
                Node::Directory => serde_json::json!({"name": path, "isDirectory": "true",
                    "lastModified": "Mon, 02 Mar 2026 00:00:00 GMT", "etag": "0x1", "contentLength": "0",
                    "owner": "$superuser", "group": "$superuser", "permissions": "rwxr-x---"}),
                Node::File(file) => serde_json::json!({"name": path,
                    "lastModified": "Mon, 02 Mar 2026 00:00:00 GMT", "etag": format!("0x{:X}", file.etag),
                    "contentLength": file.contents.length().to_string(),
                    "owner": "$superuser", "group": "$superuser", "permissions": "rw-r-----"}),
            })
            .collect();
        let mut builder = reply(200).header("Content-Type", "application/json;charset=utf-8");
        if let (true, Some((last, _))) = (more, chosen.last()) {
            builder = builder.header("x-ms-continuation", last.as_str());
        }
        Ok(with_body(
            builder,
            serde_json::json!({ "paths": entries }).to_string(),
        ))
    }

    /// Returns a page of blobs; the marker is the last name of the previous page.
    fn list_blobs(&self, store: &Store) -> Result<Response<Body>, ServiceError> {
        let prefix = self.find("prefix").unwrap_or_default();
        let after = self.find("marker").unwrap_or_default();
        let page: usize = self
            .find("maxresults")
            .map_or(Ok(5000), str::parse)
            .map_err(|_| BAD_QUERY)?;
        let files = store
            .paths(&self.filesystem)?
            .iter()
            .filter_map(|(path, node)| match node {
                Node::File(file) if !file.hidden && path.starts_with(prefix) && path.as_str() > after => {
                    Some((path, file.contents.length()))
                }
                _ => None,
            });
        let mut chosen: Vec<_> = files.take(page + 1).collect();
        let more = chosen.len() > page;
        chosen.truncate(page);
        let blobs: String = chosen
            .iter()
            .map(|(path, length)| {
                format!(
                    "<Blob><Name>{}</Name><Properties><Content-Length>{length}</Content-Length></Properties></Blob>",
                    xml_text(path)
                )
            })
            .collect();
        let marker = match chosen.last() {
            Some((path, _)) if more => xml_text(path),
            _ => String::new(),
        };
        let list = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>{blobs}</Blobs>\
             <NextMarker>{marker}</NextMarker></EnumerationResults>"
        );
        Ok(with_body(
            reply(200).header("Content-Type", "application/xml"),
            list,
        ))
    }

    fn read_path(&self, node: &Node) -> Result<Response<Body>, ServiceError> {
        let Node::File(file) = node else {
            return Ok(with_body(
                reply(200)
                    .header("ETag", "\"0x1\"")
                    .header("x-ms-resource-type", "directory")
                    .header("x-ms-meta-hdi_isfolder", "true"),
                Body::empty(),
            ));
        };
        let length = usize::try_from(file.contents.length()).unwrap_or(usize::MAX);
        let builder = |status| {
            let reply = match &file.md5 {
                Some(md5) => reply(status).header("Content-MD5", md5),
                None => reply(status),
            };
            reply
                .header("ETag", format!("\"0x{:X}\"", file.etag))
                .header("x-ms-resource-type", "file")
                .header(
                    "x-ms-blob-type",
                    if file.append_blob {
                        "AppendBlob"
                    } else {
                        "BlockBlob"
                    },
                )
                .header("Accept-Ranges", "bytes")
        };
        if self.operation == Operation::Properties {
            return Ok(with_body(
                builder(200).header("Content-Length", length),
                Body::empty(),
            ));
        }
        let range = self.header("x-ms-range").or_else(|| self.header("range"));
        let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else {
            return Ok(with_body(builder(200), file.contents.to_bytes()));
        };
        let (start, end) = range
            .split_once('-')
            .ok_or(ServiceError(400, "InvalidHeaderValue"))?;
        let start: usize = start
            .parse()
            .map_err(|_| ServiceError(400, "InvalidHeaderValue"))?;
        let end = match end {
            "" => i64::MAX,
            end => end.parse().map_err(|_| ServiceError(400, "InvalidHeaderValue"))?,
        };
        let end = usize::try_from(end)
            .unwrap_or(usize::MAX)
            .min(length.saturating_sub(1));
        if start >= length {
            return Err(ServiceError(416, "InvalidRange"));
        }
        let part = file.contents.to_bytes().slice(start..=end);
        Ok(with_body(
            builder(206).header("Content-Range", format!("bytes {start}-{end}/{length}")),
            part,
        ))
    }
}

fn xml_text(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Splits `/ACCOUNT/FILESYSTEM/PATH` into its last two parts.
fn split(path: &str, account: &str) -> Option<(String, String)> {
    let rest = path.strip_prefix('/')?.strip_prefix(account)?.strip_prefix('/')?;
    let (filesystem, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let sound = !filesystem.is_empty() && !path.split('/').any(|name| name.is_empty() && !path.is_empty());
    sound.then(|| (filesystem.to_owned(), path.to_owned()))
}

fn operation<'q>(
    method: &Method,
    no_path: bool,
    renames: bool,
    is_blob: bool,
    find: impl Fn(&str) -> Option<&'q str>,
) -> Result<Operation, ServiceError> {
    // The Python SDK creates filesystems using the Blob API's name for them.
    let filesystem = find("resource") == Some("filesystem") || find("restype") == Some("container");
    let position = || {
        find("position")
            .and_then(|text| text.parse().ok())
            .ok_or(BAD_QUERY)
    };
    Ok(match (method.as_str(), no_path) {
        ("PUT", true) if filesystem => Operation::CreateFilesystem,
        ("DELETE", true) if filesystem => Operation::DeleteFilesystem,
        ("HEAD", true) if filesystem => Operation::FilesystemProperties,
        ("GET", true) if find("comp") == Some("list") => Operation::ListBlobs,
        ("GET", true) if filesystem => Operation::List,
        ("PUT", false) if renames => Operation::Rename,
        ("PUT", false) if find("comp") == Some("block") => Operation::PutBlock,
        ("PUT", false) if find("comp") == Some("blocklist") => Operation::PutBlockList,
        ("PUT", false) if is_blob => Operation::PutBlob,
        ("PUT", false) => match find("resource") {
            Some("file") => Operation::Create { directory: false },
            Some("directory") => Operation::Create { directory: true },
            _ => return Err(BAD_QUERY),
        },
        ("PATCH", false) => match find("action") {
            Some("append") => Operation::Append {
                position: position()?,
            },
            Some("flush") => Operation::Flush {
                position: position()?,
            },
            _ => return Err(BAD_QUERY),
        },
        ("HEAD", false) => Operation::Properties,
        ("GET", false) if find("comp") == Some("blocklist") => Operation::GetBlockList,
        ("GET", false) => Operation::Read,
        ("DELETE", false) => Operation::Delete,
        _ => {
            return Err(ServiceError(
                StatusCode::METHOD_NOT_ALLOWED.as_u16(),
                "UnsupportedHttpVerb",
            ));
        }
    })
}

fn authorize(
    shared: &DfsState,
    headers: &HeaderMap,
    query: &str,
    filesystem: &str,
    needs: Needs,
) -> Result<(), ServiceError> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match bearer.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) if lock(&shared.tokens).contains(token) => Ok(()),
        Some(_) => Err(ServiceError(401, "InvalidAuthenticationInfo")),
        None if query.contains("sig=") => shared.account.check_sas(query, filesystem, needs),
        None => Err(ServiceError(401, "NoAuthenticationInformation")),
    }
}
