//! Bytes that only a hostile peer sends, and trees that only a hostile author
//! makes: a reader refuses changed input or reads it as other valid content, and
//! it never panics.

use dfs_core::directory::{
    Entry, EntryKind, ListReader, Lookup, Name, Step, Target, describe_list,
};
use dfs_core::merkle::{LeafProof, root_of};
use dfs_core::{
    ChunkHash, Header, Kind, Leaf, Manifest, ManifestBuilder, Page, PageError, PageProof, Profile,
    Subtree, TreeHash,
};
use proptest::prelude::*;

/// A file of several pages: manifest and pages.
fn file(chunks: u32) -> (Manifest, Vec<Page>) {
    let mut builder = ManifestBuilder::new(Kind::File(Profile::Fixed));
    let mut pages = Vec::new();
    for n in 0..chunks {
        let len = if n + 1 == chunks { 1 + n % 1000 } else { 1 << 16 };
        let leaf = Leaf { hash: ChunkHash::of(&n.to_le_bytes()), len };
        pages.extend(builder.push(leaf).expect("within the limits"));
    }
    let (manifest, last) = builder.finish().expect("a file");
    let pages = pages.into_iter().chain(last).map(|(_, page)| page).collect();
    (manifest, pages)
}

/// The same subtree with one bit of its 44 bytes changed.
fn flipped(subtree: Subtree, bit: usize) -> Subtree {
    let mut bytes = subtree.encode();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Subtree::decode(&bytes)
}

#[test]
fn no_proof_with_a_changed_sibling_verifies() {
    let (manifest, pages) = file(12_000);
    let header = manifest.header();
    assert!(header.page_count() >= 5, "proofs of different lengths");
    for (index, page) in (0..).zip(&pages) {
        let good = manifest.prove_page(index).expect("a page");
        let refuses =
            |siblings: Vec<Subtree>| page.verify(header, index, &PageProof { siblings }).is_err();
        for at in 0..good.siblings.len() {
            // First and last bit of the hash, lowest and highest of both sums.
            for bit in [0, 255, 256, 319, 320, 351] {
                let mut bad = good.siblings.clone();
                bad[at] = flipped(bad[at], bit);
                assert!(refuses(bad), "page {index}, sibling {at}, bit {bit}");
            }
            let mut short = good.siblings.clone();
            short.remove(at);
            assert!(refuses(short), "page {index} without sibling {at}");
        }
        for surplus in [header.root(), manifest.page_roots()[0]] {
            let long = [&good.siblings[..], &[surplus]].concat();
            assert!(refuses(long), "page {index} with a surplus sibling");
        }
        if good.siblings.len() > 1 {
            let mut turned = good.siblings.clone();
            turned.reverse();
            assert!(refuses(turned), "page {index} with its siblings turned round");
        }
        for other in (0..=header.page_count()).filter(|&other| other != index) {
            assert!(page.verify(header, other, &good).is_err(), "page {index} as {other}");
        }
    }
}

#[test]
fn no_page_with_a_changed_leaf_verifies() {
    let (manifest, pages) = file(5_000);
    let header = manifest.header();
    for (index, page) in (0..).zip(&pages) {
        let proof = manifest.prove_page(index).expect("a page");
        let len = page.leaves().len();
        let refuses = |bytes: &[u8]| {
            Page::decode(bytes).and_then(|page| page.verify(header, index, &proof)).is_err()
        };
        for at in (0..len).filter(|at| at % 311 == 0 || at + 1 == len) {
            let leaf = at * 36..(at + 1) * 36;
            for bit in [0, 255, 256, 287] {
                let mut bad = page.encode();
                bad[leaf.start + bit / 8] ^= 1 << (bit % 8);
                assert!(refuses(&bad), "page {index}, leaf {at}, bit {bit}");
            }
            let mut short = page.encode();
            short.drain(leaf.clone());
            assert!(refuses(&short), "page {index} without leaf {at}");
            if at > 0 {
                let mut swapped = page.encode();
                let (front, back) = swapped.split_at_mut(leaf.start);
                front[leaf.start - 36..].swap_with_slice(&mut back[..36]);
                assert!(refuses(&swapped), "page {index}, leaves {at} and before swapped");
            }
        }
    }
}

