//! What a multiaddress says, and which addresses are worth keeping.

use std::net::{IpAddr, SocketAddr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// Whether an address that a peer claims can be reached, given the address at
/// which the peer is connected. A loopback address is of use only for a peer on
/// this machine, an unspecified address never.
pub(crate) fn is_useful(claimed: &Multiaddr, connected: &Multiaddr) -> bool {
    match ip(claimed) {
        Some(ip) if ip.is_unspecified() => false,
        Some(claimed) if claimed.is_loopback() => {
            ip(connected).is_some_and(|connected| connected.is_loopback())
        }
        Some(_) => true,
        None => claimed
            .iter()
            .any(|part| matches!(part, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))),
    }
}

/// Whether the address leads through a relay. Relays carry too little data for
/// transfers.
pub(crate) fn is_relayed(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| part == Protocol::P2pCircuit)
}

/// The transport of an address.
pub(crate) fn transport(addr: &Multiaddr) -> &'static str {
    addr.iter()
        .find_map(|part| match part {
            Protocol::Tcp(_) => Some("tcp"),
            Protocol::QuicV1 => Some("quic"),
            _ => None,
        })
        .unwrap_or("other")
}

/// Splits off a trailing `/p2p/…`.
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

/// The socket address that a plain TCP address stands for.
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
    fn loopback_addresses_are_useful_only_for_peers_on_this_machine() {
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
