//! Which chunks are present and which pages contain them: the rows of family `have`,
//! and how changes of pages and chunks change them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use dfs_core::{ChunkHash, Page};

use super::Locked;
use super::leases::Removing;
use crate::engine::{Engine, Writes};
use crate::error::{Damage, StoreError, report};
use crate::layout::{CHUNK, FILE, HAVE};
use crate::table::{Key, Table};
use crate::tables::{Have, Haves, Link, MAX_LINKS};

/// What is known of each chunk.
pub(super) fn read(engine: &impl Engine, hashes: &[ChunkHash]) -> Result<Vec<Have>, StoreError> {
    let keys: Vec<&[u8]> = hashes.iter().map(|hash| hash.as_bytes().as_slice()).collect();
    let values = engine.values(HAVE, &keys)?;
    let have = |(hash, value): (&ChunkHash, Option<Vec<u8>>)| match value {
        None => Have::default(),
        Some(value) => Haves::decode(hash, &value).unwrap_or_else(|damage| unknown(hash, damage)),
    };
    Ok(hashes.iter().zip(values).map(have).collect())
}

/// A damaged row must not stop the commit of every page that contains the chunk.
fn unknown(hash: &ChunkHash, source: Damage) -> Have {
    let key = hash.as_bytes().to_vec();
    let error = StoreError::Damaged { family: HAVE.name, key, source };
    tracing::error!(error = report(&error), "a chunk is not relied on and never removed");
    Have::UNKNOWN
}

/// Rows of family `have` that one batch changes.
#[derive(Default)]
pub(super) struct Presence {
    rows: HashMap<ChunkHash, Row>,
}

struct Row {
    before: Have,
    now: Have,
}

impl Presence {
    /// Reads the rows of these chunks, which are then changed in memory.
    pub(super) fn load(
        &mut self,
        engine: &impl Engine,
        _: &Locked<'_>,
        hashes: impl IntoIterator<Item = ChunkHash>,
    ) -> Result<(), StoreError> {
        let mut hashes: Vec<ChunkHash> =
            hashes.into_iter().filter(|hash| !self.rows.contains_key(hash)).collect();
        // In the order of the keys, in which the database reads them fastest.
        hashes.sort_unstable();
        hashes.dedup();
        let haves = read(engine, &hashes)?;
        self.rows.extend(
            hashes
                .into_iter()
                .zip(haves)
                .map(|(hash, have)| (hash, Row { before: have.clone(), now: have })),
        );
        Ok(())
    }

    /// The row of a chunk that is loaded.
    fn row(&mut self, hash: &ChunkHash) -> &mut Have {
        match self.rows.entry(*hash) {
            Entry::Occupied(row) => &mut row.into_mut().now,
            Entry::Vacant(_) => unreachable!("the rows of a batch are loaded before they change"),
        }
    }

    pub(super) fn add_page(&mut self, page: &Page) {
        for hash in hashes_of(page) {
            self.row(&hash).add_page();
        }
    }

    pub(super) fn remove_page(&mut self, page: &Page) {
        for hash in hashes_of(page) {
            self.row(&hash).remove_page();
        }
    }

    pub(super) fn set_stored(&mut self, hash: &ChunkHash) {
        self.row(hash).is_stored = true;
    }

    /// Links a chunk to a place in a file. The link that leads nowhere, or else the oldest
    /// one, makes room.
    pub(super) fn add_link(
        &mut self,
        engine: &impl Engine,
        hash: &ChunkHash,
        link: Link,
    ) -> Result<(), StoreError> {
        let links = &mut self.row(hash).links;
        if let Some(known) = links.iter_mut().find(|known| known.file == link.file) {
            *known = link;
            return Ok(());
        }
        if links.len() >= MAX_LINKS {
            let mut kept = Vec::new();
            for known in links.drain(..) {
                if engine.has(FILE, &known.file.encode())? {
                    kept.push(known);
                }
            }
            *links = kept;
        }
        if links.len() >= MAX_LINKS {
            links.remove(0);
        }
        links.push(link);
        Ok(())
    }

    /// Deletes the loaded chunks that no page contains and that are not leased. They
    /// may be there without being recorded. Returns their hashes.
    pub(super) fn remove_unused(
        &mut self,
        engine: &impl Engine,
        removing: &Removing<'_>,
        writes: &mut Writes,
    ) -> Vec<ChunkHash> {
        let mut removed = Vec::new();
        for (hash, row) in &mut self.rows {
            if row.now.pages > 0 || removing.is_leased(hash) {
                continue;
            }
            row.now.is_stored = false;
            // Of a download that was cut short, most chunks never came.
            if engine.may_have(CHUNK, hash.as_bytes()) {
                writes.delete(CHUNK, hash.as_bytes().to_vec());
                removed.push(*hash);
            }
        }
        removed
    }

    /// Appends the rows that have changed.
    pub(super) fn append(self, writes: &mut Writes) {
        for (hash, Row { before, now }) in self.rows {
            let key = hash.as_bytes().to_vec();
            if now == before {
                continue;
            }
            if now.is_worth_a_row() {
                writes.put(HAVE, key, Haves::encode(&now));
            } else {
                writes.delete(HAVE, key);
            }
        }
    }
}

/// The hashes of the chunks of a page, each once.
pub(super) fn hashes_of(page: &Page) -> Vec<ChunkHash> {
    let mut hashes: Vec<ChunkHash> = page.leaves().iter().map(|leaf| leaf.hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}
