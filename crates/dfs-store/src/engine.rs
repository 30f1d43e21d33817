//! What the rules of a store need of the database beneath them: encoded rows by
//! family, and a write that is atomic.
//!
//! RocksDB and the memory twin implement [`Engine`]; references, counters and
//! migrations are written once, above it.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::error::StoreError;
use crate::layout::Family;
use crate::store::EncodedRow;

/// Sees a row; breaking ends the visit.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Encoded rows by family.
pub(crate) trait Engine {
    /// The value of a row.
    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The values of many rows of a family, in the order of the keys.
    fn values(&self, family: Family, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|key| self.row(family, key)).collect()
    }

    /// False if there is certainly no such row. Cheap.
    fn may_have(&self, family: Family, key: &[u8]) -> bool;

    /// Visits the rows behind `after` in the order of their keys. `visit` must
    /// not call the engine.
    fn visit(
        &self,
        family: Family,
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError>;

    /// Applies all writes or none, through the write-ahead log. A crash of the system
    /// may lose them until [`Self::sync`] was called, the later ones first.
    fn write(&self, writes: Writes) -> Result<(), StoreError>;

    /// Makes every write before the call durable.
    fn sync(&self) -> Result<(), StoreError>;

    /// Whether there is such a row.
    fn has(&self, family: Family, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.may_have(family, key) && self.row(family, key)?.is_some())
    }

    /// Up to `limit` rows whose keys start with a prefix. Costs what lies within
    /// the prefix, whatever is behind it.
    fn rows_with_prefix(
        &self,
        family: Family,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<EncodedRow>, StoreError>;

    /// Up to `limit` rows behind `after`.
    fn rows(
        &self,
        family: Family,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<EncodedRow>, StoreError> {
        let mut rows = Vec::new();
        self.visit(family, after, &mut |key, value| {
            if rows.len() == limit {
                return ControlFlow::Break(());
            }
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }
}

/// One change of a row.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) family: Family,
    pub(crate) key: Vec<u8>,
    /// `None` deletes the row.
    pub(crate) value: Option<Bytes>,
}

/// Changes in order; a later one of the same row wins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writes {
    changes: Vec<Write>,
    bytes: usize,
}

impl Writes {
    pub(crate) fn put(&mut self, family: Family, key: Vec<u8>, value: impl Into<Bytes>) {
        let value = value.into();
        self.bytes += key.len() + value.len();
        self.changes.push(Write { family, key, value: Some(value) });
    }

    pub(crate) fn delete(&mut self, family: Family, key: Vec<u8>) {
        self.bytes += key.len();
        self.changes.push(Write { family, key, value: None });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of all keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn changes(&self) -> &[Write] {
        &self.changes
    }

    pub(crate) fn into_changes(self) -> Vec<Write> {
        self.changes
    }
}
