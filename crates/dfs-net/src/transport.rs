//! The transports: TCP with Noise and Yamux, over addresses or names.

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, dns, noise, tcp, yamux};

use crate::error::SetupError;

/// A transport whose connections are encrypted, authenticated and multiplexed.
pub(crate) fn build(keypair: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, SetupError> {
    let noise = noise::Config::new(keypair).map_err(SetupError::Noise)?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default());
    let named = dns::tokio::Transport::system(tcp).map_err(SetupError::Resolver)?;
    Ok(named.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed())
}
