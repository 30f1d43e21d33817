//! `dfsctl peers`.

use dfs_control::proto::{PeerInfo, PeersRequest};

use indicatif::HumanBytes;
use serde::Serialize;

use crate::args::Format;
use crate::deadline;
use crate::failure::Failure;
use crate::render;
use crate::target::Target;

/// One peer, as `--json` prints it.
#[derive(Serialize)]
struct Peer {
    peer_id: String,
    agent: Option<String>,
    addresses: Vec<String>,
    connected: bool,
    /// "in", "out", "in+out" or "gone".
    direction: &'static str,
    transport: String,
    inbound: u32,
    outbound: u32,
    rtt_us: Option<u64>,
    bytes_sent: u64,
    bytes_received: u64,
}

impl From<PeerInfo> for Peer {
    fn from(info: PeerInfo) -> Self {
        let direction = direction(&info);
        Self {
            peer_id: info.peer_id,
            agent: (!info.agent.is_empty()).then_some(info.agent),
            addresses: info.addresses,
            direction,
            transport: info.transport,
            connected: info.inbound + info.outbound > 0,
            inbound: info.inbound,
            outbound: info.outbound,
            rtt_us: info.rtt_us,
            bytes_sent: info.bytes_sent,
            bytes_received: info.bytes_received,
        }
    }
}

pub(super) async fn run(target: &Target, format: Format) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    deadline::show_all(client.peers(PeersRequest {}), |peers: &[Peer]| show(peers, format)).await
}

fn show(peers: &[Peer], format: Format) -> Result<(), Failure> {
    if format.json {
        return render::json(peers);
    }
    let heading = ["PEER", "STATE", "RTT", "SENT", "RECEIVED", "AGENT", "ADDRESS"];
    render::table(heading, &peers.iter().map(row).collect::<Vec<_>>())
}

/// Who dialled the open connections.
fn direction(info: &PeerInfo) -> &'static str {
    match (info.outbound > 0, info.inbound > 0) {
        (true, true) => "in+out",
        (true, false) => "out",
        (false, true) => "in",
        (false, false) => "gone",
    }
}

fn row(peer: &Peer) -> [String; 7] {
    let rtt = peer
        .rtt_us
        .map_or_else(|| "-".to_owned(), |us| format!("{}.{} ms", us / 1000, us % 1000 / 100));
    [
        peer.peer_id.clone(),
        peer.direction.to_owned(),
        rtt,
        HumanBytes(peer.bytes_sent).to_string(),
        HumanBytes(peer.bytes_received).to_string(),
        render::escape(peer.agent.as_deref().unwrap_or("-")),
        render::escape(peer.addresses.first().map_or("-", String::as_str)),
    ]
}
