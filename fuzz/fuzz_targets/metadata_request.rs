//! Requests of `/dfs/metadata/1.0.0`, frame and body.

#![no_main]

use dfs_fuzz as _;
use dfs_wire::metadata;
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = block_on(metadata::read_request(&mut &*data));
    if let Ok(request) = metadata::decode_request(data) {
        let again = metadata::decode_request(&metadata::encode_request(&request));
        assert_eq!(again.expect("an encoded request decodes"), request);
    }
});
