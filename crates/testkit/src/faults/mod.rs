//! A fault-injecting HTTP proxy: put it between a client and any server that the client reaches by plain HTTP.
//!
//! For each request it decides, based on a seed, whether a fault happens and which one. A fault happens before the
//! request reaches the server, or after the request took full effect there: clients must handle both correctly.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, header, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

use crate::lock;

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpFault {
    /// The server does not listen for 100 ms: other connections are refused; this one is reset.
    Refuse,
    /// The connection is reset; the server has not seen the request.
    ResetBefore,
    /// The connection is reset after the server has carried out the request.
    ResetAfter,
    /// An answer with this status, with or without headers that ask for a wait of 50 ms; the server has not seen the
    /// request. The body is the service's JSON, or the HTML of a gateway.
    Status {
        /// The status.
        status: u16,
        /// Whether the answer says when to retry.
        retry_after: bool,
        /// Whether the body is HTML.
        html: bool,
    },
    /// An answer with this status although the server has carried out the request.
    StatusAfter(u16),
    /// The connection ends within the answer's first line.
    Truncated,
    /// Nothing happens for the plan's [`stall`](FaultPlan::stall), then the connection is reset; the server has not
    /// seen the request.
    StallBefore,
    /// As `StallBefore`, but the server has carried out the request.
    StallAfter,
    /// The server receives the request only after the plan's [`stall`](FaultPlan::stall), even if the client has
    /// abandoned it by then.
    Late,
}

impl HttpFault {
    /// Returns every kind of fault, with a separate one for each status.
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Refuse,
            Self::ResetBefore,
            Self::ResetAfter,
            Self::Truncated,
            Self::StallBefore,
            Self::StallAfter,
            Self::Late,
            Self::StatusAfter(500),
            Self::StatusAfter(503),
        ];
        for status in [408, 429, 500, 502, 503, 504] {
            for retry_after in [false, true] {
                let html = matches!(status, 502 | 504) != retry_after;
                all.push(Self::Status {
                    status,
                    retry_after,
                    html,
                });
            }
        }
        all
    }
}

/// The faults of a proxy.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    /// How many requests pass before the first fault.
    pub spared: u64,
    /// The share of requests that encounter a fault, 0 to 1.
    pub probability: f64,
    /// The kinds, equally likely.
    pub faults: Vec<HttpFault>,
    /// Decides which request encounters which fault.
    pub seed: u64,
    /// How long a stall lasts.
    pub stall: Duration,
    /// Added to each answer.
    pub latency: Duration,
}

impl FaultPlan {
    /// Returns a plan without faults.
    pub fn harmless() -> Self {
        Self {
            spared: 0,
            probability: 0.0,
            faults: Vec::new(),
            seed: 0,
            stall: Duration::from_secs(1),
            latency: Duration::ZERO,
        }
    }

    /// Returns a plan in which a random fault of any kind happens to a share of `probability` of the requests.
    pub fn mixture(probability: f64, seed: u64) -> Self {
        Self {
            probability,
            faults: HttpFault::all(),
            seed,
            ..Self::harmless()
        }
    }
}

/// A running proxy. It stops when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<ProxyState>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct ProxyState {
    upstream: SocketAddr,
    plan: FaultPlan,
    random: Mutex<Xoshiro256PlusPlus>,
    counts: Mutex<BTreeMap<HttpFault, u64>>,
    requests: Mutex<u64>,
    client: Client<HttpConnector, Full<Bytes>>,
    outage: tokio::sync::Notify,
}

