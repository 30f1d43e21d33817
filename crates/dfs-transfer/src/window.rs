//! The pages being worked on. At most [`MAX_OPEN`] pages of leaves are in
//! memory, whatever the size of the file; of all others there is the root.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use dfs_core::{Leaf, Page, Subtree};

/// Pages worked on at a time: the one being finished and the next one.
const MAX_OPEN: u64 = 2;

/// What has become of a page.
#[derive(Debug)]
enum Slot {
    /// Somebody has been asked for it, or the store is being looked at.
    Coming,
    /// Verified; the owner looks which chunks are there.
    Examined(Page),
    /// Its missing chunks are known.
    Open(OpenPage),
}

/// A page some of whose chunks are missing.
#[derive(Debug, Default)]
struct OpenPage {
    /// Chunks to ask for, in the order of the file. A chunk that an earlier
    /// open page misses too is wanted there only.
    wanted: VecDeque<Leaf>,
    /// How often each missing chunk stands in the page.
    occurrences: HashMap<Leaf, u32>,
}

/// Pages of the whole file, in order.
#[derive(Debug)]
pub(crate) struct Window {
    page_count: u64,
    /// First page that is not complete.
    low: u64,
    /// Complete pages behind `low`; fewer than [`MAX_OPEN`].
    done: BTreeSet<u64>,
    /// Pages being worked on; all of them lie in `low .. low + MAX_OPEN`.
    slots: BTreeMap<u64, Slot>,
    /// Roots of all verified pages.
    roots: BTreeMap<u64, Subtree>,
    /// Chunks stored while the owner was looking which ones are there, and so
    /// perhaps not seen.
    unseen: HashSet<Leaf>,
}

/// Bytes and chunks that an event has added to what the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Gain {
    pub(crate) bytes: u64,
    pub(crate) chunks: u64,
}

impl Window {
    /// A window over `page_count` pages, of which an earlier run knew `roots`.
    pub(crate) fn new(page_count: u64, roots: BTreeMap<u64, Subtree>) -> Self {
        Self {
            page_count,
            low: 0,
            done: BTreeSet::new(),
            slots: BTreeMap::new(),
            roots,
            unseen: HashSet::new(),
        }
    }

    pub(crate) fn page_count(&self) -> u64 {
        self.page_count
    }

    pub(crate) fn roots(&self) -> &BTreeMap<u64, Subtree> {
        &self.roots
    }

    /// The next page to get hold of, if there is room for one, and its root,
    /// if an earlier run knew it.
    pub(crate) fn next_page(&self) -> Option<(u64, Option<Subtree>)> {
        let end = self.page_count.min(self.low + MAX_OPEN);
        let index = (self.low..end)
            .find(|index| !self.slots.contains_key(index) && !self.done.contains(index))?;
        Some((index, self.roots.get(&index).copied()))
    }

    /// A page is on its way.
    pub(crate) fn page_coming(&mut self, index: u64) {
        self.slots.insert(index, Slot::Coming);
    }

    pub(crate) fn is_coming(&self, index: u64) -> bool {
        matches!(self.slots.get(&index), Some(Slot::Coming))
    }

    /// The page did not come; it is among the next ones again.
    pub(crate) fn page_lost(&mut self, index: u64) {
        if self.is_coming(index) {
            self.slots.remove(&index);
        }
    }

    /// The page is verified.
    pub(crate) fn page_verified(&mut self, index: u64, root: Subtree, page: Page) {
        self.roots.insert(index, root);
        self.slots.insert(index, Slot::Examined(page));
    }

    /// The stored page is gone, so its root is of no use.
    pub(crate) fn forget_root(&mut self, index: u64) {
        self.roots.remove(&index);
    }

    /// The owner has looked which chunks of a page are there.
    pub(crate) fn page_examined(&mut self, index: u64, present: &[bool]) -> Gain {
        let Some(Slot::Examined(page)) = self.slots.remove(&index) else {
            return Gain::default();
        };
        let mut open = OpenPage::default();
        let mut gain = Gain::default();
        let unknown = std::iter::repeat(&false);
        for (&leaf, &present) in page.leaves().iter().zip(present.iter().chain(unknown)) {
            if present || self.unseen.contains(&leaf) {
                gain.add(leaf, 1);
                continue;
            }
            let occurrences = open.occurrences.entry(leaf).or_insert(0);
            *occurrences += 1;
            if *occurrences == 1 && !self.is_missing(&leaf) {
                open.wanted.push_back(leaf);
            }
        }
        self.slots.insert(index, Slot::Open(open));
        self.close(index);
        if !self.is_examining() {
            self.unseen.clear();
        }
        gain
    }

    /// Takes the next missing chunk of the earliest page.
    pub(crate) fn take_chunk(&mut self) -> Option<(u64, Leaf)> {
        self.slots.iter_mut().find_map(|(&index, slot)| match slot {
            Slot::Open(page) => Some((index, page.wanted.pop_front()?)),
            _ => None,
        })
    }

    /// Puts a chunk back that [`Self::take_chunk`] gave out.
    pub(crate) fn return_chunk(&mut self, index: u64, leaf: Leaf) {
        if let Some(Slot::Open(page)) = self.slots.get_mut(&index) {
            page.wanted.push_front(leaf);
        }
    }

    /// A chunk is in the store, for every page that it stands in.
    pub(crate) fn chunk_stored(&mut self, leaf: Leaf) -> Gain {
        let mut gain = Gain::default();
        let mut touched = Vec::new();
        for (&index, slot) in &mut self.slots {
            if let Slot::Open(page) = slot
                && let Some(occurrences) = page.occurrences.remove(&leaf)
            {
                gain.add(leaf, occurrences);
                touched.push(index);
            }
        }
        for index in touched {
            self.close(index);
        }
        if self.is_examining() {
            self.unseen.insert(leaf);
        }
        gain
    }

    /// Whether an open page misses this chunk.
    pub(crate) fn is_missing(&self, leaf: &Leaf) -> bool {
        self.slots
            .values()
            .any(|slot| matches!(slot, Slot::Open(page) if page.occurrences.contains_key(leaf)))
    }

    fn is_examining(&self) -> bool {
        self.slots.values().any(|slot| matches!(slot, Slot::Examined(_)))
    }

    /// Whether chunks are waiting to be asked for.
    pub(crate) fn has_wanted(&self) -> bool {
        self.slots.values().any(|slot| matches!(slot, Slot::Open(page) if !page.wanted.is_empty()))
    }

    /// Whether every chunk of every page is in the store.
    pub(crate) fn is_complete(&self) -> bool {
        self.low == self.page_count
    }

    /// Drops a page none of whose chunks are missing.
    fn close(&mut self, index: u64) {
        let slot = self.slots.get(&index);
        if matches!(slot, Some(Slot::Open(page)) if page.occurrences.is_empty()) {
            self.slots.remove(&index);
            self.done.insert(index);
            while self.done.remove(&self.low) {
                self.low += 1;
            }
        }
    }
}

impl Gain {
    fn add(&mut self, leaf: Leaf, occurrences: u32) {
        self.bytes += u64::from(leaf.len) * u64::from(occurrences);
        self.chunks += u64::from(occurrences);
    }
}

impl std::ops::AddAssign for Gain {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.chunks += other.chunks;
    }
}
