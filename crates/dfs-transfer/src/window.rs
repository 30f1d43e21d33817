//! The pages being worked on. At most [`MAX_OPEN_PAGES`] pages of leaves are in
//! memory for content of any size; of every other page, only the root is.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use dfs_core::{Leaf, Page, Subtree};

use crate::limits::{MAX_OPEN_PAGES, MAX_RUN};

/// State of a page that is being worked on.
#[derive(Debug)]
enum Slot {
    /// Requested from a peer or from the store.
    Requested,
    /// Verified. The owner commits it and probes which chunks are present.
    Probing {
        page: Page,
        /// Content bytes before the page.
        start: u64,
    },
    /// Its missing chunks are known.
    Open(OpenPage),
}

/// A page some of whose chunks are missing.
#[derive(Debug, Default)]
struct OpenPage {
    /// Chunks to request, in the order of the file. A chunk that is missing from
    /// an earlier open page too is requested for that page only.
    wanted: VecDeque<Leaf>,
    /// Where each missing chunk occurs in the page.
    missing: HashMap<Leaf, Occurrences>,
    /// Content bytes before the page.
    start: u64,
}

/// Where a chunk occurs in a page, in bytes from its start. Nearly all chunks occur
/// once.
#[derive(Debug)]
struct Occurrences {
    first: u64,
    others: Vec<u64>,
}

impl Occurrences {
    fn count(&self) -> u64 {
        1 + self.others.len() as u64
    }

    fn offsets(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

/// Pages of the whole file, in order.
#[derive(Debug)]
pub(crate) struct Window {
    page_count: u64,
    /// First page that is not complete.
    low: u64,
    /// Content bytes before that page.
    low_start: u64,
    /// Complete pages after `low`; fewer than [`MAX_OPEN_PAGES`].
    done: BTreeSet<u64>,
    /// Pages being worked on; all of them lie in `low .. low + MAX_OPEN_PAGES`.
    slots: BTreeMap<u64, Slot>,
    /// Roots of all verified pages.
    roots: BTreeMap<u64, Subtree>,
    /// Chunks stored while the owner was probing a page. The probe may have run
    /// before they were stored.
    stored_while_probing: HashSet<Leaf>,
}

/// A running total of chunks and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) bytes: u64,
    pub(crate) chunks: u64,
}

impl Window {
    /// A window over `page_count` pages. `roots` are those of the pages that an
    /// earlier run has stored.
    pub(crate) fn new(page_count: u64, roots: BTreeMap<u64, Subtree>) -> Self {
        Self {
            page_count,
            low: 0,
            low_start: 0,
            done: BTreeSet::new(),
            slots: BTreeMap::new(),
            roots,
            stored_while_probing: HashSet::new(),
        }
    }

    pub(crate) fn page_count(&self) -> u64 {
        self.page_count
    }

    pub(crate) fn roots(&self) -> &BTreeMap<u64, Subtree> {
        &self.roots
    }

    /// The next page to request, if there is room for one, and its root, if an earlier
    /// run has stored it and the place of the page in the content is known. Otherwise a
    /// peer has to send the page once more, with the proof of its place.
    pub(crate) fn next_page(&self) -> Option<(u64, Option<Subtree>)> {
        let end = self.page_count.min(self.low + MAX_OPEN_PAGES);
        let index = (self.low..end)
            .find(|index| !self.slots.contains_key(index) && !self.done.contains(index))?;
        let root = self.roots.get(&index).copied();
        Some((index, root.filter(|_| self.start_of(index).is_some())))
    }

    /// Records that a page is requested.
    pub(crate) fn page_requested(&mut self, index: u64) {
        self.slots.insert(index, Slot::Requested);
    }

    pub(crate) fn is_requested(&self, index: u64) -> bool {
        matches!(self.slots.get(&index), Some(Slot::Requested))
    }

    /// Records that the request for a page has failed; [`Self::next_page`] returns
    /// the page again.
    pub(crate) fn page_request_failed(&mut self, index: u64) {
        if self.is_requested(index) {
            self.slots.remove(&index);
        }
    }

    /// Records a page that has been verified. `start` is the number of content bytes
    /// before it.
    pub(crate) fn page_verified(&mut self, index: u64, root: Subtree, page: Page, start: u64) {
        self.roots.insert(index, root);
        self.slots.insert(index, Slot::Probing { page, start });
    }

