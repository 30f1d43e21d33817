//! Properties of the codecs: what they write reads back, they write nothing that
//! they would refuse, and no input makes them panic.

use std::io::ErrorKind;

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Kind, Leaf, ManifestBuilder, Profile, ProvenPage};
use dfs_wire::{Announcement, Breach, WireError, chunk, metadata};
use futures::executor::block_on;
use proptest::prelude::*;

fn page_response(chunks: u32) -> metadata::Response {
    let mut builder = ManifestBuilder::new(Kind::File(Profile::Fixed));
    let mut completed = None;
    for n in 0..chunks {
        let hash = ChunkHash::of(&n.to_le_bytes());
        let page = builder.push(Leaf { hash, len: 1 << 16 }).expect("a small file");
        completed = page.or(completed);
    }
    let (manifest, rest) = builder.finish().expect("a file of full chunks");
    let (_, page) = rest.or(completed).expect("a last page");
    let index = manifest.header().page_count() - 1;
    let proof = manifest.prove_page(index).expect("the last page");
    metadata::Response::Page(ProvenPage { index, page, proof })
}

#[test]
fn a_page_with_its_proof_round_trips_below_the_limit() {
    for chunks in [1, 4096, 4097, 9000, 8192] {
        let response = page_response(chunks);
        let mut stream = Vec::new();
        block_on(metadata::write_response(&mut stream, &response)).expect("write");
        assert!(stream.len() <= metadata::MAX_RESPONSE as usize, "{} bytes", stream.len());
        let read = block_on(metadata::read_response(&mut stream.as_slice())).expect("read");
        assert_eq!(read, response);
    }
}

#[test]
fn a_chunk_cut_short_is_a_failed_stream_and_no_breach() {
    let short = [&[0][..], &(4_u32 << 20).to_le_bytes(), b"only this"].concat();
    let error = block_on(chunk::read_answer(&mut &short[..], 4 << 20)).expect_err("cut short");
    assert!(matches!(error, WireError::Io(_)) && !error.is_peer_fault());
}

/// This node never sends what its peers would have to ban it for.
#[test]
fn writers_refuse_what_readers_would_refuse() {
    for len in [0, (4 << 20) + 1] {
        let answer = chunk::Answer::Found(Bytes::from(vec![7; len]));
        let mut stream = Vec::new();
        let error = block_on(chunk::write_answer(&mut stream, &answer)).expect_err("refused");
        assert!(matches!(error, WireError::Io(error) if error.kind() == ErrorKind::InvalidInput));
        assert!(stream.is_empty(), "{len} bytes");
    }
    for len in [0, chunk::MAX_HASHES + 1] {
        let request = chunk::Request::Chunks { hashes: vec![ChunkHash::of(b"x"); len] };
        let mut stream = Vec::new();
        let error = block_on(chunk::write_request(&mut stream, &request)).expect_err("refused");
        assert!(!error.is_peer_fault() && stream.is_empty(), "{len} hashes");
    }
    let metadata::Response::Page(mut proven) = page_response(4097) else { unreachable!("a page") };
    proven.proof.siblings = vec![proven.proof.siblings[0]; 6000];
    let response = metadata::Response::Page(proven);
    let mut stream = Vec::new();
    let error = block_on(metadata::write_response(&mut stream, &response)).expect_err("refused");
    assert!(!error.is_peer_fault() && stream.is_empty());

    let cid = Cid::from_bytes([7; 32]);
    assert_eq!(Announcement::new(cid, 0, Some("")).name, None);
    let long = Announcement::new(cid, 0, Some(&"é".repeat(128)));
    assert_eq!(long.name, Some("é".repeat(127)));
}

/// A breach reaches the caller of a codec of libp2p, which passes on I/O errors
/// only.
#[test]
fn a_breach_survives_as_an_io_error() {
    let refused = block_on(metadata::read_request(&mut &u32::MAX.to_le_bytes()[..]));
    let error = std::io::Error::from(refused.expect_err("too long"));
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let breach = error.get_ref().and_then(|source| source.downcast_ref::<Breach>());
    assert_eq!(breach, Some(&Breach::FrameLength { found: u32::MAX, limit: 4096 }));
}

proptest! {
    #[test]
    fn requests_round_trip(cid: [u8; 32], offset: u64, page: bool) {
        let cid = Cid::from_bytes(cid);
        let request = if page {
            metadata::Request::Page { cid, offset }
        } else {
            metadata::Request::Header { cid, room: 0 }
        };
        let body = metadata::encode_request(&request);
        prop_assert_eq!(metadata::decode_request(&body).expect("decodes"), request);
    }

    #[test]
    fn runs_round_trip(hashes in prop::collection::vec(any::<[u8; 32]>(), 1..=256)) {
        let hashes = hashes.into_iter().map(ChunkHash::from_bytes).collect();
        let request = chunk::Request::Chunks { hashes };
        let mut stream = Vec::new();
        block_on(chunk::write_request(&mut stream, &request)).expect("write");
        let mut stream = stream.as_slice();
        prop_assert_eq!(block_on(chunk::read_request(&mut stream)).expect("read"), Some(request));
        prop_assert_eq!(block_on(chunk::read_request(&mut stream)).expect("the end"), None);
    }

    #[test]
    fn chunks_round_trip(bytes in prop::collection::vec(any::<u8>(), 1..200_000)) {
        let len = u32::try_from(bytes.len()).expect("short");
        let answer = chunk::Answer::Found(Bytes::from(bytes));
        let mut stream = Vec::new();
        block_on(chunk::write_answer(&mut stream, &answer)).expect("write");
        let read = block_on(chunk::read_answer(&mut stream.as_slice(), len)).expect("read");
        prop_assert_eq!(read, answer);
    }

    #[test]
    fn announcements_round_trip_below_the_limit(cid: [u8; 32], size in 0..1_u64 << 50, name: Option<String>) {
        let announcement = Announcement::new(Cid::from_bytes(cid), size, name.as_deref());
        let bytes = announcement.encode();
        prop_assert!(bytes.len() <= dfs_wire::announcement::MAX_LEN);
        prop_assert_eq!(Announcement::decode(&bytes).expect("decodes"), announcement);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = block_on(metadata::read_request(&mut bytes.as_slice()));
        let _ = block_on(metadata::read_response(&mut bytes.as_slice()));
        let _ = Announcement::decode(&bytes);
        let _ = metadata::decode_request(&bytes);
        let _ = metadata::decode_response(&bytes);
        let _ = block_on(chunk::read_request(&mut bytes.as_slice()));
        let _ = block_on(chunk::read_answer(&mut bytes.as_slice(), 300));
    }
}
