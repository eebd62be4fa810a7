//! TLS and SASL before a broker that has neither.
//!
//! Up to authentication the front plays the broker: `ApiVersions` is asked of the real one and completed by the
//! SASL requests, `SaslHandshake` and `SaslAuthenticate` are answered here, anything else closes the connection,
//! as brokers do. Afterwards frames pass through; only `Metadata` answers are changed, so that clients come back
//! to the front. Re-authentication on a living connection (KIP-368) is answered too.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, MetadataResponse, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::frame::{
    RequestHead, decode_request, decode_response, encode_response, peek_request, read_frame, with_length,
};
use super::tls::ServerIdentity;
use crate::lock;

/// The host name that `Metadata` answers carry; it must be in the certificate.
const HOST: &str = "localhost";
/// `UNSUPPORTED_SASL_MECHANISM`, <https://kafka.apache.org/protocol#protocol_error_codes>.
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
/// `SASL_AUTHENTICATION_FAILED`, same table.
const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// A running front; dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// How to start a [`Front`]: by default without TLS and without SASL, passing frames through.
#[derive(Debug, Default)]
pub struct FrontBuilder {
    listen: Option<SocketAddr>,
    tls: Option<ServerIdentity>,
    plain: HashSet<(String, String)>,
    bearer: HashMap<String, Instant>,
    sasl: bool,
}

/// What has happened at a front since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontCounts {
    /// TCP connections accepted, whatever became of them.
    pub connections: u64,
    /// SASL exchanges that ended in success, re-authentications included.
    pub authenticated: u64,
    /// SASL exchanges refused.
    pub refused: u64,
    /// `Produce` requests passed on.
    pub produced: u64,
    /// `Metadata` requests passed on.
    pub metadata: u64,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<SocketAddr>,
    port: u16,
    sasl: bool,
    /// Users with their passwords; an Event Hubs user has several.
    plain: Mutex<HashSet<(String, String)>>,
    bearer: Mutex<HashMap<String, Instant>>,
    down: AtomicBool,
    hung: watch::Sender<bool>,
    /// Requests that get no answer.
    ignored: Mutex<Vec<ApiKey>>,
    /// Changing it closes every connection.
    epoch: watch::Sender<u64>,
    connections: AtomicU64,
    authenticated: AtomicU64,
    refused: AtomicU64,
    produced: AtomicU64,
    metadata: AtomicU64,
}

impl FrontBuilder {
    /// Listens on this address instead of a free port of 127.0.0.1.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Speaks TLS with this certificate.
    pub fn tls(mut self, identity: ServerIdentity) -> Self {
        self.tls = Some(identity);
        self
    }

    /// Requires SASL and lets this user in by PLAIN. A user may have several passwords.
    pub fn plain(mut self, user: &str, password: &str) -> Self {
        self.sasl = true;
        self.plain.insert((user.to_owned(), password.to_owned()));
        self
    }

    /// Requires SASL and lets this token in by OAUTHBEARER, for so long from now.
    pub fn bearer(mut self, token: &str, lifetime: Duration) -> Self {
        self.sasl = true;
        self.bearer.insert(token.to_owned(), Instant::now() + lifetime);
        self
    }

    /// Starts listening, before the broker at `upstream`.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(self, upstream: SocketAddr) -> io::Result<Front> {
        let listener = TcpListener::bind(
            self.listen
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        )
        .await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            port: address.port(),
            sasl: self.sasl,
            plain: Mutex::new(self.plain),
            bearer: Mutex::new(self.bearer),
            down: AtomicBool::new(false),
            hung: watch::Sender::new(false),
            ignored: Mutex::default(),
            epoch: watch::Sender::new(0),
            connections: AtomicU64::new(0),
            authenticated: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            produced: AtomicU64::new(0),
            metadata: AtomicU64::new(0),
        });
        let acceptor = self.tls.map(ServerIdentity::acceptor);
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Ok(Front {
            address,
            shared,
            accepting,
        })
    }
}

