//! Typed access to the rows of every store.
//!
//! The traits of a store move encoded rows; [`Tables`] encodes keys and decodes
//! rows on top of them.

use crate::error::{Damage, StoreError, report};
use crate::store::MetaStore;
use crate::table::{Key, Table};

/// Rows as [`Tables::scan`] returns them: key and row.
pub type Rows<T> = Vec<(<T as Table>::Key, <T as Table>::Row)>;

/// Rows as [`Tables::scan_each`] returns them.
pub type EachRow<T> = Vec<(<T as Table>::Key, Result<<T as Table>::Row, StoreError>)>;

/// Typed access to the rows of every store.
///
/// ```
/// use dfs_store::{Batch, MemoryStore, MetaStore, Tables};
/// use dfs_store::tables::{ProvideRecord, Provides};
///
/// let store = MemoryStore::default();
/// let cid = dfs_core::Cid::from_bytes([7; 32]);
/// let record = ProvideRecord { due_ms: 3, ..ProvideRecord::default() };
/// store.commit(Batch::default().put::<Provides>(&cid, &record))?;
/// assert_eq!(store.get::<Provides>(&cid)?, Some(record));
/// assert_eq!(store.count::<Provides>()?, 1);
/// # Ok::<(), dfs_store::StoreError>(())
/// ```
pub trait Tables: MetaStore {
    /// The row of a key.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or the row is damaged.
    fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Row>, StoreError> {
        let bytes = key.encode();
        let value = self.row(T::FAMILY, &bytes)?;
        value.map(|value| decode::<T>(key, &bytes, &value)).transpose()
    }

    /// Whether there is a row. The row is not decoded.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn contains<T: Table>(&self, key: &T::Key) -> Result<bool, StoreError> {
        Ok(self.row(T::FAMILY, &key.encode())?.is_some())
    }

    /// Up to `limit` rows in the order of their keys, starting behind `after`.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or a row is damaged.
    fn scan<T: Table>(&self, after: Option<&T::Key>, limit: usize) -> Result<Rows<T>, StoreError> {
        let after = after.map(Key::encode);
        let rows = self.rows(T::FAMILY, after.as_deref(), limit)?;
        let decoded = rows.into_iter().map(|(bytes, value)| {
            let key = T::Key::decode(&bytes).ok_or_else(|| damaged_key::<T>(bytes.clone()))?;
            let row = decode::<T>(&key, &bytes, &value)?;
            Ok((key, row))
        });
        decoded.collect()
    }

    /// Like [`Self::scan`], but a damaged row is an error of its own, so that it
    /// does not hide the rows behind it. A row with a damaged key is logged and
    /// passed over.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn scan_each<T: Table>(
        &self,
        after: Option<&T::Key>,
        limit: usize,
    ) -> Result<EachRow<T>, StoreError> {
        let after = after.map(Key::encode);
        let rows = self.rows(T::FAMILY, after.as_deref(), limit)?;
        let readable = rows.into_iter().filter_map(|(bytes, value)| {
            let Some(key) = T::Key::decode(&bytes) else {
                let error = report(&damaged_key::<T>(bytes));
                tracing::error!(error, "a row was passed over");
                return None;
            };
            let row = decode::<T>(&key, &bytes, &value);
            Some((key, row))
        });
        Ok(readable.collect())
    }

    /// Number of rows. The counter of the family answers, so the cost does not
    /// depend on the number. 0 for families that are not counted.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or the counter is damaged.
    fn count<T: Table>(&self) -> Result<u64, StoreError> {
        self.row_count(T::FAMILY)
    }
}

impl<S: MetaStore + ?Sized> Tables for S {}

fn damaged_key<T: Table>(key: Vec<u8>) -> StoreError {
    let source = Damage::KeyLength { len: key.len() };
    StoreError::Damaged { family: T::FAMILY.name, key, source }
}

fn decode<T: Table>(key: &T::Key, bytes: &[u8], value: &[u8]) -> Result<T::Row, StoreError> {
    T::decode(key, value).map_err(|source| StoreError::Damaged {
        family: T::FAMILY.name,
        key: bytes.to_vec(),
        source,
    })
}
