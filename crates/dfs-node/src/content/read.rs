//! Listing and reading what is held.
//!
//! Every chunk is hashed before it is handed on. Content that is still being downloaded is
//! read by [`super::follow`]; files are written by [`super::export`].

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Leaf, Manifest};
use dfs_store::tables::{Downloads, Items, Manifests, Pages, Provides};
use dfs_store::{Store, Tables};
use tokio::sync::mpsc;

use super::links::{FileState, Linked, files_of};
use super::{Content, Held, Inspection};
use crate::blocking::{send, send_all};
use crate::error::{Damage, NodeError};

pub(super) fn list(content: &Content) -> mpsc::Receiver<Result<Held, NodeError>> {
    let (parts, receiver) = mpsc::channel(16);
    let (store, stop) = (Arc::clone(content.disk.store()), content.tasks.stopping());
    content.tasks.spawn_blocking(move || {
        let rows = |after: Option<&Cid>, limit| store.scan_each::<Items>(after, limit);
        let held = |cid, item| {
            let (provide, files) = (store.get::<Provides>(&cid)?, files_of(&*store, &item)?);
            Ok(Held { cid, item, provide, files })
        };
        send_all(rows, held, &parts, &stop);
    });
    receiver
}

pub(super) async fn inspect(content: &Content, cid: Cid) -> Result<Inspection, NodeError> {
    let disk = &content.disk;
    let known =
        disk.run(move |store| Ok((store.get::<Items>(&cid)?, store.get::<Provides>(&cid)?)));
    let (item, provide) = known.await?;
    if let Some(item) = item {
        let header = item.header;
        let (bytes_held, chunks_held) = (header.size(), header.chunk_count());
        let (item, files) =
            disk.run(move |store| files_of(store, &item).map(|files| (Some(item), files))).await?;
        return Ok(Inspection { header, item, bytes_held, chunks_held, provide, files });
    }
    let status = content.downloads.status(cid).await?;
    let record = disk.run(move |store| store.get::<Downloads>(&cid)).await?;
    let header = record.and_then(|record| record.header).ok_or(NodeError::NothingOf { cid })?;
    let (bytes_held, chunks_held) =
        status.map_or((0, 0), |status| (status.bytes_done, status.chunks_done));
    let files = Vec::new();
    Ok(Inspection { header, item: None, bytes_held, chunks_held, provide, files })
}

pub(super) async fn leaves(
    content: &Content,
    cid: Cid,
) -> Result<mpsc::Receiver<Result<Vec<Leaf>, NodeError>>, NodeError> {
    let manifest = manifest(content, cid).await?;
    let (parts, receiver) = mpsc::channel(2);
    let (store, stop) = (Arc::clone(content.disk.store()), content.tasks.stopping());
    content.tasks.spawn_blocking(move || {
        for root in manifest.page_roots() {
            let page = store.get::<Pages>(&root.hash).map_err(NodeError::from).and_then(|page| {
                page.ok_or(NodeError::Damaged { cid, source: Damage::MissingPage(root.hash) })
            });
            let last = page.is_err();
            let part = page.map(|page| page.leaves().to_vec());
            if !send(&parts, part, &stop) || last {
                return;
            }
        }
    });
    Ok(receiver)
}

pub(super) async fn read(
    content: &Content,
    cid: Cid,
) -> Result<mpsc::Receiver<Result<Bytes, NodeError>>, NodeError> {
    let manifest = manifest(content, cid).await?;
    let (parts, receiver) = mpsc::channel(4);
    let (store, stop) = (Arc::clone(content.disk.store()), content.tasks.stopping());
    content.tasks.spawn_blocking(move || {
        let read = visit(&*store, &manifest, |bytes| Ok(send(&parts, Ok(bytes), &stop)));
        if let Err(error) = read {
            send(&parts, Err(error), &stop);
        }
    });
    Ok(receiver)
}

async fn manifest(content: &Content, cid: Cid) -> Result<Manifest, NodeError> {
    let manifest = content.disk.run(move |store| store.get::<Manifests>(&cid)).await?;
    manifest.ok_or(NodeError::NotHeld { cid })
}

/// The bytes of a chunk, if it is there, after a look at their hash.
pub(super) fn checked_chunk(
    store: &dyn Store,
    cid: Cid,
    leaf: &Leaf,
) -> Result<Option<Bytes>, NodeError> {
    let Some(bytes) = store.chunk(&leaf.hash)? else { return Ok(None) };
    let source = match Leaf::of(&bytes) {
        found if found == *leaf => return Ok(Some(bytes)),
        found if found.hash == leaf.hash => Damage::FalseLength(leaf.hash),
        _ => Damage::OtherBytes(leaf.hash),
    };
    Err(NodeError::Damaged { cid, source })
}

/// Why a chunk of content that is held cannot be read.
pub(super) fn missing_chunk(
    store: &dyn Store,
    cid: Cid,
    hash: ChunkHash,
) -> Result<NodeError, NodeError> {
    let item = store.get::<Items>(&cid)?;
    let files = item.map_or(Ok(Vec::new()), |item| files_of(store, &item))?;
    let changed = files.into_iter().find(|file| file.state != FileState::Unchanged);
    Ok(match changed {
        Some(Linked { path, state }) => {
            let what = if state == FileState::Missing { "is gone" } else { "has changed" };
            NodeError::LinkBroken { cid, path, what }
        }
        None => NodeError::Damaged { cid, source: Damage::MissingChunk(hash) },
    })
}

/// Reads the content of a manifest chunk by chunk and hashes every chunk
/// before it hands it on. `visit` ends the reading by answering `false`.
/// Returns whether the reading came to the end.
fn visit(
    store: &dyn Store,
    manifest: &Manifest,
    mut visit: impl FnMut(Bytes) -> Result<bool, NodeError>,
) -> Result<bool, NodeError> {
    visit_some(store, manifest, |_| true, |_, bytes| visit(bytes))
}

/// Like [`visit`], but reads only chunks for whose place in the content `wants`
/// holds, and tells `visit` the place of each.
pub(super) fn visit_some(
    store: &dyn Store,
    manifest: &Manifest,
    wants: impl Fn(Range<u64>) -> bool,
    mut visit: impl FnMut(u64, Bytes) -> Result<bool, NodeError>,
) -> Result<bool, NodeError> {
    let cid = manifest.cid();
    walk(store, manifest, wants, |place, leaf| {
        let Some(bytes) = checked_chunk(store, cid, leaf)? else {
            return Err(missing_chunk(store, cid, leaf.hash)?);
        };
        visit(place.start, bytes)
    })
}

/// Visits every leaf for whose place in the content `wants` holds, with that place. `visit`
/// ends the walk by answering `false`. Returns whether the walk came to the end.
pub(super) fn walk(
    store: &dyn Store,
    manifest: &Manifest,
    wants: impl Fn(Range<u64>) -> bool,
    mut visit: impl FnMut(Range<u64>, &Leaf) -> Result<bool, NodeError>,
) -> Result<bool, NodeError> {
    let cid = manifest.cid();
    let damaged = |source| NodeError::Damaged { cid, source };
    let mut page_start = 0;
    for root in manifest.page_roots() {
        let mut offset = page_start;
        page_start += root.len;
        if !wants(offset..page_start) {
            continue;
        }
        let page = store
            .get::<Pages>(&root.hash)?
            .ok_or_else(|| damaged(Damage::MissingPage(root.hash)))?;
        for leaf in page.leaves() {
            let place = offset..offset + u64::from(leaf.len);
            offset = place.end;
            if wants(place.clone()) && !visit(place, leaf)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
