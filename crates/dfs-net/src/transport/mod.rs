//! The transports: TCP over addresses or names, encrypted and authenticated
//! with TLS 1.3 or Noise, multiplexed by Yamux.
//!
//! TLS is offered first, because AES-GCM costs a fifth of the processor time of
//! ChaCha20-Poly1305, the only cipher of Noise. Noise is always offered too:
//! other libp2p nodes may speak nothing else.

mod cork;
mod mux;
mod secure;
mod tls;
mod tls_stream;
mod verify;

use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, dns, tcp};

use crate::error::SetupError;
pub(crate) use mux::FRAME;
use mux::Yamux;
use secure::Secure;

/// A transport whose connections are encrypted, authenticated and multiplexed.
/// A connection that is not all of that within `setup` is given up.
pub(crate) fn build(
    keypair: &Keypair,
    setup: Duration,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, SetupError> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(Secure::new(keypair)?)
        .multiplex(Yamux)
        .timeout(setup);
    let named = dns::tokio::Transport::system(tcp).map_err(SetupError::Resolver)?;
    Ok(named.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use futures::StreamExt;
    use libp2p::Multiaddr;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportEvent};
    use libp2p::multiaddr::Protocol;
    use tokio::time::timeout;

    use super::*;

    const SETUP: Duration = Duration::from_millis(50);
    /// Far longer than a setup may take.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn transport() -> Boxed<(PeerId, StreamMuxerBox)> {
        build(&Keypair::generate_ed25519(), SETUP).expect("a transport")
    }

    fn port(addr: &Multiaddr) -> u16 {
        let port = addr.iter().find_map(|part| match part {
            Protocol::Tcp(port) => Some(port),
            _ => None,
        });
        port.expect("a port")
    }

    #[tokio::test]
    async fn a_caller_that_says_nothing_is_hung_up_on() {
        let mut transport = transport();
        let any = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
        transport.listen_on(ListenerId::next(), any).expect("a free port");
        let Some(TransportEvent::NewAddress { listen_addr, .. }) = transport.next().await else {
            panic!("no address")
        };
        let _silent = TcpStream::connect(("127.0.0.1", port(&listen_addr))).expect("connected");
        let Some(TransportEvent::Incoming { upgrade, .. }) = transport.next().await else {
            panic!("no connection")
        };
        let upgraded = timeout(PATIENCE, upgrade).await.expect("an end of the setup");
        assert!(upgraded.is_err());
    }

    #[tokio::test]
    async fn a_listener_that_says_nothing_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = silent.local_addr().expect("bound").port();
        let addr = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dialled = transport().dial(addr, opts).expect("a dial");
        let dialled = timeout(PATIENCE, dialled).await.expect("an end of the setup");
        assert!(dialled.is_err());
    }
}
