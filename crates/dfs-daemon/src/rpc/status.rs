//! Calls about the daemon as a whole.

use std::time::Instant;

use dfs_control::proto;
use dfs_node::{DhtMode, NodeClient, WorkerState, WorkerStatus};
use futures::{Stream, StreamExt, stream};
use tonic::Status;

use super::request::{millis, narrow};
use crate::failure::to_status;

pub(super) async fn status(client: &NodeClient) -> Result<proto::StatusReply, Status> {
    let status = client.status().await.map_err(to_status)?;
    let net = &status.net;
    Ok(proto::StatusReply {
        peer_id: net.peer.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        listen: net.listen.iter().map(ToString::to_string).collect(),
        external: net.external.iter().map(ToString::to_string).collect(),
        uptime_ms: millis(status.uptime),
        store_bytes: status.store_bytes,
        items: status.items,
        active_downloads: status.active_downloads as u64,
        connected_peers: narrow(net.connected),
        dht_mode: match net.dht_mode {
            DhtMode::Server => "server".to_owned(),
            DhtMode::Client => "client".to_owned(),
        },
        dht_peers: narrow(net.dht_peers),
        chunks: status.chunks,
        send_rate: net.send_rate,
        receive_rate: net.receive_rate,
        announcements_accepted: net.gossip.accepted,
        announcements_malformed: net.gossip.malformed,
        announcements_flooding: net.gossip.flooding,
        bootstrap_configured: narrow(net.bootstrap.configured),
        bootstrap_reached: narrow(net.bootstrap.reached),
    })
}

pub(super) fn workers(
    client: &NodeClient,
) -> impl Stream<Item = Result<proto::Worker, Status>> + Send + use<> {
    let now = Instant::now();
    stream::iter(client.workers()).map(move |status| Ok(worker(&status, now)))
}

fn worker(status: &WorkerStatus, now: Instant) -> proto::Worker {
    let state = match status.state {
        WorkerState::Waiting => proto::WorkerState::Waiting,
        WorkerState::Working => proto::WorkerState::Working,
        WorkerState::Restarting => proto::WorkerState::Restarting,
        WorkerState::Ended => proto::WorkerState::Ended,
    };
    proto::Worker {
        name: status.name.to_owned(),
        state: state.into(),
        steps: status.steps,
        last_run_ms_ago: status.last_run.map(|at| millis(now.saturating_duration_since(at))),
        last_duration_ms: status.last_duration.map(millis),
        next_run_ms: status.next_run.map(|at| millis(at.saturating_duration_since(now))),
        last_error: status.last_error.clone().unwrap_or_default(),
        restarts: status.restarts,
    }
}
