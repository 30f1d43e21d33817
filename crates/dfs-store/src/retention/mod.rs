//! What is kept and what is removed: references of pages, presence of chunks, leases,
//! pending deletes, and the counters that change with them.
//!
//! `docs/store-format.md`, section 6, specifies the rows as a state machine;
//! this module is that machine, above any [`Engine`]. It does not know how
//! chunks become durable, nor how their space is given back.
//!
//! Locks, in the order in which they are taken: [`Locked`], leases. The set of
//! busy owners is a leaf. No lock is held while the write-ahead log is synced.

mod counts;
mod leases;
mod presence;
mod references;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dfs_core::{ChunkHash, Page, TreeHash};

use crate::batch::{Batch, Change};
use crate::engine::{Engine, Writes};
use crate::error::{Damage, StoreError, report};
use crate::layout::{self, CHUNK, Family, INTENT, PAGE, REF, RefKind};
use crate::links;
use crate::metrics::Metrics;
use crate::owner::Owner;
use crate::portion::Portion;
use crate::store::Released;
use crate::table::{Key, Table};
use crate::tables::{Have, Intents, Pages, PortionNumber};
use leases::Leases;
use presence::Presence;

/// Pages that one step releases. A page has about 2,000 chunks.
const STEP_PAGES: u64 = 4;
/// Rows of pending deletes that are read at once.
const STEP_ROWS: usize = 256;
/// Chunks that are discarded under one lock.
const DISCARD_PORTION: usize = 256;
/// Portions that are discarded under one lock when a store is opened.
const RECOVER_ROWS: usize = 16;
/// Bytes that a discarded chunk counts as for [`layout::REMOVED`]: the average
/// of the default profile. Its real length would have to be read.
const DISCARDED_CHUNK: u64 = 64 << 10;

/// The state beside the rows.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    rows: Mutex<()>,
    leases: Leases,
    /// Owners whose pending deletes belong to an addition or a removal of this
    /// process. [`Self::release_step`] leaves them alone.
    busy: Mutex<HashSet<Owner>>,
    /// Whether pages that are not needed any more are left to the next process.
    is_postponing: AtomicBool,
    /// Number of the next portion. [`Self::recover`] leaves no row with a number, so
    /// each process begins with 0.
    next_portion: AtomicU64,
    metrics: Metrics,
}

/// Keeps rows as they were read until the writes that depend on them are written.
struct Locked<'a> {
    _guard: MutexGuard<'a, ()>,
}

