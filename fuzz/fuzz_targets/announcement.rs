//! Public announcements.

#![no_main]

use dfs_fuzz as _;
use dfs_wire::Announcement;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(announcement) = Announcement::decode(data) {
        let again = Announcement::decode(&announcement.encode());
        assert_eq!(again.expect("an encoded announcement decodes"), announcement);
    }
});
