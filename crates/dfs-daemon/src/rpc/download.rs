//! Calls about downloads.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dfs_control::{Failure, proto};
use dfs_node::{Cid, DownloadStatus, GetOptions, NodeClient, Phase};
use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::request::{cid, millis, narrow, path};
use crate::failure::{download_advice, failure, to_status};
use crate::timing::PROGRESS_INTERVAL;

pub(super) async fn get(
    client: &NodeClient,
    request: proto::GetRequest,
) -> Result<impl Stream<Item = Result<proto::DownloadStatus, Status>> + Send + use<>, Status> {
    let cid = cid(&request.cid)?;
    let wanted = if request.path.is_empty() { None } else { Some(path(request.path)?) };
    let mut options = GetOptions::default();
    options.path.clone_from(&wanted);
    options.force = request.force;
    options.link = request.link;
    options.timeout = (request.timeout_s > 0).then(|| Duration::from_secs(request.timeout_s));
    let status = client.downloads().get(cid, options).await.map_err(to_status)?;
    Ok(follow(status, wanted))
}

pub(super) async fn status(
    client: &NodeClient,
    request: &proto::GetDownloadRequest,
) -> Result<proto::DownloadStatus, Status> {
    let cid = cid(&request.cid)?;
    let status = client.downloads().status(cid).await.map_err(to_status)?;
    Ok(download(&status.ok_or_else(|| unknown(cid))?))
}

pub(super) fn list(
    client: &NodeClient,
) -> impl Stream<Item = Result<proto::DownloadStatus, Status>> + Send + use<> {
    let statuses = ReceiverStream::new(client.downloads().list());
    statuses.map(|status| status.map(|status| download(&status)).map_err(to_status))
}

pub(super) async fn cancel(
    client: &NodeClient,
    request: &proto::CancelDownloadRequest,
) -> Result<proto::CancelDownloadReply, Status> {
    let cid = cid(&request.cid)?;
    if !client.downloads().cancel(cid).await {
        return Err(match client.downloads().status(cid).await.map_err(to_status)? {
            Some(_) => not_running(cid),
            None => unknown(cid),
        });
    }
    Ok(proto::CancelDownloadReply {})
}

/// States of a download up to the final one, for this destination. The latest
/// state wins, a few times a second. The download goes on when the client
/// goes away.
fn follow(
    status: watch::Receiver<DownloadStatus>,
    destination: Option<PathBuf>,
) -> impl Stream<Item = Result<proto::DownloadStatus, Status>> + Send {
    struct Following {
        status: watch::Receiver<DownloadStatus>,
        destination: Option<PathBuf>,
        first: bool,
    }
    let following = Following { status, destination, first: true };
    stream::unfold(Some(following), |following| async move {
        let mut this = following?;
        if !this.first {
            tokio::select! {
                () = sleep(PROGRESS_INTERVAL) => {}
                end = this.status.wait_for(DownloadStatus::is_last) => { end.ok()?; }
            }
        }
        this.first = false;
        let now = this.status.borrow_and_update().clone();
        let shown = download(&now.for_destination(this.destination.as_deref()));
        Some((Ok(shown), (!now.is_last()).then_some(this)))
    })
}

/// There is neither a running download nor a record of one.
fn unknown(cid: Cid) -> Status {
    Status::new(Failure::NotFound.code(), format!("there is no such download: {cid}"))
}

fn not_running(cid: Cid) -> Status {
    Status::new(Failure::NotFound.code(), format!("the download of {cid} is not running"))
}

fn download(status: &DownloadStatus) -> proto::DownloadStatus {
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
    let reason = status.reason.as_ref().map(|reason| match status.failure {
        Some(kind) => format!("{reason}{}", download_advice(kind)),
        None => reason.clone(),
    });
    proto::DownloadStatus {
        cid: status.cid.to_string(),
        state: state.into(),
        reason: reason.unwrap_or_default(),
        failure_code: status.failure.map_or(0, |kind| failure(kind).exit_code()).into(),
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
