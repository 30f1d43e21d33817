//! Decoding a message allocates at most a small multiple of the bytes that the
//! peer has sent.
//!
//! One test in a binary of its own, because the allocator counts for the whole
//! process.

use std::alloc::System;
use std::hint::black_box;

use cap::Cap;
use dfs_core::{Cid, Kind, Leaf, ManifestBuilder, Profile, ProvenPage};
use dfs_wire::{Announcement, chunk, metadata};
use futures::executor::block_on;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes allocated per byte of input, freed ones included.
const FACTOR: usize = 8;
/// Bytes allocated for any input, such as the buffer of a frame.
const SLACK: usize = 80 << 10;

fn assert_bounded(what: &str, input: &[u8], decode: impl Fn(&[u8])) {
    let before = ALLOCATOR.total_allocated();
    decode(input);
    let taken = ALLOCATOR.total_allocated() - before;
    let limit = input.len() * FACTOR + SLACK;
    assert!(taken <= limit, "{what}: {taken} bytes for an input of {}", input.len());
}

fn decode_everything(what: &str, input: &[u8]) {
    assert_bounded(what, input, |bytes| drop(black_box(metadata::decode_request(bytes))));
    assert_bounded(what, input, |bytes| drop(black_box(metadata::decode_response(bytes))));
    assert_bounded(what, input, |bytes| drop(black_box(Announcement::decode(bytes))));
    assert_bounded(what, input, |mut bytes| {
        drop(black_box(block_on(metadata::read_request(&mut bytes))));
    });
    assert_bounded(what, input, |mut bytes| {
        drop(black_box(block_on(metadata::read_response(&mut bytes))));
    });
    assert_bounded(what, input, |mut bytes| {
        drop(black_box(block_on(chunk::read_request(&mut bytes))));
    });
    // The asker allocates what it has asked for, and not what a peer announces.
    assert_bounded(what, input, |mut bytes| {
        drop(black_box(block_on(chunk::read_answer(&mut bytes, 64 << 10))));
    });
}

fn page_response() -> Vec<u8> {
    let mut builder = ManifestBuilder::new(Kind::File(Profile::Fixed));
    let mut first = None;
    for n in 0..5000_u32 {
        let leaf = Leaf { len: 1 << 16, ..Leaf::of(&n.to_le_bytes()) };
        let page = builder.push(leaf).expect("within the limits");
        first = first.or(page);
    }
    let (manifest, _) = builder.finish().expect("possible");
    let (_, page) = first.expect("several pages");
    let proof = manifest.prove_page(0).expect("the first page");
    metadata::encode_response(&metadata::Response::Page(ProvenPage { index: 0, page, proof }))
}

#[test]
fn decoding_allocates_at_most_a_multiple_of_its_input() {
    let page = page_response();
    let framed = [&u32::try_from(page.len()).expect("small").to_le_bytes()[..], &page[..]].concat();
    let announced = Announcement::new(Cid::from_bytes([7; 32]), 1, Some("a name")).encode();
    let inputs: [(&str, Vec<u8>); 9] = [
        ("nothing", Vec::new()),
        ("a page", page.clone()),
        ("a page in a frame", framed.clone()),
        ("a frame cut short", framed[..100].to_vec()),
        ("the largest frame announced", [&(256_u32 << 10).to_le_bytes()[..], &[1]].concat()),
        ("the largest chunk announced", [&[0][..], &(4_u32 << 20).to_le_bytes(), &[7]].concat()),
        ("the longest run announced", [&[0][..], &256_u16.to_le_bytes()].concat()),
        ("leaves without end announced", [&[1][..], &[0xff; 9], &[1]].concat()),
        ("an announcement", announced),
    ];
    for (what, input) in &inputs {
        decode_everything(what, input);
    }
}
