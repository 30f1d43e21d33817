//! The codecs from outside: what is written reads back, and no bytes at all
//! make them panic or take memory that has not been sent.

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Kind, Leaf, ManifestBuilder, Profile};
use dfs_wire::{Announcement, WireError, chunk, metadata};
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
    metadata::Response::Page(page, manifest.prove_page(index).expect("the last page"))
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
fn announced_lengths_are_refused_before_they_are_read() {
    let huge = u32::MAX.to_le_bytes();
    let error = block_on(metadata::read_request(&mut &huge[..])).expect_err("too large");
    assert!(matches!(error, WireError::TooLarge { found, .. } if found == u64::from(u32::MAX)));
    assert!(error.is_peer_fault());
    let head = [&[0][..], &huge].concat();
    let error = block_on(chunk::read_response(&mut &head[..])).expect_err("too large");
    assert!(matches!(error, WireError::TooLarge { .. }));
    let short = [&[0][..], &(4_u32 << 20).to_le_bytes(), b"only this"].concat();
    let error = block_on(chunk::read_response(&mut &short[..])).expect_err("cut short");
    assert!(!error.is_peer_fault(), "a broken stream is nobody's lie");
}

#[test]
fn bytes_behind_a_message_are_refused() {
    let mut body = metadata::encode_response(&metadata::Response::NotFound);
    assert!(metadata::decode_response(&body).is_ok());
    body.push(0);
    assert!(matches!(metadata::decode_response(&body), Err(WireError::Malformed { .. })));
}

proptest! {
    #[test]
    fn requests_round_trip(cid: [u8; 32], index: u64, page: bool) {
        let cid = Cid::from_bytes(cid);
        let request = if page {
            metadata::Request::Page { cid, index }
        } else {
            metadata::Request::Header { cid }
        };
        let body = metadata::encode_request(&request);
        prop_assert_eq!(metadata::decode_request(&body).expect("decodes"), request);
    }

    #[test]
    fn chunks_round_trip(bytes in prop::collection::vec(any::<u8>(), 1..200_000)) {
        let response = chunk::Response::Found(Bytes::from(bytes));
        let mut stream = Vec::new();
        block_on(chunk::write_response(&mut stream, &response)).expect("write");
        let read = block_on(chunk::read_response(&mut stream.as_slice())).expect("read");
        prop_assert_eq!(read, response);
    }

    #[test]
    fn announcements_round_trip_below_the_limit(cid: [u8; 32], size in 0..1_u64 << 50, name: Option<String>) {
        let name = name.filter(|name| !name.is_empty());
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
        let _ = block_on(chunk::read_response(&mut bytes.as_slice()));
    }
}
