//! The pages of the content: where each one is, what has been verified of them, and those
//! that are being worked on.
//!
//! At most [`MAX_OPEN_PAGES`] pages of leaves are in memory for content of any size; of
//! every other page, place and root are. Pages are named by the content bytes before them.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use dfs_core::{Header, Leaf, Page, Subtree};
use rangemap::RangeSet;

use crate::event::KnownPage;
use crate::limits::{MAX_OPEN_PAGES, MAX_RUN, PAGES_AHEAD};
use crate::open_page::OpenPage;
use crate::wants::Wants;

/// State of a page that is being worked on.
#[derive(Debug)]
enum Slot {
    /// The owner reads it from the store.
    Loading,
    /// Verified. The owner commits it and probes which chunks are present.
    Probing(Page),
    /// Its missing chunks are known.
    Open(Box<OpenPage>),
}

/// A running total of chunks and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) bytes: u64,
    pub(crate) chunks: u64,
}

impl Tally {
    fn of_chunk(place: &Range<u64>) -> Self {
        Self { bytes: place.end - place.start, chunks: 1 }
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.chunks += other.chunks;
    }
}

impl std::ops::SubAssign for Tally {
    fn sub_assign(&mut self, other: Self) {
        self.bytes -= other.bytes;
        self.chunks -= other.chunks;
    }
}

/// How a page is to be got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It was verified before, and is in the store.
    Load { start: u64, root: Subtree },
    /// A peer has to send the page with this byte.
    Fetch { offset: u64 },
}

/// Every page of the content.
#[derive(Debug)]
pub(crate) struct Pages {
    size: u64,
    /// All pages whose place has been proven.
    known: BTreeMap<u64, KnownPage>,
    /// Bytes of the chunks that are in the store, of all pages that have been looked at.
    present: RangeSet<u64>,
    /// The total of those chunks.
    held: Tally,
    /// Pages being worked on.
    slots: BTreeMap<u64, Slot>,
    /// Pages that have become complete and that the owner has not asked about yet.
    completed: Vec<KnownPage>,
    /// Chunks stored while the owner was probing a page. The probe may have run
    /// before they were stored.
    stored_while_probing: HashSet<Leaf>,
}

impl Pages {
    /// The pages of content with this header. `known` are those that an earlier run has
    /// stored.
    pub(crate) fn new(header: &Header, known: Vec<KnownPage>) -> Self {
        let mut pages = Self {
            size: header.size(),
            known: known.into_iter().map(|page| (page.start, page)).collect(),
            present: RangeSet::new(),
            held: Tally::default(),
            slots: BTreeMap::new(),
            completed: Vec::new(),
            stored_while_probing: HashSet::new(),
        };
        for page in pages.known.values().filter(|page| page.is_complete) {
            pages.present.insert(page.range());
            pages.held.bytes += page.root.len;
            pages.held.chunks += u64::from(page.root.leaves);
        }
        pages
    }

    /// The pages whose place has been proven, in order.
    pub(crate) fn known(&self) -> impl Iterator<Item = &KnownPage> {
        self.known.values()
    }

    pub(crate) fn is_any_known(&self) -> bool {
        !self.known.is_empty()
    }

    /// The pages that have become complete since the last call.
    pub(crate) fn take_completed(&mut self) -> Vec<KnownPage> {
        std::mem::take(&mut self.completed)
    }

    /// Chunks that are in the store, of all pages that have been looked at.
    pub(crate) fn held(&self) -> Tally {
        self.held
    }

    /// Whether every chunk of the content is in the store.
    pub(crate) fn is_complete(&self) -> bool {
        self.size == 0 || self.present.get(&0).is_some_and(|range| range.end == self.size)
    }

    /// Whether everything that is wanted is in the store.
    pub(crate) fn satisfy(&self, wants: &Wants) -> bool {
        wants.ranges().all(|range| self.needed_for(range).next().is_none())
    }

