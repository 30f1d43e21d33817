//! Both messages of `/dfs/chunk/1.0.0`.

#![no_main]

use dfs_fuzz as _;
use dfs_wire::chunk;
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = block_on(chunk::read_request(&mut &*data));
    let _ = block_on(chunk::read_answer(&mut &*data, 1 << 10));
});
