//! mDNS whose tasks end with the network.
//!
//! libp2p starts a task for each network interface and detaches it. Such a task
//! outlives its behaviour and goes on answering queries with the addresses of a
//! node that has ended. So mDNS gets a runtime of one thread, which ends with
//! the behaviour and takes those tasks along. Its end is one of the tasks of the
//! network.

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
use tokio::runtime::{Builder, Handle, Runtime};

use crate::tasks::Tasks;
use crate::timing::STOP_GRACE;

/// Finds nodes in the local network.
pub(crate) struct Mdns {
    inner: mdns::Behaviour,
    runtime: OwnRuntime,
}

/// A runtime that may be dropped in an asynchronous context.
struct OwnRuntime {
    runtime: Option<Runtime>,
    tasks: Tasks,
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        // Waiting for the thread would block the event loop, and is not allowed in an
        // asynchronous context.
        if Handle::try_current().is_ok() {
            self.tasks.spawn_blocking(move || runtime.shutdown_timeout(STOP_GRACE));
        } else {
            runtime.shutdown_background();
        }
    }
}

impl Mdns {
    /// `tasks` wait for the end of its thread.
    pub(crate) fn new(local_peer: PeerId, tasks: Tasks) -> io::Result<Self> {
        let (inner, runtime) =
            in_own_runtime(tasks, || mdns::Behaviour::new(Config::default(), local_peer))?;
        Ok(Self { inner, runtime })
    }
}

/// Makes something within a runtime of one thread.
fn in_own_runtime<T>(
    tasks: Tasks,
    make: impl FnOnce() -> io::Result<T>,
) -> io::Result<(T, OwnRuntime)> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("dfs-mdns")
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    let made = make();
    drop(entered);
    let runtime = OwnRuntime { runtime: Some(runtime), tasks };
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
        let _entered = self.runtime.runtime.as_ref().map(Runtime::enter);
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Whether a thread of mDNS runs in this process.
    fn has_thread() -> bool {
        let threads = std::fs::read_dir("/proc/self/task").expect("the threads");
        threads.flatten().any(|thread| {
            let name = std::fs::read_to_string(thread.path().join("comm"));
            name.is_ok_and(|name| name.starts_with("dfs-mdns"))
        })
    }

    /// Needs a network interface other than loopback.
    #[tokio::test]
    async fn the_tasks_of_mdns_end_with_it() {
        let tasks = Tasks::none();
        let mut mdns = Mdns::new(PeerId::random(), tasks.clone()).expect("a network interface");
        let own = mdns.runtime.runtime.as_ref().expect("taken at the end only").metrics();
        let alive = || Handle::current().metrics().num_alive_tasks();
        let before = alive();
        // A thread takes its name when it runs.
        while !has_thread() {
            tokio::task::yield_now().await;
        }
        poll_fn(|cx| {
            let _ = mdns.poll(cx);
            if own.num_alive_tasks() + alive() > before { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        drop(mdns);
        tasks.ended().await;
        assert_eq!(own.num_alive_tasks(), 0);
        assert!(!has_thread(), "its thread has ended");
        assert_eq!(alive(), before);
    }

    #[tokio::test]
    async fn a_system_without_mdns_is_an_error_and_no_panic() {
        let refused =
            in_own_runtime(Tasks::none(), || Err::<(), _>(io::ErrorKind::PermissionDenied.into()));
        let error = refused.err().expect("it was refused");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
