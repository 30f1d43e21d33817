//! Chunks that were put without the write-ahead log, and that no row of family `have`
//! records yet.

use dfs_core::ChunkHash;

use crate::error::Damage;
use crate::layout::{Family, INTENT};
use crate::table::{Key, Table};

/// Number of a portion to the hashes of its chunks. The rows come and go with
/// portions, so they are no [`crate::Record`]: see [`crate::Portion`].
#[derive(Debug)]
pub enum Intents {}

/// Number of a portion of chunks, unique among those in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortionNumber(pub u64);

impl Key for PortionNumber {
    fn encode(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

impl Table for Intents {
    const FAMILY: Family = INTENT;
    type Key = PortionNumber;
    type Row = Vec<ChunkHash>;

    fn encode(hashes: &Vec<ChunkHash>) -> Vec<u8> {
        hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }

    fn decode(_: &PortionNumber, value: &[u8]) -> Result<Vec<ChunkHash>, Damage> {
        let (hashes, rest) = value.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(Damage::Trailing { len: rest.len() });
        }
        Ok(hashes.iter().map(|hash| ChunkHash::from_bytes(*hash)).collect())
    }
}
