//! `/tls/1.0.0`: TLS 1.3 as libp2p specifies it, with AES-GCM preferred where
//! the processor has instructions for it.
//!
//! libp2p's own upgrade offers ChaCha20-Poly1305 first on every processor. This
//! one differs from it only in the order of the ciphers, so both interoperate.
//! Certificates are made and parsed by `libp2p-tls`; see
//! <https://github.com/libp2p/specs/blob/master/tls/tls.md>.

use std::io;
use std::iter;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::future::{BoxFuture, Either};
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p_tls::certificate;
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, CommonState, ServerConfig, SupportedCipherSuite};

use super::tls_stream::TlsStream;
use super::verify::Libp2pCertificate;
use crate::error::SetupError;

/// Name of the upgrade, and of the protocol inside TLS.
const PROTOCOL: &str = "/tls/1.0.0";
const ALPN: &[u8] = b"libp2p";

/// The upgrade of a connection to TLS. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    /// Makes a certificate that the key of the node vouches for.
    pub(super) fn new(keypair: &Keypair) -> Result<Self, SetupError> {
        Self::with_suites(keypair, &preferred_suites(has_aes_instructions()))
    }

    fn with_suites(keypair: &Keypair, suites: &[SupportedCipherSuite]) -> Result<Self, SetupError> {
        let (certificate, key) = certificate::generate(keypair)?;
        let provider = CryptoProvider { cipher_suites: suites.to_vec(), ..default_provider() };
        let key = provider.key_provider.load_private_key(key)?;
        let certified = Arc::new(CertifiedKey::new(vec![certificate], key));
        let provider = Arc::new(provider);
        let versions = &[&rustls::version::TLS13];

        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(Arc::new(Libp2pCertificate))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&certified))));
        server.alpn_protocols = vec![ALPN.to_vec()];
        // A session ticket would save a certificate, and nothing resumes sessions.
        server.send_tls13_tickets = 0;

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Libp2pCertificate))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = rustls::client::Resumption::disabled();
        // The specification forbids a server name.
        client.enable_sni = false;
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}

/// The ciphers of TLS 1.3, the fastest first. The client's order decides.
fn preferred_suites(has_aes: bool) -> [SupportedCipherSuite; 3] {
    if has_aes {
        [TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256]
    } else {
        [TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384]
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes_instructions() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes_instructions() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes_instructions() -> bool {
    false
}

impl UpgradeInfo for Tls {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once(PROTOCOL)
    }
}

/// A stream that this end, or the other one, has opened.
pub(super) type Stream<C> =
    Either<TlsStream<C, UnbufferedClientConnection>, TlsStream<C, UnbufferedServerConnection>>;

impl<C> InboundConnectionUpgrade<C> for Tls
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Stream<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, _: &'static str) -> Self::Future {
        Box::pin(async move {
            let session = UnbufferedServerConnection::new(self.server).map_err(io::Error::other)?;
            let stream = TlsStream::join(socket, session).await?;
            Ok((peer_behind(stream.common())?, Either::Right(stream)))
        })
    }
}

impl<C> OutboundConnectionUpgrade<C> for Tls
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Stream<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, _: &'static str) -> Self::Future {
        Box::pin(async move {
            // rustls asks for a name. It is not sent, and the certificate names none.
            let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
            let session = UnbufferedClientConnection::new(self.client, name);
            let stream = TlsStream::join(socket, session.map_err(io::Error::other)?).await?;
            Ok((peer_behind(stream.common())?, Either::Left(stream)))
        })
    }
}

/// Names the peer that the certificate of a finished handshake belongs to. libp2p
/// compares it with the peer that was dialled.
fn peer_behind(connection: &CommonState) -> io::Result<PeerId> {
    match connection.peer_certificates() {
        Some([only]) => peer_of(only),
        // The verifier has refused anything else.
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not one certificate")),
    }
}

