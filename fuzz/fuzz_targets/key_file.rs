//! The contents of a key file.

#![no_main]

use dfs_fuzz as _;
use dfs_net::identity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = identity::decode(data);
});
