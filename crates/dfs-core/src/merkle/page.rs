//! Pages: up to 4,096 leaves that form an exact subtree, and the path from
//! their root to the root of the file.
//!
//! A page with its proof verifies on its own, in any order and from any peer.
//! [`Page::verify`] makes every check there is before a chunk is asked for.

use super::tree::PageTree;
use super::{Leaf, SUBTREE_LEN, Subtree, parent};
use crate::digest::ChunkHash;
use crate::header::Header;
use crate::limits::{MAX_PROOF_LEN, PAGE_LEAVES};

/// Encoded length of a leaf in a page: hash and little-endian length.
pub const LEAF_LEN: usize = 36;

/// Why leaves or siblings are not a page of the file they are claimed for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The encoded leaves are not a whole number of leaves, or too many.
    #[error("{found} bytes are not the leaves of one page")]
    Encoding {
        /// Bytes found.
        found: usize,
    },
    /// The file has no page or leaf with this index.
    #[error("index {index} is beyond the last one of {width}")]
    Index {
        /// Index asked for.
        index: u64,
        /// Number of pages or leaves.
        width: u64,
    },
    /// The page has too few or too many leaves for its place.
    #[error("the page has {found} leaves instead of {expected}")]
    LeafCount {
        /// Leaves found.
        found: usize,
        /// Leaves that belong there.
        expected: usize,
    },
    /// A leaf has a length that its chunker never makes.
    #[error("leaf {position} of the page has an impossible length of {len} bytes")]
    LeafLength {
        /// Position within the page, from 0.
        position: usize,
        /// Declared length in bytes.
        len: u32,
    },
    /// The proof has too few or too many siblings.
    #[error("the proof has {found} siblings instead of {expected}")]
    SiblingCount {
        /// Siblings found.
        found: usize,
        /// Siblings that belong there.
        expected: usize,
    },
    /// Hash or length at the top differ from the root.
    #[error("the page does not lead to the root")]
    Root,
}

/// The leaves of one page, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    leaves: Vec<Leaf>,
}

/// The siblings between a page root and the root of the file, bottom up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageProof {
    /// At most [`MAX_PROOF_LEN`] of them.
    pub siblings: Vec<Subtree>,
}

impl Page {
    /// A page of these leaves; `None` unless there are 1 to 4,096.
    #[must_use]
    pub fn new(leaves: Vec<Leaf>) -> Option<Self> {
        (1..=PAGE_LEAVES as usize).contains(&leaves.len()).then_some(Self { leaves })
    }

    /// The leaves in order.
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// Root of the subtree that the page is.
    #[must_use]
    pub fn root(&self) -> Subtree {
        PageTree::new(&self.leaves).expect("a page has 1 to 4096 leaves").root()
    }

    /// The leaves one after the other, [`LEAF_LEN`] bytes each.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.leaves.len() * LEAF_LEN);
        for leaf in &self.leaves {
            bytes.extend_from_slice(leaf.hash.as_bytes());
            bytes.extend_from_slice(&leaf.len.to_le_bytes());
        }
        bytes
    }

    /// The inverse of [`Self::encode`]. Nothing is verified but the shape.
    ///
    /// # Errors
    /// [`PageError::Encoding`] unless the bytes are 1 to 4,096 whole leaves.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        let (leaves, rest) = bytes.as_chunks::<LEAF_LEN>();
        let bad = PageError::Encoding { found: bytes.len() };
        if !rest.is_empty() || leaves.len() > PAGE_LEAVES as usize {
            return Err(bad);
        }
        let leaves = leaves.iter().map(|leaf| {
            let (hash, len) = leaf.split_at(32);
            Leaf {
                hash: ChunkHash::from_bytes(hash.try_into().expect("split at 32")),
                len: u32::from_le_bytes(len.try_into().expect("36 - 32 = 4")),
            }
        });
        Self::new(leaves.collect()).ok_or(bad)
    }

    /// Checks that this is page `index` of the file with this header, and
    /// returns the page root.
    ///
    /// # Errors
    /// [`PageError`] naming the first check that failed. The page is then
    /// somebody's mistake or lie, and none of it may be used.
    pub fn verify(
        &self,
        header: &Header,
        index: u64,
        proof: &PageProof,
    ) -> Result<Subtree, PageError> {
        let width = header.page_count();
        if index >= width {
            return Err(PageError::Index { index, width });
        }
        let (found, expected) = (self.leaves.len(), header.page_len(index));
        if found != expected {
            return Err(PageError::LeafCount { found, expected });
        }
        let last_of_file = (index + 1 == width).then_some(found - 1);
        let profile = header.profile();
        for (position, leaf) in self.leaves.iter().enumerate() {
            if !profile.allows(leaf.len, Some(position) == last_of_file) {
                return Err(PageError::LeafLength { position, len: leaf.len });
            }
        }
        let root = self.root();
        let top = Path { index, width }.climb(root, &proof.siblings)?;
        if top == header.root() { Ok(root) } else { Err(PageError::Root) }
    }
}

