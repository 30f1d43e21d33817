//! Which owner needs which page, which page has which chunk, and the removal of
//! pages and chunks without references.
//!
//! Keys of the column family `ref`; all values are empty:
//!
//! | first byte | then | says |
//! | --- | --- | --- |
//! | 1 | chunk hash (32), page (32) | the chunk stands in the page |
//! | 2 | page (32), owner (32) | the owner needs the page |
//! | 3 | owner (32), page (32) | the owner lets go of the page when the store is next opened |
//!
//! A page is named by the hash of its root.
//!
//! References are counted per page, not per file: a file of a terabyte that is
//! added twice has about 8,000 new rows here.

use std::sync::PoisonError;

use dfs_core::{ChunkHash, Page, TreeHash};
use rocksdb::{
    BottommostLevelCompaction, CompactOptions, Direction, IteratorMode, WriteBatch, WriteOptions,
};

use super::options::BLOB_FILE;
use super::{CHUNK, PAGE, REF, RocksStore};
use crate::batch::Owner;
use crate::error::StoreError;
use crate::record::damaged;
use crate::store::MetaStore;

const CHUNK_IN_PAGE: u8 = 1;
const PAGE_OF_OWNER: u8 = 2;
const LEFTOVER: u8 = 3;

/// Part of all blob bytes that has to be garbage before space is reclaimed, as
/// a divisor: rewriting the rest has to be worth it.
const GARBAGE_DIVISOR: u64 = 4;

/// Whether compactions rewrite blob files.
const BLOB_GC: &str = "enable_blob_garbage_collection";
/// Part of the blob files, the oldest first, that compactions rewrite.
const CUTOFF: &str = "blob_garbage_collection_age_cutoff";
/// Smallest part that is worth a compaction, in hundredths.
const MIN_PART: u64 = 5;

impl RocksStore {
    /// Notes that an owner needs a page, and the page its chunks.
    pub(super) fn refer(&self, batch: &mut WriteBatch, owner: Owner, root: &TreeHash, page: &Page) {
        let family = self.family(REF);
        for leaf in page.leaves() {
            batch.put_cf(family, chunk_key(&leaf.hash, root), []);
        }
        batch.put_cf(family, owner_key(root, owner), []);
        // The owner needs the page again: a release under way passes it over.
        batch.delete_cf(family, leftover_key(owner, root));
    }

    /// Hands pages over.
    pub(super) fn adopt(&self, batch: &mut WriteBatch, from: Owner, to: Owner, roots: &[TreeHash]) {
        let family = self.family(REF);
        for root in roots {
            batch.delete_cf(family, owner_key(root, from));
            batch.put_cf(family, owner_key(root, to), []);
            batch.delete_cf(family, leftover_key(from, root));
            batch.delete_cf(family, leftover_key(to, root));
        }
    }

    /// Notes what an owner is to let go of at the next opening.
    pub(super) fn mark(&self, batch: &mut WriteBatch, owner: Owner, roots: &[TreeHash]) {
        for root in roots {
            batch.put_cf(self.family(REF), leftover_key(owner, root), []);
        }
    }

    /// Finishes what the last run did not get to.
    pub(super) fn let_go_of_leftovers(&self) -> Result<(), StoreError> {
        let from = IteratorMode::From(&[LEFTOVER], Direction::Forward);
        for row in self.db.iterator_cf(self.family(REF), from) {
            let (key, _) = row?;
            if key.first() != Some(&LEFTOVER) {
                break;
            }
            let (owner, root) = key
                .get(1..)
                .and_then(|key| Some((key.first_chunk()?, key.get(32..)?.try_into().ok()?)))
                .ok_or_else(|| damaged(REF, "a key of odd length".to_owned()))?;
            let (owner, root) = (Owner::provisional(*owner), TreeHash::from_bytes(root));
            self.let_go_of_page(owner, &root)?;
        }
        Ok(())
    }

    /// Removes the owner's hold on pages and everything that nothing else needs
    /// any more. Returns the bytes of the chunks removed.
    pub(super) fn let_go_of_pages(
        &self,
        owner: Owner,
        roots: &[TreeHash],
    ) -> Result<u64, StoreError> {
        let mut freed = 0;
        for root in roots {
            freed += self.let_go_of_page(owner, root)?;
        }
        Ok(freed)
    }

