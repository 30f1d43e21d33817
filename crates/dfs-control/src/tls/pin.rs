//! The client's side of TLS: connects to the holder of one certificate and
//! refuses every other.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    version,
};

use super::{ALPN, Fingerprint, provider};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// No program listens there.
    #[error("no connection")]
    Unreachable(#[source] io::Error),
    /// The other end does not speak TLS.
    #[error("no TLS")]
    Handshake(#[source] io::Error),
    /// The other end has another certificate.
    #[error("the certificate has the fingerprint {0}")]
    OtherCertificate(Fingerprint),
}

/// The holder of a certificate at an address.
#[derive(Clone)]
pub(crate) struct Pinned {
    /// `HOST:PORT`.
    authority: String,
    connector: TlsConnector,
}

impl Pinned {
    pub(crate) fn new(authority: String, fingerprint: Fingerprint) -> Self {
        let provider = provider();
        let verifier = Verifier { fingerprint, provider: Arc::clone(&provider) };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .expect("the provider speaks TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        // The fingerprint identifies the daemon, so the client sends no name.
        config.enable_sni = false;
        Self { authority, connector: TlsConnector::from(Arc::new(config)) }
    }

    pub(crate) async fn dial(&self) -> Result<TlsStream<TcpStream>, DialError> {
        let stream = TcpStream::connect(&self.authority).await.map_err(DialError::Unreachable)?;
        stream.set_nodelay(true).map_err(DialError::Unreachable)?;
        let name = ServerName::try_from("dfsd").expect("it is a name");
        self.connector.connect(name, stream).await.map_err(|error| match found(&error) {
            Some(found) => DialError::OtherCertificate(found),
            None => DialError::Handshake(error),
        })
    }
}

/// The certificate that was refused, if that is what happened.
fn found(error: &io::Error) -> Option<Fingerprint> {
    match error.get_ref()?.downcast_ref()? {
        Error::InvalidCertificate(CertificateError::Other(OtherError(refused))) => {
            refused.downcast_ref::<Refused>().map(|refused| refused.found)
        }
        _ => None,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the certificate has the fingerprint {found}")]
struct Refused {
    found: Fingerprint,
}

/// Accepts one certificate. The signature over the handshake is verified too,
/// which proves that the other end holds the key.
#[derive(Debug)]
struct Verifier {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Fingerprint::of(certificate);
        if found == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::Other(OtherError(Arc::new(Refused { found }))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Certificate;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn certificate() -> Certificate {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Certificate::load_or_create(&directory.path().join("pem")).expect("create")
    }

    /// A server that answers one connection with this certificate.
    async fn answering(certificate: &Certificate) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("its address").to_string();
        let acceptor = certificate.acceptor();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            // A client that refuses the certificate ends the handshake.
            if let Ok(mut stream) = acceptor.accept(stream).await {
                stream.write_all(b"hello").await.expect("write");
                stream.shutdown().await.expect("shutdown");
            }
        });
        authority
    }

    #[tokio::test]
    async fn only_the_pinned_certificate_is_accepted() {
        let certificate = certificate();
        let authority = answering(&certificate).await;
        let pinned = Pinned::new(authority, certificate.fingerprint());
        let mut stream = pinned.dial().await.expect("the pinned certificate");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("read");
        assert_eq!(text, "hello");

        let other = self::certificate();
        let authority = answering(&other).await;
        let refused = Pinned::new(authority, certificate.fingerprint()).dial().await;
        match refused {
            Err(DialError::OtherCertificate(found)) => assert_eq!(found, other.fingerprint()),
            _ => panic!("another certificate was accepted, or the reason is lost"),
        }
    }

    #[tokio::test]
    async fn a_server_without_tls_differs_from_no_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("its address").to_string();
        let pinned = Pinned::new(authority, certificate().fingerprint());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.write_all(b"220 mail.example\r\n").await.expect("write");
        });
        assert!(matches!(pinned.dial().await, Err(DialError::Handshake(_))));
        server.await.expect("it has ended, and its port is closed");
        assert!(matches!(pinned.dial().await, Err(DialError::Unreachable(_))));
    }
}