impl PageProof {
    /// The proof of page `index` among all page roots of a file; `None` if
    /// there is no such page. Costs one pass over the roots.
    #[must_use]
    pub fn of(roots: &[Subtree], index: usize) -> Option<Self> {
        if index >= roots.len() {
            return None;
        }
        let mut siblings = Vec::new();
        let (mut level, mut index) = (roots.to_vec(), index);
        while level.len() > 1 {
            siblings.extend(level.get(index ^ 1).copied());
            level = level
                .chunks(2)
                .map(|pair| match *pair {
                    [left, right] => parent(left, right),
                    _ => Some(pair[0]),
                })
                .collect::<Option<_>>()?;
            index /= 2;
        }
        Some(Self { siblings })
    }

    /// The siblings one after the other, 40 bytes each.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.siblings.iter().flat_map(Subtree::encode).collect()
    }

    /// The inverse of [`Self::encode`].
    ///
    /// # Errors
    /// [`PageError::Encoding`] unless the bytes are at most
    /// [`MAX_PROOF_LEN`] whole siblings.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        let (siblings, rest) = bytes.as_chunks::<SUBTREE_LEN>();
        if !rest.is_empty() || siblings.len() > MAX_PROOF_LEN {
            return Err(PageError::Encoding { found: bytes.len() });
        }
        Ok(Self { siblings: siblings.iter().map(Subtree::decode).collect() })
    }
}

/// The way from one of `width` equally high vertices up to their root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) index: u64,
    pub(crate) width: u64,
}

impl Path {
    /// Folds the siblings into `vertex`. Index and width alone decide how many
    /// siblings there are and on which side each stands, so a proof has no
    /// room for anything else.
    pub(crate) fn climb(self, vertex: Subtree, siblings: &[Subtree]) -> Result<Subtree, PageError> {
        let Self { mut index, mut width } = self;
        if index >= width {
            return Err(PageError::Index { index, width });
        }
        let expected = self.sibling_count();
        if siblings.len() != expected {
            return Err(PageError::SiblingCount { found: siblings.len(), expected });
        }
        let mut siblings = siblings.iter().copied();
        let mut vertex = vertex;
        while width > 1 {
            let joined = if index % 2 == 1 {
                siblings.next().map(|left| parent(left, vertex))
            } else if index + 1 < width {
                siblings.next().map(|right| parent(vertex, right))
            } else {
                Some(Some(vertex))
            };
            vertex = joined.flatten().ok_or(PageError::Root)?;
            index /= 2;
            width = width.div_ceil(2);
        }
        Ok(vertex)
    }

    fn sibling_count(self) -> usize {
        let Self { mut index, mut width } = self;
        let mut count = 0;
        while width > 1 {
            count += usize::from(index % 2 == 1 || index + 1 < width);
            index /= 2;
            width = width.div_ceil(2);
        }
        count
    }
}
