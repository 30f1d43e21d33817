//! Searches and announcements in the DHT, from the first step to the last.

use dfs_core::Cid;
use libp2p::PeerId;
use libp2p::kad::{
    self, GetClosestPeersError, GetClosestPeersResult, GetProvidersOk, QueryId, QueryResult,
    RecordKey,
};
use tokio::sync::mpsc;

use super::EventLoop;
use crate::command::Reply;
use crate::error::NetError;

/// Peers dialled for one answer of the DHT; a liar may name any number.
const MAX_DIALS: usize = 16;

/// A search under way.
pub(super) enum Query {
    /// Providers go out as they are found.
    FindProviders { found: mpsc::Sender<PeerId> },
    /// The first half of an announcement: who is to get it.
    FindClosest { cid: Cid, respond_to: Reply<Result<u32, NetError>> },
    /// Only who is closest.
    Closest { respond_to: Reply<Vec<PeerId>> },
    /// The second half: sending it.
    Announce { sent_to: u32, respond_to: Reply<Result<u32, NetError>> },
}

impl EventLoop {
    pub(super) fn find_providers(&mut self, cid: Cid, found: mpsc::Sender<PeerId>) {
        let id = self.swarm.behaviour_mut().kad.get_providers(RecordKey::new(cid.as_bytes()));
        self.queries.insert(id, Query::FindProviders { found });
    }

    /// An announcement has no answer, and libp2p does not tell to how many it
    /// went, so the closest nodes are looked up first and counted.
    pub(super) fn announce(&mut self, cid: Cid, respond_to: Reply<Result<u32, NetError>>) {
        let id = self.swarm.behaviour_mut().kad.get_closest_peers(cid.as_bytes().to_vec());
        self.queries.insert(id, Query::FindClosest { cid, respond_to });
    }

    pub(super) fn find_closest(&mut self, cid: Cid, respond_to: Reply<Vec<PeerId>>) {
        let id = self.swarm.behaviour_mut().kad.get_closest_peers(cid.as_bytes().to_vec());
        self.queries.insert(id, Query::Closest { respond_to });
    }

    pub(super) fn on_query_progress(&mut self, id: QueryId, result: QueryResult, last: bool) {
        if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) =
            &result
        {
            self.on_providers_found(id, providers.iter().copied());
        }
        if !last {
            return;
        }
        match (self.queries.remove(&id), result) {
            (
                Some(Query::FindClosest { cid, respond_to }),
                QueryResult::GetClosestPeers(result),
            ) => self.send_announcement(cid, closest(result).len(), respond_to),
            (Some(Query::Closest { respond_to }), QueryResult::GetClosestPeers(result)) => {
                let _ = respond_to.send(closest(result));
            }
            (Some(Query::Announce { sent_to, respond_to }), _) => {
                let _ = respond_to.send(Ok(sent_to));
            }
            // Dropping the sender tells the searcher that the search is over.
            _ => {}
        }
    }

    fn on_providers_found(&mut self, id: QueryId, providers: impl Iterator<Item = PeerId>) {
        let Some(Query::FindProviders { found }) = self.queries.get(&id) else { return };
        let found = found.clone();
        if found.is_closed() {
            if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
                query.finish();
            }
            return;
        }
        let local = *self.swarm.local_peer_id();
        for peer in providers.filter(|peer| *peer != local).take(MAX_DIALS) {
            // Addresses of a found provider exist only while the search lives,
            // so the connection is made now.
            self.dial_peer(peer);
            if found.try_send(peer).is_err() {
                tracing::debug!(%peer, "one provider too many");
            }
        }
    }

    fn send_announcement(
        &mut self,
        cid: Cid,
        closest: usize,
        respond_to: Reply<Result<u32, NetError>>,
    ) {
        let sent_to = u32::try_from(closest).unwrap_or(u32::MAX);
        let kad: &mut kad::Behaviour<_> = &mut self.swarm.behaviour_mut().kad;
        match kad.start_providing(RecordKey::new(cid.as_bytes())) {
            Ok(id) => drop(self.queries.insert(id, Query::Announce { sent_to, respond_to })),
            Err(error) => {
                let _ = respond_to.send(Err(NetError::Announce { detail: error.to_string() }));
            }
        }
    }
}

/// The peers that a search has found, in time or not.
fn closest(result: GetClosestPeersResult) -> Vec<PeerId> {
    let peers = match result {
        Ok(found) => found.peers,
        Err(GetClosestPeersError::Timeout { peers, .. }) => peers,
    };
    peers.into_iter().map(|peer| peer.peer_id).collect()
}
