//! Pages: runs of 1 to 4,096 leaves whose ends the leaves themselves choose.
//!
//! A page with its proof verifies on its own, in any order and from any peer.
//! [`Page::verify`] makes every check there is before a chunk is asked for.

use super::error::PageError;
use super::page_tree::PageTree;
use super::path::{self, Side};
use super::vertex::{Leaf, Subtree};
use crate::digest::ChunkHash;
use crate::header::Header;
use crate::limits::{MAX_PAGE_LEAVES, MAX_PAGE_PROOF, MIN_PAGE_LEAVES};

/// Encoded length of a leaf in a page: hash and little-endian length.
pub const LEAF_LEN: usize = 36;

/// The leaves of one page, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    leaves: Vec<Leaf>,
}

/// A page that belongs to a content, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedPage {
    /// Root of the page.
    pub root: Subtree,
    /// Content bytes before the page.
    pub offset: u64,
    /// Chunks before the page.
    pub first_chunk: u32,
}

/// The siblings between a page root and the root of the content, bottom up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageProof {
    /// At most [`MAX_PAGE_PROOF`] of them.
    pub siblings: Vec<Subtree>,
}

/// A page as a peer sends it: with its index and the proof of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenPage {
    /// Index of the page in its content.
    pub index: u64,
    /// The page.
    pub page: Page,
    /// The way from the page to the root of the content.
    pub proof: PageProof,
}

/// Groups leaves into pages: a page ends after the first leaf at position
/// 1,023 or later whose hash ends in ten zero bits, and after 4,096 leaves.
#[derive(Debug, Default)]
pub struct PageCutter {
    leaves: Vec<Leaf>,
}

impl PageCutter {
    /// Appends the next leaf; returns the page that it ends, if it does.
    pub fn push(&mut self, leaf: Leaf) -> Option<Page> {
        self.leaves.push(leaf);
        let ends = ends_after(self.leaves.len() - 1, &leaf);
        if ends { self.finish() } else { None }
    }

    /// The last page, unless the last leaf has ended one.
    pub fn finish(&mut self) -> Option<Page> {
        Page::new(std::mem::take(&mut self.leaves))
    }
}

/// Whether a page ends after this leaf at this position.
const fn ends_after(position: usize, leaf: &Leaf) -> bool {
    let len = position + 1;
    len >= MAX_PAGE_LEAVES || (len >= MIN_PAGE_LEAVES && leaf.ends_page())
}

impl Page {
    /// A page of these leaves; `None` unless there are 1 to 4,096.
    #[must_use]
    pub fn new(leaves: Vec<Leaf>) -> Option<Self> {
        (1..=MAX_PAGE_LEAVES).contains(&leaves.len()).then_some(Self { leaves })
    }

    /// The leaves in order.
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The page root.
    #[must_use]
    pub fn root(&self) -> Subtree {
        PageTree::new(&self.leaves).expect("a page has 1 to 4096 leaves").page_root()
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
        if !rest.is_empty() || leaves.len() > MAX_PAGE_LEAVES {
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

    /// Checks that this is page `index` of the content with this header, and
    /// finds its place there.
    ///
    /// # Errors
    /// [`PageError`] naming the first check that failed. Either the sender of
    /// the page or the maker of the CID is then wrong, and no leaf of the page
    /// may be used.
    pub fn verify(
        &self,
        header: &Header,
        index: u64,
        proof: &PageProof,
    ) -> Result<VerifiedPage, PageError> {
        let width = header.page_count();
        if index >= width {
            return Err(PageError::Index { index, width });
        }
        let is_last = index + 1 == width;
        self.check_lengths(header, is_last)?;
        self.check_end(is_last)?;
        let root = self.root();
        let siblings = &proof.siblings;
        let top = path::climb(root, index, width, siblings)?;
        let expected = header.root();
        if top.hash != expected.hash {
            return Err(PageError::Root);
        }
        if top.len != expected.len {
            return Err(PageError::Size { found: top.len, expected: expected.len });
        }
        if top.leaves != expected.leaves {
            return Err(PageError::ChunkCount { found: top.leaves, expected: expected.leaves });
        }
        let mut place = VerifiedPage { root, offset: 0, first_chunk: 0 };
        for (side, left) in path::sides(index, width).zip(siblings) {
            if side == Side::Left {
                // Part of the sums at the top, so neither exceeds its type.
                place.offset += left.len;
                place.first_chunk += left.leaves;
            }
        }
        Ok(place)
    }

    fn check_lengths(&self, header: &Header, is_last: bool) -> Result<(), PageError> {
        let kind = header.kind();
        let last_of_content = is_last.then_some(self.leaves.len() - 1);
        for (position, leaf) in self.leaves.iter().enumerate() {
            if !kind.allows_len(leaf.len, Some(position) == last_of_content) {
                return Err(PageError::LeafLength { position, len: leaf.len });
            }
        }
        Ok(())
    }

    fn check_end(&self, is_last: bool) -> Result<(), PageError> {
        let (last, others) = self.leaves.split_last().expect("a page has 1 to 4096 leaves");
        if let Some(position) = (0..others.len()).find(|&at| ends_after(at, &others[at])) {
            return Err(PageError::EndMissed { position });
        }
        if !is_last && !ends_after(others.len(), last) {
            return Err(PageError::EndEarly { found: self.leaves.len() });
        }
        Ok(())
    }
}

impl VerifiedPage {
    /// Whether the content byte at this offset is in the page.
    #[must_use]
    pub const fn has(&self, offset: u64) -> bool {
        self.offset <= offset && offset - self.offset < self.root.len
    }
}

impl ProvenPage {
    /// [`Page::verify`] with this index and proof.
    ///
    /// # Errors
    /// Those of [`Page::verify`].
    pub fn verify(&self, header: &Header) -> Result<VerifiedPage, PageError> {
        self.page.verify(header, self.index, &self.proof)
    }
}

impl PageProof {
    /// The proof of page `index` among all page roots of a content; `None` if
    /// there is no such page. Costs one pass over the roots.
    #[must_use]
    pub fn of(roots: &[Subtree], index: usize) -> Option<Self> {
        path::prove(roots, index).map(|siblings| Self { siblings })
    }

    /// The siblings one after the other, 44 bytes each.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.siblings.iter().flat_map(Subtree::encode).collect()
    }

    /// The inverse of [`Self::encode`].
    ///
    /// # Errors
    /// [`PageError::ProofEncoding`] unless the bytes are at most
    /// [`MAX_PAGE_PROOF`] whole siblings.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        path::decode_siblings(bytes, MAX_PAGE_PROOF, Subtree::decode)
            .map(|siblings| Self { siblings })
    }
}
