//! Chunks that an addition has put and not recorded yet.

use std::collections::{HashSet, VecDeque};

use dfs_core::ChunkHash;
use dfs_store::Portion;

/// Portions that were put and are not recorded yet, in the order of the leaves.
#[derive(Default)]
pub(super) struct Unrecorded {
    /// Each with the number of leaves that it covers, whose chunks it has put as far as
    /// they were absent.
    portions: VecDeque<(usize, Option<Portion>)>,
    hashes: HashSet<ChunkHash>,
    /// Leaves of the first portions that lie within pages that are stored.
    stored_leaves: usize,
}

impl Unrecorded {
    /// Notes that a chunk is about to be put; false if it was put before.
    pub(super) fn insert(&mut self, hash: ChunkHash) -> bool {
        self.hashes.insert(hash)
    }

    /// Notes what was put for the next leaves.
    pub(super) fn push(&mut self, leaves: usize, portion: Option<Portion>) {
        self.portions.push_back((leaves, portion));
    }

    pub(super) fn portions(&self) -> impl Iterator<Item = &Portion> {
        self.portions.iter().filter_map(|(_, portion)| portion.as_ref())
    }

    /// Takes the portions that lie within the pages stored so far and the next ones,
    /// which have so many leaves.
    pub(super) fn take_within(&mut self, leaves: usize) -> Vec<Portion> {
        self.stored_leaves += leaves;
        let mut taken = Vec::new();
        while let Some((leaves, portion)) =
            self.portions.pop_front_if(|(leaves, _)| *leaves <= self.stored_leaves)
        {
            self.stored_leaves -= leaves;
            taken.extend(portion);
        }
        for hash in taken.iter().flat_map(Portion::hashes) {
            self.hashes.remove(hash);
        }
        taken
    }

    /// Takes portions back that were not recorded after all, to be discarded.
    pub(super) fn give_back(&mut self, portions: Vec<Portion>) {
        self.portions.extend(portions.into_iter().map(|portion| (0, Some(portion))));
    }
}