impl FaultProxy {
    /// Starts a proxy at `address` (port 0 picks a free one) in front of `upstream`.
    ///
    /// # Errors
    /// If the address is in use.
    pub async fn start(address: SocketAddr, upstream: SocketAddr, plan: FaultPlan) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(ProxyState {
            upstream,
            random: Mutex::new(Xoshiro256PlusPlus::seed_from_u64(plan.seed)),
            plan,
            counts: Mutex::default(),
            requests: Mutex::default(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            outage: tokio::sync::Notify::new(),
        });
        let task = tokio::spawn(listen(listener, address, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Returns the address at which the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how often each fault has happened so far.
    pub fn counts(&self) -> BTreeMap<HttpFault, u64> {
        lock(&self.shared.counts).clone()
    }

    /// Returns how many requests have arrived so far.
    pub fn requests(&self) -> u64 {
        *lock(&self.shared.requests)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(first: TcpListener, address: SocketAddr, shared: Arc<ProxyState>) {
    let mut listener = Some(first);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Some(open) = &listener else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            listener = TcpListener::bind(address).await.ok();
            continue;
        };
        tokio::select! {
            accepted = open.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
            }
            () = shared.outage.notified() => listener = None,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: Arc<ProxyState>) {
    let _ = stream.set_nodelay(true);
    let cut = Cut::default();
    let io = TokioIo::new(Breakable {
        stream,
        cut: cut.clone(),
    });
    let service = service_fn(move |request| {
        let (shared, cut) = (Arc::clone(&shared), cut.clone());
        async move { shared.answer(request, &cut).await }
    });
    // This ends with an error whenever a fault has cut the connection.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(io, service)
        .await;
}

/// The result for a connection that is being cut: it is never sent.
#[derive(Debug)]
struct ResetError;

impl std::fmt::Display for ResetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("reset by plan")
    }
}

impl std::error::Error for ResetError {}

impl From<Infallible> for ResetError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl ProxyState {
    fn draw(&self) -> Option<HttpFault> {
        let spared = {
            let mut requests = lock(&self.requests);
            *requests += 1;
            *requests <= self.plan.spared
        };
        let fault = {
            let mut random = lock(&self.random);
            if spared || self.plan.faults.is_empty() || !random.random_bool(self.plan.probability) {
                return None;
            }
            self.plan.faults[random.random_range(0..self.plan.faults.len())]
        };
        *lock(&self.counts).entry(fault).or_default() += 1;
        Some(fault)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        cut: &Cut,
    ) -> Result<Response<Full<Bytes>>, ResetError> {
        let fault = self.draw();
        // The request is read completely, so that a fault is not mistaken for a refusal of the body.
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| ResetError)?.to_bytes();
        match fault {
            Some(HttpFault::Refuse) => self.outage.notify_one(),
            Some(HttpFault::StallBefore) => tokio::time::sleep(self.plan.stall).await,
            _ => {}
        }
        match fault {
            Some(HttpFault::Refuse | HttpFault::ResetBefore | HttpFault::StallBefore) => {
                cut.reset();
                return Err(ResetError);
            }
            Some(HttpFault::Status {
                status,
                retry_after,
                html,
            }) => return Ok(refusal(status, retry_after, html)),
            _ => {}
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("http://{}{path}", self.upstream)
            .parse()
            .map_err(|_| ResetError)?;
        parts.headers.remove(header::CONNECTION);
        let late = match fault {
            Some(HttpFault::Late) => self.plan.stall,
            _ => Duration::ZERO,
        };
        let forwarded = self.client.request(Request::from_parts(parts, Full::new(body)));
        // A separate task continues when the client closes the connection.
        let upstream = tokio::spawn(async move {
            tokio::time::sleep(late).await;
            forwarded.await
        });
        let upstream = upstream.await.map_err(|_| ResetError)?;
        let (parts, body) = upstream.map_err(|_| ResetError)?.into_parts();
        let body = body.collect().await.map_err(|_| ResetError)?.to_bytes();
        tokio::time::sleep(self.plan.latency).await;
        match fault {
            Some(HttpFault::StatusAfter(status)) => return Ok(refusal(status, false, false)),
            Some(HttpFault::ResetAfter) => {
                cut.reset();
                return Err(ResetError);
            }
            Some(HttpFault::StallAfter) => {
                tokio::time::sleep(self.plan.stall).await;
                cut.reset();
                return Err(ResetError);
            }
            Some(HttpFault::Truncated) => cut.after(11),
            _ => {}
        }
        Ok(Response::from_parts(parts, Full::new(body)))
    }
}

fn refusal(status: u16, retry_after: bool, html: bool) -> Response<Full<Bytes>> {
    let mut builder = Response::builder().status(status);
    let body = if html {
        builder = builder.header(header::CONTENT_TYPE, "text/html");
        "<html><head><title>Sorry</title></head><body><h1>The service is unavailable.</h1></body></html>"
    } else {
        builder = builder
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-ms-error-code", "ServerBusy");
        r#"{"error":{"code":"ServerBusy","message":"The server is busy."}}"#
    };
    if retry_after {
        builder = builder.header("x-ms-retry-after-ms", "50");
    }
    builder
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .expect("the headers are ASCII")
}

/// Breaks a connection: now, or after some more bytes have been written.
#[derive(Debug, Clone)]
struct Cut {
    reset: Arc<AtomicBool>,
    bytes_left: Arc<AtomicI64>,
}

impl Default for Cut {
    fn default() -> Self {
        Self {
            reset: Arc::default(),
            bytes_left: Arc::new(AtomicI64::new(i64::MAX)),
        }
    }
}

impl Cut {
    fn reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
    }

    fn after(&self, bytes: i64) {
        self.bytes_left.store(bytes, Ordering::SeqCst);
    }
}

/// A connection that can be broken.
#[derive(Debug)]
struct Breakable {
    stream: TcpStream,
    cut: Cut,
}

impl Drop for Breakable {
    fn drop(&mut self) {
        if self.cut.reset.load(Ordering::SeqCst) {
            // A socket that is dropped without lingering sends RST instead of FIN.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Breakable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Breakable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.cut.bytes_left.load(Ordering::SeqCst);
        if left <= 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let allowed = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..allowed]);
        if let (Poll::Ready(Ok(written)), true) = (&written, left != i64::MAX) {
            self.cut
                .bytes_left
                .fetch_sub(i64::try_from(*written).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
