//! Kafka frames: a length, a header that names the request, and a body that depends on both.
//!
//! <https://kafka.apache.org/protocol#protocol_messages>

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Largest frame accepted, bytes; Kafka's own default for `socket.request.max.bytes` is 100 MiB.
const MAX_FRAME: usize = 100 << 20;

/// What a request's first bytes say, enough to find the schema of its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHead {
    pub(crate) api: Option<ApiKey>,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
}

/// Reads one frame without its length; `None` when the peer closed between frames.
pub(crate) async fn read_frame<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Option<Bytes>> {
    let length = match from.read_i32().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= MAX_FRAME);
    let Some(length) = length else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a Kafka frame"));
    };
    let mut frame = BytesMut::zeroed(length);
    from.read_exact(&mut frame).await?;
    Ok(Some(frame.freeze()))
}

/// Puts the length before a frame.
pub(crate) fn with_length(frame: &[u8]) -> io::Result<Bytes> {
    let length = i32::try_from(frame.len()).map_err(invalid)?;
    let mut out = BytesMut::with_capacity(4 + frame.len());
    out.put_i32(length);
    out.put_slice(frame);
    Ok(out.freeze())
}

/// Looks at a request without taking it apart.
pub(crate) fn peek_request(frame: &Bytes) -> io::Result<RequestHead> {
    if frame.len() < 8 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a request shorter than its header",
        ));
    }
    let mut head = frame.slice(..8);
    let api = ApiKey::try_from(head.get_i16()).ok();
    Ok(RequestHead {
        api,
        version: head.get_i16(),
        correlation_id: head.get_i32(),
    })
}

/// Decodes a request's body.
pub(crate) fn decode_request<T: Decodable>(frame: &Bytes, api: ApiKey, version: i16) -> io::Result<T> {
    let mut frame = frame.clone();
    RequestHeader::decode(&mut frame, api.request_header_version(version)).map_err(invalid)?;
    T::decode(&mut frame, version).map_err(invalid)
}

/// Decodes a response's body.
pub(crate) fn decode_response<T: Decodable>(frame: &Bytes, api: ApiKey, version: i16) -> io::Result<T> {
    let mut frame = frame.clone();
    ResponseHeader::decode(&mut frame, api.response_header_version(version)).map_err(invalid)?;
    T::decode(&mut frame, version).map_err(invalid)
}

/// Encodes a response with its header, ready for [`with_length`].
pub(crate) fn encode_response<T: Encodable>(
    correlation_id: i32,
    api: ApiKey,
    version: i16,
    body: &T,
) -> io::Result<Bytes> {
    let mut out = BytesMut::new();
    ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(&mut out, api.response_header_version(version))
        .map_err(invalid)?;
    body.encode(&mut out, version).map_err(invalid)?;
    Ok(out.freeze())
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
