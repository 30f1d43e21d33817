//! What came with a header: the page of a small content, and its chunks.
//!
//! The machine asks for both as if they were still to be fetched, and the job looks here
//! first. The machine verifies the page; `dfs-net` has verified the chunks.

use std::collections::HashMap;

use dfs_core::{ChunkHash, Leaf, Page};
use dfs_net::{Bytes, PeerId};
use dfs_wire::metadata::Description;

use crate::limits::MAX_EARLY_BYTES;

/// Page and chunks that have not been asked for yet.
#[derive(Default)]
pub(super) struct Early {
    page: Option<(PeerId, Page)>,
    chunks: HashMap<ChunkHash, Bytes>,
}

impl Early {
    /// Keeps what came with the first header.
    pub(super) fn keep(&mut self, peer: PeerId, description: Description) {
        if description.content.len() <= MAX_EARLY_BYTES as usize {
            self.chunks = description.chunks().map(|(leaf, chunk)| (leaf.hash, chunk)).collect();
        }
        self.page = description.page.map(|page| (peer, page));
    }

    /// The page, if it came from the peer that is to be asked for it.
    pub(super) fn take_page(&mut self, peer: PeerId) -> Option<Page> {
        let (_, page) = self.page.take_if(|(from, _)| *from == peer)?;
        Some(page)
    }

    /// The chunks of these leaves, if all of them have come.
    pub(super) fn take_chunks(&mut self, leaves: &[Leaf]) -> Option<Vec<Bytes>> {
        if !leaves.iter().all(|leaf| self.chunks.contains_key(&leaf.hash)) {
            return None;
        }
        leaves.iter().map(|leaf| self.chunks.remove(&leaf.hash)).collect()
    }

    /// Frees the memory of the chunks; they will be fetched.
    pub(super) fn forget_chunks(&mut self) {
        self.chunks = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(chunks: &[&[u8]]) -> Description {
        let whole = chunks.concat();
        let manifest = dfs_core::describe(&whole[..], dfs_core::Profile::default(), |_| Ok(()));
        let leaves = chunks.iter().map(|chunk| Leaf::of(chunk)).collect();
        Description {
            header: *manifest.expect("a small file").header(),
            page: Page::new(leaves),
            content: whole.into(),
        }
    }

    #[test]
    fn a_page_is_given_as_the_answer_of_its_sender_only_and_once() {
        let (sender, other) = (PeerId::random(), PeerId::random());
        let mut early = Early::default();
        let description = description(&[b"one", b"two"]);
        early.keep(sender, description.clone());
        assert_eq!(early.take_page(other), None);
        assert_eq!(early.take_page(sender), description.page);
        assert_eq!(early.take_page(sender), None);
    }

    #[test]
    fn chunks_are_given_all_together_or_not_at_all() {
        let mut early = Early::default();
        early.keep(PeerId::random(), description(&[b"one", b"two"]));
        let leaves = [&b"one"[..], b"two", b"three"].map(Leaf::of);
        assert_eq!(early.take_chunks(&leaves), None);
        let both = [&b"one"[..], b"two"].map(Bytes::from_static);
        assert_eq!(early.take_chunks(&leaves[..2]), Some(both.to_vec()));
        assert_eq!(early.take_chunks(&leaves[..1]), None, "given already");

        early.keep(PeerId::random(), description(&[b"one"]));
        early.forget_chunks();
        assert_eq!(early.take_chunks(&leaves[..1]), None);
    }

    #[test]
    fn more_content_than_was_asked_for_is_not_kept() {
        let mut early = Early::default();
        let long = vec![7; MAX_EARLY_BYTES as usize + 1];
        early.keep(PeerId::random(), description(&[&long]));
        assert_eq!(early.take_chunks(&[Leaf::of(&long)]), None);
    }
}