fn peer_of(certificate: &CertificateDer<'_>) -> io::Result<PeerId> {
    let parsed = certificate::parse(certificate);
    let parsed = parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(parsed.peer_id())
}

#[cfg(test)]
mod tests {
    use futures::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    type Socket = tokio_util::compat::Compat<tokio::io::DuplexStream>;

    /// Joins two upgrades. Returns the peer that each end sees, and both streams.
    async fn handshake<A, B, X, Y>(client: A, server: B) -> ((PeerId, X), (PeerId, Y))
    where
        A: OutboundConnectionUpgrade<Socket, Output = (PeerId, X), Error: std::fmt::Debug>
            + UpgradeInfo<Info = &'static str>,
        B: InboundConnectionUpgrade<Socket, Output = (PeerId, Y), Error: std::fmt::Debug>
            + UpgradeInfo<Info = &'static str>,
    {
        let (here, there) = tokio::io::duplex(64 << 10);
        let (dialled, accepted) = futures::join!(
            client.upgrade_outbound(here.compat(), PROTOCOL),
            server.upgrade_inbound(there.compat(), PROTOCOL),
        );
        (dialled.expect("the client's handshake"), accepted.expect("the server's handshake"))
    }

    /// Sends more than any buffer holds from one end to the other, as it is read in small
    /// and large pieces.
    async fn send(from: &mut (impl AsyncWrite + Unpin), to: &mut (impl AsyncRead + Unpin)) {
        let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let write = async {
            for piece in content.chunks(70_001) {
                from.write_all(piece).await?;
            }
            from.flush().await
        };
        let read = async {
            let mut arrived = vec![0; content.len()];
            let (small, large) = arrived.split_at_mut(100_000);
            for piece in small.chunks_mut(999) {
                to.read_exact(piece).await?;
            }
            to.read_exact(large).await?;
            Ok::<_, io::Error>(arrived)
        };
        let (sent, arrived) = futures::join!(write, read);
        sent.expect("written");
        assert!(arrived.expect("read") == content, "other bytes");
    }

    #[tokio::test]
    async fn both_ends_learn_the_other_and_the_client_chooses_the_cipher() {
        let (a, b) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let names = (b.public().to_peer_id(), a.public().to_peer_id());
        for has_aes in [true, false] {
            let suites = preferred_suites(has_aes);
            let client = Tls::with_suites(&a, &suites).expect("a client");
            // The server prefers the other order.
            let server = Tls::with_suites(&b, &preferred_suites(!has_aes)).expect("a server");
            let ((at_client, mut dialled), (at_server, mut accepted)) =
                handshake(client, server).await;
            assert_eq!((at_client, at_server), names);
            let Either::Left(client) = &dialled else { panic!("the client accepted") };
            let cipher = client.common().negotiated_cipher_suite().expect("a cipher");
            assert_eq!(cipher.suite(), suites[0].suite());
            send(&mut dialled, &mut accepted).await;
            send(&mut accepted, &mut dialled).await;
        }
    }

    #[tokio::test]
    async fn it_speaks_with_the_upgrade_of_libp2p_in_both_directions() {
        let (a, b) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let (ours, theirs) = (
            Tls::new(&a).expect("our upgrade"),
            libp2p_tls::Config::new(&b).expect("the stock upgrade"),
        );
        let ((peer, mut here), (_, mut there)) = handshake(ours.clone(), theirs.clone()).await;
        assert_eq!(peer, b.public().to_peer_id());
        send(&mut here, &mut there).await;
        send(&mut there, &mut here).await;
        // A peer may change its keys at any time, and ask this end for the same.
        let futures_rustls::TlsStream::Server(server) = &mut there else { panic!("a client") };
        server.get_mut().1.refresh_traffic_keys().expect("new keys");
        send(&mut there, &mut here).await;
        send(&mut here, &mut there).await;

        let ((peer, mut there), (_, mut here)) = handshake(theirs, ours).await;
        assert_eq!(peer, a.public().to_peer_id());
        send(&mut here, &mut there).await;
        send(&mut there, &mut here).await;
        there.close().await.expect("closed");
        assert_eq!(here.read(&mut [0; 9]).await.expect("an end"), 0);
        here.close().await.expect("closed");
        assert_eq!(there.read(&mut [0; 9]).await.expect("an end"), 0);
    }

