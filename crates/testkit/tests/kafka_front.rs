//! The front's own manners, asked by hand: what a client library would never send.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, MetadataRequest, RequestHeader, ResponseHeader, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use testkit::kafka::Front;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A front before a broker that takes connections and says nothing.
async fn front() -> (Front, TcpListener) {
    let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = Front::builder()
        .plain("user", "password")
        .bearer("token", Duration::from_secs(60))
        .start(broker.local_addr().unwrap())
        .await
        .unwrap();
    (front, broker)
}

/// Sends a request of version 1 and reads the answer's body; `None` when the connection was closed.
async fn ask(socket: &mut TcpStream, api: ApiKey, body: &impl Encodable) -> io::Result<Option<Bytes>> {
    let mut frame = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(1);
    header
        .with_correlation_id(7)
        .encode(&mut frame, api.request_header_version(1))
        .unwrap();
    body.encode(&mut frame, 1).unwrap();
    socket.write_i32(i32::try_from(frame.len()).unwrap()).await?;
    socket.write_all(&frame).await?;
    let Ok(length) = socket.read_i32().await else {
        return Ok(None);
    };
    let mut answer = vec![0; usize::try_from(length).unwrap()];
    socket.read_exact(&mut answer).await?;
    let mut answer = Bytes::from(answer);
    let header = ResponseHeader::decode(&mut answer, api.response_header_version(1)).unwrap();
    assert_eq!(header.correlation_id, 7);
    Ok(Some(answer))
}

async fn handshake(socket: &mut TcpStream, mechanism: &'static str) -> i16 {
    let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    let mut answer = ask(socket, ApiKey::SaslHandshake, &request)
        .await
        .unwrap()
        .expect("an answer");
    SaslHandshakeResponse::decode(&mut answer, 1).unwrap().error_code
}

async fn authenticate(socket: &mut TcpStream, message: &'static [u8]) -> SaslAuthenticateResponse {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(message));
    let mut answer = ask(socket, ApiKey::SaslAuthenticate, &request)
        .await
        .unwrap()
        .expect("an answer");
    SaslAuthenticateResponse::decode(&mut answer, 1).unwrap()
}

#[tokio::test]
async fn nothing_passes_before_authentication() {
    let (front, _broker) = front().await;
    let mut socket = TcpStream::connect(front.address()).await.unwrap();
    assert_eq!(
        ask(&mut socket, ApiKey::Metadata, &MetadataRequest::default())
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn an_unknown_mechanism_is_refused_with_its_code() {
    let (front, _broker) = front().await;
    let mut socket = TcpStream::connect(front.address()).await.unwrap();
    assert_eq!(handshake(&mut socket, "SCRAM-SHA-512").await, 33);
    assert_eq!(handshake(&mut socket, "PLAIN").await, 0);
    assert_eq!(authenticate(&mut socket, b"\0user\0password").await.error_code, 0);
}

#[tokio::test]
async fn a_wrong_password_gets_its_answer_and_then_the_door() {
    let (front, _broker) = front().await;
    let mut socket = TcpStream::connect(front.address()).await.unwrap();
    handshake(&mut socket, "PLAIN").await;
    assert_eq!(
        authenticate(&mut socket, b"\0user\0passwort").await.error_code,
        58
    );
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    assert_eq!((front.counts().refused, front.counts().authenticated), (1, 0));
}

#[tokio::test]
async fn a_session_lasts_as_long_as_its_token() {
    let (front, _broker) = front().await;
    let mut socket = TcpStream::connect(front.address()).await.unwrap();
    handshake(&mut socket, "OAUTHBEARER").await;
    let answer = authenticate(&mut socket, b"n,,\x01auth=Bearer token\x01\x01").await;
    assert_eq!(answer.error_code, 0);
    assert!(
        (1..=60_000).contains(&answer.session_lifetime_ms),
        "{}",
        answer.session_lifetime_ms
    );
}

#[tokio::test]
async fn a_refused_token_is_told_why_first() {
    let (front, _broker) = front().await;
    let mut socket = TcpStream::connect(front.address()).await.unwrap();
    handshake(&mut socket, "OAUTHBEARER").await;
    let answer = authenticate(&mut socket, b"n,,\x01auth=Bearer stolen\x01\x01").await;
    assert_eq!(
        (answer.error_code, answer.auth_bytes.chunk()),
        (0, br#"{"status":"invalid_token"}"#.as_slice())
    );
    assert_eq!(authenticate(&mut socket, b"\x01").await.error_code, 58);
}