impl Front {
    /// Starts to describe a front.
    pub fn builder() -> FrontBuilder {
        FrontBuilder::default()
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client puts into `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        format!("{HOST}:{}", self.address.port())
    }

    /// Lets another token in, for so long from now.
    pub fn allow_bearer(&self, token: &str, lifetime: Duration) {
        lock(&self.shared.bearer).insert(token.to_owned(), Instant::now() + lifetime);
    }

    /// Replaces a user's passwords; connections already authenticated stay.
    pub fn set_password(&self, user: &str, password: &str) {
        let mut plain = lock(&self.shared.plain);
        plain.retain(|(known, _)| known != user);
        plain.insert((user.to_owned(), password.to_owned()));
    }

    /// Leaves requests of this kind without an answer from now on.
    pub fn ignore(&self, api: ApiKey) {
        lock(&self.shared.ignored).push(api);
    }

    /// Plays a broker that hangs (`true`: connections stay open and are accepted, but nothing is answered) or that goes
    /// on (`false`).
    pub fn set_hung(&self, hung: bool) {
        self.shared.hung.send_replace(hung);
    }

    /// Puts another broker in the place of the one before: connections are closed, and clients come back to the new one.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        *lock(&self.shared.upstream) = upstream;
        self.drop_connections();
    }

    /// Closes every connection; clients may come back at once.
    pub fn drop_connections(&self) {
        self.shared.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Plays a broker that is gone (`true`: connections are closed as they come) or back (`false`).
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
        if down {
            self.drop_connections();
        }
    }

    /// What has happened so far.
    pub fn counts(&self) -> FrontCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        FrontCounts {
            connections: read(&self.shared.connections),
            authenticated: read(&self.shared.authenticated),
            refused: read(&self.shared.refused),
            produced: read(&self.shared.produced),
            metadata: read(&self.shared.metadata),
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
        self.drop_connections();
    }
}

impl Shared {
    /// Waits while the front plays a broker that hangs.
    async fn until_answering(&self) {
        // The sender is ours, so it is never gone.
        let _ = self.hung.subscribe().wait_for(|hung| !hung).await;
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        if shared.down.load(Ordering::SeqCst) {
            continue;
        }
        let acceptor = acceptor.clone();
        let shared = Arc::clone(&shared);
        let mut epoch = shared.epoch.subscribe();
        tokio::spawn(async move {
            let served = async {
                // Small requests wait for their answers: without this each waits for a delayed ACK too.
                socket.set_nodelay(true)?;
                match acceptor {
                    Some(acceptor) => serve(acceptor.accept(socket).await?, &shared).await,
                    None => serve(socket, &shared).await,
                }
            };
            // A connection that ends in an error is the client's to notice: that is what tests look at.
            tokio::select! {
                _ = served => {}
                _ = epoch.changed() => {}
            }
        });
    }
}

/// One connection's place in the SASL exchange.
#[derive(Debug, Default)]
struct Session {
    mechanism: Option<String>,
    authenticated: bool,
    /// The bearer token was refused and the client owes its acknowledgement (RFC 7628, 3.2.3).
    refusal_pending: bool,
    /// The answer just made is the last one on this connection.
    close: bool,
}

async fn serve<S>(client: S, shared: &Shared) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = split(client);
    let address = *lock(&shared.upstream);
    let upstream = TcpStream::connect(address).await?;
    upstream.set_nodelay(true)?;
    let (mut from_broker, mut to_broker) = upstream.into_split();
    let (answers, mut to_write) = mpsc::channel::<Bytes>(16);
    let expected = Mutex::new(HashMap::<i32, RequestHead>::new());

    let requests = async {
        let mut session = Session {
            authenticated: !shared.sasl,
            ..Session::default()
        };
        while let Some(frame) = read_frame(&mut from_client).await? {
            let head = peek_request(&frame)?;
            shared.until_answering().await;
            if head.api.is_some_and(|api| lock(&shared.ignored).contains(&api)) {
                continue;
            }
            match head.api {
                Some(ApiKey::SaslHandshake | ApiKey::SaslAuthenticate) if shared.sasl => {
                    let answer = answer_sasl(&frame, head, &mut session, shared)?;
                    let last = session.close;
                    answers
                        .send(answer)
                        .await
                        .map_err(|_| io::ErrorKind::BrokenPipe)?;
                    if last {
                        return Ok(());
                    }
                }
                api if session.authenticated || api == Some(ApiKey::ApiVersions) => {
                    if api == Some(ApiKey::Produce) {
                        shared.produced.fetch_add(1, Ordering::SeqCst);
                    }
                    if api == Some(ApiKey::Metadata) {
                        shared.metadata.fetch_add(1, Ordering::SeqCst);
                    }
                    if matches!(api, Some(ApiKey::ApiVersions | ApiKey::Metadata)) {
                        lock(&expected).insert(head.correlation_id, head);
                    }
                    to_broker.write_all(&with_length(&frame)?).await?;
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    };

    // Reading a frame is not to be cancelled halfway, so it has its own loop and hands over what it reads.
    let responses = async {
        while let Some(frame) = read_frame(&mut from_broker).await? {
            let frame = rewrite(frame, &expected, shared)?;
            answers.send(frame).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Ok(())
    };

    let writing = async {
        while let Some(frame) = to_write.recv().await {
            shared.until_answering().await;
            to_client.write_all(&with_length(&frame)?).await?;
            to_client.flush().await?;
        }
        Ok(())
    };

    // Either side's end is the connection's end, but answers already made are written first: a refused client
    // must hear why.
    let ended: io::Result<()> = tokio::select! {
        ended = requests => ended,
        ended = responses => ended,
        ended = writing => return ended,
    };
    while let Ok(frame) = to_write.try_recv() {
        to_client.write_all(&with_length(&frame)?).await?;
    }
    to_client.shutdown().await?;
    ended
}

/// Puts the SASL requests into `ApiVersions` answers and the front's address into `Metadata` answers.
fn rewrite(frame: Bytes, expected: &Mutex<HashMap<i32, RequestHead>>, shared: &Shared) -> io::Result<Bytes> {
    let Some(correlation_id) = frame.first_chunk::<4>().map(|id| i32::from_be_bytes(*id)) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a response shorter than its header",
        ));
    };
    let Some(head) = lock(expected).remove(&correlation_id) else {
        return Ok(frame);
    };
    match head.api {
        Some(api @ ApiKey::Metadata) => {
            let mut body: MetadataResponse = decode_response(&frame, api, head.version)?;
            for broker in &mut body.brokers {
                broker.host = StrBytes::from_static_str(HOST);
                broker.port = i32::from(shared.port);
            }
            encode_response(correlation_id, api, head.version, &body)
        }
        Some(api @ ApiKey::ApiVersions) if shared.sasl => {
            let mut body: ApiVersionsResponse = decode_response(&frame, api, head.version)?;
            // UNSUPPORTED_VERSION comes in version 0 whatever was asked; the client then asks again.
            if body.error_code != 0 {
                return Ok(frame);
            }
            body.api_keys.retain(|key| ![17, 36].contains(&key.api_key));
            for (api, newest) in [(ApiKey::SaslHandshake, 1), (ApiKey::SaslAuthenticate, 2)] {
                body.api_keys.push(
                    ApiVersion::default()
                        .with_api_key(api as i16)
                        .with_max_version(newest),
                );
            }
            encode_response(correlation_id, api, head.version, &body)
        }
        _ => Ok(frame),
    }
}

/// The broker's side of `SaslHandshake` and `SaslAuthenticate`.
fn answer_sasl(
    frame: &Bytes,
    head: RequestHead,
    session: &mut Session,
    shared: &Shared,
) -> io::Result<Bytes> {
    let RequestHead {
        version,
        correlation_id,
        ..
    } = head;
    if head.api == Some(ApiKey::SaslHandshake) {
        let api = ApiKey::SaslHandshake;
        let request: SaslHandshakeRequest = decode_request(frame, api, version)?;
        let mut mechanisms = Vec::new();
        if !lock(&shared.plain).is_empty() {
            mechanisms.push(StrBytes::from_static_str("PLAIN"));
        }
        if !lock(&shared.bearer).is_empty() {
            mechanisms.push(StrBytes::from_static_str("OAUTHBEARER"));
        }
        let known = mechanisms.contains(&request.mechanism);
        session.mechanism = known.then(|| request.mechanism.to_string());
        let code = if known { 0 } else { UNSUPPORTED_SASL_MECHANISM };
        let body = SaslHandshakeResponse::default()
            .with_error_code(code)
            .with_mechanisms(mechanisms);
        return encode_response(correlation_id, api, version, &body);
    }

    let api = ApiKey::SaslAuthenticate;
    let request: SaslAuthenticateRequest = decode_request(frame, api, version)?;
    let verdict = match session.mechanism.as_deref() {
        Some("PLAIN") => check_plain(&request.auth_bytes, &lock(&shared.plain)),
        Some("OAUTHBEARER") if !session.refusal_pending => {
            check_bearer(&request.auth_bytes, &lock(&shared.bearer))
        }
        _ => None,
    };
    let response = SaslAuthenticateResponse::default();
    let body = match verdict {
        Some(lifetime) => {
            shared.authenticated.fetch_add(1, Ordering::SeqCst);
            session.authenticated = true;
            response.with_session_lifetime_ms(lifetime)
        }
        // A refused token is first reported to the mechanism, which the client acknowledges, and only then fails.
        None if session.mechanism.as_deref() == Some("OAUTHBEARER") && !session.refusal_pending => {
            session.refusal_pending = true;
            response.with_auth_bytes(Bytes::from_static(br#"{"status":"invalid_token"}"#))
        }
        None => {
            shared.refused.fetch_add(1, Ordering::SeqCst);
            session.close = true;
            response
                .with_error_code(SASL_AUTHENTICATION_FAILED)
                .with_error_message(Some(StrBytes::from_static_str("Invalid credentials")))
        }
    };
    encode_response(correlation_id, api, version, &body)
}

/// RFC 4616: `[authzid] NUL authcid NUL passwd`. `Some(0)` is a session without an end.
fn check_plain(message: &[u8], users: &HashSet<(String, String)>) -> Option<i64> {
    let message = std::str::from_utf8(message).ok()?;
    let mut fields = message.split('\0').skip(1);
    let credential = (fields.next()?.to_owned(), fields.next()?.to_owned());
    users.contains(&credential).then_some(0)
}

/// RFC 7628: `n,,` then fields that end in `^A`, among them `auth=Bearer TOKEN`. The milliseconds that the token
/// still has.
fn check_bearer(message: &[u8], tokens: &HashMap<String, Instant>) -> Option<i64> {
    let message = std::str::from_utf8(message).ok()?;
    let token = message
        .split('\u{1}')
        .find_map(|field| field.strip_prefix("auth=Bearer "))?;
    let left = tokens.get(token)?.checked_duration_since(Instant::now())?;
    i64::try_from(left.as_millis()).ok().filter(|left| *left > 0)
}
