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

/// The state machine of a download that starts now, from its record.
pub(super) fn machine(cid: Cid, record: &DownloadRecord) -> Download<PeerId> {
    let now = Instant::now();
    let mut config = Config::default();
    config.timeout = Duration::from_secs(record.timeout_s).min(DOWNLOAD_TIMEOUT_MAX);
    match record.header.filter(|header| header.cid() == cid) {
        Some(header) => Download::resume(header, known_pages(record), config, now),
        None => Download::new(cid, config, now),
    }
}

/// The pages that earlier runs have stored, as far as their places are known: a page behind
/// one that is not listed is fetched again.
fn known_pages(record: &DownloadRecord) -> Vec<KnownPage> {
    let mut roots = record.page_roots.clone();
    roots.sort_unstable_by_key(|(index, _)| *index);
    let in_turn = (0..).zip(roots).take_while(|(expected, (index, _))| index == expected);
    let mut end = 0;
    let places = in_turn.map(|(index, (_, root))| {
        let start = end;
        end += root.len;
        KnownPage { index, start, root, is_complete: false }
    });
    places.collect()
}
