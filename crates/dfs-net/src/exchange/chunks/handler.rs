//! The chunk streams of one connection: one that this node opens when it has
//! something to ask for, and up to [`MAX_CHUNK_STREAMS`] that the peer opens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use dfs_wire::chunk;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamUpgradeError, SubstreamProtocol,
};
use libp2p::{PeerId, StreamProtocol};
use tokio::sync::mpsc;

use super::traffic::{Traffic, Transferred};
use super::{Fetch, Shared, ask, busy, serve};
use crate::error::{FetchError, Unreachable};
use crate::limits::{MAX_CHUNK_STREAMS, MAX_REQUESTS_PER_PEER};
use crate::metrics::Link;

/// The stream on which this node asks.
#[derive(Debug)]
enum Asking {
    Closed,
    Opening,
    Open(mpsc::Sender<Fetch>),
}

/// The chunk protocol on one connection.
#[derive(Debug)]
pub(crate) struct Handler {
    peer: PeerId,
    shared: Shared,
    asking: Asking,
    /// Runs that wait for the stream.
    waiting: VecDeque<Fetch>,
    /// Each stream of the peer holds a clone while it is served.
    served: Arc<()>,
    traffic: Traffic,
}

impl Handler {
    pub(super) fn new(peer: PeerId, shared: Shared) -> Self {
        Self {
            peer,
            shared,
            asking: Asking::Closed,
            waiting: VecDeque::new(),
            served: Arc::default(),
            traffic: Traffic::default(),
        }
    }

    fn fetch(&mut self, fetch: Fetch) {
        let fetch = match &self.asking {
            Asking::Open(stream) => match stream.try_send(fetch) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(fetch)) => {
                    return fetch.fail(busy(), &self.shared.metrics);
                }
                Err(mpsc::error::TrySendError::Closed(fetch)) => {
                    self.asking = Asking::Closed;
                    fetch
                }
            },
            Asking::Closed | Asking::Opening => fetch,
        };
        if self.waiting.len() >= MAX_REQUESTS_PER_PEER {
            return fetch.fail(busy(), &self.shared.metrics);
        }
        self.waiting.push_back(fetch);
    }

    /// The stream on which this node asks is open.
    fn ask_on(&mut self, stream: Stream) {
        let (fetches, queue) = mpsc::channel(MAX_REQUESTS_PER_PEER);
        for fetch in self.waiting.drain(..) {
            // There are not more of them than fit.
            let _ = fetches.try_send(fetch);
        }
        self.asking = Asking::Open(fetches);
        let (traffic, metrics) = (self.traffic.clone(), self.shared.metrics.clone());
        self.shared.tasks.spawn_stream(async move {
            let open = metrics.chunk_streams.get_or_create_owned(&Link::OUTBOUND);
            open.inc();
            ask::run(stream, queue, &traffic, &metrics).await;
            open.dec();
        });
    }

    /// The peer has opened a stream.
    fn serve_on(&mut self, stream: Stream) {
        // One clone is the field itself.
        if Arc::strong_count(&self.served) > MAX_CHUNK_STREAMS {
            tracing::debug!(peer = %self.peer, "a chunk stream beyond the limit was dropped");
            return;
        }
        let (served, shared) = (Arc::clone(&self.served), self.shared.clone());
        let (peer, traffic) = (self.peer, self.traffic.clone());
        self.shared.tasks.spawn_stream(async move {
            let open = shared.metrics.chunk_streams.get_or_create_owned(&Link::INBOUND);
            open.inc();
            serve::run(stream, peer, &shared, &traffic).await;
            open.dec();
            drop(served);
        });
    }

    fn fail_all(&mut self, error: impl Fn() -> FetchError) {
        for fetch in self.waiting.drain(..) {
            fetch.fail(error(), &self.shared.metrics);
        }
    }

    fn on_open_failed(&mut self, error: StreamUpgradeError<std::convert::Infallible>) {
        self.asking = Asking::Closed;
        match error {
            StreamUpgradeError::Timeout => self.fail_all(|| Unreachable::TimedOut.into()),
            // Another kind of node, which is not a fault.
            StreamUpgradeError::NegotiationFailed => self.fail_all(|| FetchError::NotFound),
            StreamUpgradeError::Io(source) => {
                self.fail_all(|| Unreachable::Stream { source: source.kind().into() }.into());
            }
            StreamUpgradeError::Apply(never) => match never {},
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Fetch;
    type ToBehaviour = Transferred;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(StreamProtocol::new(chunk::PROTOCOL)), ())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Transferred>> {
        if matches!(self.asking, Asking::Closed) && !self.waiting.is_empty() {
            self.asking = Asking::Opening;
            let protocol = self.listen_protocol();
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.traffic.poll(cx).map(ConnectionHandlerEvent::NotifyBehaviour)
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<Option<Transferred>> {
        Poll::Ready(self.traffic.take())
    }

    fn on_behaviour_event(&mut self, fetch: Fetch) {
        self.fetch(fetch);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                ..
            }) => self.ask_on(stream),
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: stream,
                ..
            }) => self.serve_on(stream),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                self.on_open_failed(error);
            }
            // The enum is one of libp2p and open; the rest needs no action.
            _ => {}
        }
    }
}
