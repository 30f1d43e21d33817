//! Writes the seed corpus of the fuzz targets: one valid input of each kind.
//!
//! Run it from the root of the repository after a change of the format:
//! `cargo run --example fuzz_seeds -p dfs-wire`.

use std::fs;
use std::path::Path;

use dfs_core::{Cid, Kind, Leaf, ManifestBuilder, Profile};
use dfs_wire::{Announcement, chunk, metadata};
use futures::executor::block_on;

fn main() -> std::io::Result<()> {
    let mut builder = ManifestBuilder::new(Kind::File, Profile::Fixed);
    for n in 0..3_u32 {
        builder.push(Leaf { len: 1 << 20, ..Leaf::of(&n.to_le_bytes()) });
    }
    let (manifest, page) = builder.finish().expect("full chunks make a file");
    let (_, page) = page.expect("one page");
    let proof = manifest.prove_page(0).expect("one page");
    let header = manifest.header().encode();
    let cid = manifest.cid();

    let requests = [
        metadata::Request::Header { cid },
        metadata::Request::Page { cid, index: 7 },
        metadata::Request::Provided { cid },
    ];
    for (n, request) in requests.iter().enumerate() {
        seed("metadata_request", n, &metadata::encode_request(request))?;
    }
    let responses = [
        metadata::Response::Header(*manifest.header()),
        metadata::Response::Page(page.clone(), proof.clone()),
        metadata::Response::NotFound,
        metadata::Response::Busy { retry_ms: 500 },
        metadata::Response::Provided(true),
    ];
    for (n, response) in responses.iter().enumerate() {
        seed("metadata_response", n, &metadata::encode_response(response))?;
    }
    let found = chunk::Response::Found(b"a chunk"[..].into());
    for (n, response) in [found, chunk::Response::Busy { retry_ms: 1 }].iter().enumerate() {
        let mut frame = Vec::new();
        block_on(chunk::write_response(&mut frame, response)).expect("a vector takes all");
        seed("chunk_frames", n, &frame)?;
    }
    seed("manifest", 0, &header)?;
    seed("manifest", 1, &manifest.encode())?;
    let count = u8::try_from(page.leaves().len()).expect("three leaves");
    seed("page", 0, &[&header[..], &[count], &page.encode(), &proof.encode()].concat())?;
    seed("announcement", 0, &Announcement::new(cid, 3 << 20, Some("film.mkv")).encode())?;
    // The protobuf frame of an Ed25519 key, around no key.
    seed("key_file", 0, &[&[8, 1, 18, 64][..], &[7; 64]].concat())?;
    seed("cid_text", 0, Cid::from_bytes([0xab; 32]).to_string().as_bytes())
}

fn seed(target: &str, n: usize, bytes: &[u8]) -> std::io::Result<()> {
    let directory = Path::new("fuzz/seeds").join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(n.to_string()), bytes)
}
