//! Queries of the DHT from their start to their last result.
//!
//! Owns who waits for which query, and which found providers are connected to. The records
//! that this node keeps for others are in [`super::records`]; libp2p walks the DHT.

use std::collections::HashMap;

use dfs_core::Cid;
use libp2p::PeerId;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{
    Event, GetClosestPeersError, GetClosestPeersResult, GetProvidersOk, InboundRequest, QueryId,
    QueryResult, RecordKey,
};
use tokio::sync::mpsc;

use super::Kad;
use crate::command::Reply;
use crate::effect::Effect;
use crate::error::NetError;
use crate::event::NetEvent;
use crate::limits::MAX_DIALS_PER_ANSWER;
use crate::metrics::{Lookup, Metrics};

/// A query under way.
#[derive(Debug)]
enum Query {
    /// Report providers as they are found.
    FindProviders { found: mpsc::Sender<PeerId> },
    /// Report the closest nodes.
    ClosestPeers { respond_to: Reply<Vec<PeerId>> },
    /// First half of providing: find the nodes that get the record.
    FindHolders { cid: Cid, respond_to: Reply<Result<u32, NetError>> },
    /// Second half of providing: send the record.
    SendRecords { sent_to: u32, respond_to: Reply<Result<u32, NetError>> },
}

/// The queries of this node, and its membership in the DHT.
#[derive(Debug)]
pub(crate) struct Dht {
    local_peer: PeerId,
    queries: HashMap<QueryId, Query>,
    /// Whether the routing table has had a node since it was last empty.
    joined: bool,
    metrics: Metrics,
}

impl Dht {
    pub(crate) fn new(local_peer: PeerId, metrics: Metrics) -> Self {
        Self { local_peer, queries: HashMap::new(), joined: false, metrics }
    }

    pub(crate) fn find_providers(&mut self, kad: &mut Kad, cid: Cid, found: mpsc::Sender<PeerId>) {
        self.started("find_providers");
        let id = kad.get_providers(RecordKey::new(cid.as_bytes()));
        self.queries.insert(id, Query::FindProviders { found });
    }

    pub(crate) fn closest_peers(
        &mut self,
        kad: &mut Kad,
        cid: Cid,
        respond_to: Reply<Vec<PeerId>>,
    ) {
        self.started("closest_peers");
        let id = kad.get_closest_peers(cid.as_bytes().to_vec());
        self.queries.insert(id, Query::ClosestPeers { respond_to });
    }

    /// Looks up the closest nodes first and counts them: a provider record is
    /// not acknowledged, and libp2p does not tell to how many nodes it went.
    pub(crate) fn start_providing(
        &mut self,
        kad: &mut Kad,
        cid: Cid,
        respond_to: Reply<Result<u32, NetError>>,
    ) {
        self.started("start_providing");
        let id = kad.get_closest_peers(cid.as_bytes().to_vec());
        self.queries.insert(id, Query::FindHolders { cid, respond_to });
    }

    /// Also ends a start that is still looking for the closest nodes, which
    /// would provide the content again. Its caller gets 0 nodes.
    pub(crate) fn stop_providing(&mut self, kad: &mut Kad, cid: Cid) {
        kad.stop_providing(&RecordKey::new(cid.as_bytes()));
        let is_overtaken = |_: &QueryId, query: &mut Query| match query {
            Query::FindHolders { cid: starting, .. } => *starting == cid,
            Query::FindProviders { .. }
            | Query::ClosestPeers { .. }
            | Query::SendRecords { .. } => false,
        };
        for (id, query) in self.queries.extract_if(is_overtaken) {
            if let Some(mut query) = kad.query_mut(&id) {
                query.finish();
            }
            if let Query::FindHolders { respond_to, .. } = query {
                let _ = respond_to.send(Ok(0));
            }
        }
    }

