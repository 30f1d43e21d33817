//! The whole machine against simulated peers: honest, slow, flaky, silent, busy
//! and lying ones in any mixture. A run depends on its seed, which a failure
//! prints.

#![allow(clippy::cast_possible_truncation, reason = "page indices of simulated files are small")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::{Duration, Instant};

use dfs_core::{
    ChunkHash, Header, Kind, Leaf, Manifest, ManifestBuilder, Page, PageProof, Profile, TreeHash,
};
use dfs_transfer::{Action, Config, Download, DownloadError, Event, Fault, RunId, Status, Wait};
use proptest::prelude::*;

/// How a simulated peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
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
struct Content {
    manifest: Manifest,
    pages: Vec<Page>,
}

fn content(chunks: u32, distinct: u32) -> Content {
    let mut builder = ManifestBuilder::new(Kind::File(Profile::FastCdc1M));
    let mut pages = Vec::new();
    for n in 0..chunks {
        let hash = ChunkHash::of(&(n % distinct).to_le_bytes());
        let page = builder.push(Leaf { hash, len: 1 << 20 }).expect("a file within the limits");
        pages.extend(page.map(|(_, page)| page));
    }
    let (manifest, last) = builder.finish().expect("full chunks make a file");
    pages.extend(last.map(|(_, page)| page));
    Content { manifest, pages }
}

/// A xorshift generator, so that a run depends on its seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// How a run ended, and what it cost.
#[derive(Debug)]
struct Outcome {
    end: Action<u32>,
    elapsed: Duration,
    fetched: HashMap<ChunkHash, u32>,
    banned: HashSet<u32>,
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
    outcome: Outcome,
}

