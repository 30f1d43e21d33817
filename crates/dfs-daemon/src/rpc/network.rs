//! Calls about peers and public announcements.

use dfs_control::proto;
use dfs_node::{Heard, NodeClient, PeerInfo};
use futures::{Stream, StreamExt, future, stream};
use tokio_stream::wrappers::BroadcastStream;
use tonic::Status;

use crate::failure::to_status;

pub(super) async fn peers(
    client: &NodeClient,
) -> Result<impl Stream<Item = Result<proto::PeerInfo, Status>> + Send + use<>, Status> {
    let peers = client.network().peers().await.map_err(to_status)?;
    Ok(stream::iter(peers).map(|info| Ok(peer(&info))))
}

pub(super) fn announcements(
    client: &NodeClient,
    request: &proto::AnnouncementsRequest,
) -> impl Stream<Item = Result<proto::Announcement, Status>> + Send + use<> {
    let (kept, news) = client.network().announcements();
    let kept = stream::iter(kept).map(|heard| Ok(announcement(&heard)));
    // A follower that is too slow misses announcements; the stream goes on.
    let news = BroadcastStream::new(news)
        .filter_map(|heard| future::ready(heard.ok()))
        .map(|heard| Ok(announcement(&heard)));
    if request.follow { kept.chain(news).left_stream() } else { kept.right_stream() }
}

fn peer(peer: &PeerInfo) -> proto::PeerInfo {
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

fn announcement(heard: &Heard) -> proto::Announcement {
    let announcement = &heard.announcement;
    proto::Announcement {
        cid: announcement.cid.to_string(),
        size: announcement.size,
        name: announcement.name.clone().unwrap_or_default(),
        sender: heard.sender.to_string(),
        heard_ms: heard.heard_ms,
    }
}
