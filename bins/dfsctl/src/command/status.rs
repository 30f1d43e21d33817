//! `dfsctl status`.

use dfs_control::proto::{StatusReply, StatusRequest};

use indicatif::HumanBytes;
use serde::Serialize;

use crate::args::Format;
use crate::deadline;
use crate::failure::Failure;
use crate::render;
use crate::target::Target;

/// The daemon at a glance, as `--json` prints it.
#[derive(Serialize)]
struct Status {
    peer_id: String,
    version: String,
    listen: Vec<String>,
    external: Vec<String>,
    uptime_ms: u64,
    store_bytes: u64,
    items: u64,
    active_downloads: u64,
    connected_peers: u32,
    dht_mode: String,
    dht_peers: u32,
    chunks: u64,
    send_rate: u64,
    receive_rate: u64,
    announcements_accepted: u64,
    announcements_malformed: u64,
    announcements_flooding: u64,
    bootstrap_configured: u32,
    bootstrap_reached: u32,
}

impl From<StatusReply> for Status {
    fn from(reply: StatusReply) -> Self {
        Self {
            peer_id: reply.peer_id,
            version: reply.version,
            listen: reply.listen,
            external: reply.external,
            uptime_ms: reply.uptime_ms,
            store_bytes: reply.store_bytes,
            items: reply.items,
            active_downloads: reply.active_downloads,
            connected_peers: reply.connected_peers,
            dht_mode: reply.dht_mode,
            dht_peers: reply.dht_peers,
            chunks: reply.chunks,
            send_rate: reply.send_rate,
            receive_rate: reply.receive_rate,
            announcements_accepted: reply.announcements_accepted,
            announcements_malformed: reply.announcements_malformed,
            announcements_flooding: reply.announcements_flooding,
            bootstrap_configured: reply.bootstrap_configured,
            bootstrap_reached: reply.bootstrap_reached,
        }
    }
}

pub(super) async fn run(target: &Target, format: Format) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    let status: Status = deadline::reply(client.status(StatusRequest {})).await?.into();
    if format.json {
        return render::json(&status);
    }
    let refused = status.announcements_malformed + status.announcements_flooding;
    let bootstrap = (status.bootstrap_configured > 0).then(|| {
        format!("{} of {} reached", status.bootstrap_reached, status.bootstrap_configured)
    });
    let (dht_peers, heard) = (status.dht_peers.into(), status.announcements_accepted);
    let mut rows = vec![("peer", status.peer_id), ("version", status.version)];
    rows.extend(status.listen.into_iter().map(|addr| ("listen", addr)));
    rows.extend(status.external.into_iter().map(|addr| ("external", addr)));
    rows.extend([
        ("uptime", render::span(status.uptime_ms / 1000)),
        (
            "store",
            format!(
                "{} in about {}",
                HumanBytes(status.store_bytes),
                render::count(status.chunks, "chunk")
            ),
        ),
        ("items", status.items.to_string()),
        ("downloads", format!("{} running", status.active_downloads)),
        ("peers", format!("{} connected", status.connected_peers)),
    ]);
    rows.extend(bootstrap.map(|reached| ("bootstrap", reached)));
    rows.extend([
        ("sending", format!("{}/s", HumanBytes(status.send_rate))),
        ("receiving", format!("{}/s", HumanBytes(status.receive_rate))),
        ("dht", format!("{}, {} known", status.dht_mode, render::count(dht_peers, "node"))),
        ("heard", format!("{}, {refused} refused", render::count(heard, "announcement"))),
    ]);
    for (name, value) in rows {
        render::line(format!("{name:<10} {value}"))?;
    }
    Ok(())
}
