//! The state machine of a job, made from its record.

use std::time::{Duration, Instant};

use dfs_core::Cid;
use dfs_net::PeerId;
use dfs_store::tables::DownloadRecord;
use dfs_transfer::{Config, Download, Event, KnownPage, Priority, WantId};

use crate::timing::DOWNLOAD_TIMEOUT_MAX;

/// All of the content is wanted.
pub(super) fn everything() -> Event<PeerId> {
    Event::Want { id: WantId::new(0), range: 0..u64::MAX, priority: Priority::Bulk }
}

/// The state machine of a download that starts now, from its record and the pages that earlier
/// runs have stored.
pub(super) fn machine(
    cid: Cid,
    record: &DownloadRecord,
    pages: Vec<KnownPage>,
) -> Download<PeerId> {
    let now = Instant::now();
    let mut config = Config::default();
    config.timeout = Duration::from_secs(record.timeout_s).min(DOWNLOAD_TIMEOUT_MAX);
    match record.header.filter(|header| header.cid() == cid) {
        Some(header) => Download::resume(header, pages, config, now),
        None => Download::new(cid, config, now),
    }
}