/// A hostile author can commit to false sums for a page. The pages around it
/// verify; the page itself never does.
#[test]
fn a_page_root_with_false_sums_has_no_page() {
    let (manifest, pages) = file(12_000);
    let bend: [fn(&mut Subtree); 2] = [|root| root.len += 1, |root| root.leaves += 1];
    for bend in bend {
        let mut roots = manifest.page_roots().to_vec();
        bend(&mut roots[0]);
        let root = root_of(roots.iter().copied()).expect("small sums");
        let kind = Kind::File(Profile::FastCdc);
        let count = u32::try_from(roots.len()).expect("few pages");
        let header = Header::new(kind, count, root).expect("possible");
        let manifest = Manifest::new(header, roots).expect("the roots lead to the root");
        let verify = |index: u64, page: &Page| {
            let proof = manifest.prove_page(index).expect("there is such a page");
            page.verify(&header, index, &proof).map(drop)
        };
        assert_eq!(verify(0, &pages[0]), Err(PageError::Root));
        assert_eq!(verify(1, &pages[1]), Ok(()));
    }
}

fn link(n: u32) -> Entry {
    let target = format!("target/of/{n}").repeat(1 + n as usize % 30).into_bytes();
    Entry {
        name: Name::new(format!("link {n:05}").into_bytes()).expect("a name"),
        mtime: None,
        kind: EntryKind::Symlink { target: Target::new(target).expect("a target") },
    }
}

fn list(count: u32) -> (Vec<Entry>, Vec<Vec<u8>>) {
    let entries: Vec<Entry> = (0..count).map(link).collect();
    let mut chunks = Vec::new();
    describe_list(&entries, |chunk| {
        chunks.push(chunk.bytes.to_vec());
        Ok(())
    })
    .expect("a list");
    (entries, chunks)
}

fn read(chunks: &[Vec<u8>]) -> Option<Vec<Entry>> {
    let mut reader = ListReader::new();
    let mut entries = Vec::new();
    for chunk in chunks {
        entries.extend(reader.read_chunk(chunk).ok()?);
    }
    reader.finish().ok()?;
    Some(entries)
}

fn look_up(chunks: &[Vec<u8>], name: &Name) -> Option<Step> {
    let count = u32::try_from(chunks.len()).expect("few chunks");
    let mut lookup = Lookup::new(count, name.clone());
    while let Step::Read(chunk) = *lookup.step() {
        lookup.read_chunk(&chunks[chunk as usize]).ok()?;
    }
    Some(lookup.step().clone())
}

/// A reader refuses a surplus chunk when it reads it, and not at the end, so it
/// does not keep any.
#[test]
fn surplus_chunks_are_refused_at_once() {
    for count in [1, 3_000] {
        let (_, chunks) = list(count);
        let mut reader = ListReader::new();
        for chunk in &chunks {
            reader.read_chunk(chunk).expect("a list");
        }
        let surplus = [3, 1, b'a'].repeat(1000);
        assert!(reader.read_chunk(&surplus).is_err(), "{count} entries");
    }
    assert!(ListReader::new().read_chunk(&[]).is_err(), "no chunk is empty");
}

#[test]
fn a_refused_lookup_stays_refused() {
    let (entries, chunks) = list(3_000);
    let count = u32::try_from(chunks.len()).expect("few chunks");
    let mut lookup = Lookup::new(count, entries[0].name.clone());
    assert!(lookup.read_chunk(&chunks[0]).is_err(), "entries are no index");
    assert!(lookup.read_chunk(&chunks[chunks.len() - 1]).is_err());
}

