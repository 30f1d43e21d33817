//! The pages that downloads have verified and stored.

use dfs_core::merkle::SUBTREE_LEN;
use dfs_core::{Cid, Subtree};
use serde::{Deserialize, Serialize};

use crate::access::{EachRow, Tables};
use crate::error::{Damage, StoreError};
use crate::layout::{DOWNLOAD_PAGE, Family};
use crate::table::{Key, Record, Table, decode_record, encode_record};

const VERSION: u8 = 1;

/// Rows read at a time.
const ROWS: usize = 1024;

/// [`PageEnd`] to [`DownloadPage`]. There are rows from the first page of a download on until
/// its content is held.
#[derive(Debug)]
pub enum DownloadPages {}

/// A page of a download, found by its end. So the first key behind a content and an offset is
/// that of the page with the byte there, if there is a row of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageEnd {
    /// The content.
    pub cid: Cid,
    /// Content bytes before the end of the page.
    pub end: u64,
}

/// A page that has been verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadPage {
    /// Index of the page in the content.
    pub index: u64,
    /// Its root, under which it is stored.
    pub root: Subtree,
    /// Whether every chunk of the page is present.
    pub is_complete: bool,
}

#[derive(Serialize, Deserialize)]
struct Row {
    index: u64,
    root: Vec<u8>,
    is_complete: bool,
}

impl DownloadPages {
    /// Every page of a download, in the order of the content. A damaged row is an error of its
    /// own.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub fn of(store: &(impl Tables + ?Sized), cid: Cid) -> Result<EachRow<Self>, StoreError> {
        let mut pages = Vec::new();
        let mut after = PageEnd { cid, end: 0 };
        loop {
            let rows = store.scan_each::<Self>(Some(&after), ROWS)?;
            let is_last = rows.len() < ROWS || rows.iter().any(|(key, _)| key.cid != cid);
            pages.extend(rows.into_iter().filter(|(key, _)| key.cid == cid));
            match pages.last() {
                Some((key, _)) if !is_last => after = *key,
                _ => return Ok(pages),
            }
        }
    }

    /// The page of a download with the content byte at `offset`, if there is a row of it, and
    /// the content bytes before the page.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or the row is damaged.
    pub fn at(
        store: &(impl Tables + ?Sized),
        cid: Cid,
        offset: u64,
    ) -> Result<Option<(u64, DownloadPage)>, StoreError> {
        let rows = store.scan::<Self>(Some(&PageEnd { cid, end: offset }), 1)?;
        let page = rows.into_iter().find(|(key, _)| key.cid == cid);
        let page = page.map(|(key, page)| (key.end - page.root.len, page));
        Ok(page.filter(|(start, _)| *start <= offset))
    }
}

impl Key for PageEnd {
    fn encode(&self) -> Vec<u8> {
        [&self.cid.as_bytes()[..], &self.end.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (cid, end) = bytes.split_first_chunk::<32>()?;
        let end = u64::from_be_bytes(end.try_into().ok()?);
        Some(Self { cid: Cid::from_bytes(*cid), end })
    }
}

impl Table for DownloadPages {
    const FAMILY: Family = DOWNLOAD_PAGE;
    type Key = PageEnd;
    type Row = DownloadPage;

    fn encode(page: &DownloadPage) -> Vec<u8> {
        let DownloadPage { index, root, is_complete } = *page;
        encode_record(VERSION, &Row { index, root: root.encode().to_vec(), is_complete })
    }

    fn decode(key: &PageEnd, value: &[u8]) -> Result<DownloadPage, Damage> {
        let Row { index, root, is_complete } = decode_record(VERSION, value)?;
        let root: [u8; SUBTREE_LEN] =
            root.try_into().map_err(|root: Vec<u8>| Damage::PageRootLength { len: root.len() })?;
        let root = Subtree::decode(&root);
        if root.len > key.end {
            return Err(Damage::PageEnd { end: key.end, len: root.len });
        }
        Ok(DownloadPage { index, root, is_complete })
    }
}

impl Record for DownloadPages {}

#[cfg(test)]
mod tests {
    use dfs_core::TreeHash;

    use super::*;
    use crate::batch::Batch;
    use crate::memory::MemoryStore;
    use crate::store::MetaStore;

    fn page(index: u64, len: u64) -> DownloadPage {
        let root = Subtree { hash: TreeHash::from_bytes([7; 32]), len, leaves: 1 };
        DownloadPage { index, root, is_complete: index == 1 }
    }

    #[test]
    fn pages_are_found_by_any_byte_of_theirs_and_those_of_one_content_together() {
        let store = MemoryStore::default();
        let [one, two, three] = [1, 2, 3].map(|n| Cid::from_bytes([n; 32]));
        let mut batch = Batch::default();
        let mut put = |cid, end, page: DownloadPage| {
            batch.put::<DownloadPages>(&PageEnd { cid, end }, &page);
        };
        put(one, 100, page(0, 100));
        put(two, 100, page(0, 100));
        put(two, 400, page(2, 200));
        let many = 3 * ROWS as u64;
        (1..=many).for_each(|end| put(three, end, page(end - 1, 1)));
        store.commit(&batch).expect("commit");

        let ends = |cid| -> Vec<u64> {
            let pages = DownloadPages::of(&store, cid).expect("pages");
            pages.into_iter().map(|(key, _)| key.end).collect()
        };
        assert_eq!(ends(two), [100, 400]);
        assert_eq!(ends(three), (1..=many).collect::<Vec<_>>());
        assert_eq!(ends(Cid::from_bytes([9; 32])), [0; 0]);
        let at = |offset| DownloadPages::at(&store, two, offset).expect("a look");
        assert_eq!(at(0), Some((0, page(0, 100))));
        assert_eq!(at(99), Some((0, page(0, 100))));
        assert_eq!(at(100), None, "there is no row of page 1");
        assert_eq!(at(200), Some((200, page(2, 200))));
        assert_eq!(at(399), Some((200, page(2, 200))));
        assert_eq!(at(400), None, "the next row is of another content");
    }

    #[test]
    fn a_page_longer_than_what_is_before_its_end_is_damage() {
        let key = PageEnd { cid: Cid::from_bytes([1; 32]), end: 99 };
        let decoded = DownloadPages::decode(&key, &DownloadPages::encode(&page(0, 100)));
        assert!(matches!(decoded, Err(Damage::PageEnd { end: 99, len: 100 })), "{decoded:?}");
    }
}
