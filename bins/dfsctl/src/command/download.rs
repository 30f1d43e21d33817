//! `dfsctl download-status`, `downloads` and `cancel-download`.

use dfs_control::proto::{
    CancelDownloadRequest, DownloadState, DownloadStatus, DownloadsRequest, GetDownloadRequest,
};

use dfs_core::Cid;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::args::{Format, Named};
use crate::deadline;
use crate::failure::Failure;
use crate::render;
use crate::target::Target;

/// A download, as `--json` prints it.
#[derive(Serialize)]
struct Download {
    cid: String,
    state: &'static str,
    reason: Option<String>,
    exit_code: Option<u32>,
    size: Option<u64>,
    bytes_done: u64,
    chunks: Option<u64>,
    chunks_done: u64,
    bytes_fetched: u64,
    rate: u64,
    eta_s: Option<u64>,
    providers: u32,
    next_try_ms: Option<u64>,
}

impl From<DownloadStatus> for Download {
    fn from(status: DownloadStatus) -> Self {
        let left = status.size.map(|size| size.saturating_sub(status.bytes_done));
        let eta_s = left.filter(|_| status.rate > 0).map(|left| left.div_ceil(status.rate));
        Self {
            state: name(status.state()),
            cid: status.cid,
            reason: (!status.reason.is_empty()).then_some(status.reason),
            exit_code: (status.failure_code > 0).then_some(status.failure_code),
            size: status.size,
            bytes_done: status.bytes_done,
            chunks: status.chunks,
            chunks_done: status.chunks_done,
            bytes_fetched: status.bytes_fetched,
            rate: status.rate,
            eta_s,
            providers: status.providers,
            next_try_ms: status.next_try_ms,
        }
    }
}

/// The states as users know them.
fn name(state: DownloadState) -> &'static str {
    match state {
        DownloadState::Unspecified => "unknown",
        DownloadState::Discovering => "discovering",
        DownloadState::FetchingManifest => "fetching-manifest",
        DownloadState::Downloading => "downloading",
        DownloadState::Assembling => "assembling",
        DownloadState::Waiting => "waiting",
        DownloadState::Done => "done",
        DownloadState::Failed => "failed",
        DownloadState::Cancelled => "cancelled",
    }
}

pub(super) async fn show(target: &Target, named: Named) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    let request = GetDownloadRequest { cid: named.cid.to_string() };
    let download: Download = deadline::reply(client.get_download(request)).await?.into();
    if named.format.json {
        return render::json(&download);
    }
    let of = |done: String, all: Option<String>| match all {
        Some(all) => format!("{done} of {all}"),
        None => done,
    };
    let size = download.size.map(|size| HumanBytes(size).to_string());
    let bytes = of(HumanBytes(download.bytes_done).to_string(), size);
    let chunks = download.chunks.map(|chunks| chunks.to_string());
    let mut rows = vec![("cid", download.cid.clone()), ("state", download.state.to_owned())];
    rows.extend(download.reason.as_deref().map(|reason| ("reason", render::escape(reason))));
    rows.extend(download.next_try_ms.map(|ms| ("next try", format!("in {} s", ms.div_ceil(1000)))));
    rows.extend([
        ("bytes", bytes),
        ("chunks", of(download.chunks_done.to_string(), chunks)),
        ("fetched", HumanBytes(download.bytes_fetched).to_string()),
        ("rate", format!("{}/s", HumanBytes(download.rate))),
        ("providers", download.providers.to_string()),
    ]);
    rows.extend(download.eta_s.map(|eta| ("left", render::span(eta))));
    for (name, value) in rows {
        render::line(format!("{name:<10} {value}"))?;
    }
    Ok(())
}

pub(super) async fn list(target: &Target, format: Format) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    deadline::show_all(client.downloads(DownloadsRequest {}), |downloads: &[Download]| {
        show_list(downloads, format)
    })
    .await
}

fn show_list(downloads: &[Download], format: Format) -> Result<(), Failure> {
    if format.json {
        return render::json(downloads);
    }
    let heading = ["CID", "STATE", "DONE", "SIZE", "RATE", "REASON"];
    let cells: Vec<_> = downloads
        .iter()
        .map(|download| {
            [
                download.cid.clone(),
                download.state.to_owned(),
                HumanBytes(download.bytes_done).to_string(),
                download.size.map_or_else(|| "?".to_owned(), |size| HumanBytes(size).to_string()),
                format!("{}/s", HumanBytes(download.rate)),
                render::escape(download.reason.as_deref().unwrap_or("")),
            ]
        })
        .collect();
    render::table(heading, &cells)
}

pub(super) async fn cancel(target: &Target, cid: Cid) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    client.cancel_download(CancelDownloadRequest { cid: cid.to_string() }).await?;
    render::line("cancelled; what was got is kept, and a later get goes on from there")
}
