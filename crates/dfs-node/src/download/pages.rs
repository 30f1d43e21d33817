//! The rows of the pages of a download.

use dfs_core::{Cid, Manifest};
use dfs_store::tables::{DownloadPage, DownloadPages, PageEnd};
use dfs_store::{Batch, Store, StoreError, Tables};
use dfs_transfer::KnownPage;

use crate::error::report;

/// Every page that jobs have stored and that is not held yet, in the order of the content.
pub(crate) fn known(store: &dyn Store, cid: Cid) -> Result<Vec<KnownPage>, StoreError> {
    let rows = DownloadPages::of(store, cid)?;
    let known = rows.into_iter().filter_map(|(PageEnd { end, .. }, page)| {
        let DownloadPage { index, root, is_complete } = match page {
            Ok(page) => page,
            Err(error) => {
                let error = report(&error);
                tracing::error!(%cid, error, "a page of a download is fetched again");
                return None;
            }
        };
        Some(KnownPage { index, start: end - root.len, root, is_complete })
    });
    Ok(known.collect())
}

/// Has the batch put the row of a page.
pub(crate) fn put(batch: &mut Batch, cid: Cid, page: &KnownPage) {
    let KnownPage { index, root, is_complete, .. } = *page;
    let key = PageEnd { cid, end: page.range().end };
    batch.put::<DownloadPages>(&key, &DownloadPage { index, root, is_complete });
}

/// Has the batch delete the rows of all pages of a content.
pub(crate) fn delete(batch: &mut Batch, cid: Cid, manifest: &Manifest) {
    let mut end = 0;
    for root in manifest.page_roots() {
        end += root.len;
        batch.delete::<DownloadPages>(&PageEnd { cid, end });
    }
}

/// Whether a job has stored a page that is not held.
pub(crate) fn any(store: &dyn Store, cid: Cid) -> Result<bool, StoreError> {
    let rows = store.scan_each::<DownloadPages>(Some(&PageEnd { cid, end: 0 }), 1)?;
    Ok(rows.iter().any(|(key, _)| key.cid == cid))
}
