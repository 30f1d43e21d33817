//! mDNS whose tasks end with the network.
//!
//! libp2p starts a task for each network interface and detaches it. Such a task
//! outlives its behaviour and goes on answering queries with the addresses of a
//! node that has ended. So mDNS gets a runtime of one thread, which ends with
//! the behaviour and takes those tasks along.

use std::io;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::mdns::{Config, Event, tokio as mdns};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::runtime::{Builder, Runtime};

/// Finds nodes in the local network.
pub(crate) struct Mdns {
    inner: mdns::Behaviour,
    runtime: OwnRuntime,
}

/// A runtime that may be dropped in an asynchronous context.
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting for the thread would block the event loop, and is not
            // allowed in an asynchronous context.
            runtime.shutdown_background();
        }
    }
}

impl Mdns {
    pub(crate) fn new(local_peer: PeerId) -> io::Result<Self> {
        let (inner, runtime) =
            in_own_runtime(|| mdns::Behaviour::new(Config::default(), local_peer))?;
        Ok(Self { inner, runtime })
    }
}

/// Makes something within a runtime of one thread.
fn in_own_runtime<T>(make: impl FnOnce() -> io::Result<T>) -> io::Result<(T, OwnRuntime)> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("dfs-mdns")
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    let made = make();
    drop(entered);
    let runtime = OwnRuntime(Some(runtime));
    Ok((made?, runtime))
}

impl NetworkBehaviour for Mdns {
    type ConnectionHandler = <mdns::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Event;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local_addr: &Multiaddr,
        remote_addr: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local_addr, remote_addr)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local_addr: &Multiaddr,
        remote_addr: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local_addr, remote_addr)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addrs: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(id, peer, addrs, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, addr, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let _entered = self.runtime.0.as_ref().map(Runtime::enter);
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::runtime::Handle;

    use super::*;

    /// Needs a network interface other than loopback.
    #[tokio::test]
    async fn the_tasks_of_mdns_end_with_it() {
        let mut mdns = Mdns::new(PeerId::random()).expect("a network interface");
        let own = mdns.runtime.0.as_ref().expect("taken at the end only").metrics();
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        poll_fn(|cx| {
            let _ = mdns.poll(cx);
            if own.num_alive_tasks() + tasks() > before { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        drop(mdns);
        assert_eq!(tasks(), before);
    }

    #[tokio::test]
    async fn a_system_without_mdns_is_an_error_and_no_panic() {
        let refused = in_own_runtime(|| Err::<(), _>(io::ErrorKind::PermissionDenied.into()));
        let error = refused.err().expect("it was refused");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
