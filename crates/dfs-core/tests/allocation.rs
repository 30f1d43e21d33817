//! Decoding input from a peer allocates at most a small multiple of the size of
//! that input.
//!
//! One test in a binary of its own, because the allocator counts for the whole
//! process.

use std::alloc::System;
use std::hint::black_box;

use cap::Cap;
use dfs_core::directory::{ListReader, Lookup, Name, Step};
use dfs_core::merkle::LeafProof;
use dfs_core::{Cid, Header, Kind, Leaf, Manifest, ManifestBuilder, Page, PageProof, Profile};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes allocated per byte of input, freed ones included. The worst case is a
/// list of entries with names of one byte.
const FACTOR: usize = 64;
/// Bytes allocated for any input.
const SLACK: usize = 16 << 10;

fn assert_bounded(what: &str, input: &[u8], decode: impl Fn(&[u8])) {
    let before = ALLOCATOR.total_allocated();
    decode(input);
    let taken = ALLOCATOR.total_allocated() - before;
    let limit = input.len() * FACTOR + SLACK;
    assert!(taken <= limit, "{what}: {taken} bytes for an input of {}", input.len());
}

fn decode_everything(what: &str, input: &[u8]) {
    assert_bounded(what, input, |bytes| drop(black_box(Header::decode(bytes))));
    assert_bounded(what, input, |bytes| drop(black_box(Manifest::decode(bytes))));
    assert_bounded(what, input, |bytes| drop(black_box(Page::decode(bytes))));
    assert_bounded(what, input, |bytes| drop(black_box(PageProof::decode(bytes))));
    assert_bounded(what, input, |bytes| drop(black_box(LeafProof::decode(bytes))));
    assert_bounded(what, input, |bytes| {
        let mut reader = ListReader::new();
        if reader.read_chunk(bytes).is_ok() {
            drop(black_box(reader.finish()));
        }
    });
    for chunks in [1, u32::MAX] {
        assert_bounded(what, input, |bytes| {
            let mut lookup = Lookup::new(chunks, Name::new(*b"m").expect("a name"));
            while let Step::Read(_) = lookup.step() {
                if black_box(lookup.read_chunk(bytes)).is_err() {
                    return;
                }
            }
        });
    }
}

/// The largest content that a header can declare.
fn largest_header() -> Vec<u8> {
    let mut header = b"dfs\x01\x00\x01".to_vec();
    header.extend((1_u64 << 46).to_le_bytes());
    header.extend((1_u32 << 30).to_le_bytes());
    header.extend((1_u32 << 20).to_le_bytes());
    header.extend([7; 32]);
    assert!(Header::decode(&header).is_ok());
    header
}

fn two_pages() -> (Manifest, Vec<Page>) {
    let mut builder = ManifestBuilder::new(Kind::File(Profile::Fixed));
    let mut pages = Vec::new();
    for n in 0..5000_u32 {
        let leaf = Leaf { len: 1 << 16, ..Leaf::of(&n.to_le_bytes()) };
        pages.extend(builder.push(leaf).expect("within the limits"));
    }
    let (manifest, last) = builder.finish().expect("possible");
    (manifest, pages.into_iter().chain(last).map(|(_, page)| page).collect())
}

#[test]
fn decoding_allocates_at_most_a_multiple_of_its_input() {
    let entry = |name: u8| [&[2, 0, 1, name][..], &[1, 0, b't']].concat();
    let short_entries: Vec<u8> =
        (1..=255).filter(|&b| b != b'/' && b != b'.').flat_map(entry).collect();
    let index = [3, 1, b'a'].repeat(20_000);
    let footer = [&[4][..], &[0xff; 16]].concat();
    let far_name = [&[0, 0, 255][..], &[b'x'; 20]].concat();
    let far_target = [&[2, 0, 1, b'a'][..], &[0xff; 2]].concat();
    let (manifest, pages) = two_pages();
    let inputs: [(&str, Vec<u8>); 10] = [
        ("nothing", Vec::new()),
        ("the largest header", largest_header()),
        ("many short entries", short_entries),
        ("an index of equal names", index),
        ("a footer of the largest counts", footer),
        ("a name beyond the chunk", far_name),
        ("a target beyond the chunk", far_target),
        ("a manifest", manifest.encode()),
        ("a page", pages[0].encode()),
        ("zeros", vec![0; 300_000]),
    ];
    for (what, input) in &inputs {
        decode_everything(what, input);
        for cut in [1, 5, 20, 54, 98] {
            decode_everything(what, &input[..input.len().min(cut)]);
        }
    }

    for (page, index) in pages.iter().zip(0..) {
        let proof = manifest.prove_page(index).expect("a page");
        assert_bounded("verifying a page", &page.encode(), |_| {
            assert!(black_box(page.verify(manifest.header(), index, &proof)).is_ok());
        });
    }

    // One entry, and far more index records than it needs.
    let entry = [2, 0, 1, b'a', 1, 0, b't'];
    let surplus = [3, 1, b'a'].repeat(20_000);
    let whole = [&entry[..], &surplus.repeat(50)].concat();
    assert_bounded("a list with a surplus", &whole[..70_000], |_| {
        let mut reader = ListReader::new();
        let mut chunks = std::iter::once(&entry[..]).chain(std::iter::repeat_n(&surplus[..], 50));
        assert!(chunks.any(|chunk| black_box(reader.read_chunk(chunk)).is_err()));
    });
    let text = "f".repeat(100_000);
    assert_bounded("a long text", text.as_bytes(), |_| drop(black_box(text.parse::<Cid>())));
}