impl Retention {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics, ..Self::default() }
    }

    pub(crate) fn lease(&self, hashes: &[ChunkHash]) {
        self.leases.lease(hashes);
    }

    pub(crate) fn end_leases(&self, hashes: &[ChunkHash]) {
        self.leases.release(hashes);
    }

    /// What is known of each chunk.
    pub(crate) fn haves(
        &self,
        engine: &impl Engine,
        hashes: &[ChunkHash],
    ) -> Result<Vec<Have>, StoreError> {
        presence::read(engine, hashes)
    }

    /// The bytes of a chunk that is linked and not stored.
    pub(crate) fn linked_chunk(
        &self,
        engine: &impl Engine,
        hash: &ChunkHash,
    ) -> Result<Option<Bytes>, StoreError> {
        let haves = presence::read(engine, std::slice::from_ref(hash))?;
        haves.first().map_or(Ok(None), |have| links::read(engine, hash, have))
    }

    /// Notes that chunks are about to be put.
    pub(crate) fn begin_portion(
        &self,
        engine: &impl Engine,
        hashes: Vec<ChunkHash>,
    ) -> Result<Portion, StoreError> {
        let number = PortionNumber(self.next_portion.fetch_add(1, Ordering::Relaxed));
        let mut writes = Writes::default();
        writes.put(INTENT, number.encode(), Intents::encode(&hashes));
        // Not synced: if the system crashes before the log is synced anyway, the
        // chunks stay without a row.
        engine.write(writes)?;
        Ok(Portion::new(number, hashes))
    }

    /// Removes what an earlier process has put and not recorded. To be called before
    /// anything is put.
    pub(crate) fn recover(&self, engine: &impl Engine) -> Result<(), StoreError> {
        loop {
            let rows = engine.rows(INTENT, None, RECOVER_ROWS)?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut keys = Vec::new();
            let mut hashes = Vec::new();
            for (key, value) in rows {
                let number =
                    PortionNumber::decode(&key).ok_or(Damage::KeyLength { len: key.len() });
                match number.and_then(|number| Intents::decode(&number, &value)) {
                    Ok(portion) => hashes.extend(portion),
                    // Its chunks stay without a row.
                    Err(damage) => {
                        let error = report(&damaged(INTENT, &key, damage));
                        tracing::error!(error, "an interrupted write of chunks was passed over");
                    }
                }
                keys.push(key);
            }
            self.remove_unrecorded(engine, &hashes, keys)?;
        }
    }

    /// Deletes chunks that are not recorded, whether a page contains them or not, and
    /// these rows of family `intent`.
    fn remove_unrecorded(
        &self,
        engine: &impl Engine,
        hashes: &[ChunkHash],
        intents: Vec<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let locked = self.lock();
        let mut writes = Writes::default();
        let mut chunks = 0;
        for (hash, have) in hashes.iter().zip(presence::read(engine, hashes)?) {
            if !have.is_stored && engine.may_have(CHUNK, hash.as_bytes()) {
                writes.delete(CHUNK, hash.as_bytes().to_vec());
                chunks += 1;
            }
        }
        intents.into_iter().for_each(|key| writes.delete(INTENT, key));
        counts::add_removed(engine, &locked, &mut writes, chunks * DISCARDED_CHUNK)?;
        engine.write(writes)?;
        self.metrics.chunks_removed.inc_by(chunks);
        Ok(())
    }

    /// Writes a batch with its references and counters.
    pub(crate) fn commit(&self, engine: &impl Engine, batch: &Batch) -> Result<(), StoreError> {
        let mut reassigned = Vec::new();
        for change in batch.changes() {
            match change {
                Change::Staged { owner, .. } => drop(self.busy().insert(*owner)),
                Change::Reassign { from, .. } => reassigned.push(*from),
                Change::Put { .. }
                | Change::Update { .. }
                | Change::Delete { .. }
                | Change::Chunk { .. }
                | Change::Portion { .. }
                | Change::Links { .. }
                | Change::Page { .. }
                | Change::PendingDelete { .. } => {}
            }
        }
        {
            let locked = self.lock();
            let mut writes = Writes::default();
            references::append(engine, &locked, &mut writes, batch.changes())?;
            counts::append(engine, &locked, &mut writes)?;
            engine.write(writes)?;
        }
        engine.sync()?;
        for owner in reassigned {
            // The batch is durable, so an error here is no failure of the commit:
            // the owner stays busy, and its pending deletes wait for a restart.
            match references::has_pending_delete(engine, owner) {
                Ok(true) => {}
                Ok(false) => drop(self.busy().remove(&owner)),
                Err(error) => {
                    tracing::warn!(error = report(&error), "pending deletes wait for a restart");
                }
            }
        }
        Ok(())
    }

    /// Commits the batch with pending deletes and carries these out.
    pub(crate) fn release_pages(
        &self,
        engine: &impl Engine,
        owner: Owner,
        roots: &[TreeHash],
        batch: &Batch,
    ) -> Result<u64, StoreError> {
        let mut batch = batch.clone();
        batch.push(Change::PendingDelete { owner, roots: roots.to_vec() });
        self.busy().insert(owner);
        let released = self.commit(engine, &batch).and_then(|()| {
            let mut bytes = 0;
            for root in roots {
                if self.is_postponing() {
                    break;
                }
                bytes += self.release_page(engine, owner, root)?;
            }
            Ok(bytes)
        });
        // What a failure has left is for a later step.
        self.busy().remove(&owner);
        released
    }

    pub(crate) fn postpone_releases(&self) {
        self.is_postponing.store(true, Ordering::Relaxed);
    }

    fn is_postponing(&self) -> bool {
        self.is_postponing.load(Ordering::Relaxed)
    }

    /// Carries out pending deletes of an earlier process or a failed removal.
    pub(crate) fn release_step(&self, engine: &impl Engine) -> Result<Released, StoreError> {
        let mut released = Released::default();
        let mut after = vec![RefKind::PendingDelete as u8];
        loop {
            let rows = engine.rows(REF, Some(&after), STEP_ROWS)?;
            let Some((last, _)) = rows.last() else { return Ok(released) };
            after.clone_from(last);
            for (key, _) in &rows {
                if key.first() != Some(&(RefKind::PendingDelete as u8)) {
                    return Ok(released);
                }
                let Some((owner, root)) = layout::parse_pending_delete(key) else {
                    self.drop_unreadable(engine, key)?;
                    continue;
                };
                if self.busy().contains(&owner) {
                    continue;
                }
                if released.pages == STEP_PAGES {
                    return Ok(Released { more: true, ..released });
                }
                released.bytes += self.release_page(engine, owner, &root)?;
                released.pages += 1;
            }
        }
    }

    /// Ends a lease of each chunk, and removes those of them and of the chunks of these
    /// portions that no page references and that are not leased.
    pub(crate) fn discard(
        &self,
        engine: &impl Engine,
        leased: &[ChunkHash],
        portions: &[Portion],
    ) -> Result<(), StoreError> {
        self.leases.release(leased);
        let mut hashes = leased.to_vec();
        hashes.extend(portions.iter().flat_map(Portion::hashes));
        hashes.sort_unstable();
        hashes.dedup();
        // In steps, so that other threads get to lease in between.
        for hashes in hashes.chunks(DISCARD_PORTION) {
            let locked = self.lock();
            let removing = self.leases.removing();
            let mut writes = Writes::default();
            let mut presence = Presence::default();
            presence.load(engine, &locked, hashes.iter().copied())?;
            let chunks = presence.remove_unused(engine, &removing, &mut writes).len() as u64;
            presence.append(&mut writes);
            counts::add_removed(engine, &locked, &mut writes, chunks * DISCARDED_CHUNK)?;
            // Not synced: a chunk that a crash brings back is found when the store is
            // opened, by its row in `intent` or in `have`.
            engine.write(writes)?;
            self.metrics.chunks_removed.inc_by(chunks);
        }
        let mut writes = Writes::default();
        for portion in portions {
            writes.delete(INTENT, portion.number().encode());
        }
        if writes.is_empty() { Ok(()) } else { engine.write(writes) }
    }

    /// Number of rows of a counted family.
    pub(crate) fn count(&self, engine: &impl Engine, family: Family) -> Result<u64, StoreError> {
        if family.counted { counts::counter(engine, family.name) } else { Ok(0) }
    }

    /// Bytes of chunks removed since [`Self::forget_removed`].
    pub(crate) fn removed(&self, engine: &impl Engine) -> Result<u64, StoreError> {
        counts::counter(engine, layout::REMOVED)
    }

    /// Takes so many bytes off the counter of removed bytes.
    pub(crate) fn forget_removed(
        &self,
        engine: &impl Engine,
        bytes: u64,
    ) -> Result<(), StoreError> {
        counts::forget_removed(engine, &self.lock(), bytes)
    }

    /// Transition R2 of the format document: an owner no longer needs a page.
    /// Returns the bytes of the chunks removed.
    fn release_page(
        &self,
        engine: &impl Engine,
        owner: Owner,
        root: &TreeHash,
    ) -> Result<u64, StoreError> {
        // These locks keep out leases and commits of pages until the batch is written.
        let locked = self.lock();
        let removing = self.leases.removing();
        let pending = layout::pending_delete(owner, root);
        if !engine.has(REF, &pending)? {
            // The owner needs the page again: the same content was added anew.
            return Ok(0);
        }
        let mut writes = Writes::default();
        writes.delete(REF, pending);
        writes.delete(REF, layout::page_of_owner(root, owner));
        let (mut bytes, mut chunks) = (0, 0);
        let key = root.as_bytes();
        let page = if references::is_needed(engine, root, owner)? {
            None
        } else {
            writes.delete(PAGE, key.to_vec());
            match read_page(engine, root) {
                // Which chunks the page has cannot be told any more. They count as
                // being in one page more for ever, and stay; other pages are released.
                Err(error @ (StoreError::Damaged { .. } | StoreError::Corrupt { .. })) => {
                    let error = report(&error);
                    tracing::error!(page = %root, error, "the chunks of a page were not removed");
                    self.metrics.pages_damaged.inc();
                    None
                }
                page => page?,
            }
        };
        if let Some(page) = page {
            let mut presence = Presence::default();
            presence.load(engine, &locked, presence::hashes_of(&page))?;
            presence.remove_page(&page);
            let removed = presence.remove_unused(engine, &removing, &mut writes);
            presence.append(&mut writes);
            chunks = removed.len() as u64;
            bytes = bytes_of(&page, removed);
        }
        counts::add_removed(engine, &locked, &mut writes, bytes)?;
        // Not synced: a crash of the system brings the pending delete back too.
        engine.write(writes)?;
        self.metrics.pages_released.inc();
        self.metrics.chunks_removed.inc_by(chunks);
        self.metrics.removed.inc_by(bytes);
        Ok(bytes)
    }

    /// Drops a pending delete whose key is damaged: it can be carried out by no
    /// step, and would be met by every one.
    fn drop_unreadable(&self, engine: &impl Engine, key: &[u8]) -> Result<(), StoreError> {
        let damage = damaged(REF, key, Damage::KeyLength { len: key.len() });
        tracing::error!(error = report(&damage), "a pending delete was dropped");
        let mut writes = Writes::default();
        writes.delete(REF, key.to_vec());
        engine.write(writes)
    }

    fn lock(&self) -> Locked<'_> {
        Locked { _guard: self.rows.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    fn busy(&self) -> MutexGuard<'_, HashSet<Owner>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The page with this root, if it is stored.
fn read_page(engine: &impl Engine, root: &TreeHash) -> Result<Option<Page>, StoreError> {
    let key = root.as_bytes();
    let Some(row) = engine.row(PAGE, key)? else { return Ok(None) };
    Pages::decode(root, &row).map(Some).map_err(|source| damaged(PAGE, key, source))
}

/// Bytes of those leaves of a page that have these hashes.
fn bytes_of(page: &Page, hashes: Vec<ChunkHash>) -> u64 {
    let mut hashes: HashSet<ChunkHash> = hashes.into_iter().collect();
    let removed = page.leaves().iter().filter(|leaf| hashes.remove(&leaf.hash));
    removed.map(|leaf| u64::from(leaf.len)).sum()
}

fn damaged(family: Family, key: &[u8], source: Damage) -> StoreError {
    StoreError::Damaged { family: family.name, key: key.to_vec(), source }
}

#[cfg(test)]
mod tests {
    use dfs_core::{Cid, Leaf};

    use super::*;
    use crate::memory::MemoryEngine;

    /// A page of one chunk that is stored, staged by an owner.
    fn staged(retention: &Retention, engine: &MemoryEngine, n: u8) -> (Owner, TreeHash, ChunkHash) {
        let bytes = [n; 100];
        let leaf = Leaf::of(&bytes);
        let page = Page::new(vec![leaf]).expect("a page");
        let (owner, root) = (Owner::from(Cid::from_bytes([n; 32])), page.root().hash);
        let mut batch = Batch::default();
        batch.put_chunk(leaf.hash, bytes.to_vec().into());
        batch.stage_page(owner, root, page);
        retention.commit(engine, &batch).expect("commit");
        (owner, root, leaf.hash)
    }

    #[test]
    fn damaged_rows_do_not_keep_other_pages_from_being_released() {
        let (retention, engine) = (Retention::default(), MemoryEngine::default());
        let (_, damaged, kept) = staged(&retention, &engine, 1);
        let (_, _, removed) = staged(&retention, &engine, 2);
        let mut writes = Writes::default();
        writes.put(PAGE, damaged.as_bytes().to_vec(), &b"no page"[..]);
        let unreadable = vec![RefKind::PendingDelete as u8, 0];
        writes.put(REF, unreadable.clone(), &[][..]);
        engine.write(writes).expect("write");

        // The additions that have staged them have ended with their process.
        let restarted = Retention::default();
        let step = restarted.release_step(&engine).expect("a step");
        assert_eq!((step.pages, step.bytes, step.more), (2, 100, false));
        assert!(!engine.may_have(CHUNK, removed.as_bytes()));
        assert!(engine.may_have(CHUNK, kept.as_bytes()), "its page could not be read");
        assert!(!engine.may_have(PAGE, damaged.as_bytes()));
        assert!(!engine.may_have(REF, &unreadable));
        assert_eq!(restarted.metrics.pages_damaged.get(), 1);
        assert_eq!(restarted.release_step(&engine).expect("a step"), Released::default());
    }

    #[test]
    fn chunks_that_are_not_stored_count_as_no_removed_bytes() {
        let (retention, engine) = (Retention::default(), MemoryEngine::default());
        let absent = ChunkHash::of(b"absent");
        retention.lease(&[absent]);
        retention.discard(&engine, &[absent], &[]).expect("discard");
        assert_eq!(retention.removed(&engine).expect("a counter"), 0);
        assert_eq!(retention.metrics.chunks_removed.get(), 0);
    }
}
