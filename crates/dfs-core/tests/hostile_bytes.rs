//! Manifests, pages and proofs from whoever sends them: bytes that were changed
//! are refused or mean the same, and nothing panics.

use dfs_core::{
    Header, Kind, Leaf, Manifest, ManifestBuilder, Page, PageError, PageProof, Profile, Subtree,
};
use proptest::prelude::*;

/// A file of more than one page: manifest and pages.
fn file(chunks: u32) -> (Manifest, Vec<Page>) {
    let mut builder = ManifestBuilder::new(Kind::File, Profile::Fixed);
    let mut pages = Vec::new();
    for n in 0..chunks {
        let len = if n + 1 == chunks { 1 + n % 1000 } else { 1 << 20 };
        let leaf = Leaf { hash: dfs_core::ChunkHash::of(&n.to_le_bytes()), len };
        pages.extend(builder.push(leaf).map(|(_, page)| page));
    }
    let (manifest, last) = builder.finish().expect("a file");
    pages.extend(last.map(|(_, page)| page));
    (manifest, pages)
}

fn flip(bytes: &mut [u8], at: prop::sample::Index, bit: u32) {
    let at = at.index(bytes.len());
    bytes[at] ^= 1 << bit;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_manifest_is_refused_or_names_other_content(
        at: prop::sample::Index, bit in 0_u32..8, cut: prop::sample::Index,
    ) {
        let (manifest, _) = file(5_000);
        let encoded = manifest.encode();
        prop_assert_eq!(Manifest::decode(&encoded), Ok(manifest.clone()));
        let mut changed = encoded.clone();
        flip(&mut changed, at, bit);
        if let Ok(other) = Manifest::decode(&changed) {
            prop_assert_eq!(other.encode(), changed);
            prop_assert_ne!(other.cid(), manifest.cid());
        }
        prop_assert!(Manifest::decode(&encoded[..cut.index(encoded.len())]).is_err());
    }

    #[test]
    fn a_changed_page_or_proof_does_not_verify(
        page in 0_usize..3, at: prop::sample::Index, bit in 0_u32..8, of_proof: bool,
    ) {
        let (manifest, pages) = file(9_000);
        let header = *manifest.header();
        let index = page as u64;
        let proof = manifest.prove_page(index).expect("it has three pages");
        prop_assert!(pages[page].verify(&header, index, &proof).is_ok());

        let mut leaves = pages[page].encode();
        let mut siblings = proof.encode();
        flip(if of_proof { &mut siblings } else { &mut leaves }, at, bit);
        if let (Ok(page), Ok(proof)) = (Page::decode(&leaves), PageProof::decode(&siblings)) {
            prop_assert!(page.verify(&header, index, &proof).is_err());
        }
        // Nor does the right page in another place.
        let elsewhere = (index + 1) % 3;
        prop_assert!(pages[page].verify(&header, elsewhere, &proof).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), index: u64) {
        let _ = Manifest::decode(&bytes);
        let (manifest, _) = file(1);
        if let (Ok(page), Ok(proof)) = (Page::decode(&bytes), PageProof::decode(&[])) {
            prop_assert!(page.verify(manifest.header(), index, &proof).is_err());
        }
        let header: Result<Header, _> = Header::decode(&bytes);
        if let (Ok(header), Ok(proof)) = (header, PageProof::decode(&bytes)) {
            let (_, pages) = file(1);
            let _: Result<Subtree, PageError> = pages[0].verify(&header, index, &proof);
        }
    }
}
