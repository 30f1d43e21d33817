//! Which chunks of a page a download need not fetch.
//!
//! Chunks that are linked to files of the user do not count for a download that stores:
//! they are copied into the store first. For a download that links, they count if they
//! can be read.

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Leaf, Manifest};
use dfs_store::tables::{Items, Manifests, Pages};
use dfs_store::{Batch, Have, Store, StoreError, Tables};

use super::ledger::Ledger;

/// Bytes of linked chunks that are copied into the store at a time.
const COPIED_AT_ONCE: usize = 8 << 20;

/// Which of the chunks are there. Those that are linked are read and compared with their
/// hashes, also those in the file of an earlier run of the same download: it may have been
/// edited in between, or never have reached the disk.
pub(super) fn present(
    store: &dyn Store,
    leaves: &[Leaf],
    links: bool,
) -> Result<Vec<bool>, StoreError> {
    let hashes: Vec<_> = leaves.iter().map(|leaf| leaf.hash).collect();
    let haves = store.haves(&hashes)?;
    let mut present: Vec<bool> = haves.iter().map(|have| have.is_stored).collect();
    if links {
        for ((present, hash), have) in present.iter_mut().zip(&hashes).zip(&haves) {
            *present = *present || is_readable(store, hash, have)?;
        }
    } else {
        copy_linked(store, &hashes, &haves, &mut present)?;
    }
    Ok(present)
}

fn is_readable(store: &dyn Store, hash: &ChunkHash, have: &Have) -> Result<bool, StoreError> {
    Ok(!have.links.is_empty() && store.chunk(hash)?.is_some())
}

/// Copies chunks into the store that are in files of the user alone.
fn copy_linked(
    store: &dyn Store,
    hashes: &[ChunkHash],
    haves: &[Have],
    present: &mut [bool],
) -> Result<(), StoreError> {
    let mut copies: Vec<(usize, ChunkHash, Bytes)> = Vec::new();
    let mut bytes = 0;
    for (index, (hash, have)) in hashes.iter().zip(haves).enumerate() {
        if present[index] || have.links.is_empty() {
            continue;
        }
        let Some(chunk) = store.chunk(hash)? else { continue };
        bytes += chunk.len();
        copies.push((index, *hash, chunk));
        if bytes >= COPIED_AT_ONCE {
            put(store, &mut copies, present)?;
            bytes = 0;
        }
    }
    put(store, &mut copies, present)
}

fn put(
    store: &dyn Store,
    copies: &mut Vec<(usize, ChunkHash, Bytes)>,
    present: &mut [bool],
) -> Result<(), StoreError> {
    if copies.is_empty() {
        return Ok(());
    }
    let chunks: Vec<_> = copies.iter().map(|(_, hash, bytes)| (*hash, &**bytes)).collect();
    let portion = store.put_chunks(&chunks)?;
    store.commit(Batch::default().chunks_stored(portion))?;
    copies.drain(..).for_each(|(index, ..)| present[index] = true);
    Ok(())
}

/// The manifest of content that is held, with every chunk of it there. Copying or reading
/// linked content may take long; it ends early with the job.
pub(super) fn held(
    store: &dyn Store,
    cid: Cid,
    links: bool,
    ledger: &Ledger,
) -> Result<Option<Manifest>, StoreError> {
    let Some(manifest) = store.get::<Manifests>(&cid)? else { return Ok(None) };
    // Without files everything is stored.
    if store.get::<Items>(&cid)?.is_none_or(|item| item.files.is_empty()) {
        return Ok(Some(manifest));
    }
    for root in manifest.page_roots() {
        let Some(page) = store.get::<Pages>(&root.hash)? else { return Ok(None) };
        let present = ledger.unless_closed(|| present(store, page.leaves(), links))?;
        // Nothing is said about the leaves once the job has ended.
        if present.len() < page.leaves().len() || present.contains(&false) {
            return Ok(None);
        }
    }
    Ok(Some(manifest))
}
