//! Tables as types: a record kind names its family, its key and its codec in
//! one place, and every store keeps it without knowing it.
//!
//! The traits of a store move encoded rows only; [`crate::Tables`] adds typed access
//! to all of them, and [`crate::Batch`] typed changes.

use dfs_core::{ChunkHash, Cid, TreeHash};
use serde::{Deserialize, Serialize};

use crate::error::Damage;
use crate::layout::Family;

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
