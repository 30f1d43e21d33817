//! Holds the crate against the golden vectors, which an independent
//! implementation of `docs/format.md` wrote (`vectors/reference.py`), and
//! against the constants in the document itself.

use std::fs;
use std::path::PathBuf;

use dfs_core::chunker::first_cut;
use dfs_core::merkle::stream;
use dfs_core::{
    Chunker, Header, Kind, Leaf, Manifest, ManifestBuilder, Page, PageError, PageProof, Profile,
    Subtree,
};
use serde_json::Value;

/// Text of a file below the directory of this crate.
fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn vectors(name: &str) -> Vec<Value> {
    serde_json::from_str(&read(&format!("tests/vectors/{name}"))).expect("a list of vectors")
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("{field} is a text in {vector}"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is a number"))
}

fn texts(value: &Value) -> Vec<&str> {
    let values = value.as_array().expect("a list");
    values.iter().map(|value| value.as_str().expect("a text")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "{text} has an odd number of digits");
    let digits = pairs.iter().map(|pair| str::from_utf8(pair).expect("hex is ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex digits")).collect()
}

/// The first bytes of the BLAKE3 extended output for a seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The content that a vector of `content.json` describes.
fn content(source: &Value) -> Vec<u8> {
    let len = |value: &Value| usize::try_from(number(value)).expect("fits memory");
    if let Some(digits) = source["hex"].as_str() {
        unhex(digits)
    } else if source["zeros"].is_u64() {
        vec![0; len(&source["zeros"])]
    } else {
        noise(number(&source["noise"]["seed"]), len(&source["noise"]["len"]))
    }
}

/// Cuts `bytes` and checks leaves, header, manifest and CID.
fn check_content(name: &str, bytes: &[u8], vector: &Value) {
    let profile: Profile = text(vector, "profile").parse().expect("a known profile");
    let kind = if text(vector, "kind") == "file" { Kind::File } else { Kind::Directory };
    let mut chunker = Chunker::new(bytes, profile);
    let mut builder = ManifestBuilder::new(kind, profile);
    let mut leaves = Vec::new();
    while let Some(chunk) = chunker.next_chunk().expect("reading from memory") {
        leaves.push(Leaf::of(chunk));
        builder.push(Leaf::of(chunk));
    }
    let (manifest, page) = builder.finish().expect("legal content");

    let lens: Vec<u32> = leaves.iter().map(|leaf| leaf.len).collect();
    if vector["lens"].is_array() {
        assert_eq!(serde_json::json!(lens), vector["lens"], "{name}");
    } else {
        let packed: Vec<u8> = lens.iter().flat_map(|len| len.to_le_bytes()).collect();
        assert_eq!(blake3::hash(&packed).to_string(), text(vector, "lens_blake3"), "{name}");
    }
    let first = leaves.first().map(|leaf| leaf.hash.to_string());
    let last = leaves.last().map(|leaf| leaf.hash.to_string());
    assert_eq!(first.as_deref(), vector["first_chunk"].as_str(), "{name}");
    assert_eq!(last.as_deref(), vector["last_chunk"].as_str(), "{name}");

    let header = manifest.header();
    assert_eq!(header.size(), bytes.len() as u64, "{name}");
    assert_eq!(header.chunk_count(), number(&vector["chunk_count"]), "{name}");
    assert_eq!(header.root().hash.to_string(), text(vector, "root"), "{name}");
    assert_eq!(hex(&header.encode()), text(vector, "header"), "{name}");
    assert_eq!(manifest.cid().to_string(), text(vector, "cid"), "{name}");
    assert_eq!(hex(&manifest.encode()), text(vector, "manifest"), "{name}");
    assert_eq!(Manifest::decode(&unhex(text(vector, "manifest"))), Ok(manifest.clone()), "{name}");
    assert_eq!(page.map(|(_, page)| page.leaves().to_vec()).unwrap_or_default(), leaves, "{name}");
}

#[test]
fn contents_get_the_identifiers_of_the_reference() {
    let vectors = vectors("content.json");
    assert_eq!(vectors.len(), 24);
    for vector in vectors {
        check_content(text(&vector, "name"), &content(&vector["content"]), &vector);
    }
}

#[test]
fn directory_lists_get_the_identifiers_of_the_reference() {
    for vector in vectors("directory.json") {
        let list = unhex(text(&vector, "content"));
        check_content("directory", &list, &vector);
    }
}

/// Leaf `n` of the synthetic trees.
fn synthetic(n: u32) -> Leaf {
    Leaf { len: 300_000 + n % 1000, ..Leaf::of(&n.to_le_bytes()) }
}

/// A tree of `tree.json` as this crate builds it.
struct Tree {
    manifest: Manifest,
    pages: Vec<Page>,
}

impl Tree {
    fn new(count: u32) -> Self {
        let mut builder = ManifestBuilder::new(Kind::File, Profile::FastCdc);
        let mut pages: Vec<Page> =
            (0..count).filter_map(|n| builder.push(synthetic(n))).map(|(_, page)| page).collect();
        let (manifest, last) = builder.finish().expect("legal leaves");
        pages.extend(last.map(|(_, page)| page));
        Self { manifest, pages }
    }
}

fn trees() -> impl Iterator<Item = (Value, Tree)> {
    vectors("tree.json").into_iter().map(|vector| {
        let count = u32::try_from(number(&vector["count"])).expect("a small count");
        (vector, Tree::new(count))
    })
}

fn decode_proof(siblings: &Value) -> PageProof {
    PageProof::decode(&unhex(&texts(siblings).concat())).expect("a legal proof")
}

#[test]
fn trees_have_the_roots_and_proofs_of_the_reference() {
    let mut seen = Vec::new();
    for (vector, Tree { manifest, pages }) in trees() {
        let count = number(&vector["count"]);
        let header = manifest.header();
        assert_eq!(hex(&header.root().encode()), text(&vector, "root"), "{count} leaves");
        assert_eq!(hex(&header.encode()), text(&vector, "header"), "{count} leaves");
        assert_eq!(Header::decode(&unhex(text(&vector, "header"))), Ok(*header));
        assert_eq!(manifest.cid().to_string(), text(&vector, "cid"), "{count} leaves");
        let roots: Vec<String> =
            manifest.page_roots().iter().map(|root| hex(&root.encode())).collect();
        assert_eq!(roots, texts(&vector["page_roots"]), "{count} leaves");

        let proofs = vector["proofs"].as_array().expect("a list");
        assert_eq!(proofs.len() as u64, header.page_count(), "{count} leaves");
        for ((index, siblings), page) in (0..).zip(proofs).zip(&pages) {
            let proof = decode_proof(siblings);
            assert_eq!(manifest.prove_page(index).as_ref(), Some(&proof), "page {index}");
            let root = page.verify(header, index, &proof).expect("a true page");
            let at = usize::try_from(index).expect("a small index");
            assert_eq!(root, manifest.page_roots()[at]);
            assert_eq!(Page::decode(&page.encode()).as_ref(), Ok(page));
        }
        seen.push(count);
    }
    assert_eq!(seen, [1, 2, 3, 5, 4095, 4096, 4097, 8192, 8193, 12289, 16385, 24577]);
}

/// The same vertex with one bit of its 40 bytes changed.
fn flipped_vertex(vertex: Subtree, bit: usize) -> Subtree {
    let mut bytes = vertex.encode();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Subtree::decode(&bytes)
}

#[test]
fn no_proof_with_a_changed_sibling_verifies() {
    for (vector, Tree { manifest, pages }) in trees() {
        let header = manifest.header();
        let proofs = vector["proofs"].as_array().expect("a list");
        for ((index, siblings), page) in (0..).zip(proofs).zip(&pages) {
            let good = decode_proof(siblings);
            let refuses = |siblings: Vec<Subtree>| {
                page.verify(header, index, &PageProof { siblings }).is_err()
            };
            for at in 0..good.siblings.len() {
                // First and last bit of the hash, lowest and highest of the length.
                for bit in [0, 255, 256, 319] {
                    let mut bad = good.siblings.clone();
                    bad[at] = flipped_vertex(bad[at], bit);
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
}

#[test]
fn no_page_with_a_changed_leaf_verifies() {
    for (vector, Tree { manifest, pages }) in trees() {
        let header = manifest.header();
        let proofs = vector["proofs"].as_array().expect("a list");
        for ((index, siblings), page) in (0..).zip(proofs).zip(&pages) {
            let proof = decode_proof(siblings);
            let len = page.leaves().len();
            let refuses = |bytes: &[u8]| {
                Page::decode(bytes).and_then(|page| page.verify(header, index, &proof)).is_err()
            };
            // Every leaf of a small page; of a large one the edges and one in 1,021.
            let chosen = (0..len).filter(|at| len < 10 || at % 1021 == 0 || at + 1 == len);
            for at in chosen {
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
}

/// Lengths that add up, but that the chunker never makes, are refused although
/// the tree over them is sound.
#[test]
fn no_page_with_an_illegal_length_verifies() {
    let (min, max) = (Profile::FastCdc.min_len(), Profile::FastCdc.max_len());
    let mib = 1 << 20;
    for (lens, bad) in [
        (&[min - 1, mib, mib][..], 0),
        (&[mib, min - 1, mib], 1),
        (&[0, mib, mib], 0),
        (&[mib, mib, 0], 2),
        (&[mib, max + 1, 1], 1),
        (&[mib, mib, max + 1], 2),
    ] {
        let mut builder = ManifestBuilder::new(Kind::File, Profile::FastCdc);
        for (n, &len) in (0_u32..).zip(lens) {
            assert!(builder.push(Leaf { len, ..synthetic(n) }).is_none());
        }
        let (manifest, page) = builder.finish().expect("size and count are possible");
        let (_, page) = page.expect("one page");
        let expected = PageError::LeafLength { position: bad, len: lens[bad] };
        let verified = page.verify(manifest.header(), 0, &PageProof::default());
        assert_eq!(verified, Err(expected), "{lens:?}");
    }
}

/// A maker can commit to a page root with a false length. The pages around it
/// verify, its own page never does.
#[test]
fn a_page_root_with_a_false_length_has_no_page() {
    let Tree { manifest, pages } = Tree::new(8192);
    let mut roots = manifest.page_roots().to_vec();
    roots[0].len += 1;
    let root = stream::root_of(roots.iter().copied()).expect("a small sum");
    let header = Header::new(Kind::File, Profile::FastCdc, 8192, root).expect("possible");
    let manifest = Manifest::new(header, roots).expect("the roots lead to the root");
    let verify = |index: u64, page: &Page| {
        let proof = manifest.prove_page(index).expect("there is such a page");
        page.verify(&header, index, &proof).map(drop)
    };
    assert_eq!(verify(0, &pages[0]), Err(PageError::Root));
    assert_eq!(verify(1, &pages[1]), Ok(()));
}

/// The value after `name = ` in the document.
fn constant(document: &str, name: &str) -> u64 {
    let start = format!("{name} = 0x");
    let line = document
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .find_map(|line| line.strip_prefix(&start).map(str::to_owned))
        .unwrap_or_else(|| panic!("docs/format.md states {name}"));
    let digits = line.split(' ').next().expect("a value");
    u64::from_str_radix(digits, 16).expect("a hexadecimal number")
}

/// The pseudo-code of the document with the constants of the document.
fn documented_cut(rest: &[u8], gear: &[u64], masks: [u64; 2]) -> usize {
    let [min, avg, max] = [262_144, 1_048_576, 4_194_304];
    if rest.len() <= min {
        return rest.len();
    }
    let end = rest.len().min(max);
    let mut hash = 0_u64;
    for (i, &byte) in rest.iter().enumerate().take(end - end % 2).skip(min) {
        hash = (hash << 1).wrapping_add(gear[usize::from(byte)]);
        if hash & masks[usize::from(i >= avg)] == 0 {
            return i;
        }
    }
    end
}

#[test]
fn the_document_states_the_gear_table_and_the_masks_in_use() {
    let document = read("../../docs/format.md");
    let masks = ["MASK_BEFORE_AVERAGE", "MASK_AFTER_AVERAGE"].map(|name| constant(&document, name));
    assert_eq!(masks, [0x0000_d917_6753_7000, 0x0000_d917_0753_7000]);
    let gear: Vec<u64> = read("tests/vectors/gear.txt")
        .lines()
        .map(|line| u64::from_str_radix(line, 16).expect("a hexadecimal number"))
        .collect();
    assert_eq!(gear.len(), 256);
    for at in [0, 1, 255] {
        assert_eq!(constant(&document, &format!("GEAR[{at}]")), gear[at]);
    }
    for seed in 100..116 {
        let bytes = noise(seed, 5 << 20);
        let at = first_cut(Profile::FastCdc, &bytes);
        // Around the cut, where an odd end of content matters, and around the bounds.
        let ends = [at - 1, at, at + 1, at + 2, at + 3, bytes.len()];
        let bounds = [0, 1, 262_143, 262_144, 262_145, 1_048_575, 1_048_577, 4_194_303, 4_194_305];
        for end in ends.into_iter().chain(bounds) {
            let rest = &bytes[..end];
            assert_eq!(
                first_cut(Profile::FastCdc, rest),
                documented_cut(rest, &gear, masks),
                "noise {seed} up to {end}"
            );
        }
    }
}

#[test]
fn the_example_in_the_document_is_a_vector() {
    let document = read("../../docs/format.md");
    for vector in vectors("content.json") {
        let name = text(&vector, "name");
        if name == "greeting, fastcdc" || name.starts_with("empty") {
            assert!(document.contains(text(&vector, "cid")), "{name}");
            assert!(document.contains(text(&vector, "root")), "{name}");
        }
    }
}
