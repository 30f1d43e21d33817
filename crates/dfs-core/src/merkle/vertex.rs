//! What the trees are made of: leaves, vertices inside a page, subtrees of
//! pages, and the keyed hashes that join them.

use crate::digest::{ChunkHash, DomainKey, TreeHash};

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

    /// Whether a page may end after this leaf: its hash ends in ten zero bits.
    #[must_use]
    pub const fn ends_page(&self) -> bool {
        let hash = self.hash.as_bytes();
        hash[31] == 0 && hash[30] & 0b11 == 0
    }
}

/// A vertex of a Merkle-sum tree.
pub trait SumVertex: Copy + PartialEq {
    /// The parent of two neighbours, or `None` if their sums exceed the type,
    /// which is possible only for sums that a peer made up.
    fn parent(left: Self, right: Self) -> Option<Self>;
}

/// A vertex of the tree inside a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vertex {
    /// Hash of the vertex; of a leaf, the chunk hash.
    pub hash: TreeHash,
    /// Content bytes below the vertex.
    pub len: u64,
}

/// Encoded length of a [`Vertex`], in bytes.
pub const VERTEX_LEN: usize = 40;

impl Vertex {
    /// Hash, then length in little-endian order.
    #[must_use]
    pub fn encode(&self) -> [u8; VERTEX_LEN] {
        let mut bytes = [0; VERTEX_LEN];
        bytes[..32].copy_from_slice(self.hash.as_bytes());
        bytes[32..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// The inverse of [`Self::encode`]; every 40 bytes decode to a vertex.
    #[must_use]
    pub fn decode(bytes: &[u8; VERTEX_LEN]) -> Self {
        let (hash, len) = bytes.split_at(32);
        Self {
            hash: TreeHash::from_bytes(hash.try_into().expect("split at 32")),
            len: u64::from_le_bytes(len.try_into().expect("40 - 32 = 8")),
        }
    }
}

impl From<Leaf> for Vertex {
    fn from(leaf: Leaf) -> Self {
        Self { hash: TreeHash::from_bytes(*leaf.hash.as_bytes()), len: u64::from(leaf.len) }
    }
}

impl SumVertex for Vertex {
    fn parent(left: Self, right: Self) -> Option<Self> {
        static KEY: DomainKey = DomainKey::new("dfs v1 page parent");
        let len = left.len.checked_add(right.len)?;
        let hash = TreeHash::from_bytes(KEY.hash(&[&left.encode(), &right.encode()]));
        Some(Self { hash, len })
    }
}

/// A vertex of the tree above the pages: a page, or a run of consecutive pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subtree {
    /// Hash of the vertex. The hash of a page root is the address of its page.
    pub hash: TreeHash,
    /// Content bytes below the vertex.
    pub len: u64,
    /// Leaves below the vertex, which is also chunks.
    pub leaves: u32,
}

/// Encoded length of a [`Subtree`], in bytes.
pub const SUBTREE_LEN: usize = 44;

impl Subtree {
    /// The root of a page with this many leaves, whose own tree has the given
    /// root.
    #[must_use]
    pub(crate) fn of_page(leaves: u32, root: Vertex) -> Self {
        static KEY: DomainKey = DomainKey::new("dfs v1 page root");
        let hash = TreeHash::from_bytes(KEY.hash(&[&leaves.to_le_bytes(), &root.encode()]));
        Self { hash, len: root.len, leaves }
    }

    /// The root of content without any bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self { hash: TreeHash::from_bytes(CONTENT_PARENT.hash(&[])), len: 0, leaves: 0 }
    }

    /// Hash, then bytes and leaves in little-endian order.
    #[must_use]
    pub fn encode(&self) -> [u8; SUBTREE_LEN] {
        let mut bytes = [0; SUBTREE_LEN];
        bytes[..32].copy_from_slice(self.hash.as_bytes());
        bytes[32..40].copy_from_slice(&self.len.to_le_bytes());
        bytes[40..].copy_from_slice(&self.leaves.to_le_bytes());
        bytes
    }

    /// The inverse of [`Self::encode`]; every 44 bytes decode to a subtree.
    #[must_use]
    pub fn decode(bytes: &[u8; SUBTREE_LEN]) -> Self {
        let (hash, sums) = bytes.split_at(32);
        let (len, leaves) = sums.split_at(8);
        Self {
            hash: TreeHash::from_bytes(hash.try_into().expect("split at 32")),
            len: u64::from_le_bytes(len.try_into().expect("split at 8")),
            leaves: u32::from_le_bytes(leaves.try_into().expect("44 - 32 - 8 = 4")),
        }
    }
}

static CONTENT_PARENT: DomainKey = DomainKey::new("dfs v1 content parent");

impl SumVertex for Subtree {
    fn parent(left: Self, right: Self) -> Option<Self> {
        let len = left.len.checked_add(right.len)?;
        let leaves = left.leaves.checked_add(right.leaves)?;
        let hash = TreeHash::from_bytes(CONTENT_PARENT.hash(&[&left.encode(), &right.encode()]));
        Some(Self { hash, len, leaves })
    }
}
