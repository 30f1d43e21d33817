//! Proofs of single leaves against page roots.

#![no_main]

use dfs_core::merkle::LeafProof;
use dfs_core::{Page, Subtree};
use dfs_fuzz as _;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Input: page root, index, leaf, siblings.
    let Some((root, rest)) = data.split_first_chunk() else { return };
    let Some((index, rest)) = rest.split_first_chunk() else { return };
    let Some((leaf, siblings)) = rest.split_at_checked(36) else { return };
    let Ok(page) = Page::decode(leaf) else { return };
    let Ok(proof) = LeafProof::decode(siblings) else { return };
    let index = u64::from_le_bytes(*index);
    let _ = proof.verify(Subtree::decode(root), index, page.leaves()[0]);
});
