//! What one commit writes: all of it or nothing.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use dfs_core::{ChunkHash, Page, TreeHash};

use crate::error::Damage;
use crate::layout::Family;
use crate::owner::Owner;
use crate::portion::Portion;
use crate::table::{Key, Record};
use crate::tables::{Link, PortionNumber};

/// One change within a [`Batch`].
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A row of a record table.
    Put { family: Family, key: Vec<u8>, value: Bytes },
    /// A row of a record table that is made from the one that is there.
    Update { family: Family, key: Vec<u8>, update: Update },
    /// The deletion of a row of a record table.
    Delete { family: Family, key: Vec<u8> },
    /// A chunk that is written together with the rows.
    Chunk { hash: ChunkHash, bytes: Bytes },
    /// Chunks that were put before.
    Portion { number: PortionNumber, hashes: Vec<ChunkHash> },
    /// Places of chunks in files of the user.
    Links { links: Vec<(ChunkHash, Link)> },
    /// A page that an owner needs.
    Page { owner: Owner, root: TreeHash, page: Page },
    /// A page of an unfinished addition: stored with a pending delete.
    Staged { owner: Owner, root: TreeHash, page: Page },
    /// Pages that pass from one owner to another.
    Reassign { from: Owner, to: Owner, roots: Vec<TreeHash> },
    /// Pending deletes of pages of an owner.
    PendingDelete { owner: Owner, roots: Vec<TreeHash> },
}

/// Makes the bytes of a row from those of the row that is there.
#[derive(Clone)]
pub(crate) struct Update(Arc<UpdateFn>);

type UpdateFn = dyn Fn(Option<&[u8]>) -> Result<Option<Bytes>, Damage> + Send + Sync;

impl Update {
    /// The new row; `None` if it stays as it is.
    pub(crate) fn apply(&self, known: Option<&[u8]>) -> Result<Option<Bytes>, Damage> {
        (self.0)(known)
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Update")
    }
}

/// Changes that become visible and durable together. Later changes of a row win
/// over earlier ones.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// Puts a row of a table.
    pub fn put<T: Record>(&mut self, key: &T::Key, row: &T::Row) -> &mut Self {
        let (key, value) = (key.encode(), T::encode(row).into());
        self.push(Change::Put { family: T::FAMILY, key, value })
    }

    /// Puts a row that is made from the one before the batch, if there is one. No other
    /// commit comes in between. Without a result the row stays as it is. `update` must not
    /// call the store.
    pub fn update<T: Record>(
        &mut self,
        key: &T::Key,
        update: impl Fn(Option<T::Row>) -> Option<T::Row> + Send + Sync + 'static,
    ) -> &mut Self
    where
        T::Key: Clone + Send + Sync + 'static,
    {
        let row_key = key.clone();
        let update = Update(Arc::new(move |known| {
            let known = known.map(|value| T::decode(&row_key, value)).transpose()?;
            Ok(update(known).map(|row| T::encode(&row).into()))
        }));
        self.push(Change::Update { family: T::FAMILY, key: key.encode(), update })
    }

    /// Deletes a row of a table, if there is one.
    pub fn delete<T: Record>(&mut self, key: &T::Key) -> &mut Self {
        self.push(Change::Delete { family: T::FAMILY, key: key.encode() })
    }

    /// Stores a verified chunk together with the rows. For chunks that are
    /// small or arrive slowly; large amounts go through
    /// [`crate::ChunkStore::put_chunks`].
    pub fn put_chunk(&mut self, hash: ChunkHash, bytes: Bytes) -> &mut Self {
        self.push(Change::Chunk { hash, bytes })
    }

    /// Records chunks as present. The commit makes them durable first.
    pub fn chunks_stored(&mut self, portion: Portion) -> &mut Self {
        let (number, hashes) = portion.into_parts();
        self.push(Change::Portion { number, hashes })
    }

    /// Links chunks of pages that are stored, or in this batch, to a file of the user. The
    /// chunks are read from there, if they still are there and are not stored. A later
    /// link of a chunk to the same file replaces an earlier one.
    pub fn link_chunks(&mut self, links: Vec<(ChunkHash, Link)>) -> &mut Self {
        self.push(Change::Links { links })
    }

    /// Stores a page under the hash of its root for an owner that needs it.
    /// From the commit on, the store keeps the chunks of the page too. A
    /// pending delete of the page by this owner is cleared.
    pub fn put_page(&mut self, owner: Owner, root: TreeHash, page: Page) -> &mut Self {
        self.push(Change::Page { owner, root, page })
    }

    /// Like [`Self::put_page`] for an addition that does not know its CID yet,
    /// with a pending delete: after a crash the page is released again. See
    /// [`Self::reassign_pages`].
    pub fn stage_page(&mut self, owner: Owner, root: TreeHash, page: Page) -> &mut Self {
        self.push(Change::Staged { owner, root, page })
    }

    /// Passes stored pages from one owner to another, and clears the pending
    /// deletes of both.
    pub fn reassign_pages(&mut self, from: Owner, to: Owner, roots: Vec<TreeHash>) -> &mut Self {
        self.push(Change::Reassign { from, to, roots })
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(crate) fn push(&mut self, change: Change) -> &mut Self {
        self.changes.push(change);
        self
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether chunks are recorded as present, so that all chunks put before must be
    /// durable first.
    pub(crate) fn has_portions(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Portion { .. }))
    }

    /// Bytes of the chunks in the batch.
    pub(crate) fn chunk_bytes(&self) -> usize {
        let len = |change: &Change| match change {
            Change::Chunk { bytes, .. } => bytes.len(),
            Change::Put { .. }
            | Change::Update { .. }
            | Change::Delete { .. }
            | Change::Portion { .. }
            | Change::Links { .. }
            | Change::Page { .. }
            | Change::Staged { .. }
            | Change::Reassign { .. }
            | Change::PendingDelete { .. } => 0,
        };
        self.changes.iter().map(len).sum()
    }
}
