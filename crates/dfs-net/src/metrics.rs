//! What the network counts.

use dfs_metrics::{Counter, EncodeLabelSet, Family, Gauge, metrics};
use libp2p::core::ConnectedPoint;

metrics! {
    /// What the network counts. Clones share their values, so each subsystem
    /// keeps one and counts where the event happens.
    pub(crate) struct Metrics("net") {
        /// Connections opened since the start.
        pub(crate) connections_established: Family<Link, Counter>,
        /// Connections closed since the start.
        pub(crate) connections_closed: Family<Link, Counter>,
        /// Outgoing connections that failed.
        pub(crate) dial_failures: Counter,
        /// Incoming connections that failed during their handshake.
        pub(crate) incoming_failures: Counter,
        /// Peers with an open connection.
        pub(crate) connected_peers: Gauge,
        /// Peers remembered, connected or not.
        pub(crate) known_peers: Gauge,
        /// Peers banned since the start.
        pub(crate) bans: Counter,
        /// Nodes in the routing table of the DHT.
        pub(crate) dht_routing_peers: Gauge,
        /// Queries of the DHT started by this node.
        pub(crate) dht_queries: Family<Lookup, Counter>,
        /// Provider records kept.
        pub(crate) provider_records: Family<Origin, Gauge>,
        /// Requests of peers that this node answered or gave up.
        pub(crate) requests_served: Family<Exchange, Counter>,
        /// Requests of this node that peers answered or that failed.
        pub(crate) requests_sent: Family<Exchange, Counter>,
        /// Content and metadata sent to peers.
        pub(crate) sent: Counter [Bytes],
        /// Content and metadata received from peers.
        pub(crate) received: Counter [Bytes],
        /// Memory reserved for chunks on their way to peers.
        pub(crate) chunks_being_served: Gauge [Bytes],
        /// Chunk streams open, by the side that opened them.
        pub(crate) chunk_streams: Family<Link, Gauge>,
        /// Metadata requests of peers that wait for the answer of the node.
        pub(crate) open_metadata_requests: Gauge,
        /// Announcements of other nodes by what was done with them.
        pub(crate) announcements: Family<Judgement, Counter>,
    }
}

/// Which side opened a connection: "inbound" or "outbound".
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Link {
    direction: &'static str,
}

impl Link {
    pub(crate) const INBOUND: Self = Self { direction: "inbound" };
    pub(crate) const OUTBOUND: Self = Self { direction: "outbound" };

    pub(crate) fn of(endpoint: &ConnectedPoint) -> Self {
        Self { direction: if endpoint.is_dialer() { "outbound" } else { "inbound" } }
    }
}

/// What a query of the DHT looks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Lookup {
    pub(crate) kind: &'static str,
}

/// Whose provider record it is: "local" for those of this node, "remote" for
/// those of other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Origin {
    pub(crate) origin: &'static str,
}

/// How a request ended: "found", "not_found", "busy" or "failed".
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Exchange {
    pub(crate) protocol: &'static str,
    pub(crate) outcome: &'static str,
}

/// What was done with an announcement: "accepted", "malformed" or "flooding".
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Judgement {
    pub(crate) judgement: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfs_metrics::{Registry, encode};

    #[test]
    fn metrics_are_exported_with_prefix_unit_and_labels() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.sent.inc_by(3);
        metrics
            .requests_served
            .get_or_create(&Exchange { protocol: "chunk", outcome: "busy" })
            .inc();
        metrics.provider_records.get_or_create(&Origin { origin: "local" }).set(2);
        let text = encode(&registry);
        for line in [
            "net_sent_bytes_total 3",
            "net_requests_served_total{protocol=\"chunk\",outcome=\"busy\"} 1",
            "net_provider_records{origin=\"local\"} 2",
            "net_chunks_being_served_bytes 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
