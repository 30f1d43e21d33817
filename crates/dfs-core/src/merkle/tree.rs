//! Trees of at most one page, built and proved by `rs_merkle`.
//!
//! This module is the only one that touches that crate, and owns the checks
//! that the crate leaves to its callers: it keeps about 160 bytes per leaf and
//! its appends are quadratic, so trees are bounded by a page; its default
//! parent hash is not domain-separated and knows no lengths, so ours replaces
//! it; and its `verify` accepts surplus hashes and indices beyond the tree, so
//! verification is [`Path::climb`](super::page::Path) and never `verify`.

use rs_merkle::{Hasher, MerkleTree};

use super::page::{PageError, Path};
use super::{Leaf, SUBTREE_LEN, Subtree, parent};
use crate::limits::PAGE_LEAVES;

/// Teaches `rs_merkle` the parent of this format.
#[derive(Clone)]
struct SumHasher;

impl Hasher for SumHasher {
    type Hash = [u8; SUBTREE_LEN];

    fn hash(data: &[u8]) -> Self::Hash {
        Subtree::from(Leaf::of(data)).encode()
    }

    fn concat_and_hash(left: &Self::Hash, right: Option<&Self::Hash>) -> Self::Hash {
        right.map_or(*left, |right| {
            parent(Subtree::decode(left), Subtree::decode(right))
                .expect("4096 lengths of 32 bits do not exceed 64 bits")
                .encode()
        })
    }
}

/// The whole tree over the leaves of one page.
pub struct PageTree {
    tree: MerkleTree<SumHasher>,
    len: usize,
}

impl PageTree {
    /// Builds the tree; `None` unless there are 1 to 4,096 leaves.
    #[must_use]
    pub fn new(leaves: &[Leaf]) -> Option<Self> {
        if leaves.is_empty() || leaves.len() > PAGE_LEAVES as usize {
            return None;
        }
        let hashes: Vec<_> = leaves.iter().map(|&leaf| Subtree::from(leaf).encode()).collect();
        Some(Self { tree: MerkleTree::from_leaves(&hashes), len: leaves.len() })
    }

    /// The page root.
    #[must_use]
    pub fn root(&self) -> Subtree {
        Subtree::decode(&self.tree.root().expect("a tree with leaves has a root"))
    }

    /// The siblings between the leaf at `index` and the page root, bottom up;
    /// `None` if there is no such leaf.
    #[must_use]
    pub fn prove(&self, index: usize) -> Option<Vec<Subtree>> {
        if index >= self.len {
            return None;
        }
        let proof = self.tree.proof(&[index]);
        Some(proof.proof_hashes().iter().map(Subtree::decode).collect())
    }
}

/// Checks that `leaf` stands at `index` of a page with `count` leaves and the
/// given root.
///
/// # Errors
/// [`PageError`] if the index, the number of siblings or the root is wrong.
pub fn verify_leaf(
    root: Subtree,
    count: u64,
    index: u64,
    leaf: Leaf,
    siblings: &[Subtree],
) -> Result<(), PageError> {
    let reached = Path { index, width: count }.climb(leaf.into(), siblings)?;
    if reached == root { Ok(()) } else { Err(PageError::Root) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::stream::root_of;
    use proptest::prelude::*;

    fn leaves(count: u32) -> Vec<Leaf> {
        (0..count).map(|n| Leaf { len: n % 977 + 1, ..Leaf::of(&n.to_le_bytes()) }).collect()
    }

    #[test]
    fn the_streamed_root_is_the_one_of_rs_merkle_for_every_count_up_to_a_page() {
        let all = leaves(PAGE_LEAVES);
        // Every small count, then steps that meet all residues.
        let counts = (1..=1024).chain((1025..PAGE_LEAVES).step_by(13)).chain([PAGE_LEAVES]);
        for count in counts {
            let leaves = &all[..count as usize];
            let tree = PageTree::new(leaves).expect("not empty");
            let streamed = root_of(leaves.iter().map(|&leaf| leaf.into()));
            assert_eq!(streamed, Some(tree.root()), "{count} leaves");
        }
    }

    #[test]
    fn a_tree_has_between_one_leaf_and_a_page() {
        assert!(PageTree::new(&[]).is_none());
        assert!(PageTree::new(&leaves(PAGE_LEAVES + 1)).is_none());
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
            let root = tree.root();
            let siblings = tree.prove(at).expect("in range");
            let check = |index: usize, leaf, siblings: &[Subtree]| {
                verify_leaf(root, u64::from(count), index as u64, leaf, siblings)
            };
            prop_assert_eq!(check(at, leaves[at], &siblings), Ok(()));
            if other != at {
                prop_assert!(check(at, leaves[other], &siblings).is_err());
                prop_assert!(check(other, leaves[at], &siblings).is_err());
            }
            let longer = Leaf { len: leaves[at].len + 1, ..leaves[at] };
            prop_assert!(check(at, longer, &siblings).is_err());
            let mut surplus = siblings.clone();
            surplus.push(root);
            prop_assert!(check(at, leaves[at], &surplus).is_err());
            if let Some((_, short)) = siblings.split_last() {
                prop_assert!(check(at, leaves[at], short).is_err());
            }
            prop_assert!(check(leaves.len(), leaves[at], &siblings).is_err());
        }
    }
}
