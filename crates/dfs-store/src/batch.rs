//! What one commit writes: all of it or nothing.

use dfs_core::{ChunkHash, Cid, Page, TreeHash};

use crate::record::{DownloadRecord, Item, ProvideRecord};

/// For what pages and their chunks are kept: content, by its CID, or an addition
/// that does not know its CID yet, by a random number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner([u8; 32]);

impl Owner {
    /// An owner that is no content; the bytes have to be random.
    #[must_use]
    pub const fn provisional(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<Cid> for Owner {
    fn from(cid: Cid) -> Self {
        Self(*cid.as_bytes())
    }
}

/// One change within a [`Batch`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Row {
    /// Store a chunk together with the rows (for what is small or slow; large
    /// amounts go through [`crate::ChunkStore::put_chunk`]).
    Chunk(ChunkHash, bytes::Bytes),
    /// Store a page of leaves under its root and hold it for an owner; from
    /// then on its chunks are kept too.
    Page {
        /// The content or addition that needs it.
        owner: Owner,
        /// Hash of its root.
        root: TreeHash,
        /// The leaves.
        page: Page,
    },
    /// Hand these pages over from one owner to another.
    Adopt {
        /// The owner so far.
        from: Owner,
        /// The owner from now on.
        to: Owner,
        /// Hashes of the roots of the pages.
        roots: Vec<TreeHash>,
    },
    /// Let go of these pages of this owner the next time the store is opened,
    /// unless they are adopted or stored again before: what a crash would leave
    /// behind.
    Provisional {
        /// The owner.
        owner: Owner,
        /// Hashes of the roots of the pages.
        roots: Vec<TreeHash>,
    },
    /// Hold this content.
    Item(Box<Item>),
    /// Forget this content.
    RemoveItem(Cid),
    /// Remember that and how this CID is provided.
    Provide(Cid, ProvideRecord),
    /// No longer provide this CID.
    RemoveProvide(Cid),
    /// Remember how far this download is.
    Download(Cid, Box<DownloadRecord>),
    /// Forget this download.
    RemoveDownload(Cid),
}

/// Changes that become visible and durable together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    rows: Vec<Row>,
}

impl Batch {
    /// Appends a change; later ones win over earlier ones of the same key.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Appends a change and returns the batch.
    #[must_use]
    pub fn with(mut self, row: Row) -> Self {
        self.push(row);
        self
    }

    /// The changes in order.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

impl FromIterator<Row> for Batch {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        Self { rows: rows.into_iter().collect() }
    }
}