    /// The next page to get, with the most urgent first. Pages with a byte for which
    /// `is_fetching` holds are on their way; there are `fetching` of them. May close a page
    /// that nothing is wanted of.
    pub(crate) fn next(
        &mut self,
        wants: &Wants,
        fetching: usize,
        is_fetching: impl Fn(u64) -> bool,
    ) -> Option<Next> {
        let mut needed = Vec::new();
        for range in wants.ranges() {
            needed.extend(self.needed_for(range).take(PAGES_AHEAD));
        }
        needed.truncate(MAX_OPEN_PAGES);
        let is_at_work = |offset| is_fetching(offset) || self.slots.contains_key(&offset);
        let next = needed.iter().copied().find(|&offset| !is_at_work(offset))?;
        if self.slots.len() + fetching >= MAX_OPEN_PAGES {
            // What arrives for a closed page is lost.
            let is_idle = |slot: &Slot| matches!(slot, Slot::Open(page) if page.is_idle());
            let unneeded = self
                .slots
                .iter()
                .find(|(start, slot)| is_idle(slot) && !needed.contains(*start))
                .map(|(&start, _)| start)?;
            // It can be loaded again.
            self.slots.remove(&unneeded);
        }
        Some(match self.known.get(&next) {
            Some(page) => {
                self.slots.insert(next, Slot::Loading);
                Next::Load { start: next, root: page.root }
            }
            None => Next::Fetch { offset: next },
        })
    }

    /// A page that the owner was to load is not in the store.
    pub(crate) fn lost(&mut self, start: u64) {
        if self.is_loading(start) {
            self.slots.remove(&start);
            self.known.remove(&start);
        }
    }

    /// The root of a page that the owner is loading.
    pub(crate) fn loading(&self, start: u64) -> Option<KnownPage> {
        self.known.get(&start).filter(|_| self.is_loading(start)).copied()
    }

    /// A page has been verified. Returns whether the owner is to probe it, which is not so
    /// if it is being worked on already, or complete.
    pub(crate) fn verified(&mut self, known: KnownPage, page: &Page) -> bool {
        let start = known.start;
        let is_complete = self.known.get(&start).is_some_and(|page| page.is_complete);
        let is_new =
            !is_complete && self.slots.get(&start).is_none_or(|slot| matches!(slot, Slot::Loading));
        if is_new {
            self.known.insert(start, known);
            self.slots.insert(start, Slot::Probing(page.clone()));
        }
        is_new
    }

    /// Opens a page of which the owner has found out which chunks are present. `is_asked`
    /// says whether a peer has been asked for a chunk.
    pub(crate) fn probed(
        &mut self,
        start: u64,
        present: &[bool],
        is_asked: impl Fn(&Leaf) -> bool,
    ) {
        let Some(Slot::Probing(page)) = self.slots.get(&start) else { return };
        let is_present = |position: usize, leaf: &Leaf| {
            present.get(position) == Some(&true) || self.stored_while_probing.contains(leaf)
        };
        let open = OpenPage::new(page, start, is_present, is_asked);
        for (place, is_missing) in open.chunks() {
            if self.present.contains(&place.start) != is_missing {
                continue;
            }
            if is_missing {
                self.held -= Tally::of_chunk(&place);
                self.present.remove(place);
            } else {
                self.held += Tally::of_chunk(&place);
                self.present.insert(place);
            }
        }
        self.slots.insert(start, Slot::Open(Box::new(open)));
        self.finish_complete();
        if !self.is_probing() {
            self.stored_while_probing.clear();
        }
    }

    /// Takes the next chunks to ask for, the most urgent first and then in the order of the
    /// content: up to `max` bytes and [`MAX_RUN`] chunks. A first chunk that is longer is
    /// taken alone if it has at most `room` bytes. Chunks for which `is_lacking` holds stay.
    pub(crate) fn take_run(
        &mut self,
        wants: &Wants,
        max: u64,
        room: u64,
        is_lacking: impl Fn(&Leaf) -> bool,
    ) -> Vec<Leaf> {
        let (mut run, mut bytes) = (Vec::new(), 0);
        for range in wants.ranges() {
            let open: Vec<u64> = self.open().map(|(start, _)| start).collect();
            for start in open {
                let mut from = 0;
                while let Some((position, leaf)) = self.next_unasked(start, range, from) {
                    from = position + 1;
                    if is_lacking(&leaf) {
                        continue;
                    }
                    let with_it = bytes + u64::from(leaf.len);
                    let limit = if run.is_empty() { room } else { max.min(room) };
                    if with_it > limit || run.len() >= MAX_RUN {
                        return run;
                    }
                    self.open_mut().for_each(|page| page.asked(&leaf));
                    run.push(leaf);
                    bytes = with_it;
                }
            }
        }
        run
    }

