//! The world of a run: a content, its peers, and what the owner of the machine does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use dfs_core::{
    ChunkHash, Header, Kind, Leaf, Manifest, ManifestBuilder, Page, Profile, ProvenPage, TreeHash,
};
use dfs_transfer::{
    Action, Config, Download, Event, Fault, KnownPage, Priority, RunId, Status, WantId,
};

/// How a simulated peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Honest {
        delay_ms: u64,
    },
    Flaky,
    Busy,
    Silent,
    /// Sends one byte now and then: its requests neither fail nor end.
    Trickling,
    Absent,
    LiesAboutHeaders,
    LiesAboutPages,
    LiesAboutChunks,
    /// Holds every other chunk.
    Half,
}

/// A file that exists only as a tree of hashes.
pub(crate) struct Content {
    pub manifest: Manifest,
    pub pages: Vec<Page>,
    /// Chunks of the content, each numbered by its first occurrence; the same chunks follow
    /// one another again and again.
    distinct: HashMap<ChunkHash, u64>,
}

impl Content {
    pub(crate) fn prove(&self, index: u64) -> ProvenPage {
        let page = self.pages[index as usize].clone();
        let proof = self.manifest.prove_page(index).expect("a page of the file");
        ProvenPage { index, page, proof }
    }

    /// Where a chunk stands.
    fn places(&self, leaf: &Leaf) -> impl Iterator<Item = Range<u64>> {
        let chunks = self.manifest.header().chunk_count();
        let step = self.distinct.len();
        (self.distinct[&leaf.hash]..chunks).step_by(step).map(|n| n * CHUNK..(n + 1) * CHUNK)
    }

    /// The pages, as an earlier run has recorded them.
    pub(crate) fn known(&self, is_complete: bool) -> Vec<KnownPage> {
        let page = |(index, &root): (u64, _), start: &mut u64| {
            let page = KnownPage { index, start: *start, root, is_complete };
            *start = page.range().end;
            page
        };
        let mut start = 0;
        (0..).zip(self.manifest.page_roots()).map(|root| page(root, &mut start)).collect()
    }
}

/// Everything is wanted.
pub(crate) fn all() -> Event<u32> {
    want(0, 0..u64::MAX, Priority::Bulk)
}

pub(crate) fn want(number: u64, range: Range<u64>, priority: Priority) -> Event<u32> {
    Event::Want { id: WantId::new(number), range, priority }
}

pub(crate) fn content(chunks: u32, distinct: u32) -> Content {
    let mut builder = ManifestBuilder::new(Kind::File(Profile::FastCdc1M));
    let mut pages = Vec::new();
    for n in 0..chunks {
        let hash = ChunkHash::of(&(n % distinct).to_le_bytes());
        let page = builder.push(Leaf { hash, len: 1 << 20 }).expect("a file within the limits");
        pages.extend(page.map(|(_, page)| page));
    }
    let (manifest, last) = builder.finish().expect("full chunks make a file");
    pages.extend(last.map(|(_, page)| page));
    let number = |n: u32| (ChunkHash::of(&n.to_le_bytes()), u64::from(n));
    Content { manifest, pages, distinct: (0..distinct.min(chunks)).map(number).collect() }
}

/// A xorshift generator, so that a run depends on its seed alone.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Self(seed | 1);
        // The first rolls of neighbouring seeds are alike.
        (0..8).fold(0, |_, _| dice.roll(2));
        dice
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// How a run ended, and what it cost.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub end: Action<u32>,
    pub elapsed: Duration,
    pub fetched: HashMap<ChunkHash, u32>,
    pub banned: HashSet<u32>,
}

struct World<'a> {
    content: &'a Content,
    natures: &'a [Nature],
    dice: Dice,
    now: Instant,
    /// Events to come: time, and serial number for the order.
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: HashMap<u64, Event<u32>>,
    serial: u64,
    stored: HashSet<ChunkHash>,
    /// For each chunk: when it was last requested, and in which runs.
    inflight: HashMap<ChunkHash, (Instant, Vec<RunId>)>,
    /// Peer and unanswered chunks of each run that is not cancelled.
    runs: HashMap<RunId, (u32, Vec<Leaf>)>,
    full_for: u32,
    /// What is wanted now.
    wants: HashMap<WantId, Range<u64>>,
    outcome: Outcome,
}