    /// Content bytes before a page, if the roots in between are known.
    pub(crate) fn start_of(&self, index: u64) -> Option<u64> {
        let between = (self.low..index).map(|page| self.roots.get(&page).map(|root| root.len));
        between.sum::<Option<u64>>().map(|len| self.low_start + len)
    }

    /// Forgets the root of a page that the store has lost.
    pub(crate) fn forget_root(&mut self, index: u64) {
        self.roots.remove(&index);
    }

    /// Opens a page of which the owner has found out which chunks are present.
    /// Returns the total of those chunks.
    pub(crate) fn page_probed(&mut self, index: u64, present: &[bool]) -> Tally {
        let Some(Slot::Probing { page, start }) = self.slots.remove(&index) else {
            return Tally::default();
        };
        let mut open = OpenPage { start, ..OpenPage::default() };
        let mut tally = Tally::default();
        let unanswered = std::iter::repeat(&false);
        let mut offset = 0;
        for (&leaf, &present) in page.leaves().iter().zip(present.iter().chain(unanswered)) {
            let here = offset;
            offset += u64::from(leaf.len);
            if present || self.stored_while_probing.contains(&leaf) {
                tally.add(leaf, 1);
                continue;
            }
            match open.missing.entry(leaf) {
                Entry::Occupied(mut known) => known.get_mut().others.push(here),
                Entry::Vacant(new) => {
                    new.insert(Occurrences { first: here, others: Vec::new() });
                    if !self.is_missing(&leaf) {
                        open.wanted.push_back(leaf);
                    }
                }
            }
        }
        self.slots.insert(index, Slot::Open(open));
        self.close(index);
        if !self.is_probing() {
            self.stored_while_probing.clear();
        }
        tally
    }

    /// Takes the next chunks to request, in the order of the file, with their pages:
    /// up to `max` bytes and [`MAX_RUN`] chunks. A first chunk that is longer is
    /// taken alone if it has at most `room` bytes. Chunks for which `is_lacking`
    /// holds stay.
    pub(crate) fn take_run(
        &mut self,
        max: u64,
        room: u64,
        is_lacking: impl Fn(&Leaf) -> bool,
    ) -> Vec<(u64, Leaf)> {
        let (mut run, mut bytes) = (Vec::new(), 0);
        for (&index, slot) in &mut self.slots {
            let Slot::Open(page) = slot else { continue };
            let mut passed_over = Vec::new();
            while let Some(&leaf) = page.wanted.front() {
                if is_lacking(&leaf) {
                    page.wanted.pop_front();
                    passed_over.push(leaf);
                    continue;
                }
                let with_it = bytes + u64::from(leaf.len);
                let fits = with_it <= if run.is_empty() { room } else { max.min(room) };
                if !fits || run.len() >= MAX_RUN {
                    break;
                }
                page.wanted.pop_front();
                run.push((index, leaf));
                bytes = with_it;
            }
            passed_over.into_iter().rev().for_each(|leaf| page.wanted.push_front(leaf));
            if bytes >= max {
                break;
            }
        }
        run
    }

    /// Puts back a chunk that [`Self::take_run`] has returned.
    pub(crate) fn return_chunk(&mut self, index: u64, leaf: Leaf) {
        if let Some(Slot::Open(page)) = self.slots.get_mut(&index) {
            page.wanted.push_front(leaf);
        }
    }

    /// Records that a chunk is in the store, for every page in which it occurs.
    /// Returns the total of those occurrences.
    pub(crate) fn chunk_stored(&mut self, leaf: Leaf) -> Tally {
        let mut tally = Tally::default();
        let mut touched = Vec::new();
        for (&index, slot) in &mut self.slots {
            if let Slot::Open(page) = slot
                && let Some(occurrences) = page.missing.remove(&leaf)
            {
                tally.add(leaf, occurrences.count());
                touched.push(index);
            }
        }
        for index in touched {
            self.close(index);
        }
        if self.is_probing() {
            self.stored_while_probing.insert(leaf);
        }
        tally
    }

    /// Whether an open page lacks this chunk.
    pub(crate) fn is_missing(&self, leaf: &Leaf) -> bool {
        self.slots
            .values()
            .any(|slot| matches!(slot, Slot::Open(page) if page.missing.contains_key(leaf)))
    }