    /// Puts back a chunk that [`Self::take_run`] has returned.
    pub(crate) fn put_back(&mut self, leaf: &Leaf) {
        self.open_mut().for_each(|page| page.put_back(leaf));
    }

    /// A chunk is in the store.
    pub(crate) fn stored(&mut self, leaf: Leaf) {
        let places: Vec<_> = self.open_mut().flat_map(|page| page.stored(&leaf)).collect();
        // The owner has dropped a chunk that no open page lacks.
        if places.is_empty() {
            return;
        }
        for place in places {
            self.held += Tally::of_chunk(&place);
            self.present.insert(place);
        }
        self.finish_complete();
        if self.is_probing() {
            self.stored_while_probing.insert(leaf);
        }
    }

    /// Whether an open page lacks this chunk.
    pub(crate) fn is_missing(&self, leaf: &Leaf) -> bool {
        self.open().any(|(_, page)| page.is_missing(leaf))
    }

    /// Where a missing chunk stands in the open pages.
    pub(crate) fn places(&self, leaf: &Leaf) -> impl Iterator<Item = Range<u64>> {
        self.open().flat_map(|(_, page)| page.places(leaf))
    }

    /// Whether a chunk that has been asked for is of use still. Of a page that is being looked
    /// at it is not known.
    pub(crate) fn is_of_use(&self, wants: &Wants, leaf: &Leaf) -> bool {
        let is_unknown = self.slots.values().any(|slot| !matches!(slot, Slot::Open(_)));
        is_unknown || self.places(leaf).any(|place| wants.overlap(&place))
    }

    /// Whether there are chunks to ask for.
    pub(crate) fn has_unasked(&self, wants: &Wants) -> bool {
        let mut ranges = wants.ranges();
        ranges.any(|range| self.open().any(|(_, page)| page.next_unasked(range, 0).is_some()))
    }

    /// The pages that lack bytes of a range, in order, each by its first byte. The first one
    /// whose place is unknown ends them, by a byte of it.
    fn needed_for(&self, range: &Range<u64>) -> impl Iterator<Item = u64> {
        let end = range.end.min(self.size);
        let mut at = Some(range.start);
        std::iter::from_fn(move || {
            while let Some(offset) = at.filter(|&offset| offset < end) {
                if let Some(present) = self.present.get(&offset) {
                    at = Some(present.end);
                    continue;
                }
                let page = self.known_at(offset);
                at = page.map(|page| page.range().end);
                return Some(page.map_or(offset, |page| page.start));
            }
            None
        })
    }

    fn known_at(&self, offset: u64) -> Option<&KnownPage> {
        let (_, page) = self.known.range(..=offset).next_back()?;
        (offset < page.range().end).then_some(page)
    }

    fn next_unasked(&self, start: u64, range: &Range<u64>, from: usize) -> Option<(usize, Leaf)> {
        match self.slots.get(&start) {
            Some(Slot::Open(page)) => page.next_unasked(range, from),
            _ => None,
        }
    }

    fn open(&self) -> impl Iterator<Item = (u64, &OpenPage)> {
        self.slots.iter().filter_map(|(&start, slot)| match slot {
            Slot::Open(page) => Some((start, &**page)),
            _ => None,
        })
    }

    fn open_mut(&mut self) -> impl Iterator<Item = &mut OpenPage> {
        self.slots.values_mut().filter_map(|slot| match slot {
            Slot::Open(page) => Some(&mut **page),
            _ => None,
        })
    }

    fn is_loading(&self, start: u64) -> bool {
        matches!(self.slots.get(&start), Some(Slot::Loading))
    }

    fn is_probing(&self) -> bool {
        self.slots.values().any(|slot| matches!(slot, Slot::Probing(_)))
    }