const MAX_INFLIGHT: u64 = 8 << 20;
/// Length of every chunk.
pub(crate) const CHUNK: u64 = 1 << 20;
/// Runs that contain one chunk, besides the one that is being sent.
const MAX_COPIES: usize = 3;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Time that a trickling peer takes for an answer.
const TRICKLE: Duration = Duration::from_secs(3600);
/// No chunk is requested twice within this time.
const SLOW_REQUEST: Duration = Duration::from_secs(5);

impl World<'_> {
    fn later(&mut self, delay: Duration, event: Event<u32>) {
        self.serial += 1;
        self.queue.push(Reverse((self.now + delay, self.serial)));
        self.events.insert(self.serial, event);
    }

    /// When a peer answers a request, and with which fault, if any.
    fn answer(&mut self, peer: u32) -> (Duration, Result<(), Fault>) {
        let ms = Duration::from_millis;
        match self.natures[peer as usize] {
            Nature::Honest { delay_ms } => (ms(delay_ms), Ok(())),
            Nature::Flaky if self.dice.roll(2) == 0 => (ms(5), Err(Fault::Unreachable)),
            Nature::Busy if self.dice.roll(3) > 0 => (ms(3), Err(Fault::Busy { retry: ms(200) })),
            Nature::Silent => (REQUEST_TIMEOUT, Err(Fault::TimedOut)),
            Nature::Trickling => (TRICKLE, Ok(())),
            Nature::Absent => (ms(30), Err(Fault::Unreachable)),
            _ => (ms(10), Ok(())),
        }
    }

    /// What a peer answers when it is asked for the header, and when.
    fn header(&mut self, peer: u32) -> (Duration, Result<Header, Fault>) {
        let (delay, result) = self.answer(peer);
        let lies = self.natures[peer as usize] == Nature::LiesAboutHeaders;
        let header = if lies { other_header() } else { *self.content.manifest.header() };
        (delay, result.map(|()| header))
    }

    fn perform(&mut self, action: Action<u32>) {
        match action {
            Action::Discover => {
                for peer in 0..self.natures.len() {
                    let peer = u32::try_from(peer).expect("few peers");
                    if self.dice.roll(2) == 0 {
                        let delay = Duration::from_millis(self.dice.roll(50));
                        self.later(delay, Event::Provider(peer));
                    } else {
                        let (delay, result) = self.header(peer);
                        self.later(delay, Event::Offer { peer, result });
                    }
                }
                self.later(Duration::from_millis(60), Event::DiscoveryEnded);
            }
            Action::FetchHeader { peer } => {
                self.check_not_banned(peer);
                let (delay, result) = self.header(peer);
                self.later(delay, Event::Header { peer, result });
            }
            Action::FetchPage { peer, offset } => {
                self.check_not_banned(peer);
                let (delay, result) = self.answer(peer);
                let page = self.page(peer, offset);
                self.later(delay, Event::Page { peer, offset, result: result.map(|()| page) });
            }
            Action::LoadPage { start, .. } => {
                let (index, _) = self.content.manifest.page_at(start).expect("a page");
                let page = Some(self.content.pages[index as usize].clone());
                self.later(Duration::ZERO, Event::PageLoaded { start, page });
            }
            Action::CommitPage { known: KnownPage { start, .. }, page } => {
                let present =
                    page.leaves().iter().map(|leaf| self.stored.contains(&leaf.hash)).collect();
                self.later(Duration::from_millis(1), Event::PageCommitted { start, present });
            }
            Action::FetchChunks { peer, run, leaves } => self.fetch_chunks(peer, run, leaves),
            Action::Cancel { run } => self.end_run(run),
            Action::Ban { peer } => assert!(self.outcome.banned.insert(peer), "banned twice"),
            end @ (Action::Complete { .. } | Action::Fail(_)) => self.outcome.end = end,
        }
    }

    fn fetch_chunks(&mut self, peer: u32, run: RunId, leaves: Vec<Leaf>) {
        self.check_not_banned(peer);
        assert!(!leaves.is_empty() && leaves.len() <= 256);
        for leaf in &leaves {
            let is_wanted = self.content.places(leaf).any(|place| {
                self.wants.values().any(|want| want.start < place.end && place.start < want.end)
            });
            assert!(is_wanted, "requested a chunk that is not wanted");
            assert!(!self.stored.contains(&leaf.hash), "requested a chunk that is stored");
            let (last, runs) = self
                .inflight
                .entry(leaf.hash)
                .or_insert_with(|| (self.now - SLOW_REQUEST, Vec::new()));
            assert!(*last + SLOW_REQUEST <= self.now, "requested again too soon");
            let asks = |run: &RunId| self.runs.get(run).is_some_and(|(asked, _)| *asked == peer);
            assert!(!runs.iter().any(asks), "asked the same peer again");
            assert!(runs.len() <= MAX_COPIES, "{} copies in flight", runs.len());
            *last = self.now;
            runs.push(run);
        }
        let bytes = self.inflight.len() as u64 * CHUNK;
        assert!(bytes <= MAX_INFLIGHT, "too much in flight");
        let mut delay = Duration::ZERO;
        for &leaf in &leaves {
            let (after, result) = self.answer(peer);
            delay += after;
            let half = self.natures[peer as usize] == Nature::Half;
            let event = match result {
                Ok(()) if self.natures[peer as usize] == Nature::LiesAboutChunks => {
                    Event::RunFailed { run, fault: Fault::Breach }
                }
                Ok(()) if half && leaf.hash.as_bytes()[0] % 2 == 1 => Event::NotHeld { run, leaf },
                Ok(()) => Event::Chunk { run, leaf },
                Err(fault) => Event::RunFailed { run, fault },
            };
            let is_last = matches!(event, Event::RunFailed { .. });
            if matches!(event, Event::Chunk { .. }) && self.full_for > 0 {
                self.full_for -= 1;
                let pause = Duration::from_secs(1000);
                self.later(delay, Event::StoreFull { retry: self.now + pause });
                self.later(delay + pause, Event::StoreFree);
            }
            self.later(delay, event);
            if is_last {
                break;
            }
        }
        self.runs.insert(run, (peer, leaves));
    }

    /// A run is cancelled or has failed. Its events may still come, and must have no
    /// effect.
    fn end_run(&mut self, run: RunId) {
        let (_, leaves) = self.runs.remove(&run).unwrap_or_default();
        for leaf in leaves {
            self.end_copy(run, leaf);
        }
    }

    fn end_copy(&mut self, run: RunId, leaf: Leaf) {
        if let Some((_, runs)) = self.inflight.get_mut(&leaf.hash) {
            runs.retain(|copy| *copy != run);
            if runs.is_empty() {
                self.inflight.remove(&leaf.hash);
            }
        }
    }

    fn page(&self, peer: u32, offset: u64) -> ProvenPage {
        let (index, _) = self.content.manifest.page_at(offset).expect("a byte of the file");
        let proven = self.content.prove(index);
        if self.natures[peer as usize] != Nature::LiesAboutPages {
            return proven;
        }
        if self.content.pages.len() > 1 && peer.is_multiple_of(2) {
            // A page of the content, and not the one that was asked for.
            return self.content.prove((index + 1) % self.content.pages.len() as u64);
        }
        let mut leaves = proven.page.leaves().to_vec();
        leaves[0].hash = ChunkHash::of(b"something else");
        ProvenPage { page: Page::new(leaves).expect("as many leaves"), ..proven }
    }

    fn check_not_banned(&self, peer: u32) {
        assert!(!self.outcome.banned.contains(&peer), "asked a banned peer");
    }

    /// Checks where the machine says that a missing chunk stands.
    fn check_places(&self, leaf: &Leaf, places: &[u64]) {
        assert!(places.is_sorted() && !places.is_empty(), "{places:?}");
        for place in places {
            assert!(self.content.places(leaf).any(|range| range.start == *place));
        }
    }

    /// What the owner of the machine does before it passes on an event. It drops a chunk that
    /// is not missing.
    fn settle(&mut self, event: &Event<u32>, is_missing: bool) {
        match event {
            Event::Want { id, range, .. } => {
                self.wants.insert(*id, range.clone());
            }
            Event::Unwanted { id } => {
                self.wants.remove(id);
            }
            Event::Chunk { run, leaf } => {
                let Some((_, owed)) = self.runs.get_mut(run) else { return };
                owed.retain(|owed| owed != leaf);
                self.inflight.remove(&leaf.hash);
                if is_missing && self.stored.insert(leaf.hash) {
                    *self.outcome.fetched.entry(leaf.hash).or_insert(0) += 1;
                }
            }
            Event::NotHeld { run, leaf } => {
                let Some((_, owed)) = self.runs.get_mut(run) else { return };
                owed.retain(|owed| owed != leaf);
                self.end_copy(*run, *leaf);
            }
            Event::RunFailed { run, .. } => self.end_run(*run),
            _ => {}
        }
    }
}

