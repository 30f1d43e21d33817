//! Responses of `/dfs/metadata/1.0.0`, frame and body: headers, pages, proofs.

#![no_main]

use dfs_fuzz as _;
use dfs_wire::metadata;
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = block_on(metadata::read_response(&mut &*data));
    if let Ok(response) = metadata::decode_response(data) {
        let again = metadata::decode_response(&metadata::encode_response(&response));
        assert_eq!(again.expect("an encoded response decodes"), response);
    }
});
