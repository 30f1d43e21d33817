//! Pages of leaves with proofs, verified against a header.

#![no_main]

use dfs_core::{Header, Page, PageProof};
use dfs_fuzz as _;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Input: header, number of leaves in 16 bits, leaves, siblings.
    let Some((header, rest)) = data.split_at_checked(54) else { return };
    let Some((leaves, rest)) = rest.split_first_chunk() else { return };
    let leaves = usize::from(u16::from_le_bytes(*leaves));
    let Some((leaves, siblings)) = rest.split_at_checked(leaves * 36) else { return };
    let Ok(header) = Header::decode(header) else { return };
    let (Ok(page), Ok(proof)) = (Page::decode(leaves), PageProof::decode(siblings)) else { return };
    for index in [0, 1, header.page_count().saturating_sub(1), u64::MAX] {
        let _ = page.verify(&header, index, &proof);
    }
});