    pub(crate) fn on_event(&mut self, kad: &mut Kad, event: Event) -> Vec<Effect> {
        match event {
            Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.on_progress(kad, id, result, step.last)
            }
            Event::RoutingUpdated { .. } => self.on_routing_changed(kad),
            Event::InboundRequest {
                request: InboundRequest::AddProvider { record: Some(record) },
            } => {
                let peer = record.provider;
                if let Err(error) = kad.store_mut().add_provider(record) {
                    tracing::debug!(%peer, %error, "provider record refused");
                }
                Vec::new()
            }
            // Kademlia of libp2p is another crate; its other events need no action.
            _ => Vec::new(),
        }
    }

    /// Drops expired records, and notices what no event tells: that the routing
    /// table has become empty, or is no longer.
    pub(crate) fn on_tick(&mut self, kad: &mut Kad, now: std::time::Instant) -> Vec<Effect> {
        kad.store_mut().sweep(now);
        self.on_routing_changed(kad)
    }

    fn on_routing_changed(&mut self, kad: &mut Kad) -> Vec<Effect> {
        let peers = routing_peers(kad);
        self.metrics.dht_routing_peers.set(peers as u64);
        let joins = peers > 0 && !self.joined;
        self.joined = peers > 0;
        if joins { vec![Effect::Emit(NetEvent::DhtJoined)] } else { Vec::new() }
    }

    fn started(&self, kind: &'static str) {
        self.metrics.dht_queries.get_or_create(&Lookup { kind }).inc();
    }

    fn on_progress(
        &mut self,
        kad: &mut Kad,
        id: QueryId,
        result: QueryResult,
        last: bool,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) =
            &result
        {
            effects = self.on_providers_found(kad, id, providers.iter().copied());
        }
        if !last {
            return effects;
        }
        match (self.queries.remove(&id), result) {
            (
                Some(Query::FindHolders { cid, respond_to }),
                QueryResult::GetClosestPeers(result),
            ) => self.send_records(kad, cid, closest(result).len(), respond_to),
            (Some(Query::ClosestPeers { respond_to }), QueryResult::GetClosestPeers(result)) => {
                let _ = respond_to.send(closest(result));
            }
            (Some(Query::SendRecords { sent_to, respond_to }), _) => {
                let _ = respond_to.send(Ok(sent_to));
            }
            // Dropping the sender tells the caller that the query has ended.
            (
                Some(
                    Query::FindProviders { .. }
                    | Query::FindHolders { .. }
                    | Query::ClosestPeers { .. },
                )
                | None,
                _,
            ) => {}
        }
        effects
    }

    fn on_providers_found(
        &mut self,
        kad: &mut Kad,
        id: QueryId,
        providers: impl Iterator<Item = PeerId>,
    ) -> Vec<Effect> {
        let Some(Query::FindProviders { found }) = self.queries.get(&id) else { return Vec::new() };
        if found.is_closed() {
            if let Some(mut query) = kad.query_mut(&id) {
                query.finish();
            }
            return Vec::new();
        }
        let mut effects = Vec::new();
        for peer in providers.filter(|peer| *peer != self.local_peer).take(MAX_DIALS_PER_ANSWER) {
            // Kademlia knows the addresses of a provider only while the query
            // lives, so the connection is made now.
            effects.push(Effect::Connect(peer));
            if found.try_send(peer).is_err() {
                tracing::debug!(%peer, "provider not reported: the caller is behind");
            }
        }
        effects
    }

    fn send_records(
        &mut self,
        kad: &mut Kad,
        cid: Cid,
        holders: usize,
        respond_to: Reply<Result<u32, NetError>>,
    ) {
        let sent_to = u32::try_from(holders).unwrap_or(u32::MAX);
        match kad.start_providing(RecordKey::new(cid.as_bytes())) {
            Ok(id) => drop(self.queries.insert(id, Query::SendRecords { sent_to, respond_to })),
            Err(source) => drop(respond_to.send(Err(NetError::Provide { source }))),
        }
    }
}

/// Nodes in the routing table.
pub(crate) fn routing_peers(kad: &mut Kad) -> usize {
    kad.kbuckets().map(|bucket| bucket.num_entries()).sum()
}

