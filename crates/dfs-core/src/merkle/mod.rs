//! The Merkle-sum tree: every vertex carries a hash and the number of bytes
//! below it, so lengths are authenticated together with hashes and a byte
//! offset can be proved as well as a chunk index.
//!
//! A leaf's hash is the plain BLAKE3 of its chunk; a parent's is the keyed
//! BLAKE3 of its two children, hash and length of each; a vertex without a
//! sibling moves up unchanged. [`page`] cuts the leaves into aligned pages
//! that are exact subtrees, [`stream`] finds the root in memory logarithmic in
//! the number of leaves, and [`tree`] wraps `rs_merkle` for trees of one page.

pub mod page;
pub mod stream;
pub mod tree;

pub use page::{Page, PageError, PageProof};
pub use stream::RootBuilder;

use crate::digest::{ChunkHash, TreeHash};

/// Domain of the key under which two children are hashed into their parent.
const PARENT_CONTEXT: &str = "dfs v1 merkle parent";

/// One chunk as the tree sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leaf {
    /// BLAKE3 of the chunk, which is also its address.
    pub hash: ChunkHash,
    /// Length of the chunk in bytes; never 0.
    pub len: u32,
}

impl Leaf {
    /// The leaf of a chunk.
    ///
    /// # Panics
    /// If the chunk has 4 GiB or more; no profile makes such chunks.
    #[must_use]
    pub fn of(chunk: &[u8]) -> Self {
        let len = u32::try_from(chunk.len()).expect("a chunk has at most 4 MiB");
        Self { hash: ChunkHash::of(chunk), len }
    }
}

/// A vertex of the tree with everything below it: a leaf, a page or a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subtree {
    /// Hash of the vertex.
    pub hash: TreeHash,
    /// Content bytes below the vertex.
    pub len: u64,
}

/// Encoded length of a [`Subtree`]: the hash and the length, little-endian.
pub const SUBTREE_LEN: usize = 40;

impl Subtree {
    /// Hash, then length in little-endian order.
    #[must_use]
    pub fn encode(&self) -> [u8; SUBTREE_LEN] {
        let mut bytes = [0; SUBTREE_LEN];
        bytes[..32].copy_from_slice(self.hash.as_bytes());
        bytes[32..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// The inverse of [`Self::encode`]; every 40 bytes decode to something.
    #[must_use]
    pub fn decode(bytes: &[u8; SUBTREE_LEN]) -> Self {
        let (hash, len) = bytes.split_at(32);
        Self {
            hash: TreeHash::from_bytes(hash.try_into().expect("split at 32")),
            len: u64::from_le_bytes(len.try_into().expect("40 - 32 = 8")),
        }
    }
}

impl From<Leaf> for Subtree {
    fn from(leaf: Leaf) -> Self {
        Self { hash: TreeHash::from_bytes(*leaf.hash.as_bytes()), len: u64::from(leaf.len) }
    }
}

/// The parent of two vertices, or `None` if their lengths do not add up to a
/// `u64` (possible only for lengths that a peer made up).
#[must_use]
pub fn parent(left: Subtree, right: Subtree) -> Option<Subtree> {
    let len = left.len.checked_add(right.len)?;
    let mut hasher = blake3::Hasher::new_keyed(parent_key());
    hasher.update(&left.encode()).update(&right.encode());
    Some(Subtree { hash: TreeHash::from_bytes(*hasher.finalize().as_bytes()), len })
}

/// The root of content without any bytes: the keyed hash of nothing.
#[must_use]
pub fn empty_root() -> Subtree {
    let hash = blake3::keyed_hash(parent_key(), b"");
    Subtree { hash: TreeHash::from_bytes(*hash.as_bytes()), len: 0 }
}

fn parent_key() -> &'static [u8; 32] {
    static KEY: std::sync::OnceLock<[u8; 32]> = std::sync::OnceLock::new();
    KEY.get_or_init(|| blake3::derive_key(PARENT_CONTEXT, b""))
}
