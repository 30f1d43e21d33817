//! Requests of this node between their call and their answer.
//!
//! A peer refuses streams beyond a number, so only a bounded number of requests
//! is under way to each peer and the rest wait here for their turn.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use dfs_wire::Breach;
use libp2p::PeerId;
use libp2p::request_response::{OutboundFailure, OutboundRequestId};

use crate::command::Reply;
use crate::error::{FetchError, PeerFault, Unreachable};
use crate::limits::{MAX_REQUESTS_PER_PEER, MAX_WAITING_REQUESTS_PER_PEER};
use crate::metrics::{Exchange, Metrics};
use crate::timing::BUSY_RETRY_MS;

/// The requests of one protocol: `Q` is a request, `R` what the caller gets,
/// and `K` names a request in libp2p.
#[derive(Debug)]
pub(crate) struct Outgoing<Q, R, K = OutboundRequestId> {
    protocol: &'static str,
    sent: HashMap<K, (PeerId, Reply<Result<R, FetchError>>)>,
    peers: HashMap<PeerId, Line<Q, R>>,
    metrics: Metrics,
}

/// The requests to one peer.
#[derive(Debug)]
struct Line<Q, R> {
    sent: usize,
    waiting: VecDeque<Waiting<Q, R>>,
}

/// A request that has not been sent.
#[derive(Debug)]
pub(crate) struct Waiting<Q, R> {
    pub(crate) request: Q,
    pub(crate) respond_to: Reply<Result<R, FetchError>>,
}

impl<Q, R, K: Copy + Eq + Hash> Outgoing<Q, R, K> {
    pub(crate) fn new(protocol: &'static str, metrics: Metrics) -> Self {
        Self { protocol, sent: HashMap::new(), peers: HashMap::new(), metrics }
    }

    /// Takes a request. Call [`Self::next`] afterwards.
    pub(crate) fn request(
        &mut self,
        peer: PeerId,
        request: Q,
        respond_to: Reply<Result<R, FetchError>>,
    ) {
        let line =
            self.peers.entry(peer).or_insert_with(|| Line { sent: 0, waiting: VecDeque::new() });
        if line.waiting.len() >= MAX_WAITING_REQUESTS_PER_PEER {
            let retry = Duration::from_millis(BUSY_RETRY_MS.into());
            let _ = respond_to.send(Err(FetchError::Busy { retry }));
            return;
        }
        line.waiting.push_back(Waiting { request, respond_to });
    }

    /// The next request that may be sent to the peer. The event loop sends it
    /// and reports [`Self::on_sent`], until there is none.
    pub(crate) fn next(&mut self, peer: &PeerId) -> Option<Waiting<Q, R>> {
        let line = self.peers.get_mut(peer)?;
        if line.sent < MAX_REQUESTS_PER_PEER {
            while let Some(waiting) = line.waiting.pop_front() {
                // A caller that has given up wants no answer.
                if !waiting.respond_to.is_closed() {
                    return Some(waiting);
                }
            }
        }
        if line.sent == 0 && line.waiting.is_empty() {
            self.peers.remove(peer);
        }
        None
    }

    /// The peer cannot be dialled: requests that wait for it fail as well,
    /// instead of each waiting for a dial of its own.
    pub(crate) fn on_dial_failed(&mut self, peer: &PeerId) {
        let Some(line) = self.peers.get_mut(peer) else { return };
        for waiting in line.waiting.drain(..) {
            let _ = waiting.respond_to.send(Err(Unreachable::Dial.into()));
        }
    }

    /// A request has been handed to libp2p.
    pub(crate) fn on_sent(
        &mut self,
        peer: PeerId,
        key: K,
        respond_to: Reply<Result<R, FetchError>>,
    ) {
        if let Some(line) = self.peers.get_mut(&peer) {
            line.sent += 1;
        }
        self.sent.insert(key, (peer, respond_to));
    }

    /// A request has been answered or has failed. Call [`Self::next`]
    /// afterwards.
    pub(crate) fn on_result(
        &mut self,
        key: K,
        outcome: &'static str,
        result: Result<R, FetchError>,
    ) {
        let exchange = Exchange { protocol: self.protocol, outcome };
        self.metrics.requests_sent.get_or_create(&exchange).inc();
        let Some((peer, respond_to)) = self.sent.remove(&key) else { return };
        if let Some(line) = self.peers.get_mut(&peer) {
            line.sent -= 1;
        }
        // The error means that the caller has given up.
        let _ = respond_to.send(result);
    }
}