/// The nodes that a query has found, even if it timed out.
fn closest(result: GetClosestPeersResult) -> Vec<PeerId> {
    let peers = match result {
        Ok(found) => found.peers,
        Err(GetClosestPeersError::Timeout { peers, .. }) => peers,
    };
    peers.into_iter().map(|peer| peer.peer_id).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use libp2p::identity::Keypair;
    use libp2p::kad::{AddProviderOk, GetClosestPeersOk, PeerInfo, ProgressStep, QueryStats};
    use tokio::sync::oneshot;

    use super::*;
    use crate::config::DhtMode;

    fn dht() -> (Dht, Kad) {
        let keypair = Keypair::generate_ed25519();
        let metrics = Metrics::default();
        let kad = super::super::behaviour(&keypair, DhtMode::Server, &metrics);
        (Dht::new(keypair.public().to_peer_id(), metrics), kad)
    }

    fn progress(id: QueryId, result: QueryResult, last: bool) -> Event {
        let step = ProgressStep { count: NonZeroUsize::MIN, last };
        Event::OutboundQueryProgressed { id, result, stats: QueryStats::empty(), step }
    }

    fn only_query(dht: &Dht) -> QueryId {
        assert_eq!(dht.queries.len(), 1);
        *dht.queries.keys().next().expect("one query")
    }

    fn found(peers: impl IntoIterator<Item = PeerId>) -> QueryResult {
        QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders {
            key: RecordKey::new(&[1]),
            providers: peers.into_iter().collect(),
        }))
    }

    const CID: Cid = Cid::from_bytes([1; 32]);

    #[tokio::test]
    async fn providers_are_reported_and_connected_to_within_the_limit() {
        let (mut dht, mut kad) = dht();
        let (found_to, mut receiver) = mpsc::channel(100);
        dht.find_providers(&mut kad, CID, found_to);
        let id = only_query(&dht);
        let us = dht.local_peer;
        let peers = (0..50).map(|_| PeerId::random()).chain([us]);
        let effects = dht.on_event(&mut kad, progress(id, found(peers), false));
        assert_eq!(effects.len(), MAX_DIALS_PER_ANSWER);
        for effect in effects {
            let Effect::Connect(peer) = effect else { panic!("{effect:?}") };
            assert_ne!(peer, us);
            assert_eq!(receiver.try_recv(), Ok(peer));
        }
        dht.on_event(&mut kad, progress(id, found([]), true));
        assert_eq!(receiver.recv().await, None, "the receiver ends with the query");
    }

    #[tokio::test]
    async fn a_query_without_a_caller_is_finished_early() {
        let (mut dht, mut kad) = dht();
        let (found_to, receiver) = mpsc::channel(1);
        dht.find_providers(&mut kad, CID, found_to);
        let id = only_query(&dht);
        drop(receiver);
        let effects = dht.on_event(&mut kad, progress(id, found([PeerId::random()]), false));
        assert!(effects.is_empty(), "{effects:?}");
        assert!(kad.query_mut(&id).is_none(), "the query is finished");
    }

    #[tokio::test]
    async fn providing_returns_the_number_of_closest_nodes_when_the_records_are_sent() {
        let (mut dht, mut kad) = dht();
        let (respond_to, response) = oneshot::channel();
        dht.start_providing(&mut kad, CID, respond_to);
        let id = only_query(&dht);
        let closest = (0..3).map(|_| PeerInfo { peer_id: PeerId::random(), addrs: Vec::new() });
        let result = GetClosestPeersOk { key: vec![1], peers: closest.collect() };
        dht.on_event(&mut kad, progress(id, QueryResult::GetClosestPeers(Ok(result)), true));
        let us = dht.local_peer;
        assert!(kad.store_mut().is_provider(CID, &us), "queries are answered from now on");
        let id = only_query(&dht);
        let sent = AddProviderOk { key: RecordKey::new(&[1]) };
        dht.on_event(&mut kad, progress(id, QueryResult::StartProviding(Ok(sent)), true));
        assert_eq!(response.await.expect("an answer").expect("providing"), 3);
        dht.stop_providing(&mut kad, CID);
        assert!(!kad.store_mut().is_provider(CID, &us));
    }

    #[tokio::test]
    async fn a_stop_overtakes_a_start_that_is_still_looking_for_nodes() {
        let (mut dht, mut kad) = dht();
        let (respond_to, response) = oneshot::channel();
        dht.start_providing(&mut kad, CID, respond_to);
        let id = only_query(&dht);
        dht.stop_providing(&mut kad, CID);
        assert_eq!(response.await.expect("an answer").expect("no fault"), 0);
        let result = GetClosestPeersOk { key: vec![1], peers: Vec::new() };
        dht.on_event(&mut kad, progress(id, QueryResult::GetClosestPeers(Ok(result)), true));
        let us = dht.local_peer;
        assert!(!kad.store_mut().is_provider(CID, &us));
    }

    #[tokio::test]
    async fn joining_is_reported_once_however_many_nodes_come_first() {
        let (mut dht, mut kad) = dht();
        let add = |kad: &mut Kad| {
            let addr = "/ip4/192.0.2.1/tcp/1".parse().expect("an address");
            kad.add_address(&PeerId::random(), addr);
        };
        add(&mut kad);
        add(&mut kad);
        let joined = dht.on_routing_changed(&mut kad);
        assert!(matches!(joined[..], [Effect::Emit(NetEvent::DhtJoined)]), "{joined:?}");
        add(&mut kad);
        assert!(dht.on_routing_changed(&mut kad).is_empty());
    }

    #[tokio::test]
    async fn joining_is_reported_by_the_tick_if_no_event_has_told_it() {
        let (mut dht, mut kad) = dht();
        let now = std::time::Instant::now();
        assert!(dht.on_tick(&mut kad, now).is_empty());
        let addr = "/ip4/192.0.2.1/tcp/1".parse().expect("an address");
        kad.add_address(&PeerId::random(), addr);
        let joined = dht.on_tick(&mut kad, now);
        assert!(matches!(joined[..], [Effect::Emit(NetEvent::DhtJoined)]), "{joined:?}");
        assert!(dht.on_routing_changed(&mut kad).is_empty(), "reported once");
    }
}