#[test]
fn every_name_is_found_and_every_gap_is_absent() {
    let (entries, chunks) = list(3_000);
    assert!(chunks.len() > 20, "{} chunks", chunks.len());
    for entry in &entries {
        assert_eq!(look_up(&chunks, &entry.name), Some(Step::Found(entry.clone())));
        for end in ["!", "\u{ff}"] {
            let between = [entry.name.as_bytes(), end.as_bytes()].concat();
            let between = Name::new(between).expect("a name");
            assert_eq!(look_up(&chunks, &between), Some(Step::Absent), "{between:?}");
        }
    }
    let before = Name::new(*b"a").expect("a name");
    assert_eq!(look_up(&chunks, &before), Some(Step::Absent));
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
        page in 0_usize..2, at: prop::sample::Index, bit in 0_u32..8, of_proof: bool,
    ) {
        let (manifest, pages) = file(9_000);
        let header = *manifest.header();
        let index = page as u64;
        let proof = manifest.prove_page(index).expect("it has several pages");
        prop_assert!(pages[page].verify(&header, index, &proof).is_ok());

        let mut leaves = pages[page].encode();
        let mut siblings = proof.encode();
        flip(if of_proof { &mut siblings } else { &mut leaves }, at, bit);
        if let (Ok(page), Ok(proof)) = (Page::decode(&leaves), PageProof::decode(&siblings)) {
            prop_assert!(page.verify(&header, index, &proof).is_err());
        }
        // The right page does not verify at another index either.
        let elsewhere = (index + 1) % header.page_count();
        prop_assert!(pages[page].verify(&header, elsewhere, &proof).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), index: u64) {
        let _ = Manifest::decode(&bytes);
        let (manifest, _) = file(1);
        if let (Ok(page), Ok(proof)) = (Page::decode(&bytes), PageProof::decode(&[])) {
            prop_assert!(page.verify(manifest.header(), index, &proof).is_err());
        }
        let _ = LeafProof::decode(&bytes);
        let _ = read(std::slice::from_ref(&bytes));
        let name = Name::new(*b"m").expect("a name");
        for chunks in [1, 3, u32::MAX] {
            let mut lookup = Lookup::new(chunks, name.clone());
            while let Step::Read(_) = lookup.step() {
                if lookup.read_chunk(&bytes).is_err() {
                    break;
                }
            }
        }
    }

    /// No header and no proof makes verifying a page panic.
    #[test]
    fn no_header_and_no_proof_panics(
        kind in prop::sample::select(&Kind::ALL[..]),
        hash: [u8; 32], len in 0_u64..1 << 40, leaves in 0_u32..1 << 30, page_count in 0_u32..1 << 20,
        proof in prop::collection::vec(any::<u8>(), 0..20).prop_map(|tops| {
            // Sums from zero to the largest ones.
            tops.into_iter().flat_map(|top| [top; 44]).collect::<Vec<u8>>()
        }),
        index: u64,
    ) {
        let root = Subtree { hash: TreeHash::from_bytes(hash), len, leaves };
        let proof = PageProof::decode(&proof).expect("whole siblings");
        let (_, pages) = file(1);
        if let Ok(header) = Header::new(kind, page_count, root) {
            for index in [index, index % header.page_count().max(1)] {
                prop_assert!(pages[0].verify(&header, index, &proof).is_err());
            }
        }
    }

    /// A reader of the whole list refuses any change or reads other entries, and
    /// a lookup never contradicts it.
    #[test]
    fn a_changed_list_is_refused_or_is_another_list(
        chunk: prop::sample::Index, at: prop::sample::Index, bit in 0_u32..8,
        wanted in 0_u32..1000, last: bool,
    ) {
        let (entries, chunks) = list(1_000);
        prop_assert_eq!(read(&chunks), Some(entries.clone()));
        let mut changed = chunks.clone();
        let chunk = if last { chunks.len() - 1 } else { chunk.index(chunks.len()) };
        flip(&mut changed[chunk], at, bit);
        let name = link(wanted).name;
        if let Some(other) = read(&changed) {
            prop_assert_ne!(&other, &entries);
            let found = other.into_iter().find(|entry| entry.name == name);
            let expected = found.map_or(Step::Absent, Step::Found);
            prop_assert_eq!(look_up(&changed, &name), Some(expected));
        }
    }
}
