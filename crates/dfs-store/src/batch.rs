//! What one commit writes: all of it or nothing.

use dfs_core::{ChunkHash, Cid, Page, Subtree};

use crate::record::{DownloadRecord, Item, ProvideRecord};

/// One change within a [`Batch`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Row {
    /// Store a chunk together with the rows (for what is small or slow; large
    /// amounts go through [`crate::ChunkStore::put_chunk`]).
    Chunk(ChunkHash, bytes::Bytes),
    /// Store a page of leaves under its root.
    Page(Subtree, Page),
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