/// Sorts the failure of a request by whose fault it is.
pub(crate) fn failure(error: OutboundFailure) -> FetchError {
    match error {
        OutboundFailure::Timeout => Unreachable::TimedOut.into(),
        OutboundFailure::DialFailure => Unreachable::Dial.into(),
        OutboundFailure::ConnectionClosed => Unreachable::ConnectionClosed.into(),
        // Another kind of node, which is not a fault.
        OutboundFailure::UnsupportedProtocols => FetchError::NotFound,
        OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            Unreachable::TimedOut.into()
        }
        OutboundFailure::Io(error) => match error.downcast::<Breach>() {
            Ok(source) => PeerFault::Malformed { source }.into(),
            Err(source) => Unreachable::Stream { source }.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use dfs_wire::WireError;
    use tokio::sync::oneshot;

    use super::*;

    type Requests = Outgoing<u32, u32, u32>;

    fn request(
        requests: &mut Requests,
        peer: PeerId,
        number: u32,
    ) -> oneshot::Receiver<Result<u32, FetchError>> {
        let (respond_to, response) = oneshot::channel();
        requests.request(peer, number, respond_to);
        response
    }

    /// Plays the event loop: sends what may be sent.
    fn send(requests: &mut Requests, peer: PeerId) -> Vec<u32> {
        let mut sent = Vec::new();
        while let Some(Waiting { request, respond_to }) = requests.next(&peer) {
            requests.on_sent(peer, request, respond_to);
            sent.push(request);
        }
        sent
    }

    #[test]
    fn requests_beyond_the_limit_wait_for_an_answer() {
        let mut requests = Requests::new("chunk", Metrics::default());
        let (peer, other) = (PeerId::random(), PeerId::random());
        let mut responses: Vec<_> =
            (0..100).map(|number| request(&mut requests, peer, number)).collect();
        assert_eq!(send(&mut requests, peer).len(), MAX_REQUESTS_PER_PEER);
        let _other = request(&mut requests, other, 1000);
        assert_eq!(send(&mut requests, other), [1000], "another peer has its own line");
        drop(responses.remove(64));
        requests.on_result(0, "found", Ok(7));
        assert_eq!(send(&mut requests, peer), [65], "a caller that gave up is passed over");
        assert!(matches!(responses[0].try_recv(), Ok(Ok(7))));
    }

    #[test]
    fn requests_that_wait_for_a_peer_fail_with_its_dial() {
        let mut requests = Requests::new("chunk", Metrics::default());
        let peer = PeerId::random();
        let mut responses: Vec<_> =
            (0..100).map(|number| request(&mut requests, peer, number)).collect();
        send(&mut requests, peer);
        requests.on_dial_failed(&peer);
        for response in &mut responses[MAX_REQUESTS_PER_PEER..] {
            let failed = response.try_recv();
            assert!(matches!(failed, Ok(Err(FetchError::Unreachable(Unreachable::Dial)))));
        }
        assert!(send(&mut requests, peer).is_empty());
    }

    #[test]
    fn answered_lines_are_forgotten() {
        let mut requests = Requests::new("chunk", Metrics::default());
        let peer = PeerId::random();
        let _response = request(&mut requests, peer, 1);
        send(&mut requests, peer);
        requests.on_result(1, "failed", Err(FetchError::NotFound));
        assert!(send(&mut requests, peer).is_empty());
        assert!(requests.peers.is_empty() && requests.sent.is_empty());
    }

    #[test]
    fn failures_are_sorted_by_fault() {
        let breach = Breach::FrameLength { found: 2, limit: 1 };
        let error = failure(OutboundFailure::Io(WireError::from(breach).into()));
        assert!(matches!(
            error,
            FetchError::Fault(PeerFault::Malformed { source: Breach::FrameLength { .. } })
        ));
        let error = failure(OutboundFailure::Io(io::ErrorKind::TimedOut.into()));
        assert!(matches!(error, FetchError::Unreachable(Unreachable::TimedOut)));
        let error = failure(OutboundFailure::Io(io::ErrorKind::BrokenPipe.into()));
        assert!(matches!(error, FetchError::Unreachable(Unreachable::Stream { .. })));
        let error = failure(OutboundFailure::UnsupportedProtocols);
        assert!(matches!(error, FetchError::NotFound));
    }
}