    /// Where a missing chunk stands in the open pages, in bytes of the content.
    pub(crate) fn places(&self, leaf: &Leaf) -> Vec<u64> {
        let mut places = Vec::new();
        for slot in self.slots.values() {
            if let Slot::Open(page) = slot
                && let Some(missing) = page.missing.get(leaf)
            {
                places.extend(missing.offsets().map(|offset| page.start + offset));
            }
        }
        places
    }

    fn is_probing(&self) -> bool {
        self.slots.values().any(|slot| matches!(slot, Slot::Probing { .. }))
    }

    /// Whether there are chunks to request.
    pub(crate) fn has_wanted(&self) -> bool {
        self.slots.values().any(|slot| matches!(slot, Slot::Open(page) if !page.wanted.is_empty()))
    }

    /// Whether every chunk of every page is in the store.
    pub(crate) fn is_complete(&self) -> bool {
        self.low == self.page_count
    }

    /// Drops an open page if it lacks no chunk.
    fn close(&mut self, index: u64) {
        let slot = self.slots.get(&index);
        if matches!(slot, Some(Slot::Open(page)) if page.missing.is_empty()) {
            self.slots.remove(&index);
            self.done.insert(index);
            while self.done.remove(&self.low) {
                // The root of a complete page is known.
                self.low_start += self.roots.get(&self.low).map_or(0, |root| root.len);
                self.low += 1;
            }
        }
    }
}

impl Tally {
    fn add(&mut self, leaf: Leaf, occurrences: u64) {
        self.bytes += u64::from(leaf.len) * occurrences;
        self.chunks += occurrences;
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.chunks += other.chunks;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfs_core::ChunkHash;

    fn leaf(n: u32) -> Leaf {
        Leaf { hash: ChunkHash::of(&n.to_le_bytes()), len: 100 + n }
    }

    fn page(leaves: &[u32]) -> (Page, Subtree) {
        let page = Page::new(leaves.iter().map(|&n| leaf(n)).collect()).expect("a page");
        let root = page.root();
        (page, root)
    }

    #[test]
    fn a_chunk_has_a_place_for_every_occurrence_in_open_pages() {
        let ((first, first_root), (second, second_root)) = (page(&[1, 2, 1]), page(&[3, 1]));
        let mut window = Window::new(3, BTreeMap::new());
        window.page_requested(0);
        window.page_requested(1);
        window.page_verified(1, second_root, second, 304);
        window.page_probed(1, &[false, false]);
        assert_eq!(window.places(&leaf(1)), [304 + 103]);
        window.page_verified(0, first_root, first, 0);
        window.page_probed(0, &[false, true, false]);
        assert_eq!(window.places(&leaf(1)), [0, 203, 304 + 103]);
        assert_eq!(window.places(&leaf(2)), [0; 0], "it is present");
        assert_eq!(window.chunk_stored(leaf(1)), Tally { bytes: 303, chunks: 3 });
        assert_eq!(window.places(&leaf(1)), [0; 0]);
    }

    #[test]
    fn a_page_of_an_earlier_run_has_a_place_if_the_roots_before_it_are_known() {
        let ((first, first_root), (second, second_root)) = (page(&[1, 2]), page(&[3]));
        let (third, third_root) = page(&[4]);
        let roots = BTreeMap::from([(0, first_root), (1, second_root), (2, third_root)]);
        let mut window = Window::new(3, roots);
        window.page_verified(1, second_root, second, window.start_of(1).expect("known"));
        window.page_probed(1, &[false]);
        assert_eq!(window.places(&leaf(3)), [203]);
        window.page_verified(0, first_root, first, 0);
        window.page_probed(0, &[true, true]);
        window.chunk_stored(leaf(3));
        window.page_verified(2, third_root, third, window.start_of(2).expect("known"));
        window.page_probed(2, &[false]);
        assert_eq!(window.places(&leaf(4)), [203 + 103]);

        let mut unknown = Window::new(2, BTreeMap::from([(1, second_root)]));
        assert_eq!(unknown.next_page(), Some((0, None)));
        unknown.page_requested(0);
        assert_eq!(unknown.next_page(), Some((1, None)), "its place is to be proven");
        unknown.page_request_failed(0);
        assert_eq!(unknown.start_of(1), None);
    }
}
