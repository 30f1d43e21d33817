//! Tables as types: a record kind names its family, its key and its codec in
//! one place, and every store keeps it without knowing it.
//!
//! The traits of a store move encoded rows only; [`Tables`] adds typed access
//! to all of them, and [`crate::Batch`] typed changes.

use dfs_core::{ChunkHash, Cid, TreeHash};
use serde::{Deserialize, Serialize};

use crate::error::{Damage, StoreError};
use crate::layout::Family;
use crate::store::MetaStore;

/// A kind of row: where it is kept and how it is encoded.
pub trait Table {
    /// The column family.
    const FAMILY: Family;
    /// What a row is found by.
    type Key: Key;
    /// A decoded row.
    type Row;

    /// The value of a row.
    fn encode(row: &Self::Row) -> Vec<u8>;

    /// Reads a value back and validates it.
    ///
    /// # Errors
    /// [`Damage`] if it is not what [`Self::encode`] writes.
    fn decode(key: &Self::Key, value: &[u8]) -> Result<Self::Row, Damage>;
}

/// A table whose rows callers put and delete one by one. The other tables
/// change through methods of [`crate::Batch`] that keep the references right.
pub trait Record: Table {}

/// A key and its bytes.
pub trait Key: Sized {
    /// The bytes; their order is the order of the keys.
    fn encode(&self) -> Vec<u8>;

    /// The key of these bytes, if they are one.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

macro_rules! hash_key {
    ($($hash:ty),*) => {$(
        impl Key for $hash {
            fn encode(&self) -> Vec<u8> {
                self.as_bytes().to_vec()
            }

            fn decode(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_bytes)
            }
        }
    )*};
}

hash_key!(Cid, ChunkHash, TreeHash);

/// Rows as [`Tables::scan`] returns them: key and row.
pub type Rows<T> = Vec<(<T as Table>::Key, <T as Table>::Row)>;

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
            let key = T::Key::decode(&bytes).ok_or_else(|| StoreError::Damaged {
                family: T::FAMILY.name,
                key: bytes.clone(),
                source: Damage::KeyLength { len: bytes.len() },
            })?;
            let row = decode::<T>(&key, &bytes, &value)?;
            Ok((key, row))
        });
        decoded.collect()
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

fn decode<T: Table>(key: &T::Key, bytes: &[u8], value: &[u8]) -> Result<T::Row, StoreError> {
    T::decode(key, value).map_err(|source| StoreError::Damaged {
        family: T::FAMILY.name,
        key: bytes.to_vec(),
        source,
    })
}

/// A record: a version byte and a struct in postcard.
pub(crate) fn encode_record(version: u8, row: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(row, vec![version]).expect("a vector takes every record")
}

/// Reads a record back; nothing may follow the struct.
pub(crate) fn decode_record<'a, T: Deserialize<'a>>(
    version: u8,
    value: &'a [u8],
) -> Result<T, Damage> {
    match value.split_first() {
        Some((&found, row)) if found == version => match postcard::take_from_bytes(row) {
            Ok((row, [])) => Ok(row),
            Ok((_, rest)) => Err(Damage::Trailing { len: rest.len() }),
            Err(source) => Err(Damage::Record { source }),
        },
        Some((&found, _)) => Err(Damage::Version { found, known: version }),
        None => Err(Damage::Empty),
    }
}