fn other_header() -> Header {
    let root = dfs_core::Subtree { hash: TreeHash::from_bytes([9; 32]), len: 5, leaves: 1 };
    Header::new(Kind::File(Profile::Fixed), 1, root).expect("a header of some other file")
}

/// Gets all of the content.
pub(crate) fn run(content: &Content, natures: &[Nature], seed: u64, full_for: u32) -> Outcome {
    run_script(content, natures, seed, full_for, vec![(Duration::ZERO, all())])
}

/// Plays what the owner wants, each at its time.
pub(crate) fn run_script(
    content: &Content,
    natures: &[Nature],
    seed: u64,
    full_for: u32,
    script: Vec<(Duration, Event<u32>)>,
) -> Outcome {
    let start = Instant::now();
    let timeout = Duration::from_secs(300);
    let mut config = Config::default();
    config.timeout = timeout;
    config.max_inflight = MAX_INFLIGHT;
    let mut download = Download::new(content.manifest.cid(), config, start);
    let mut world = World {
        content,
        natures,
        dice: Dice::new(seed),
        now: start,
        queue: BinaryHeap::new(),
        events: HashMap::new(),
        serial: 0,
        stored: HashSet::new(),
        inflight: HashMap::new(),
        runs: HashMap::new(),
        full_for,
        wants: HashMap::new(),
        outcome: Outcome {
            end: Action::Discover,
            elapsed: Duration::ZERO,
            fetched: HashMap::new(),
            banned: HashSet::new(),
        },
    };
    script.into_iter().for_each(|(delay, event)| world.later(delay, event));
    let mut event = Event::Wake;
    for _ in 0..2_000_000 {
        let mut is_missing = false;
        if let Event::Chunk { leaf, .. } = &event {
            is_missing = download.is_missing(leaf);
            if is_missing {
                world.check_places(leaf, &download.places(leaf));
            }
        }
        world.settle(&event, is_missing);
        for action in download.handle(event, world.now) {
            world.perform(action);
        }
        assert!(download.bytes_done() <= content.manifest.header().size(), "seed {seed}");
        if download.status(world.now) == Status::Ended {
            let is_complete = matches!(world.outcome.end, Action::Complete { .. });
            let size = content.manifest.header().size();
            assert!(!is_complete || download.bytes_done() == size, "seed {seed}");
            world.outcome.elapsed = world.now - start;
            return world.outcome;
        }
        // The sooner of the next answer and the time the machine asked for.
        let wake = download.next_wake(world.now);
        event = match world.queue.peek() {
            Some(&Reverse((at, serial))) if wake.is_none_or(|wake| at <= wake) => {
                world.queue.pop();
                world.now = world.now.max(at);
                world.events.remove(&serial).expect("queued together")
            }
            _ => {
                let wake = wake.expect("a download without a next wake-up is stuck");
                let is_vague =
                    matches!(download.status(world.now), Status::Waiting { next: None, .. });
                assert!(!is_vague, "it does not say until when it waits, seed {seed}");
                world.now = world.now.max(wake);
                Event::Wake
            }
        };
    }
    panic!("no end after two million events, seed {seed}");
}

/// A peer of any kind, chosen by the dice.
pub(crate) fn any_nature(dice: &mut Dice) -> Nature {
    match dice.roll(10) {
        0 => Nature::Flaky,
        1 => Nature::Busy,
        2 => Nature::Silent,
        3 => Nature::Trickling,
        4 => Nature::Absent,
        5 => Nature::LiesAboutHeaders,
        6 => Nature::LiesAboutPages,
        7 => Nature::LiesAboutChunks,
        8 => Nature::Half,
        _ => Nature::Honest { delay_ms: 1 + dice.roll(400) },
    }
}