    /// Joins any client and any server; returns what each of them makes of the
    /// other.
    async fn meet(
        client: ClientConfig,
        server: ServerConfig,
    ) -> (io::Result<PeerId>, io::Result<PeerId>) {
        let (client, server) = (Arc::new(client), Arc::new(server));
        let tls = Tls { server, client };
        let (here, there) = tokio::io::duplex(64 << 10);
        let (dialled, accepted) = futures::join!(
            tls.clone().upgrade_outbound(here.compat(), PROTOCOL),
            tls.upgrade_inbound(there.compat(), PROTOCOL),
        );
        (dialled.map(|(peer, _)| peer), accepted.map(|(peer, _)| peer))
    }

    /// The settings of a node.
    fn configs(keypair: &Keypair) -> (ClientConfig, ServerConfig) {
        let tls = Tls::new(keypair).expect("valid settings");
        (ClientConfig::clone(&tls.client), ServerConfig::clone(&tls.server))
    }

    /// Shows the certificate of `shown`, `times` over, and signs as another.
    fn impostor(shown: &Keypair, times: usize) -> Arc<SingleCertAndKey> {
        let (certificate, own_key) = certificate::generate(shown).expect("a certificate");
        let (_, other_key) = certificate::generate(shown).expect("a certificate");
        let key = if times == 1 { other_key } else { own_key };
        let key = default_provider().key_provider.load_private_key(key).expect("a key");
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate; times], key)))
    }

    #[tokio::test]
    async fn neither_end_accepts_a_peer_without_its_own_single_certificate() {
        let (a, b) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let (honest_client, honest_server) = (configs(&a).0, configs(&b).1);
        let (at_client, at_server) = meet(honest_client.clone(), honest_server.clone()).await;
        assert_eq!(at_client.expect("an honest server"), b.public().to_peer_id());
        assert_eq!(at_server.expect("an honest client"), a.public().to_peer_id());

        let mut nameless = ClientConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("valid settings")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Libp2pCertificate))
            .with_no_client_auth();
        nameless.alpn_protocols = vec![ALPN.to_vec()];
        let (_, at_server) = meet(nameless, honest_server.clone()).await;
        assert!(at_server.is_err(), "no certificate: {at_server:?}");

        for (times, what) in [(1, "the certificate of another key"), (2, "two certificates")] {
            let mut client = honest_client.clone();
            client.client_auth_cert_resolver = impostor(&a, times);
            let (_, at_server) = meet(client, honest_server.clone()).await;
            assert!(at_server.is_err(), "{what}: {at_server:?}");
            let mut server = honest_server.clone();
            server.cert_resolver = impostor(&b, times);
            let (at_client, _) = meet(honest_client.clone(), server).await;
            assert!(at_client.is_err(), "{what}: {at_client:?}");
        }
    }

    #[tokio::test]
    async fn another_protocol_inside_tls_is_refused() {
        let (mut client, server) = configs(&Keypair::generate_ed25519());
        client.alpn_protocols = vec![b"h2".to_vec()];
        let (at_client, at_server) = meet(client, server.clone()).await;
        assert!(at_client.is_err() && at_server.is_err());
        // Implementations that negotiate the multiplexer inside TLS offer both.
        let (mut client, _) = configs(&Keypair::generate_ed25519());
        client.alpn_protocols = vec![b"/yamux/1.0.0".to_vec(), ALPN.to_vec()];
        let (at_client, at_server) = meet(client, server).await;
        assert!(at_client.is_ok() && at_server.is_ok());
    }
}
