//! A certificate authority for one test, and the server certificates it signs.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate authority that lives as long as the value: nothing outside the test trusts it.
#[derive(Debug)]
pub struct TestCa {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate and key, signed by a [`TestCa`].
#[derive(Debug)]
pub struct ServerIdentity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl TestCa {
    /// Makes a new authority with its own key.
    ///
    /// # Panics
    /// When the key or the certificate cannot be made.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names to be wrong");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "testkit authority");
        let key = KeyPair::generate().expect("an ECDSA key");
        let pem = params.self_signed(&key).expect("a self-signed certificate").pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// The authority's certificate, PEM, for the client's CA file.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs a certificate for one host name or IP address.
    ///
    /// # Panics
    /// When `name` cannot stand in a certificate.
    pub fn issue(&self, name: &str) -> ServerIdentity {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a host name or an IP address");
        let key = KeyPair::generate().expect("an ECDSA key");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a signed certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a PKCS#8 key");
        ServerIdentity {
            certificate: certificate.der().clone(),
            key,
        }
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerIdentity {
    /// The TLS acceptor of a server that shows this certificate.
    pub(crate) fn acceptor(self) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows the default TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], self.key)
            .expect("the key belongs to the certificate");
        TlsAcceptor::from(Arc::new(config))
    }
}
