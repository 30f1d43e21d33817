//! What libp2p reports.

use std::io;
use std::time::Duration;

use dfs_core::Cid;
use dfs_wire::{chunk, metadata};
use libp2p::kad::store::RecordStore;
use libp2p::request_response::{Event as Exchange, Message, OutboundFailure};
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, identify, kad, mdns, ping};

use super::inbound::RETRY_MS;
use super::{EventLoop, MAX_METADATA_REQUESTS};
use crate::address::{self, MAX_ADDRESSES};
use crate::behaviour::{NodeBehaviourEvent, serves_dht};
use crate::command::RequestId;
use crate::error::FetchError;
use crate::event::NetEvent;

impl EventLoop {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<NodeBehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
                tracing::debug!(peer = %peer_id, addr = %endpoint.get_remote_address(), "connected");
                self.book.connected(peer_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, endpoint, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "disconnected");
                self.book.disconnected(peer_id, &endpoint);
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                if self.is_bootstrap(peer_id) {
                    tracing::warn!(%error, "a bootstrap node does not answer; trying again");
                } else {
                    tracing::debug!(peer = ?peer_id, %error, "could not connect");
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => tracing::info!(%address, "listening"),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "no longer listening");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            _ => {}
        }
    }

    fn is_bootstrap(&self, peer: Option<PeerId>) -> bool {
        let mut bootstrap = self.config.bootstrap.iter().map(|addr| address::split_peer(addr).0);
        peer.is_some() && bootstrap.any(|known| known == peer)
    }

    fn on_behaviour_event(&mut self, event: NodeBehaviourEvent) {
        match event {
            NodeBehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                connection_id: _,
                info,
            }) => self.on_identified(peer_id, &info),
            NodeBehaviourEvent::Ping(ping::Event { peer, result: Ok(rtt), .. }) => {
                self.book.measured(peer, rtt);
            }
            NodeBehaviourEvent::Kad(event) => self.on_kad_event(event),
            NodeBehaviourEvent::Gossip(event) => self.on_gossip_event(event),
            NodeBehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, addr) in found {
                    let (_, addr) = address::split_peer(&addr);
                    self.book.found_at(peer, addr);
                    self.dial_peer(peer);
                }
            }
            NodeBehaviourEvent::Metadata(event) => self.on_metadata_event(event),
            NodeBehaviourEvent::Chunk(event) => self.on_chunk_event(event),
            _ => {}
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: &identify::Info) {
        let connected = self.book.addresses(&peer).into_iter().next();
        // The address under which it sees us tells as much as its own.
        let connected = connected.unwrap_or_else(|| info.observed_addr.clone());
        let useful: Vec<_> = info
            .listen_addrs
            .iter()
            .map(|addr| address::split_peer(addr).1)
            .filter(|addr| address::is_useful(addr, &connected) && !address::is_relayed(addr))
            .take(MAX_ADDRESSES)
            .collect();
        self.book.identified(peer, &info.agent_version, &useful);
        if serves_dht(info) {
            for addr in useful {
                self.swarm.behaviour_mut().kad.add_address(&peer, addr);
            }
        }
    }

    fn on_kad_event(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.on_query_progress(id, result, step.last);
            }
            kad::Event::RoutingUpdated { is_new_peer: true, .. } if self.knows_one_node() => {
                self.outbox.push_back(NetEvent::DhtJoined);
            }
            kad::Event::InboundRequest {
                request: kad::InboundRequest::AddProvider { record: Some(record) },
            } => {
                let kad = &mut self.swarm.behaviour_mut().kad;
                if let Err(error) = kad.store_mut().add_provider(record) {
                    tracing::debug!(%error, "provider record not kept");
                }
            }
            _ => {}
        }
    }

    fn is_on_record(&mut self, cid: Cid, peer: &PeerId) -> bool {
        let key = kad::RecordKey::new(cid.as_bytes());
        let records = self.swarm.behaviour_mut().kad.store_mut().providers(&key);
        records.iter().any(|record| record.provider == *peer)
    }

    fn knows_one_node(&mut self) -> bool {
        let buckets = self.swarm.behaviour_mut().kad.kbuckets();
        buckets.map(|bucket| bucket.num_entries()).sum::<usize>() == 1
    }

    fn on_metadata_event(&mut self, event: Exchange<metadata::Request, metadata::Response>) {
        match event {
            Exchange::Message {
                peer,
                message: Message::Request { request_id, request, channel },
                ..
            } => {
                // The network itself keeps provider records, so it answers.
                if let metadata::Request::Provided { cid } = request {
                    let provided = self.is_on_record(cid, &peer);
                    let response = metadata::Response::Provided(provided);
                    let _ = self.swarm.behaviour_mut().metadata.send_response(channel, response);
                    return;
                }
                if self.metadata_requests.len() >= MAX_METADATA_REQUESTS {
                    let busy = metadata::Response::Busy { retry_ms: RETRY_MS };
                    let _ = self.swarm.behaviour_mut().metadata.send_response(channel, busy);
                    return;
                }
                self.metadata_requests.insert(request_id, (peer, channel));
                let id = RequestId(request_id);
                self.outbox.push_back(NetEvent::MetadataRequest { peer, id, request });
            }
            Exchange::Message {
                peer, message: Message::Response { request_id, response }, ..
            } => {
                self.book.received(peer, len(&response));
                if let Some(respond_to) = self.metadata_fetches.remove(&request_id) {
                    let _ = respond_to.send(Ok(response));
                }
            }
            Exchange::OutboundFailure { request_id, error, .. } => {
                if let Some(respond_to) = self.metadata_fetches.remove(&request_id) {
                    let _ = respond_to.send(Err(failure(error)));
                }
            }
            Exchange::InboundFailure { request_id, .. } => {
                self.metadata_requests.remove(&request_id);
            }
            Exchange::ResponseSent { .. } => {}
        }
    }

    fn on_chunk_event(&mut self, event: Exchange<chunk::Request, chunk::Response>) {
        match event {
            Exchange::Message {
                peer,
                message: Message::Request { request_id, request, channel },
                ..
            } => {
                if let Err(channel) = self.inbound.arrived(peer, request_id, request, channel) {
                    let busy = chunk::Response::Busy { retry_ms: RETRY_MS };
                    let _ = self.swarm.behaviour_mut().chunk.send_response(channel, busy);
                }
                self.admit();
            }
            Exchange::Message {
                peer, message: Message::Response { request_id, response }, ..
            } => {
                let result = match response {
                    chunk::Response::Found(bytes) => {
                        self.book.received(peer, bytes.len());
                        Ok(bytes)
                    }
                    chunk::Response::NotFound => Err(FetchError::NotFound),
                    chunk::Response::Busy { retry_ms } => {
                        Err(FetchError::Busy { retry: Duration::from_millis(retry_ms.into()) })
                    }
                };
                if let Some(respond_to) = self.chunk_fetches.remove(&request_id) {
                    let _ = respond_to.send(result);
                }
            }
            Exchange::OutboundFailure { request_id, error, .. } => {
                if let Some(respond_to) = self.chunk_fetches.remove(&request_id) {
                    let _ = respond_to.send(Err(failure(error)));
                }
            }
            Exchange::InboundFailure { peer, request_id, .. }
            | Exchange::ResponseSent { peer, request_id, .. } => {
                self.inbound.ended(peer, request_id);
                self.admit();
            }
        }
    }
}

/// Content bytes of a metadata response.
pub(super) fn len(response: &metadata::Response) -> usize {
    match response {
        metadata::Response::Header(_) => dfs_core::header::HEADER_LEN,
        metadata::Response::Page(page, proof) => {
            page.leaves().len() * dfs_core::merkle::page::LEAF_LEN
                + proof.siblings.len() * dfs_core::merkle::SUBTREE_LEN
        }
        metadata::Response::NotFound
        | metadata::Response::Busy { .. }
        | metadata::Response::Provided(_) => 0,
    }
}

/// Sorts what libp2p says of a failed request by whose fault it is.
fn failure(error: OutboundFailure) -> FetchError {
    match error {
        OutboundFailure::Timeout => FetchError::TimedOut,
        OutboundFailure::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            FetchError::TimedOut
        }
        OutboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            FetchError::Protocol { detail: error.to_string() }
        }
        // It is another kind of node, which is no offence.
        OutboundFailure::UnsupportedProtocols => FetchError::NotFound,
        other => FetchError::Unreachable { detail: other.to_string() },
    }
}
