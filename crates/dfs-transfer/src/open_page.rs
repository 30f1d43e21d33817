//! One page of leaves some of whose chunks are missing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use dfs_core::{Leaf, Page};

/// A page whose missing chunks are known. Positions are those of leaves in the page, from
/// 0; ranges are bytes of the content.
#[derive(Debug)]
pub(crate) struct OpenPage {
    /// Content bytes before the page.
    start: u64,
    leaves: Vec<Leaf>,
    /// Content bytes before the end of each leaf.
    ends: Vec<u64>,
    /// Where each missing chunk occurs.
    missing: HashMap<Leaf, Occurrences>,
    /// Number of these positions.
    absent: usize,
    /// The same positions in order, without those that a peer has been asked for.
    unasked: BTreeSet<usize>,
}

/// Positions of a chunk. Nearly all chunks occur once.
#[derive(Debug)]
struct Occurrences {
    first: usize,
    others: Vec<usize>,
}

impl Occurrences {
    fn positions(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

impl OpenPage {
    /// Opens a page. `is_present` and `is_asked` say of a leaf and its position whether its
    /// chunk is in the store, and whether a peer has been asked for it.
    pub(crate) fn new(
        page: &Page,
        start: u64,
        is_present: impl Fn(usize, &Leaf) -> bool,
        is_asked: impl Fn(&Leaf) -> bool,
    ) -> Self {
        let leaves = page.leaves().to_vec();
        let mut open = Self {
            start,
            ends: Vec::with_capacity(leaves.len()),
            missing: HashMap::new(),
            absent: 0,
            unasked: BTreeSet::new(),
            leaves,
        };
        let mut end = start;
        for (position, leaf) in open.leaves.iter().enumerate() {
            end += u64::from(leaf.len);
            open.ends.push(end);
            if is_present(position, leaf) {
                continue;
            }
            match open.missing.entry(*leaf) {
                Entry::Occupied(mut known) => known.get_mut().others.push(position),
                Entry::Vacant(new) => {
                    new.insert(Occurrences { first: position, others: Vec::new() });
                }
            }
            open.absent += 1;
            if !is_asked(leaf) {
                open.unasked.insert(position);
            }
        }
        open
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether no peer has been asked for a chunk of the page that is missing.
    pub(crate) fn is_idle(&self) -> bool {
        self.absent == self.unasked.len()
    }

    /// Every chunk of the page with its place in the content, and whether it is missing.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (Range<u64>, bool)> {
        let missing = |leaf| self.missing.contains_key(leaf);
        let leaves = self.leaves.iter().enumerate();
        leaves.map(move |(position, leaf)| (self.place(position), missing(leaf)))
    }

    pub(crate) fn is_missing(&self, leaf: &Leaf) -> bool {
        self.missing.contains_key(leaf)
    }

    /// The first chunk with bytes of the range that no peer has been asked for, at this
    /// position or behind it.
    pub(crate) fn next_unasked(&self, range: &Range<u64>, from: usize) -> Option<(usize, Leaf)> {
        let positions = self.positions(range);
        let positions = positions.start.max(from)..positions.end.max(from);
        self.unasked.range(positions).next().map(|&position| (position, self.leaves[position]))
    }

    /// A peer is asked for a chunk.
    pub(crate) fn asked(&mut self, leaf: &Leaf) {
        let Some(missing) = self.missing.get(leaf) else { return };
        for position in missing.positions() {
            self.unasked.remove(&position);
        }
    }

    /// No peer is asked for a chunk any more, and the page may lack it still.
    pub(crate) fn put_back(&mut self, leaf: &Leaf) {
        let Some(missing) = self.missing.get(leaf) else { return };
        self.unasked.extend(missing.positions());
    }

    /// A chunk is in the store. Returns where it was missing.
    pub(crate) fn stored(&mut self, leaf: &Leaf) -> Vec<Range<u64>> {
        let missing = self.missing.remove(leaf);
        let positions: Vec<_> = missing.iter().flat_map(Occurrences::positions).collect();
        self.absent -= positions.len();
        for position in &positions {
            self.unasked.remove(position);
        }
        positions.into_iter().map(|position| self.place(position)).collect()
    }

    /// Where a missing chunk stands.
    pub(crate) fn places(&self, leaf: &Leaf) -> impl Iterator<Item = Range<u64>> {
        let positions = self.missing.get(leaf).into_iter().flat_map(Occurrences::positions);
        positions.map(|position| self.place(position))
    }

    fn place(&self, position: usize) -> Range<u64> {
        let start = position.checked_sub(1).map_or(self.start, |before| self.ends[before]);
        start..self.ends[position]
    }

    /// The leaves with bytes of a range.
    fn positions(&self, range: &Range<u64>) -> Range<usize> {
        let first = self.ends.partition_point(|end| *end <= range.start);
        // The leaf behind those that end before the end of the range begins before it.
        let ended = self.ends.partition_point(|end| *end < range.end);
        let last = if range.end > self.start { ended + 1 } else { 0 };
        let last = last.min(self.leaves.len());
        first..last.max(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(n: u32) -> Leaf {
        Leaf { len: 10, ..Leaf::of(&n.to_le_bytes()) }
    }

    /// Leaves 1, 2, 1 and 3, ten bytes each, behind 100 others.
    fn page(present: [bool; 4]) -> OpenPage {
        let page = Page::new([1, 2, 1, 3].map(leaf).to_vec()).expect("a page");
        OpenPage::new(&page, 100, |position, _| present[position], |_| false)
    }

    #[test]
    fn a_range_takes_in_every_leaf_that_it_touches() {
        let page = page([false; 4]);
        for (range, positions) in [
            (0..100, 0..0),
            (100..101, 0..1),
            (109..111, 0..2),
            (110..120, 1..2),
            (125..126, 2..3),
            (139..500, 3..4),
            (140..500, 4..4),
            (0..u64::MAX, 0..4),
        ] {
            assert_eq!(page.positions(&range), positions, "{range:?}");
        }
    }

    #[test]
    fn a_chunk_is_asked_for_once_and_stands_wherever_it_occurs() {
        let mut page = page([false, true, false, false]);
        assert_eq!(page.next_unasked(&(0..u64::MAX), 0), Some((0, leaf(1))));
        assert!(page.places(&leaf(1)).eq([100..110, 120..130]));
        assert!(page.is_idle());
        page.asked(&leaf(1));
        assert!(!page.is_idle());
        assert_eq!(page.next_unasked(&(0..u64::MAX), 0), Some((3, leaf(3))));
        assert_eq!(page.next_unasked(&(0..u64::MAX), 4), None);
        page.put_back(&leaf(1));
        assert!(page.is_idle());
        assert_eq!(page.next_unasked(&(112..125), 0), Some((2, leaf(1))));
        let chunks = [(100..110, true), (110..120, false), (120..130, true), (130..140, true)];
        assert!(page.chunks().eq(chunks));
        assert_eq!(page.stored(&leaf(1)), [100..110, 120..130]);
        assert_eq!(page.stored(&leaf(1)), []);
        page.put_back(&leaf(1));
        assert_eq!(page.next_unasked(&(0..u64::MAX), 0), Some((3, leaf(3))));
        assert!(!page.is_complete());
        page.stored(&leaf(3));
        assert!(page.is_complete() && page.next_unasked(&(0..u64::MAX), 0).is_none());
    }
}
