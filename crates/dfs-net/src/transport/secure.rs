//! The choice between TLS and Noise: TLS first, Noise for peers that do not
//! speak it.

use std::io;

use futures::future::{BoxFuture, Either};
use futures::io::{AsyncRead, AsyncWrite, BufReader};
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise};

use super::tls::{self, Tls};
use crate::error::SetupError;

/// The upgrade of a connection to an encrypted one with a known peer.
#[derive(Clone)]
pub(super) struct Secure {
    tls: Tls,
    noise: noise::Config,
}

/// A stream under either protocol.
type Secured<C> = Either<tls::Stream<C>, noise::Output<BufReader<C>>>;

/// Bytes that are read at a time from a socket under Noise, which itself asks for 8 KiB.
const NOISE_BUFFER: usize = 128 << 10;

/// What was negotiated.
#[derive(Clone)]
pub(super) enum Protocol {
    Tls(&'static str),
    Noise(&'static str),
}

impl AsRef<str> for Protocol {
    fn as_ref(&self) -> &str {
        match self {
            Self::Tls(name) | Self::Noise(name) => name,
        }
    }
}

impl Secure {
    pub(super) fn new(keypair: &Keypair) -> Result<Self, SetupError> {
        let noise = noise::Config::new(keypair).map_err(SetupError::Noise)?;
        Ok(Self { tls: Tls::new(keypair)?, noise })
    }
}

impl UpgradeInfo for Secure {
    type Info = Protocol;
    type InfoIter = std::vec::IntoIter<Protocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        let tls = self.tls.protocol_info().map(Protocol::Tls);
        let noise = self.noise.protocol_info().map(Protocol::Noise);
        tls.chain(noise).collect::<Vec<_>>().into_iter()
    }
}

impl<C> InboundConnectionUpgrade<C> for Secure
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Secured<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, negotiated: Protocol) -> Self::Future {
        Box::pin(async move {
            match negotiated {
                Protocol::Tls(name) => {
                    let (peer, stream) = self.tls.upgrade_inbound(socket, name).await?;
                    Ok((peer, Either::Left(stream)))
                }
                Protocol::Noise(name) => {
                    let socket = BufReader::with_capacity(NOISE_BUFFER, socket);
                    let upgraded = self.noise.upgrade_inbound(socket, name).await;
                    let (peer, stream) = upgraded.map_err(io::Error::other)?;
                    Ok((peer, Either::Right(stream)))
                }
            }
        })
    }
}

impl<C> OutboundConnectionUpgrade<C> for Secure
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Secured<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, negotiated: Protocol) -> Self::Future {
        Box::pin(async move {
            match negotiated {
                Protocol::Tls(name) => {
                    let (peer, stream) = self.tls.upgrade_outbound(socket, name).await?;
                    Ok((peer, Either::Left(stream)))
                }
                Protocol::Noise(name) => {
                    let socket = BufReader::with_capacity(NOISE_BUFFER, socket);
                    let upgraded = self.noise.upgrade_outbound(socket, name).await;
                    let (peer, stream) = upgraded.map_err(io::Error::other)?;
                    Ok((peer, Either::Right(stream)))
                }
            }
        })
    }
}
