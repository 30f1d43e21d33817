//! Which addresses are worth keeping.

use std::net::{IpAddr, SocketAddr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// Addresses kept per peer; the rest of what it names is ignored.
pub(crate) const MAX_ADDRESSES: usize = 8;

/// Whether an address that a peer names for itself can be of use, given the
/// address under which it is connected: loopback addresses only to those who
/// are on this machine themselves, unspecified ones to nobody.
pub(crate) fn is_useful(named: &Multiaddr, connected: &Multiaddr) -> bool {
    match ip(named) {
        Some(ip) if ip.is_unspecified() => false,
        Some(named) if named.is_loopback() => {
            self::ip(connected).is_some_and(|ip| ip.is_loopback())
        }
        Some(_) => true,
        None => named
            .iter()
            .any(|part| matches!(part, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))),
    }
}

/// Whether the address goes through a relay, which carries no transfers.
pub(crate) fn is_relayed(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| part == Protocol::P2pCircuit)
}

/// What an address is reached over.
pub(crate) fn transport(addr: &Multiaddr) -> &'static str {
    addr.iter()
        .find_map(|part| match part {
            Protocol::Tcp(_) => Some("tcp"),
            Protocol::QuicV1 => Some("quic"),
            _ => None,
        })
        .unwrap_or("other")
}

/// Splits a trailing `/p2p/…` off.
pub(crate) fn split_peer(addr: &Multiaddr) -> (Option<PeerId>, Multiaddr) {
    let mut addr = addr.clone();
    match addr.iter().last() {
        Some(Protocol::P2p(peer)) => {
            addr.pop();
            (Some(peer), addr)
        }
        _ => (None, addr),
    }
}

/// The socket that a plain TCP address stands for.
pub(crate) fn tcp_socket(addr: &Multiaddr) -> Option<SocketAddr> {
    let port = addr.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    })?;
    Some(SocketAddr::new(ip(addr)?, port))
}

fn ip(addr: &Multiaddr) -> Option<IpAddr> {
    addr.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_of_use_on_this_machine_only() {
        let parse = |text: &str| text.parse::<Multiaddr>().expect("an address");
        let (loopback, remote) = (parse("/ip4/127.0.0.1/tcp/1"), parse("/ip4/192.0.2.7/tcp/1"));
        assert!(is_useful(&loopback, &loopback));
        assert!(!is_useful(&loopback, &remote));
        assert!(is_useful(&remote, &loopback));
        assert!(!is_useful(&parse("/ip4/0.0.0.0/tcp/1"), &loopback));
        assert!(is_useful(&parse("/dns4/example.org/tcp/1"), &remote));
        assert!(!is_useful(&parse("/tcp/1"), &remote));
    }
}