const MAX_INFLIGHT: u64 = 8 << 20;
/// Length of every chunk.
const CHUNK: u64 = 1 << 20;
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
            Action::FetchPage { peer, index } => {
                self.check_not_banned(peer);
                let (delay, result) = self.answer(peer);
                let page = self.page(peer, index);
                self.later(delay, Event::Page { peer, index, result: result.map(|()| page) });
            }
            Action::LoadPage { index, .. } => {
                let page = self.content.pages.get(index as usize).cloned();
                self.later(Duration::ZERO, Event::PageLoaded { index, page });
            }
            Action::CommitPage { index, page, .. } => {
                let present =
                    page.leaves().iter().map(|leaf| self.stored.contains(&leaf.hash)).collect();
                self.later(Duration::from_millis(1), Event::PageCommitted { index, present });
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

    fn page(&self, peer: u32, index: u64) -> (Page, PageProof) {
        let page = self.content.pages[index as usize].clone();
        let proof = self.content.manifest.prove_page(index).expect("a page of the file");
        if self.natures[peer as usize] != Nature::LiesAboutPages {
            return (page, proof);
        }
        let mut leaves = page.leaves().to_vec();
        leaves[0].hash = ChunkHash::of(b"something else");
        (Page::new(leaves).expect("as many leaves"), proof)
    }

    fn check_not_banned(&self, peer: u32) {
        assert!(!self.outcome.banned.contains(&peer), "asked a banned peer");
    }

    /// Checks where the machine says that a missing chunk stands.
    fn check_places(&self, leaf: &Leaf, places: &[u64]) {
        assert!(places.is_sorted() && !places.is_empty(), "{places:?}");
        let leaves: Vec<_> = self.content.pages.iter().flat_map(Page::leaves).collect();
        for place in places {
            assert_eq!(leaves[(place / CHUNK) as usize], leaf);
            assert_eq!(place % CHUNK, 0);
        }
    }

    /// What the owner of the machine does before it passes on an event.
    fn settle(&mut self, event: &Event<u32>) {
        match event {
            Event::Chunk { run, leaf } => {
                let Some((_, owed)) = self.runs.get_mut(run) else { return };
                owed.retain(|owed| owed != leaf);
                if self.stored.insert(leaf.hash) {
                    *self.outcome.fetched.entry(leaf.hash).or_insert(0) += 1;
                    self.inflight.remove(&leaf.hash);
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

fn run(content: &Content, natures: &[Nature], seed: u64, full_for: u32) -> Outcome {
    let start = Instant::now();
    let timeout = Duration::from_secs(300);
    let mut config = Config::default();
    config.timeout = timeout;
    config.max_inflight = MAX_INFLIGHT;
    let mut download = Download::new(content.manifest.cid(), config, start);
    let mut world = World {
        content,
        natures,
        dice: Dice(seed | 1),
        now: start,
        queue: BinaryHeap::new(),
        events: HashMap::new(),
        serial: 0,
        stored: HashSet::new(),
        inflight: HashMap::new(),
        runs: HashMap::new(),
        full_for,
        outcome: Outcome {
            end: Action::Discover,
            elapsed: Duration::ZERO,
            fetched: HashMap::new(),
            banned: HashSet::new(),
        },
    };
    let mut event = Event::Wake;
    for _ in 0..2_000_000 {
        if let Event::Chunk { leaf, .. } = &event
            && download.is_missing(leaf)
        {
            world.check_places(leaf, &download.places(leaf));
        }
        world.settle(&event);
        for action in download.handle(event, world.now) {
            world.perform(action);
        }
        if download.status(world.now) == Status::Ended {
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

#[test]
fn one_honest_peer_suffices() {
    let content = content(100, 100);
    let outcome = run(&content, &[Nature::Honest { delay_ms: 5 }], 1, 0);
    assert_eq!(outcome.end, Action::Complete { manifest: content.manifest });
    assert!(outcome.elapsed < Duration::from_secs(2), "{:?}", outcome.elapsed);
}

#[test]
fn equal_chunks_are_fetched_once() {
    let content = content(5000, 1);
    let outcome = run(&content, &[Nature::Honest { delay_ms: 5 }], 1, 0);
    assert!(matches!(outcome.end, Action::Complete { .. }));
    assert_eq!(outcome.fetched.values().sum::<u32>(), 1);
}

#[test]
fn an_empty_file_needs_only_its_header() {
    let content = content(0, 1);
    let outcome = run(&content, &[Nature::Honest { delay_ms: 5 }], 1, 0);
    assert_eq!(outcome.end, Action::Complete { manifest: content.manifest });
}

#[test]
fn a_download_without_a_useful_peer_fails_at_its_timeout() {
    let content = content(10, 10);
    for natures in [&[][..], &[Nature::Silent], &[Nature::Absent, Nature::LiesAboutHeaders]] {
        let outcome = run(&content, natures, 1, 0);
        assert!(
            matches!(outcome.end, Action::Fail(DownloadError::NoProvider { .. })),
            "{:?}",
            outcome.end
        );
        let over = outcome.elapsed.checked_sub(Duration::from_secs(300)).expect("not too early");
        assert!(over < Duration::from_secs(20), "{over:?} late");
    }
}

#[test]
fn trickling_peers_do_not_delay_a_download_from_others() {
    let content = content(9000, 9000);
    let trickling = [Nature::Trickling; 5];
    let natures = [&trickling[..], &[Nature::Honest { delay_ms: 5 }]].concat();
    for seed in 1..20 {
        let outcome = run(&content, &natures, seed, 0);
        assert!(matches!(outcome.end, Action::Complete { .. }), "{:?}", outcome.end);
        assert!(outcome.elapsed < Duration::from_secs(90), "{:?}", outcome.elapsed);
        assert!(outcome.banned.is_empty(), "a slow peer was banned");
    }
    // Trickling peers alone are no better than silent ones.
    let outcome = run(&content, &trickling, 1, 0);
    assert!(
        matches!(outcome.end, Action::Fail(DownloadError::NoProvider { .. })),
        "{:?}",
        outcome.end
    );
}

/// Two trickling peers owe all bytes that may be in flight, and three of them each
/// chunk that may be requested thrice.
#[test]
fn trickling_peers_cannot_use_up_the_limits_of_a_download() {
    for count in 1..8 {
        let mut natures = vec![Nature::Trickling; count];
        natures.extend([Nature::Flaky, Nature::Honest { delay_ms: 20 }]);
        let content = content(8, 8);
        for seed in 0..50 {
            let outcome = run(&content, &natures, seed, 0);
            assert!(matches!(outcome.end, Action::Complete { .. }), "{seed}: {:?}", outcome.end);
        }
    }
    let natures = [
        Nature::Trickling,
        Nature::LiesAboutChunks,
        Nature::Flaky,
        Nature::Trickling,
        Nature::Honest { delay_ms: 20 },
    ];
    let outcome = run(&content(8, 8), &natures, 15_011_947_526_738_286_048, 0);
    assert!(matches!(outcome.end, Action::Complete { .. }), "{:?}", outcome.end);
}

/// Two halves of a file at two peers are a whole file.
#[test]
fn peers_that_lack_chunks_complete_each_other() {
    let content = content(200, 200);
    let outcome = run(&content, &[Nature::Half, Nature::Honest { delay_ms: 50 }], 1, 0);
    assert!(matches!(outcome.end, Action::Complete { .. }), "{:?}", outcome.end);
    let outcome = run(&content, &[Nature::Half], 1, 0);
    assert!(matches!(outcome.end, Action::Fail(_)), "{:?}", outcome.end);
}

#[test]
fn a_full_store_pauses_a_download_beyond_its_timeout() {
    let content = content(50, 50);
    let outcome = run(&content, &[Nature::Honest { delay_ms: 5 }], 1, 3);
    assert!(matches!(outcome.end, Action::Complete { .. }));
    assert!(outcome.elapsed >= Duration::from_secs(1000), "{:?}", outcome.elapsed);

    let start = Instant::now();
    let mut download = Download::new(content.manifest.cid(), Config::default(), start);
    let retry = start + Duration::from_secs(2);
    assert!(download.handle(Event::StoreFull { retry }, start).is_empty());
    assert!(download.handle(Event::Provider(0_u32), start).is_empty());
    let status = download.status(start);
    assert_eq!(status, Status::Waiting { wait: Wait::StoreFull, next: Some(retry) });
    let later = start + Duration::from_secs(100_000);
    assert!(download.handle(Event::Wake, later).is_empty());
    assert!(!download.handle(Event::StoreFree, later).is_empty());
}

#[test]
fn the_timeout_does_not_run_while_a_download_waits_for_its_turn() {
    let start = Instant::now();
    let config = Config::default();
    let timeout = config.timeout;
    let mut download: Download<u8> = Download::new(content(1, 1).manifest.cid(), config, start);
    assert!(!download.handle(Event::Wake, start).is_empty());
    assert!(download.handle(Event::Queued, start).is_empty());
    // The store may be full and have room again meanwhile.
    download.handle(Event::StoreFull { retry: start }, start);
    assert!(download.handle(Event::StoreFree, start).is_empty());
    let later = start + 10 * timeout;
    assert_eq!(download.next_wake(later), None);
    assert!(download.handle(Event::DiscoveryEnded, later).is_empty());
    let queued = Status::Waiting { wait: Wait::Queued, next: None };
    assert_eq!(download.status(later), queued);
    let actions = download.handle(Event::Turn, later);
    assert!(!actions.iter().any(|action| matches!(action, Action::Fail(_))), "{actions:?}");
    assert!(download.next_wake(later).is_some());
}

#[test]
fn a_resumed_download_with_all_chunks_present_asks_no_peer() {
    let content = content(9000, 9000);
    let roots = (0..).zip(content.manifest.page_roots().iter().copied()).collect();
    let start = Instant::now();
    let header = *content.manifest.header();
    let mut download = Download::<u32>::resume(header, roots, Config::default(), start);
    let mut pending = download.handle(Event::Wake, start);
    while let Some(action) = pending.pop() {
        let event = match action {
            Action::LoadPage { index, .. } => {
                Event::PageLoaded { index, page: Some(content.pages[index as usize].clone()) }
            }
            Action::CommitPage { index, page, .. } => {
                Event::PageCommitted { index, present: vec![true; page.leaves().len()] }
            }
            Action::Complete { manifest } => {
                assert_eq!(manifest, content.manifest);
                assert_eq!(download.bytes_done(), header.size());
                return;
            }
            Action::Discover => continue,
            other => panic!("{other:?} although every chunk is present"),
        };
        pending.extend(download.handle(event, start));
    }
    panic!("no action left, and not complete");
}

/// A peer of any kind, chosen by the dice.
fn any_nature(dice: &mut Dice) -> Nature {
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

/// A download ends with the content if a peer is honest, and else because none is of use.
/// Until then it always knows when it goes on.
#[test]
fn a_thousand_seeds_end() {
    let mut failed = 0;
    for seed in 1..=1000 {
        let mut dice = Dice(seed);
        // The first rolls of neighbouring seeds are alike.
        (0..8).fold(0, |_, _| dice.roll(2));
        let natures: Vec<_> = (0..dice.roll(7)).map(|_| any_nature(&mut dice)).collect();
        let chunks = 1 + dice.roll(if seed % 100 == 0 { 9000 } else { 300 }) as u32;
        let content = content(chunks, 1 + dice.roll(200) as u32);
        let full_for = dice.roll(3) as u32;
        let outcome = run(&content, &natures, seed, full_for);
        let is_honest = |nature: &Nature| matches!(nature, Nature::Honest { .. });
        match outcome.end {
            Action::Complete { manifest } => assert_eq!(manifest, content.manifest, "seed {seed}"),
            Action::Fail(DownloadError::NoProvider { .. }) => {
                assert!(!natures.iter().any(is_honest), "seed {seed}: {natures:?}");
                failed += 1;
            }
            end => panic!("seed {seed}: {end:?}"),
        }
    }
    assert!((100..900).contains(&failed), "{failed} failures");
}

fn nature() -> impl Strategy<Value = Nature> {
    prop_oneof![
        (1_u64..400).prop_map(|delay_ms| Nature::Honest { delay_ms }),
        Just(Nature::Flaky),
        Just(Nature::Busy),
        Just(Nature::Silent),
        Just(Nature::Trickling),
        Just(Nature::Absent),
        Just(Nature::LiesAboutHeaders),
        Just(Nature::LiesAboutPages),
        Just(Nature::LiesAboutChunks),
        Just(Nature::Half),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// With one honest peer among any others, the download completes, every
    /// chunk is stored exactly once, and only lying peers are banned.
    #[test]
    fn one_honest_peer_among_any_others_suffices(
        mut natures in prop::collection::vec(nature(), 0..6),
        chunks in 1_u32..9000,
        distinct in 1_u32..60,
        full_for in 0_u32..3,
        seed: u64,
    ) {
        natures.push(Nature::Honest { delay_ms: 20 });
        let content = content(chunks, distinct);
        let outcome = run(&content, &natures, seed, full_for);
        prop_assert_eq!(&outcome.end, &Action::Complete { manifest: content.manifest });
        prop_assert!(outcome.fetched.values().all(|&times| times == 1));
        for peer in outcome.banned {
            let nature = natures[peer as usize];
            let liar = matches!(
                nature,
                Nature::LiesAboutHeaders | Nature::LiesAboutPages | Nature::LiesAboutChunks
            );
            prop_assert!(liar, "{:?} was banned", nature);
        }
    }
}