    /// Drops the open pages that lack no chunk.
    fn finish_complete(&mut self) {
        let is_complete = |slot: &Slot| matches!(slot, Slot::Open(page) if page.is_complete());
        for (start, _) in self.slots.extract_if(.., |_, slot| is_complete(slot)) {
            if let Some(page) = self.known.get_mut(&start) {
                page.is_complete = true;
                self.completed.push(*page);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dfs_core::{Kind, ManifestBuilder, Profile};

    use super::*;
    use crate::event::{Priority, WantId};

    const LEN: u64 = 1 << 16;

    fn leaf(n: u32) -> Leaf {
        Leaf { len: 1 << 16, ..Leaf::of(&n.to_le_bytes()) }
    }

    /// The pages of a content of so many chunks.
    fn content(chunks: u32) -> (Pages, Vec<(KnownPage, Page)>) {
        let mut builder = ManifestBuilder::new(Kind::File(Profile::Fixed));
        let mut cut: Vec<_> =
            (0..chunks).filter_map(|n| builder.push(leaf(n)).expect("small")).collect();
        let (manifest, last) = builder.finish().expect("full chunks");
        cut.extend(last);
        let mut start = 0;
        let place = |(index, (root, page))| {
            let known = KnownPage { index, start, root, is_complete: false };
            start = known.range().end;
            (known, page)
        };
        (Pages::new(manifest.header(), Vec::new()), (0..).zip(cut).map(place).collect())
    }

    fn open(pages: &mut Pages, (known, page): &(KnownPage, Page), is_present: bool) {
        assert!(pages.verified(*known, page));
        pages.probed(known.start, &vec![is_present; page.leaves().len()], |_| false);
    }

    fn wants(ranges: impl IntoIterator<Item = Range<u64>>) -> Wants {
        let mut wants = Wants::default();
        for (id, range) in (0..).zip(ranges) {
            wants.set(WantId::new(id), range, Priority::Bulk);
        }
        wants
    }

    fn everything() -> Wants {
        wants(std::iter::once(0..u64::MAX))
    }

    fn chunk(n: u64) -> Range<u64> {
        n * LEN..(n + 1) * LEN
    }

    #[test]
    fn a_page_is_asked_for_by_the_first_byte_whose_page_is_not_known() {
        let (mut pages, cut) = content(9000);
        let (middle, all) = (wants([chunk(5000)]), everything());
        let next = pages.next(&middle, 0, |_| false);
        assert_eq!(next, Some(Next::Fetch { offset: 5000 * LEN }));
        assert_eq!(pages.next(&middle, 1, |offset| offset == 5000 * LEN), None);
        let page = cut.iter().find(|(page, _)| page.range().contains(&(5000 * LEN))).expect("one");
        open(&mut pages, page, false);
        assert_eq!(pages.next(&middle, 0, |_| false), None, "it is open");
        assert_eq!(pages.take_run(&middle, u64::MAX, u64::MAX, |_| false), [leaf(5000)]);
        assert!(!pages.satisfy(&middle));
        pages.stored(leaf(5000));
        assert!(pages.satisfy(&middle) && !pages.satisfy(&all));
        assert_eq!(pages.held(), Tally { bytes: LEN, chunks: 1 });
        assert_eq!(pages.next(&all, 0, |_| false), Some(Next::Fetch { offset: 0 }));
    }

    #[test]
    fn what_is_urgent_is_asked_for_first() {
        let (mut pages, cut) = content(100);
        open(&mut pages, &cut[0], false);
        let mut wants = everything();
        wants.set(WantId::new(9), 50 * LEN + 1..52 * LEN, Priority::Playhead);
        let run = pages.take_run(&wants, 3 * LEN, u64::MAX, |_| false);
        assert_eq!(run, [50, 51, 0].map(leaf));
        pages.put_back(&leaf(51));
        let run = pages.take_run(&wants, 2 * LEN, u64::MAX, |chunk| *chunk == leaf(1));
        assert_eq!(run, [51, 2].map(leaf));
    }

    #[test]
    fn a_page_that_nothing_is_needed_of_makes_room_and_stays_counted() {
        let (mut pages, cut) = content(40_000);
        assert!(cut.len() > MAX_OPEN_PAGES, "{} pages", cut.len());
        let first_of = |n: usize| cut[n].0.start..cut[n].0.start + 1;
        let wants = wants((0..=MAX_OPEN_PAGES).map(first_of));
        for page in &cut[..MAX_OPEN_PAGES] {
            open(&mut pages, page, false);
        }
        assert_eq!(pages.next(&wants, 0, |_| false), None, "there is no room");
        let first = cut[3].1.leaves()[0];
        pages.stored(first);
        let offset = cut[MAX_OPEN_PAGES].0.start;
        assert_eq!(pages.next(&wants, 0, |_| false), Some(Next::Fetch { offset }));
        assert_eq!(pages.held().chunks, 1);
        assert!(!pages.is_missing(&cut[3].1.leaves()[1]), "its page is closed");
        open(&mut pages, &cut[MAX_OPEN_PAGES], false);
        assert_eq!(pages.next(&wants, 0, |_| false), None, "what it has is not needed again");

        // The store has lost the chunk meanwhile.
        open(&mut pages, &cut[3], false);
        assert_eq!(pages.held().chunks, 0);
        assert!(pages.is_missing(&first));
    }

    #[test]
    fn a_chunk_that_no_open_page_lacks_does_not_count_as_stored() {
        let (mut pages, cut) = content(10);
        let (known, page) = &cut[0];
        assert!(pages.verified(*known, page));
        pages.stored(leaf(0));
        pages.probed(0, &[false; 10], |_| false);
        assert!(pages.is_missing(&leaf(0)));
    }

    #[test]
    fn a_chunk_stored_while_its_second_page_is_probed_is_present_in_both() {
        let (mut pages, _) = content(0);
        pages.size = u64::MAX;
        let page = |start, leaves: &[u32]| {
            let page = Page::new(leaves.iter().map(|&n| leaf(n)).collect()).expect("a page");
            (KnownPage { index: start / LEN, start, root: page.root(), is_complete: false }, page)
        };
        let (first, second) = (page(0, &[1, 2, 1]), page(3 * LEN, &[3, 1]));
        open(&mut pages, &first, false);
        assert!(pages.places(&leaf(1)).eq([chunk(0), chunk(2)]));
        assert!(pages.verified(second.0, &second.1));
        pages.stored(leaf(1));
        pages.probed(second.0.start, &[false, false], |_| false);
        assert_eq!(pages.held().chunks, 3);
        assert!(pages.places(&leaf(1)).next().is_none());
    }

    #[test]
    fn a_page_that_an_earlier_run_has_completed_is_not_looked_at() {
        let (_, cut) = content(9000);
        let known = cut.iter().map(|(page, _)| KnownPage { is_complete: page.index != 1, ..*page });
        let header = {
            let roots: Vec<_> = cut.iter().map(|(page, _)| page.root).collect();
            let root = dfs_core::merkle::root_of(roots.iter().copied()).expect("pages");
            let count = u32::try_from(roots.len()).expect("few");
            Header::new(Kind::File(Profile::Fixed), count, root).expect("a header")
        };
        let mut pages = Pages::new(&header, known.collect());
        let all = everything();
        let (second, page) = &cut[1];
        let load = Next::Load { start: second.start, root: second.root };
        assert_eq!(pages.next(&all, 0, |_| false), Some(load));
        assert_eq!(pages.next(&all, 0, |_| false), None);
        assert_eq!(pages.loading(second.start), Some(*second));
        open(&mut pages, &(*second, page.clone()), true);
        assert!(pages.is_complete());
        let completed = KnownPage { is_complete: true, ..*second };
        assert_eq!(pages.take_completed(), [completed]);
        assert_eq!(pages.take_completed(), []);
        assert_eq!(pages.held(), Tally { bytes: 9000 * LEN, chunks: 9000 });
    }

    #[test]
    fn a_page_that_the_store_has_lost_is_fetched_again() {
        let (mut pages, cut) = content(10);
        let all = everything();
        pages.known.insert(0, cut[0].0);
        let load = Next::Load { start: 0, root: cut[0].0.root };
        assert_eq!(pages.next(&all, 0, |_| false), Some(load));
        pages.lost(0);
        assert_eq!(pages.next(&all, 0, |_| false), Some(Next::Fetch { offset: 0 }));
    }
}