    fn let_go_of_page(&self, owner: Owner, root: &TreeHash) -> Result<u64, StoreError> {
        // This lock keeps out leases and commits of pages until the batch is
        // written.
        let removing = self.leases.removing();
        let leftover = leftover_key(owner, root);
        if self.db.get_pinned_cf(self.family(REF), &leftover)?.is_none() {
            // The owner needs the page again: the same content was added anew.
            return Ok(0);
        }
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.family(REF), leftover);
        batch.delete_cf(self.family(REF), owner_key(root, owner));
        let mut freed = 0;
        let held_by_others = self.has_other(&owner_prefix(root), &owner_key(root, owner))?;
        if !held_by_others && let Some(page) = self.page(root)? {
            batch.delete_cf(self.family(PAGE), root.as_bytes());
            let mut leaves = page.leaves().to_vec();
            leaves.sort_unstable_by_key(|leaf| leaf.hash);
            leaves.dedup();
            for leaf in leaves {
                let key = chunk_key(&leaf.hash, root);
                batch.delete_cf(self.family(REF), &key);
                // Of a download that was cut short, most chunks never came.
                if self.db.key_may_exist_cf(self.family(CHUNK), leaf.hash.as_bytes())
                    && !removing.is_leased(&leaf.hash)
                    && !self.has_other(&chunk_prefix(&leaf.hash), &key)?
                {
                    batch.delete_cf(self.family(CHUNK), leaf.hash.as_bytes());
                    freed += u64::from(leaf.len);
                }
            }
        }
        self.write_synced(batch)?;
        Ok(freed)
    }

    /// Removes those of the chunks that no page has and that are not leased.
    pub(super) fn remove_unneeded(&self, hashes: &[ChunkHash]) -> Result<(), StoreError> {
        // In portions, so that others get to lease in between.
        for portion in hashes.chunks(256) {
            let removing = self.leases.removing();
            let mut batch = WriteBatch::default();
            for hash in portion {
                if !removing.is_leased(hash) && !self.has_other(&chunk_prefix(hash), &[])? {
                    batch.delete_cf(self.family(CHUNK), hash.as_bytes());
                }
            }
            // Not synced: a chunk that a crash brings back does no harm.
            self.db.write(batch)?;
        }
        Ok(())
    }

    /// Whether there is a key with this prefix beside the given one.
    fn has_other(&self, prefix: &[u8], key: &[u8]) -> Result<bool, StoreError> {
        let from = IteratorMode::From(prefix, Direction::Forward);
        for row in self.db.iterator_cf(self.family(REF), from).take(2) {
            let (found, _) = row?;
            if !found.starts_with(prefix) {
                return Ok(false);
            }
            if *found != *key {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn write_synced(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.db.write_opt(batch, &options)?)
    }

    /// Drops blob files without any live chunk, and rewrites the others if
    /// enough of them is garbage and there is room for it.
    pub(super) fn reclaim_blobs(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.reclaiming.lock().unwrap_or_else(PoisonError::into_inner);
        let family = self.family(CHUNK);
        // What was deleted a moment ago has to be in a file to be counted.
        self.db.flush_cf(family)?;
        // Moves keys only: it works on a disk without room, and costs little
        // where little was removed.
        self.compact(family);
        let property = |name: &str| -> Result<u64, StoreError> {
            Ok(self.db.property_int_value_cf(family, name)?.unwrap_or(0))
        };
        let garbage = property("rocksdb.live-blob-file-garbage-size")?;
        let total = property("rocksdb.live-blob-file-size")?;
        if garbage == 0 || garbage < total / GARBAGE_DIVISOR {
            return Ok(());
        }
        let files = property("rocksdb.num-blob-files")?;
        let Some(part) = part_that_fits(total - garbage, files, self.space.available()?) else {
            return Ok(());
        };
        let part = format!("{}.{:02}", part / 100, part % 100);
        let switched_on = self.db.set_options_cf(family, &[(BLOB_GC, "true"), (CUTOFF, &part)]);
        if switched_on.is_ok() {
            self.compact(family);
        }
        // Off again whatever has happened: the option may be on although noting
        // it has failed.
        let switched_off = self.db.set_options_cf(family, &[(BLOB_GC, "false")]);
        Ok(switched_on.and(switched_off)?)
    }

    /// Merges all keys of a family, so that removed ones are really gone. Keys
    /// are small; the bytes are in blob files.
    fn compact(&self, family: &rocksdb::ColumnFamily) {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
    }
}

/// The part of the blob files, in hundredths, that can be rewritten into what is
/// available. RocksDB counts files, and any of them may be of the full size.
fn part_that_fits(live: u64, files: u64, available: u64) -> Option<u64> {
    if available >= live {
        return Some(100);
    }
    let part = (available / BLOB_FILE).saturating_mul(100) / files.max(1);
    (part >= MIN_PART).then_some(part.min(100))
}

fn chunk_prefix(hash: &ChunkHash) -> Vec<u8> {
    [&[CHUNK_IN_PAGE], &hash.as_bytes()[..]].concat()
}

fn chunk_key(hash: &ChunkHash, root: &TreeHash) -> Vec<u8> {
    [&chunk_prefix(hash)[..], root.as_bytes()].concat()
}

fn owner_prefix(root: &TreeHash) -> Vec<u8> {
    [&[PAGE_OF_OWNER], &root.as_bytes()[..]].concat()
}

fn owner_key(root: &TreeHash, owner: Owner) -> Vec<u8> {
    [owner_prefix(root), owner.as_bytes().to_vec()].concat()
}

fn leftover_key(owner: Owner, root: &TreeHash) -> Vec<u8> {
    [&[LEFTOVER], &owner.as_bytes()[..], root.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_rewritten_than_there_is_room_for() {
        assert_eq!(part_that_fits(100, 7, 100), Some(100));
        // Ten files of any size, room for two of the largest.
        assert_eq!(part_that_fits(u64::MAX, 10, 2 * BLOB_FILE), Some(20));
        assert_eq!(part_that_fits(u64::MAX, 1000, 2 * BLOB_FILE), None);
        assert_eq!(part_that_fits(u64::MAX, 3, BLOB_FILE - 1), None);
    }
}
