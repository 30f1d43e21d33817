//! Removing content.
//!
//! The removal runs in a task of its own: a caller that goes away does not
//! stop it half way. One batch deletes the item, the download record and the
//! provide row and marks the pages for release, so that a crash leaves either
//! all of them or a removal that the next start completes.

use std::fs;

use dfs_core::{Cid, Manifest};
use dfs_store::tables::{DownloadPages, Downloads, Files, Items, Manifests, Provides};
use dfs_store::{Batch, FileId, LinkedFile, Store, StoreError, Tables};
use tokio::sync::oneshot;

use super::Content;
use super::links::path_of;
use crate::error::NodeError;

pub(super) async fn remove(content: &Content, cid: Cid) -> Result<u64, NodeError> {
    let (respond_to, removed) = oneshot::channel();
    let this = content.clone();
    content.tasks.spawn(async move {
        let removed = run(&this, cid).await;
        if let Err(error) = &removed
            && !matches!(error, NodeError::NothingOf { .. })
        {
            tracing::warn!(%cid, error = error.report(), "content was not removed");
        }
        // The error means that the caller has gone.
        let _ = respond_to.send(removed);
    });
    removed.await.map_err(|_| content.tasks.no_answer("the removal"))?
}

async fn run(content: &Content, cid: Cid) -> Result<u64, NodeError> {
    // Until the pages are released, no download of this content starts and no
    // provide of it is recorded.
    let _undisturbed = content.gate.lock(cid).await;
    // First, because it may be refused, and a download that has been ended cannot be
    // brought back.
    content.provide.forget(cid).await?;
    let removed = release(content, cid).await;
    if removed.is_err()
        && let Err(error) = content.provide.restore(cid).await
    {
        tracing::warn!(%cid, error = error.report(), "not provided until the node starts again");
    }
    removed
}

/// Ends the download of the content and removes its rows, pages and chunks.
async fn release(content: &Content, cid: Cid) -> Result<u64, NodeError> {
    content.downloads.end(&cid).await;
    let known = content.disk.run(move |store| {
        let item = store.get::<Items>(&cid)?;
        let download = store.get::<Downloads>(&cid)?;
        Ok((store.get::<Manifests>(&cid)?, item, download, DownloadPages::of(store, cid)?))
    });
    let (manifest, item, download, pages) = known.await?;
    if manifest.is_none() && download.is_none() {
        return Err(NodeError::NothingOf { cid });
    }
    let mut roots: Vec<_> =
        manifest.iter().flat_map(Manifest::page_roots).map(|root| root.hash).collect();
    let mut files = item.map_or_else(Vec::new, |item| item.files);
    if let Some(record) = &download {
        files.extend(record.file.iter().chain(&record.leftovers));
    }
    // The page of a row that cannot be read stays.
    roots.extend(pages.iter().filter_map(|(_, page)| Some(page.as_ref().ok()?.root.hash)));
    let removed = content.disk.run(move |store| {
        let unfinished = unfinished(store, &files)?;
        let mut batch = Batch::default();
        batch.delete::<Manifests>(&cid).delete::<Items>(&cid);
        batch.delete::<Downloads>(&cid).delete::<Provides>(&cid);
        for (key, _) in &pages {
            batch.delete::<DownloadPages>(key);
        }
        for file in &files {
            batch.delete::<Files>(file);
        }
        let removed = store.release_pages(cid.into(), &roots, &batch)?;
        for file in unfinished {
            // It may be gone already.
            let _ = fs::remove_file(path_of(&file));
        }
        Ok(removed)
    });
    let removed = removed.await;
    content.reclaim.notify_one();
    match removed {
        Ok(freed) => {
            content.metrics.removals.inc();
            Ok(freed)
        }
        Err(error) => {
            content.release.notify_one();
            Err(error.into())
        }
    }
}

/// Those of the files that a download has not completed. Complete ones belong to the user.
fn unfinished(store: &dyn Store, files: &[FileId]) -> Result<Vec<LinkedFile>, StoreError> {
    let files = files.iter().map(|id| store.get::<Files>(id));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    Ok(files.into_iter().flatten().filter(|file| file.modified_ns.is_none()).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use dfs_net::NetHandle;
    use dfs_store::tables::Downloads as DownloadRows;
    use dfs_store::tables::{Items, Manifests};
    use dfs_store::{Table, Tables};
    use tokio::sync::mpsc;

    use crate::content::AddOptions;
    use crate::download::{GetOptions, Turns};
    use crate::error::NodeError;
    use crate::metrics::Metrics;
    use crate::node::NodeRuntime;
    use crate::test_node::TestNode;
    use crate::watched_store::WatchedStore;

    #[tokio::test]
    async fn a_removal_that_panics_is_no_shutdown_and_leaves_the_content() {
        let test = TestNode::start().await;
        let client = test.node.client().clone();
        let added = client.content().add_bytes("content".into(), AddOptions::default()).await;
        let cid = added.expect("added").cid;
        test.store.panic_at_row_of(Manifests::FAMILY);
        let refused = client.content().remove(cid).await;
        assert!(matches!(refused, Err(NodeError::Panicked { .. })), "{refused:?}");
        client.content().remove(cid).await.expect("removed");
        test.stop().await;
    }

    #[tokio::test]
    async fn a_removal_whose_caller_went_away_completes_before_a_download_starts() {
        let (store, disk) = WatchedStore::new();
        let (net, _mock) = NetHandle::mocked();
        let (_events, receiver) = mpsc::channel(1);
        let metrics = Metrics::default();
        let hour = Duration::from_secs(3600);
        let node = NodeRuntime::compose(disk, net, receiver, hour, Turns::one(), metrics)
            .await
            .expect("a node");
        let client = node.client();
        let bytes = Bytes::from_static(b"content");
        let added = client.content().add_bytes(bytes, AddOptions::default()).await;
        let cid = added.expect("added").cid;

        let held = store.hold_release();
        let content = client.content().clone();
        let removal = tokio::spawn(async move { content.remove(cid).await });
        let go_on = held.reached().await;
        removal.abort();
        assert!(removal.await.expect_err("aborted").is_cancelled());

        let downloads = client.downloads().clone();
        let get = tokio::spawn(async move { downloads.get(cid, GetOptions::default()).await });
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(store.get::<DownloadRows>(&cid).expect("a look").is_none(), "the get waits");
        go_on.send(()).expect("the removal waits");
        let status = get.await.expect("no panic").expect("a download");
        assert!(store.get::<Items>(&cid).expect("a look").is_none(), "the content is gone");
        assert!(!status.borrow().phase.is_final(), "and has to be fetched: {status:?}");
        node.shutdown().await;
    }
}
