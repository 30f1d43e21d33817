//! The tree inside one page, built and proved by `rs_merkle`.
//!
//! This module is the only one that touches that crate, and owns the checks
//! that the crate leaves to its callers: it keeps about 160 bytes per leaf and
//! its appends are quadratic, so trees are bounded by a page; its default
//! parent hash is not domain-separated and knows no lengths, so ours replaces
//! it; and its `verify` accepts surplus hashes and indices beyond the tree, so
//! verification is [`path::climb`] and never `verify`.

use rs_merkle::{Hasher, MerkleTree};

use super::error::PageError;
use super::path;
use super::vertex::{Leaf, Subtree, SumVertex, VERTEX_LEN, Vertex};
use crate::limits::{MAX_LEAF_PROOF, MAX_PAGE_LEAVES};

/// Teaches `rs_merkle` the parent of this format.
#[derive(Clone)]
struct SumHasher;

impl Hasher for SumHasher {
    type Hash = [u8; VERTEX_LEN];

    fn hash(data: &[u8]) -> Self::Hash {
        Vertex::from(Leaf::of(data)).encode()
    }

    fn concat_and_hash(left: &Self::Hash, right: Option<&Self::Hash>) -> Self::Hash {
        right.map_or(*left, |right| {
            Vertex::parent(Vertex::decode(left), Vertex::decode(right))
                .expect("4096 lengths of 32 bits do not exceed 64 bits")
                .encode()
        })
    }
}

/// The whole tree over the leaves of one page.
pub struct PageTree {
    tree: MerkleTree<SumHasher>,
    len: u32,
}

impl PageTree {
    /// Builds the tree; `None` unless there are 1 to 4,096 leaves.
    #[must_use]
    pub fn new(leaves: &[Leaf]) -> Option<Self> {
        if leaves.is_empty() || leaves.len() > MAX_PAGE_LEAVES {
            return None;
        }
        let len = u32::try_from(leaves.len()).ok()?;
        let hashes: Vec<_> = leaves.iter().map(|&leaf| Vertex::from(leaf).encode()).collect();
        Some(Self { tree: MerkleTree::from_leaves(&hashes), len })
    }

    /// The page root.
    #[must_use]
    pub fn page_root(&self) -> Subtree {
        Subtree::of_page(self.len, self.top())
    }

    fn top(&self) -> Vertex {
        Vertex::decode(&self.tree.root().expect("a tree with leaves has a root"))
    }

    /// The proof of the leaf at `index`; `None` if there is no such leaf.
    #[must_use]
    pub fn prove(&self, index: usize) -> Option<LeafProof> {
        if index >= self.len as usize {
            return None;
        }
        let proof = self.tree.proof(&[index]);
        Some(LeafProof { siblings: proof.proof_hashes().iter().map(Vertex::decode).collect() })
    }
}

/// The siblings between a leaf and the root of the tree of its page, bottom up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeafProof {
    /// At most [`MAX_LEAF_PROOF`] of them.
    pub siblings: Vec<Vertex>,
}

impl LeafProof {
    /// Checks that `leaf` stands at `index` of the page with the given root,
    /// which the caller has verified.
    ///
    /// # Errors
    /// [`PageError`] if the index, the number of siblings or the root is wrong.
    pub fn verify(&self, page_root: Subtree, index: u64, leaf: Leaf) -> Result<(), PageError> {
        let found = page_root.leaves;
        if found == 0 || found as usize > MAX_PAGE_LEAVES {
            return Err(PageError::LeafCount { found });
        }
        let width = u64::from(found);
        if index >= width {
            return Err(PageError::Index { index, width });
        }
        let top = path::climb(leaf.into(), index, width, &self.siblings)?;
        if Subtree::of_page(found, top) == page_root { Ok(()) } else { Err(PageError::Root) }
    }

    /// The siblings one after the other, 40 bytes each.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.siblings.iter().flat_map(Vertex::encode).collect()
    }

    /// The inverse of [`Self::encode`].
    ///
    /// # Errors
    /// [`PageError::ProofEncoding`] unless the bytes are at most
    /// [`MAX_LEAF_PROOF`] whole siblings.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        path::decode_siblings(bytes, MAX_LEAF_PROOF, Vertex::decode)
            .map(|siblings| Self { siblings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::root_of;
    use proptest::prelude::*;

    const PAGE: u32 = 4096;

    fn leaves(count: u32) -> Vec<Leaf> {
        (0..count).map(|n| Leaf { len: n % 977 + 1, ..Leaf::of(&n.to_le_bytes()) }).collect()
    }

    #[test]
    fn the_streamed_root_is_the_one_of_rs_merkle_for_every_count_up_to_a_page() {
        let all = leaves(PAGE);
        // Every small count, then steps that meet all residues.
        let counts = (1..=1024).chain((1025..PAGE).step_by(13)).chain([PAGE]);
        for count in counts {
            let leaves = &all[..count as usize];
            let tree = PageTree::new(leaves).expect("not empty");
            let streamed = root_of(leaves.iter().map(|&leaf| Vertex::from(leaf)));
            assert_eq!(streamed, Some(tree.top()), "{count} leaves");
        }
    }

    #[test]
    fn a_tree_has_between_one_leaf_and_a_page() {
        assert!(PageTree::new(&[]).is_none());
        assert!(PageTree::new(&leaves(PAGE + 1)).is_none());
    }

    proptest! {
        #[test]
        fn every_leaf_is_proved_and_nothing_else(
            count in 1_u32..600,
            at: prop::sample::Index,
            other: prop::sample::Index,
        ) {
            let leaves = leaves(count);
            let tree = PageTree::new(&leaves).expect("not empty");
            let (at, other) = (at.index(leaves.len()), other.index(leaves.len()));
            let root = tree.page_root();
            let proof = tree.prove(at).expect("in range");
            prop_assert_eq!(LeafProof::decode(&proof.encode()), Ok(proof.clone()));
            let check = |index: usize, leaf, proof: &LeafProof| {
                proof.verify(root, index as u64, leaf)
            };
            prop_assert_eq!(check(at, leaves[at], &proof), Ok(()));
            if other != at {
                prop_assert!(check(at, leaves[other], &proof).is_err());
                prop_assert!(check(other, leaves[at], &proof).is_err());
            }
            let longer = Leaf { len: leaves[at].len + 1, ..leaves[at] };
            prop_assert!(check(at, longer, &proof).is_err());
            let mut surplus = proof.clone();
            surplus.siblings.push(tree.top());
            prop_assert!(check(at, leaves[at], &surplus).is_err());
            let mut short = proof.clone();
            if short.siblings.pop().is_some() {
                prop_assert!(check(at, leaves[at], &short).is_err());
            }
            prop_assert!(check(leaves.len(), leaves[at], &proof).is_err());
            let fewer = Subtree { leaves: count - 1, ..root };
            prop_assert!(proof.verify(fewer, at as u64, leaves[at]).is_err());
        }
    }
}
