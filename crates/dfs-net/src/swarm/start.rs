//! Building the swarm and starting its task.

use std::collections::HashMap;

use dfs_metrics::Registry;
use libp2p::swarm;
use libp2p::{Multiaddr, Swarm};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::event_loop::EventLoop;
use super::listen::{self, Listeners};
use crate::behaviour::NodeBehaviour;
use crate::config::NetConfig;
use crate::error::{NetError, SetupError};
use crate::event::NetEvent;
use crate::exchange::ChunkExchange;
use crate::handle::NetHandle;
use crate::limits::{MAX_COMMANDS, MAX_EVENTS};
use crate::metrics::Metrics;
use crate::tasks::Tasks;
use crate::timing::{CONNECTION_SETUP, IDLE_CONNECTION, LISTEN_WAIT};
use crate::transport;

/// Starts the network and returns once it listens.
///
/// The metrics of the network go to the registry. The network ends when
/// [`NetHandle::shutdown`] is called, when every handle has been dropped, when
/// the receiver of its events has been dropped and an event is due, or when its
/// task panics. The receiver ends with the network: a `None` without a shutdown
/// means that the network has failed.
///
/// # Errors
/// [`NetError::Listen`] if an address cannot be listened on,
/// [`NetError::Setup`] if the transports cannot be set up.
pub async fn spawn(
    config: NetConfig,
    registry: &mut Registry,
) -> Result<(NetHandle, mpsc::Receiver<NetEvent>), NetError> {
    listen::probe(&config.listen)?;
    let metrics = Metrics::default();
    metrics.register(registry);
    let tasks = Tasks::default();
    let (events, event_queue) = mpsc::channel(MAX_EVENTS);
    let mut swarm = build(&config, events.clone(), &metrics, registry, tasks.clone())?;
    let waiting = listen_on(&mut swarm, &config.listen)?;
    let (started, has_started) = oneshot::channel();
    let (commands, command_queue) = mpsc::channel(MAX_COMMANDS);
    let handle = NetHandle::new(commands, *swarm.local_peer_id(), tasks.clone());
    let listeners = Listeners::new(waiting, started);
    let event_loop = EventLoop::new(swarm, &config, command_queue, events, listeners, metrics);
    // The loop runs while the start waits, so that no event of the swarm is lost.
    tasks.spawn(event_loop.run());
    let outcome = match timeout(LISTEN_WAIT, has_started).await {
        Ok(Ok(outcome)) => outcome,
        // The event loop has ended.
        Ok(Err(_)) => Err(NetError::Closed),
        // A host without a network gets its addresses later.
        Err(_) => Ok(()),
    };
    if let Err(error) = outcome {
        handle.shutdown().await;
        return Err(error);
    }
    Ok((handle, event_queue))
}

/// A swarm that listens nowhere yet. Its connections and their chunk streams run as
/// tasks of `tasks`; requests for chunks go to `events`.
pub(super) fn build(
    config: &NetConfig,
    events: mpsc::Sender<NetEvent>,
    metrics: &Metrics,
    registry: &mut Registry,
    tasks: Tasks,
) -> Result<Swarm<NodeBehaviour>, SetupError> {
    let transport = transport::build(&config.keypair, CONNECTION_SETUP)?;
    let gossip = registry.sub_registry_with_prefix("net").sub_registry_with_prefix("gossipsub");
    let max_served = config.max_served_bytes;
    let chunks = ChunkExchange::new(max_served, events, tasks.clone(), metrics.clone());
    let behaviour = NodeBehaviour::new(config, chunks, metrics, gossip, tasks.clone());
    let peer = config.keypair.public().to_peer_id();
    let config = swarm::Config::with_executor(tasks).with_idle_connection_timeout(IDLE_CONNECTION);
    Ok(Swarm::new(transport, behaviour, peer, config))
}

fn listen_on(
    swarm: &mut Swarm<NodeBehaviour>,
    addrs: &[Multiaddr],
) -> Result<HashMap<libp2p::core::transport::ListenerId, Multiaddr>, NetError> {
    let mut waiting = HashMap::new();
    for addr in addrs {
        let id = swarm
            .listen_on(addr.clone())
            .map_err(|error| listen::listen_error(addr, listen::transport_error(error)))?;
        waiting.insert(id, addr.clone());
    }
    Ok(waiting)
}
