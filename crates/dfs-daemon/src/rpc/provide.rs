//! Calls about provider records.

use dfs_control::proto;
use dfs_node::{Cid, NodeClient, ProvideRecord};
use futures::{Stream, StreamExt};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::request::cid;
use crate::failure::to_status;

pub(super) async fn start(
    client: &NodeClient,
    request: &proto::ProvideRequest,
) -> Result<proto::ProvideReply, Status> {
    let record = client.provide().start(cid(&request.cid)?).await.map_err(to_status)?;
    Ok(proto::ProvideReply { sent_to: record.sent_to })
}

pub(super) async fn stop(
    client: &NodeClient,
    request: &proto::UnprovideRequest,
) -> Result<proto::UnprovideReply, Status> {
    let was_provided = client.provide().stop(cid(&request.cid)?).await.map_err(to_status)?;
    Ok(proto::UnprovideReply { was_provided })
}

pub(super) async fn verify(
    client: &NodeClient,
    request: &proto::VerifyProvideRequest,
) -> Result<proto::VerifyProvideReply, Status> {
    let verified = client.provide().verify(cid(&request.cid)?).await.map_err(to_status)?;
    Ok(proto::VerifyProvideReply { asked: verified.asked, confirmed: verified.confirmed })
}

pub(super) fn list(
    client: &NodeClient,
) -> impl Stream<Item = Result<proto::Provided, Status>> + Send + use<> {
    ReceiverStream::new(client.provide().list()).map(|row| row.map(provided).map_err(to_status))
}

fn provided((cid, record): (Cid, ProvideRecord)) -> proto::Provided {
    proto::Provided {
        cid: cid.to_string(),
        since_ms: record.since_ms,
        announced_ms: record.announced_ms,
        due_ms: record.due_ms,
        sent_to: record.sent_to,
    }
}
