//! Metadata requests of peers between their arrival and their answer.
//!
//! Owns which requests are open, their number and their spans. Looking the answers up is the
//! business of the owner of the network; what this node asks is in [`super::outgoing`].

use std::collections::HashMap;
use std::hash::Hash;

use dfs_core::Cid;
use dfs_wire::metadata::{Request, Response};
use libp2p::PeerId;
use libp2p::request_response::{InboundRequestId, ResponseChannel};
use tracing::Span;

use super::{Serve, metadata_len, metadata_outcome};
use crate::event::NetEvent;
use crate::limits::MAX_METADATA_REQUESTS;
use crate::metrics::{Exchange, Metrics};
use crate::request_id::{RequestId, RequestIds};
use crate::timing::BUSY_RETRY_MS;

/// The metadata requests that the owner of the network has not answered.
///
/// `K` names a request in libp2p and `C` is its way back; tests use their own.
#[derive(Debug)]
pub(crate) struct MetadataServer<K = InboundRequestId, C = ResponseChannel<Response>> {
    ids: RequestIds,
    open: HashMap<RequestId, Open<K, C>>,
    by_key: HashMap<K, RequestId>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Open<K, C> {
    key: K,
    peer: PeerId,
    channel: C,
    /// Lasts from the arrival to the answer.
    span: Span,
}

impl<K: Copy + Eq + Hash, C> MetadataServer<K, C> {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { ids: RequestIds::default(), open: HashMap::new(), by_key: HashMap::new(), metrics }
    }

    /// A request has arrived. `is_provider` tells whether this node keeps a
    /// provider record of the peer for a CID; the network answers that itself.
    pub(crate) fn on_request(
        &mut self,
        peer: PeerId,
        key: K,
        request: Request,
        channel: C,
        is_provider: impl FnOnce(Cid) -> bool,
    ) -> Serve<C, Response> {
        let span = tracing::debug_span!("metadata request", %peer, cid = %request.cid());
        if let Request::Provided { cid } = request {
            let response = Response::Provided(is_provider(cid));
            self.count(&response, &span);
            return Serve::Respond(channel, response);
        }
        if self.open.len() >= MAX_METADATA_REQUESTS {
            let response = Response::Busy { retry_ms: BUSY_RETRY_MS };
            self.count(&response, &span);
            return Serve::Respond(channel, response);
        }
        let id = self.ids.next();
        self.open.insert(id, Open { key, peer, channel, span: span.clone() });
        self.by_key.insert(key, id);
        self.gauge();
        Serve::Emit(NetEvent::MetadataRequest { peer, id, request, span })
    }

    /// The owner has an answer. Returns the peer, its channel and the content
    /// bytes of the answer, unless the peer has given up.
    pub(crate) fn on_answer(
        &mut self,
        id: RequestId,
        response: &Response,
    ) -> Option<(PeerId, C, usize)> {
        let open = self.open.remove(&id)?;
        self.by_key.remove(&open.key);
        self.count(response, &open.span);
        self.gauge();
        Some((open.peer, open.channel, metadata_len(response)))
    }

    /// The request has failed, such as when the peer has disconnected.
    pub(crate) fn on_failed(&mut self, key: K) {
        let Some(open) = self.by_key.remove(&key).and_then(|id| self.open.remove(&id)) else {
            return;
        };
        open.span.in_scope(|| tracing::debug!("the peer gave up"));
        self.count_as("failed");
        self.gauge();
    }

    fn count(&self, response: &Response, span: &Span) {
        let outcome = metadata_outcome(response);
        span.in_scope(|| tracing::debug!(outcome, "answered"));
        self.count_as(outcome);
    }

    fn count_as(&self, outcome: &'static str) {
        let exchange = Exchange { protocol: "metadata", outcome };
        self.metrics.requests_served.get_or_create(&exchange).inc();
    }

    fn gauge(&self) {
        self.metrics.open_metadata_requests.set(self.open.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured_log::CapturedLog;

    const CID: Cid = Cid::from_bytes([1; 32]);

    fn server() -> MetadataServer<u32, &'static str> {
        MetadataServer::new(Metrics::default())
    }

    fn header() -> Request {
        Request::Header { cid: CID, room: 0 }
    }

    #[test]
    fn the_network_answers_itself_whether_it_keeps_a_provider_record() {
        let mut server = server();
        let request = Request::Provided { cid: CID };
        let answer = server.on_request(PeerId::random(), 1, request, "channel", |cid| cid == CID);
        assert!(matches!(answer, Serve::Respond("channel", Response::Provided(true))));
    }

    #[test]
    fn a_request_is_answered_once() {
        let mut server = server();
        let peer = PeerId::random();
        let reported = server.on_request(peer, 1, header(), "channel", |_| false);
        let Serve::Emit(NetEvent::MetadataRequest { id, .. }) = reported else {
            panic!("{reported:?}")
        };
        assert_eq!(server.on_answer(id, &Response::NotFound), Some((peer, "channel", 0)));
        assert_eq!(server.on_answer(id, &Response::NotFound), None);
    }

    #[test]
    fn whatever_is_logged_about_a_request_names_peer_and_content() {
        let log = CapturedLog::start();
        let mut server = server();
        let peer = PeerId::random();
        let reported = server.on_request(peer, 1, header(), "channel", |_| false);
        let Serve::Emit(NetEvent::MetadataRequest { id, span, .. }) = reported else {
            panic!("{reported:?}")
        };
        // As the owner of the network does.
        span.in_scope(|| tracing::debug!("read"));
        server.on_answer(id, &Response::NotFound).expect("it was open");
        let lines = log.lines("DEBUG");
        assert_eq!(lines.len(), 2, "{lines:?}");
        for line in lines {
            assert!(line.contains(&peer.to_string()) && line.contains(&CID.to_string()), "{line}");
        }
    }

    #[test]
    fn requests_beyond_the_limit_are_busy_until_one_ends() {
        let mut server = server();
        let peer = PeerId::random();
        let ask = |server: &mut MetadataServer<_, _>, key: usize| {
            let key = u32::try_from(key).expect("small");
            server.on_request(peer, key, header(), "channel", |_| false)
        };
        for key in 0..MAX_METADATA_REQUESTS {
            assert!(matches!(ask(&mut server, key), Serve::Emit(_)));
        }
        let refused = ask(&mut server, MAX_METADATA_REQUESTS);
        assert!(matches!(refused, Serve::Respond(_, Response::Busy { .. })));
        server.on_failed(0);
        assert!(matches!(ask(&mut server, MAX_METADATA_REQUESTS), Serve::Emit(_)));
        assert_eq!(server.metrics.open_metadata_requests.get(), MAX_METADATA_REQUESTS as u64);
    }
}
