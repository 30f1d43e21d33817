//! Between the messages of the control plane and the types of the node.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dfs_control::{Failure, proto};
use dfs_core::{Cid, Kind, Leaf, Profile};
use dfs_net::{DhtMode, PeerInfo};
use dfs_store::ProvideRecord;
use tonic::Status;

use crate::announcements::Heard;
use crate::client::{Held, Inspection, NodeStatus};
use crate::error::NodeError;
use crate::fetch::{DownloadStatus, Phase};
use crate::import::{AddOptions, Added};

/// The one way in which an error of the node becomes a reply.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(super) fn to_status(error: NodeError) -> Status {
    Status::new(error.kind().code(), error.report())
}

pub(super) fn cid(text: &str) -> Result<Cid, Status> {
    text.parse().map_err(|error| usage(format!("{text:?} is not a CID: {error}")))
}

/// An absolute path. Relative ones would be taken from the daemon's directory,
/// which no user has in mind.
pub(super) fn path(bytes: Vec<u8>) -> Result<PathBuf, Status> {
    let path = PathBuf::from(OsString::from_vec(bytes));
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(usage(format!("the path {} is not absolute", path.display())))
    }
}

pub(super) fn add_options(chunker: i32, name: String, public: bool) -> AddOptions {
    let profile = match proto::Chunker::try_from(chunker) {
        Ok(proto::Chunker::Fixed) => Profile::Fixed,
        Ok(proto::Chunker::Fastcdc) => Profile::FastCdc,
        Ok(proto::Chunker::Fastcdc1m) => Profile::FastCdc1M,
        _ => Profile::default(),
    };
    AddOptions { profile, name: (!name.is_empty()).then_some(name), public }
}

/// Options and size from the first message of a stream of bytes.
pub(super) fn add_start(
    part: Option<proto::add_part::Part>,
) -> Result<(AddOptions, Option<u64>), Status> {
    let Some(proto::add_part::Part::Start(start)) = part else {
        return Err(usage("the first message of the stream has to be its start"));
    };
    let size = (start.size > 0).then_some(start.size);
    Ok((add_options(start.chunker, start.name, start.public), size))
}

pub(super) fn added(added: &Added) -> proto::AddDone {
    proto::AddDone {
        cid: added.cid.to_string(),
        size: added.size,
        chunks: added.chunks,
        new_bytes: added.new_bytes,
    }
}

pub(super) fn item(held: &Held) -> proto::Item {
    let Held { cid, item, provide } = held;
    let header = item.manifest.header();
    proto::Item {
        cid: cid.to_string(),
        name: item.name.clone().unwrap_or_default(),
        size: header.size(),
        chunks: header.chunk_count(),
        added_ms: item.added_ms,
        provided: provide.is_some(),
        public: item.public,
    }
}

pub(super) fn status(status: &NodeStatus) -> proto::StatusReply {
    let net = &status.net;
    proto::StatusReply {
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
        announcements_dropped: net.gossip.dropped,
    }
}

pub(super) fn peer(peer: &PeerInfo) -> proto::PeerInfo {
    proto::PeerInfo {
        peer_id: peer.peer.to_string(),
        agent: peer.agent.clone().unwrap_or_default(),
        addresses: peer.addresses.iter().map(ToString::to_string).collect(),
        inbound: peer.inbound,
        outbound: peer.outbound,
        rtt_us: peer.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        bytes_sent: peer.bytes_sent,
        bytes_received: peer.bytes_received,
        transport: peer.transport.to_owned(),
    }
}

pub(super) fn provided((cid, record): (Cid, ProvideRecord)) -> proto::Provided {
    proto::Provided {
        cid: cid.to_string(),
        since_ms: record.since_ms,
        announced_ms: record.announced_ms,
        due_ms: record.due_ms,
        sent_to: record.sent_to,
    }
}

pub(super) fn inspection(inspection: &Inspection) -> proto::InspectReply {
    let (header, item) = (&inspection.header, inspection.item.as_ref());
    proto::InspectReply {
        cid: header.cid().to_string(),
        kind: match header.kind() {
            Kind::Directory => "directory".to_owned(),
            _ => "file".to_owned(),
        },
        name: item.and_then(|item| item.name.clone()).unwrap_or_default(),
        size: header.size(),
        chunker: header.kind().profile_name().to_owned(),
        root: header.root().hash.to_string(),
        chunks: header.chunk_count(),
        pages: header.page_count(),
        complete: item.is_some(),
        bytes_held: inspection.bytes_held,
        chunks_held: inspection.chunks_held,
        added_ms: item.map_or(0, |item| item.added_ms),
        provided: inspection.provide.is_some(),
        public: item.is_some_and(|item| item.public),
    }
}

/// A page of leaves with the offsets of their chunks.
pub(super) fn leaves(leaves: &[Leaf], offset: &mut u64) -> proto::LeafPage {
    let leaves = leaves.iter().map(|leaf| {
        let at = *offset;
        *offset += u64::from(leaf.len);
        proto::Leaf { hash: leaf.hash.to_string(), offset: at, len: leaf.len }
    });
    proto::LeafPage { leaves: leaves.collect() }
}

pub(super) fn heard(heard: &Heard) -> proto::Announcement {
    let announcement = &heard.announcement;
    proto::Announcement {
        cid: announcement.cid.to_string(),
        size: announcement.size,
        name: announcement.name.clone().unwrap_or_default(),
        sender: heard.sender.to_string(),
        heard_ms: heard.heard_ms,
    }
}

/// Nobody has asked for this content, or not since it was removed.
pub(super) fn no_download(cid: Cid) -> Status {
    Status::new(Failure::NotFound.code(), format!("there is no such download: {cid}"))
}

pub(super) fn not_running(cid: Cid) -> Status {
    Status::new(Failure::NotFound.code(), format!("the download of {cid} is not running"))
}

pub(super) fn download(status: &DownloadStatus) -> proto::DownloadStatus {
    let state = match status.phase {
        Phase::Discovering => proto::DownloadState::Discovering,
        Phase::FetchingManifest => proto::DownloadState::FetchingManifest,
        Phase::Downloading => proto::DownloadState::Downloading,
        Phase::Assembling => proto::DownloadState::Assembling,
        Phase::Waiting => proto::DownloadState::Waiting,
        Phase::Done => proto::DownloadState::Done,
        Phase::Failed => proto::DownloadState::Failed,
        Phase::Cancelled => proto::DownloadState::Cancelled,
    };
    let next_try = status.next_try.map(|at| at.saturating_duration_since(Instant::now()));
    proto::DownloadStatus {
        cid: status.cid.to_string(),
        state: state.into(),
        reason: status.reason.clone().unwrap_or_default(),
        failure_code: status.failure.map_or(0, Failure::exit_code).into(),
        size: status.size,
        bytes_done: status.bytes_done,
        chunks: status.chunks,
        chunks_done: status.chunks_done,
        bytes_fetched: status.bytes_fetched,
        rate: status.rate,
        providers: narrow(status.providers),
        next_try_ms: next_try.map(millis),
    }
}

fn usage(message: impl Into<String>) -> Status {
    Status::new(Failure::Usage.code(), message)
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
