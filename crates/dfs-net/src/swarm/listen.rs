//! Listening: a probe of the addresses, and the wait for the listeners at the
//! start.

use std::collections::HashMap;
use std::io;

use libp2p::core::transport::ListenerId;
use libp2p::{Multiaddr, TransportError};
use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;

use crate::error::NetError;
use crate::peers::address;

/// Checks that this machine has the addresses and no other program listens on
/// their ports.
///
/// libp2p lets processes of one user share a port, so two nodes on one port
/// would not notice each other and would take each other's connections. All
/// addresses are probed before libp2p listens on any: otherwise a listener of
/// libp2p on `0.0.0.0` would make the probe of `::` with the same port fail.
pub(super) fn probe(addrs: &[Multiaddr]) -> Result<(), NetError> {
    // Kept until all are open, so that one address given twice is noticed.
    let mut sockets = Vec::new();
    for addr in addrs {
        let bound = bind(addr).map_err(|source| listen_error(addr, source))?;
        sockets.extend(bound);
    }
    Ok(())
}

/// A listening socket with the options that libp2p sets, save the one that
/// shares the port.
fn bind(addr: &Multiaddr) -> io::Result<Option<Socket>> {
    let Some(addr) = address::tcp_socket(addr) else { return Ok(None) };
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if addr.is_ipv6() {
        // Otherwise `::` would include `0.0.0.0`.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1)?;
    Ok(Some(socket))
}

pub(super) fn listen_error(addr: &Multiaddr, source: io::Error) -> NetError {
    NetError::Listen { addr: addr.clone(), source }
}

/// What the operating system said of an address, or that no transport knows it.
pub(super) fn transport_error(error: TransportError<io::Error>) -> io::Error {
    match error {
        TransportError::Other(error) => error,
        TransportError::MultiaddrNotSupported(_) => {
            io::Error::new(io::ErrorKind::Unsupported, "no transport supports this address")
        }
    }
}

/// The listeners that have not reported an address since the start.
#[derive(Debug)]
pub(super) struct Listeners {
    waiting: HashMap<ListenerId, Multiaddr>,
    /// Told when all have reported, or the first one has failed.
    started: Option<oneshot::Sender<Result<(), NetError>>>,
}

impl Listeners {
    pub(super) fn new(
        waiting: HashMap<ListenerId, Multiaddr>,
        started: oneshot::Sender<Result<(), NetError>>,
    ) -> Self {
        let mut listeners = Self { waiting, started: Some(started) };
        listeners.tell_if_started();
        listeners
    }

    pub(super) fn on_address(&mut self, id: ListenerId, address: &Multiaddr) {
        tracing::info!(%address, "listening");
        self.waiting.remove(&id);
        self.tell_if_started();
    }

    pub(super) fn on_closed(
        &mut self,
        id: ListenerId,
        addresses: &[Multiaddr],
        reason: io::Result<()>,
    ) {
        let Some(addr) = self.waiting.remove(&id) else {
            tracing::error!(?addresses, ?reason, "no longer listening");
            return;
        };
        let source = reason.err().unwrap_or_else(|| io::ErrorKind::NotConnected.into());
        let error = listen_error(&addr, source);
        match self.started.take() {
            Some(started) => drop(started.send(Err(error))),
            None => tracing::error!(%error, "not listening"),
        }
    }

    fn tell_if_started(&mut self) {
        if self.waiting.is_empty()
            && let Some(started) = self.started.take()
        {
            // The error means that the start has stopped waiting.
            let _ = started.send(Ok(()));
        }
    }
}
