//! Requests and responses between nodes, in both directions.
//!
//! Metadata is exchanged by request and response, one stream for each:
//! [`MetadataServer`] holds the requests of peers until the owner of the network
//! answers them; [`Outgoing`] holds the requests of this node until peers answer.
//! Chunks move on streams that stay open ([`ChunkExchange`]). Silence on a stream
//! is limited. Reading content is up to the owner, and so is checking metadata.

mod chunks;
mod codec;
mod idle;
mod metadata;
mod outgoing;

use dfs_core::header::HEADER_LEN;
use dfs_core::merkle::page::LEAF_LEN;
use dfs_core::{Page, ProvenPage};
use dfs_wire::metadata as wire;
use libp2p::StreamProtocol;
use libp2p::request_response::{self, ProtocolSupport};

use crate::event::NetEvent;
use crate::limits::MAX_STREAMS;
use crate::timing::EXCHANGE_TIMEOUT;
pub(crate) use chunks::{ChunkExchange, ChunkTraffic, Fetch};
pub(crate) use codec::MetadataCodec;
pub(crate) use metadata::MetadataServer;
pub(crate) use outgoing::{Outgoing, Waiting, failure};

/// What a server asks the event loop to do.
#[derive(Debug)]
pub(crate) enum Serve<C, R> {
    /// Report a request to the owner.
    Emit(NetEvent),
    /// Write a response.
    Respond(C, R),
}

/// The behaviour of the metadata protocol.
pub(crate) fn metadata_behaviour() -> request_response::Behaviour<MetadataCodec> {
    let protocol = StreamProtocol::new(wire::PROTOCOL);
    let config = request_response::Config::default()
        .with_request_timeout(EXCHANGE_TIMEOUT)
        .with_max_concurrent_streams(MAX_STREAMS);
    request_response::Behaviour::new([(protocol, ProtocolSupport::Full)], config)
}

/// Content bytes of a metadata response.
pub(crate) fn metadata_len(response: &wire::Response) -> usize {
    match response {
        wire::Response::Header(wire::Description { page, content, .. }) => {
            HEADER_LEN + page.as_ref().map_or(0, page_len) + content.len()
        }
        wire::Response::Page(ProvenPage { page, proof, .. }) => {
            page_len(page) + proof.siblings.len() * dfs_core::merkle::SUBTREE_LEN
        }
        wire::Response::NotFound | wire::Response::Busy { .. } | wire::Response::Provided(_) => 0,
    }
}

fn page_len(page: &Page) -> usize {
    page.leaves().len() * LEAF_LEN
}

/// The label of a metadata response in metrics and spans.
pub(crate) fn metadata_outcome(response: &wire::Response) -> &'static str {
    match response {
        wire::Response::Header(_) | wire::Response::Page(..) | wire::Response::Provided(_) => {
            "found"
        }
        wire::Response::NotFound => "not_found",
        wire::Response::Busy { .. } => "busy",
    }
}
