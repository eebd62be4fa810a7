//! TLS as in TDS 7.4: the handshake is sent inside PRELOGIN packets, and everything after it is plain TLS.
//!
//! MS-TDS 3.2.5.1. Only TLS 1.2 is supported, as in SQL Server in this mode: a TLS 1.3 server sends session tickets
//! after its handshake, which could no longer be sent inside packets.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, version};
use tokio_rustls::server::TlsStream;

use super::wire::HEADER;

/// A server's certificate, and the authority that signed it.
#[derive(Clone)]
pub(super) struct TlsIdentity {
    config: Arc<ServerConfig>,
    /// The authority's certificate, which a client has to trust.
    pub(super) ca_pem: String,
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl TlsIdentity {
    /// Creates a certificate for these host names and addresses, signed by a new authority.
    pub(super) fn new(names: &[String]) -> Self {
        let ca_key = KeyPair::generate().expect("a key");
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name
            .push(DnType::CommonName, "testkit authority");
        let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(names).expect("the names are valid");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS12])
            .expect("TLS 1.2 is built in")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .expect("the key fits the certificate");
        Self {
            config: Arc::new(config),
            ca_pem,
        }
    }

    /// Performs the handshake after the PRELOGIN exchange.
    pub(super) async fn accept(&self, tcp: TcpStream) -> io::Result<TlsStream<InPackets>> {
        let acceptor = tokio_rustls::TlsAcceptor::from(self.config.clone());
        let mut stream = acceptor.accept(InPackets::new(tcp)).await?;
        stream.get_mut().0.handshake = false;
        Ok(stream)
    }
}

/// Removes PRELOGIN packet headers from what is read and adds them to what is written, as long as the handshake lasts.
#[derive(Debug)]
pub(super) struct InPackets {
    tcp: TcpStream,
    handshake: bool,
    header: [u8; HEADER],
    header_filled: usize,
    body_left: usize,
    out: Vec<u8>,
    out_framed: bool,
}

impl InPackets {
    fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            handshake: true,
            header: [0; HEADER],
            header_filled: 0,
            body_left: 0,
            out: Vec::new(),
            out_framed: false,
        }
    }
}

impl AsyncRead for InPackets {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.handshake {
            return Pin::new(&mut this.tcp).poll_read(cx, buf);
        }
        while this.body_left == 0 {
            let mut header = ReadBuf::new(&mut this.header[this.header_filled..]);
            ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut header))?;
            let read = header.filled().len();
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            this.header_filled += read;
            if this.header_filled == HEADER {
                this.header_filled = 0;
                if this.header[0] != 0x12 {
                    return Poll::Ready(Err(io::Error::other(
                        "the TLS handshake is not in PRELOGIN packets",
                    )));
                }
                let length = usize::from(u16::from_be_bytes([this.header[2], this.header[3]]));
                this.body_left = length.saturating_sub(HEADER);
            }
        }
        let mut scratch = [0u8; 4096];
        let room = scratch.len().min(this.body_left).min(buf.remaining());
        let mut part = ReadBuf::new(&mut scratch[..room]);
        ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.put_slice(part.filled());
        this.body_left -= read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for InPackets {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.handshake {
            return Pin::new(&mut this.tcp).poll_write(cx, buf);
        }
        this.out.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.out.is_empty() && !this.out_framed {
            let length = (this.out.len() + HEADER) as u16;
            let mut framed = vec![0x12, 0x01];
            framed.extend_from_slice(&length.to_be_bytes());
            framed.extend_from_slice(&[0, 0, 1, 0]);
            framed.append(&mut this.out);
            this.out = framed;
            this.out_framed = true;
        }
        while !this.out.is_empty() {
            let written = ready!(Pin::new(&mut this.tcp).poll_write(cx, &this.out))?;
            this.out.drain(..written);
        }
        this.out_framed = false;
        Pin::new(&mut this.tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
