//! Writes the seed corpus of the fuzz targets: one valid input of each kind.
//!
//! Run it from the root of the repository after a change of the format:
//! `cargo run --example fuzz_seeds -p dfs-wire`.

use std::fs;
use std::path::Path;

use dfs_core::directory::{Entry, EntryKind, Name, Target, describe_list};
use dfs_core::merkle::PageTree;
use dfs_core::{Cid, Kind, Leaf, ManifestBuilder, Page, Profile, ProvenPage};
use dfs_wire::{Announcement, chunk, metadata};
use futures::executor::block_on;

fn main() -> std::io::Result<()> {
    let mut builder = ManifestBuilder::new(Kind::File(Profile::Fixed));
    for n in 0..3_u32 {
        let leaf = Leaf { len: 1 << 16, ..Leaf::of(&n.to_le_bytes()) };
        builder.push(leaf).expect("a small file");
    }
    let (manifest, page) = builder.finish().expect("full chunks make a file");
    let (_, page) = page.expect("one page");
    let proof = manifest.prove_page(0).expect("one page");
    let header = manifest.header().encode();
    let cid = manifest.cid();

    let requests = [
        metadata::Request::Header { cid, room: 16 << 10 },
        metadata::Request::Page { cid, offset: 100_000 },
        metadata::Request::Provided { cid },
    ];
    for (n, request) in requests.iter().enumerate() {
        seed("metadata_request", n, &metadata::encode_request(request))?;
    }
    let content = b"a small content";
    let small = metadata::Description {
        header: *manifest.header(),
        page: Page::new(vec![Leaf::of(content)]),
        content: content[..].into(),
    };
    let responses = [
        metadata::Response::Header((*manifest.header()).into()),
        metadata::Response::Page(ProvenPage { index: 0, page: page.clone(), proof: proof.clone() }),
        metadata::Response::NotFound,
        metadata::Response::Busy { retry_ms: 500 },
        metadata::Response::Provided(true),
        metadata::Response::Header(small),
    ];
    for (n, response) in responses.iter().enumerate() {
        seed("metadata_response", n, &metadata::encode_response(response))?;
    }
    let hashes = page.leaves().iter().map(|leaf| leaf.hash).collect();
    let requests = [chunk::Request::Chunks { hashes }, chunk::Request::Cancel { number: 7 }];
    let answers = [chunk::Answer::Found(b"a chunk"[..].into()), chunk::Answer::Cancelled];
    for (n, (request, answer)) in requests.iter().zip(&answers).enumerate() {
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        block_on(chunk::write_request(&mut asked, request)).expect("a vector takes all");
        block_on(chunk::write_answer(&mut answered, answer)).expect("a vector takes all");
        seed("chunk_frames", 2 * n, &asked)?;
        seed("chunk_frames", 2 * n + 1, &answered)?;
    }
    seed("manifest", 0, &header)?;
    seed("manifest", 1, &manifest.encode())?;
    seed("page", 0, &page_seed(&header, &page, &proof.encode()))?;
    seed("page", 1, &large_page())?;
    let leaf_proof = PageTree::new(page.leaves()).and_then(|tree| tree.prove(1));
    let siblings = leaf_proof.expect("the second leaf").encode();
    let leaf = &page.encode()[36..72];
    let index = 1_u64.to_le_bytes();
    seed("leaf_proof", 0, &[&page.root().encode()[..], &index, leaf, &siblings].concat())?;
    for (n, count) in [0, 1, 1500].into_iter().enumerate() {
        seed("list", n, &list_seed(count))?;
    }
    seed("announcement", 0, &Announcement::new(cid, 3 << 20, Some("film.mkv")).encode())?;
    // The protobuf frame of an Ed25519 key, around no key.
    seed("key_file", 0, &[&[8, 1, 18, 64][..], &[7; 64]].concat())?;
    seed("cid_text", 0, Cid::from_bytes([0xab; 32]).to_string().as_bytes())
}

fn page_seed(header: &[u8], page: &Page, proof: &[u8]) -> Vec<u8> {
    let count = u16::try_from(page.leaves().len()).expect("at most 4096 leaves");
    [header, &count.to_le_bytes(), &page.encode(), proof].concat()
}

/// The first page of a file of several.
fn large_page() -> Vec<u8> {
    let mut builder = ManifestBuilder::new(Kind::File(Profile::Fixed));
    let mut first = None;
    for n in 0..5000_u32 {
        let leaf = Leaf { len: 1 << 16, ..Leaf::of(&n.to_le_bytes()) };
        let page = builder.push(leaf).expect("within the limits");
        first = first.or(page);
    }
    let (manifest, _) = builder.finish().expect("full chunks make a file");
    let (_, page) = first.expect("several pages");
    let proof = manifest.prove_page(0).expect("the first page");
    page_seed(&manifest.header().encode(), &page, &proof.encode())
}

/// A list of `count` links, and a name that is in it.
fn list_seed(count: u32) -> Vec<u8> {
    let name = |n: u32| Name::new(format!("link {n:04}").into_bytes()).expect("a name");
    let target = || Target::new(vec![b't'; 100]).expect("a target");
    let link =
        |n| Entry { name: name(n), mtime: None, kind: EntryKind::Symlink { target: target() } };
    let entries: Vec<Entry> = (0..count).map(link).collect();
    let (mut lens, mut bytes, mut chunks) = (Vec::new(), Vec::new(), 0_u8);
    describe_list(&entries, |chunk| {
        let len = u16::try_from(chunk.bytes.len()).unwrap_or(u16::MAX);
        lens.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(chunk.bytes);
        chunks += 1;
        Ok(())
    })
    .expect("a list");
    let wanted = name(count / 2);
    let len = u8::try_from(wanted.as_bytes().len()).expect("a short name");
    [&[len][..], wanted.as_bytes(), &[chunks], &lens, &bytes].concat()
}

fn seed(target: &str, n: usize, bytes: &[u8]) -> std::io::Result<()> {
    let directory = Path::new("fuzz/seeds").join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(n.to_string()), bytes)
}
