//! The machine: one download, from a CID to all chunks in the store.
//!
//! Owns the order of things: what an event changes, and which actions follow. What it knows
//! of peers, pages and requests is in the modules that it is made of. It has no clock, starts
//! nothing and stores nothing: the owner does, and reports.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dfs_core::{Cid, Header, Kind, Leaf, Manifest, Page, PageProof, Subtree};

use crate::discovery::Discovery;
use crate::error::DownloadError;
use crate::event::{Action, Event, Fault, Peer, RunId};
use crate::inflight::InFlight;
use crate::lacking::Lacking;
use crate::limits::{DEFAULT_MAX_INFLIGHT, HEADER_REQUESTS, WORTHWHILE_ROOM};
use crate::peer::Peers;
use crate::requests::{Requests, Settled};
use crate::status::{Status, Wait};
use crate::timing::DEFAULT_TIMEOUT;
use crate::window::{Tally, Window};

/// Settings of a download.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The download fails after this long without a useful answer of any peer.
    pub timeout: Duration,
    /// Most content bytes requested and not yet received, over all peers.
    pub max_inflight: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { timeout: DEFAULT_TIMEOUT, max_inflight: DEFAULT_MAX_INFLIGHT }
    }
}

/// One download.
#[derive(Debug)]
pub struct Download<P> {
    cid: Cid,
    config: Config,
    discovery: Discovery,
    peers: Peers<P>,
    header: Option<Header>,
    headers: InFlight<P, P>,
    pages: InFlight<u64, P>,
    requests: Requests<P>,
    lacking: Lacking<P>,
    /// Present as soon as the header is.
    window: Option<Window>,
    /// Pages that the owner is loading, or committing and probing.
    local_work: u32,
    /// Content in the store.
    stored: Tally,
    /// Time of the last useful answer of a peer, or of the start.
    last_answer: Instant,
    /// While the store has no room: when the owner tries again.
    store_retry: Option<Instant>,
    /// Whether the download waits for its turn.
    is_queued: bool,
    has_ended: bool,
}

impl<P: Peer> Download<P> {
    /// A download that starts from its CID.
    #[must_use]
    pub fn new(cid: Cid, config: Config, now: Instant) -> Self {
        Self {
            cid,
            config,
            discovery: Discovery::new(now),
            peers: Peers::new(),
            header: None,
            headers: InFlight::new(),
            pages: InFlight::new(),
            requests: Requests::new(),
            lacking: Lacking::new(),
            window: None,
            local_work: 0,
            stored: Tally::default(),
            last_answer: now,
            store_retry: None,
            is_queued: false,
            has_ended: false,
        }
    }

    /// A download that an earlier run has begun. The caller has checked that
    /// `header` has the CID; `roots` are those of the pages that the run has
    /// stored.
    #[must_use]
    pub fn resume(
        header: Header,
        roots: BTreeMap<u64, Subtree>,
        config: Config,
        now: Instant,
    ) -> Self {
        let mut download = Self::new(header.cid(), config, now);
        download.header = Some(header);
        download.window = Some(Window::new(header.page_count(), roots));
        download
    }

    /// Applies an event and returns what the owner must do.
    pub fn handle(&mut self, event: Event<P>, now: Instant) -> Vec<Action<P>> {
        let mut actions = Vec::new();
        if self.has_ended {
            return actions;
        }
        self.apply(event, now, &mut actions);
        if !self.has_ended {
            self.schedule(now, &mut actions);
        }
        actions
    }

    /// When [`Event::Wake`] is due if no other event comes first.
    #[must_use]
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        if self.has_ended || self.is_paused() {
            return None;
        }
        let give_up = self.gives_up_at();
        let others = [
            self.discovery.next(),
            self.peers.next_ready(now),
            self.headers.next_slow(now),
            self.pages.next_slow(now),
            self.requests.next_slow(now),
            self.lacking.next(now),
            give_up,
        ];
        others.into_iter().flatten().min()
    }

    /// Where the download stands.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        if self.has_ended {
            return Status::Ended;
        }
        if self.is_queued {
            return Status::Waiting { wait: Wait::Queued, next: None };
        }
        if let Some(next) = self.store_retry {
            return Status::Waiting { wait: Wait::StoreFull, next: Some(next) };
        }
        if self.peers.useful() == 0 && self.requests.is_empty() {
            let times = [self.discovery.next(), self.peers.next_ready(now)];
            let next = times.into_iter().flatten().min();
            return if self.discovery.is_running() || next.is_none_or(|at| at <= now) {
                Status::Discovering
            } else {
                Status::Waiting { wait: Wait::NoProvider, next }
            };
        }
        let pages = self.window.as_ref().map_or(0, |window| window.roots().len());
        if pages == 0 { Status::FetchingManifest } else { Status::Downloading }
    }

    /// Raises the time without a useful answer to at least this.
    pub fn extend_timeout(&mut self, timeout: Duration) {
        self.config.timeout = self.config.timeout.max(timeout);
    }

    /// Changes how many content bytes may be requested and not yet received. What is
    /// under way stays so.
    pub fn set_max_inflight(&mut self, bytes: u64) {
        self.config.max_inflight = bytes;
    }

    /// The header, once it is known.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Roots of the pages verified so far.
    #[must_use]
    pub fn page_roots(&self) -> Option<&BTreeMap<u64, Subtree>> {
        self.window.as_ref().map(Window::roots)
    }

    /// Content bytes that are in the store.
    #[must_use]
    pub fn bytes_done(&self) -> u64 {
        self.stored.bytes
    }

    /// Chunks that are in the store.
    #[must_use]
    pub fn chunks_done(&self) -> u64 {
        self.stored.chunks
    }

    /// Whether a chunk is still missing. A chunk that was requested from two peers
    /// may arrive twice.
    #[must_use]
    pub fn is_missing(&self, leaf: &Leaf) -> bool {
        self.window.as_ref().is_some_and(|window| window.is_missing(leaf))
    }

    /// Where a missing chunk stands in the content, in bytes from its start, ascending.
    /// Further places may follow: those in pages that are not open yet, where the
    /// owner will find the chunk present.
    #[must_use]
    pub fn places(&self, leaf: &Leaf) -> Vec<u64> {
        self.window.as_ref().map_or_else(Vec::new, |window| window.places(leaf))
    }

    /// Number of known providers, without banned ones.
    #[must_use]
    pub fn providers(&self) -> usize {
        self.peers.known()
    }

    /// Whether the owner lets it send no request.
    fn is_paused(&self) -> bool {
        self.store_retry.is_some() || self.is_queued
    }

    /// When the download fails unless a useful answer comes first. The time does not
    /// run while the owner reads and probes pages, which may take long.
    fn gives_up_at(&self) -> Option<Instant> {
        (self.local_work == 0).then(|| self.last_answer + self.config.timeout)
    }

    fn apply(&mut self, event: Event<P>, now: Instant, actions: &mut Vec<Action<P>>) {
        match event {
            Event::Wake => {}
            Event::Provider(peer) => self.peers.add(peer),
            Event::Offer { peer, result } => self.accept_offer(peer, result, now, actions),
            Event::DiscoveryEnded => self.discovery.finish(self.peers.useful(), now),
            Event::Header { peer, result } => {
                self.headers.complete(peer);
                self.peers.record_answer(peer);
                let result = result.and_then(|header| self.accept_header(header));
                self.settle(peer, result, now, actions);
            }
            Event::Page { peer, index, result } => {
                self.peers.record_answer(peer);
                let result =
                    result.and_then(|(page, proof)| self.accept_page(index, page, &proof, actions));
                if result.is_ok() {
                    self.pages.complete(index);
                } else if self.pages.remove(index, peer)
                    && let Some(window) = &mut self.window
                {
                    window.page_request_failed(index);
                }
                self.settle(peer, result, now, actions);
            }
            Event::PageLoaded { index, page } => {
                self.end_local_work(now);
                self.accept_loaded_page(index, page, actions);
            }
            Event::PageCommitted { index, present } => {
                self.end_local_work(now);
                if let Some(window) = &mut self.window {
                    self.stored += window.page_probed(index, &present);
                }
            }
            Event::Chunk { run, leaf } => self.accept_chunk(run, leaf, now, actions),
            Event::NotHeld { run, leaf } => {
                let Some(peer) = self.owing_peer(run, &leaf) else { return };
                self.lacking.add(peer, leaf, now);
                let (settled, page) = self.requests.refused(run, &leaf);
                self.release(settled, actions);
                self.put_back(page.map(|page| (page, leaf)));
                self.settle(peer, Err(Fault::NotFound), now, actions);
            }
            Event::FalseLength { run, leaf } => {
                if self.owing_peer(run, &leaf).is_some() {
                    let Leaf { hash, len } = leaf;
                    self.end(Action::Fail(DownloadError::FalseLength { hash, len }), actions);
                }
            }
            Event::RunFailed { run, fault } => {
                let Some(peer) = self.requests.peer(run) else { return };
                self.end_run(run, actions);
                self.settle(peer, Err(fault), now, actions);
            }
            Event::StoreFull { retry } => self.store_retry = Some(retry),
            Event::StoreFree => {
                self.store_retry = None;
                self.last_answer = now;
            }
            Event::Queued => self.is_queued = true,
            Event::Turn => {
                self.is_queued = false;
                self.last_answer = now;
            }
        }
    }

    fn end_local_work(&mut self, now: Instant) {
        self.local_work = self.local_work.saturating_sub(1);
        self.last_answer = now;
    }

    /// The peer of a run that still lacks the chunk.
    fn owing_peer(&self, run: RunId, leaf: &Leaf) -> Option<P> {
        self.requests.peer(run).filter(|_| self.requests.is_owed(run, leaf))
    }

    fn accept_chunk(&mut self, run: RunId, leaf: Leaf, now: Instant, actions: &mut Vec<Action<P>>) {
        let Some(peer) = self.owing_peer(run, &leaf) else { return };
        let mut settled = self.requests.received(run, &leaf);
        // Copies are requested of slow chunks only, so these peers were slow.
        for slow in std::mem::take(&mut settled.overtaken) {
            self.settle(slow, Err(Fault::TimedOut), now, actions);
        }
        self.release(settled, actions);
        if let Some(window) = &mut self.window {
            self.stored += window.chunk_stored(leaf);
        }
        self.peers.record_chunk(peer, leaf.len.into(), now);
        self.last_answer = now;
    }

    /// Lowers what peers owe, and cancels runs of which nothing is wanted any more.
    fn release(&mut self, settled: Settled<P>, actions: &mut Vec<Action<P>>) {
        for (peer, bytes) in settled.freed {
            self.peers.release(peer, bytes);
        }
        actions.extend(settled.cancelled.into_iter().map(|run| Action::Cancel { run }));
    }

    /// Forgets a run, and wants its chunks again unless they are requested elsewhere.
    fn end_run(&mut self, run: RunId, actions: &mut Vec<Action<P>>) {
        let (settled, orphans) = self.requests.failed(run);
        self.release(settled, actions);
        self.put_back(orphans.into_iter().rev());
    }

    fn put_back(&mut self, chunks: impl IntoIterator<Item = (u64, Leaf)>) {
        let Some(window) = &mut self.window else { return };
        chunks.into_iter().for_each(|(page, leaf)| window.return_chunk(page, leaf));
    }

    /// Updates what is known about a peer after its answer.
    fn settle(
        &mut self,
        peer: P,
        result: Result<(), Fault>,
        now: Instant,
        actions: &mut Vec<Action<P>>,
    ) {
        match result {
            Ok(()) => {
                self.peers.record_success(peer);
                self.last_answer = now;
            }
            Err(fault) => {
                if self.peers.record_failure(peer, fault, now) {
                    actions.push(Action::Ban { peer });
                }
                // "Busy" does not move `last_answer`: a peer that is always busy
                // must not keep a download alive for ever.
                if self.peers.useful() == 0 {
                    self.discovery.search_soon(now);
                }
            }
        }
    }

    fn accept_offer(
        &mut self,
        peer: P,
        result: Result<Header, Fault>,
        now: Instant,
        actions: &mut Vec<Action<P>>,
    ) {
        if !matches!(result, Ok(_) | Err(Fault::Breach)) {
            return;
        }
        self.peers.add(peer);
        let is_news = self.header.is_none();
        let result = result.and_then(|header| self.accept_header(header));
        // Offers of what is known already must not keep a download alive for ever.
        if is_news || result.is_err() {
            self.settle(peer, result, now, actions);
        }
    }

    fn accept_header(&mut self, header: Header) -> Result<(), Fault> {
        if header.cid() != self.cid {
            return Err(Fault::Breach);
        }
        if self.header.is_none() {
            self.header = Some(header);
            self.window = Some(Window::new(header.page_count(), BTreeMap::new()));
        }
        Ok(())
    }

    fn accept_page(
        &mut self,
        index: u64,
        page: Page,
        proof: &PageProof,
        actions: &mut Vec<Action<P>>,
    ) -> Result<(), Fault> {
        let (Some(header), Some(window)) = (&self.header, &mut self.window) else {
            return Ok(());
        };
        let verified = page.verify(header, index, proof).map_err(|_| Fault::Breach)?;
        let root = verified.root;
        if window.is_requested(index) {
            window.page_verified(index, root, page.clone(), verified.offset);
            self.local_work += 1;
            actions.push(Action::CommitPage { index, root, page });
        }
        Ok(())
    }

    /// Accepts a page that an earlier run has stored, if it still has the root that
    /// was verified then.
    fn accept_loaded_page(&mut self, index: u64, page: Option<Page>, actions: &mut Vec<Action<P>>) {
        let Some(window) = &mut self.window else { return };
        let root = window.roots().get(&index).copied();
        let page = page.zip(root).filter(|(page, root)| page.root() == *root);
        match (page, window.start_of(index)) {
            (Some((page, root)), Some(start)) if window.is_requested(index) => {
                window.page_verified(index, root, page.clone(), start);
                self.local_work += 1;
                actions.push(Action::CommitPage { index, root, page });
            }
            // Its place is no longer known: a root before it has been forgotten.
            (Some(_), None) => window.page_request_failed(index),
            _ => {
                window.forget_root(index);
                window.page_request_failed(index);
            }
        }
    }

    fn schedule(&mut self, now: Instant, actions: &mut Vec<Action<P>>) {
        if self.header.is_some_and(|header| header.kind() == Kind::Directory) {
            return self.end(Action::Fail(DownloadError::Directory), actions);
        }
        if let Some(manifest) = self.completed() {
            return self.end(Action::Complete { manifest }, actions);
        }
        // The timeout does not run while the download may not go on.
        if self.is_paused() {
            return;
        }
        if self.gives_up_at().is_some_and(|at| at <= now) {
            let (timeout, known) = (self.config.timeout, self.peers.known());
            return self.end(Action::Fail(DownloadError::NoProvider { timeout, known }), actions);
        }
        if self.discovery.start_if_due(now) {
            actions.push(Action::Discover);
        }
        self.schedule_header(now, actions);
        self.schedule_pages(now, actions);
        self.schedule_chunks(now, actions);
    }

    fn schedule_header(&mut self, now: Instant, actions: &mut Vec<Action<P>>) {
        if self.header.is_some() {
            return;
        }
        let room = HEADER_REQUESTS.saturating_sub(self.headers.fresh(now));
        for peer in self.peers.idle(now).into_iter().take(room) {
            self.peers.record_request(peer);
            self.headers.add(peer, peer, now);
            actions.push(Action::FetchHeader { peer });
        }
    }

    fn schedule_pages(&mut self, now: Instant, actions: &mut Vec<Action<P>>) {
        let Some(window) = &mut self.window else { return };
        while let Some((index, root)) = window.next_page() {
            if let Some(root) = root {
                self.local_work += 1;
                actions.push(Action::LoadPage { index, root });
            } else if let Some(peer) = self.peers.best(now, &[]) {
                self.peers.record_request(peer);
                self.pages.add(index, peer, now);
                actions.push(Action::FetchPage { peer, index });
            } else {
                break;
            }
            window.page_requested(index);
        }
        while let Some((index, peer)) =
            self.pages.next_duplicate(now, |asked| self.peers.best(now, asked))
        {
            self.peers.record_request(peer);
            actions.push(Action::FetchPage { peer, index });
            if let Some(slow) = self.pages.add(index, peer, now) {
                self.settle(slow, Err(Fault::TimedOut), now, actions);
            }
        }
    }

    fn schedule_chunks(&mut self, now: Instant, actions: &mut Vec<Action<P>>) {
        while self.request_run(now, actions) {}
        let is_wanting = self.window.as_ref().is_some_and(Window::has_wanted);
        if is_wanting && self.requests.is_empty() {
            // No peer can be asked now, or those that can lack what is left.
            self.discovery.search_soon(now);
        }
    }

    /// Sends one run to the peer with the most credit left for which there is one.
    fn request_run(&mut self, now: Instant, actions: &mut Vec<Action<P>>) -> bool {
        let Some(window) = &mut self.window else { return false };
        let (requests, lacking) = (&self.requests, &self.lacking);
        let room = match self.config.max_inflight.saturating_sub(requests.bytes()) {
            // A download may always have one chunk in flight.
            _ if requests.is_empty() => u64::MAX,
            room if room < WORTHWHILE_ROOM => 0,
            room => room,
        };
        let next = self.peers.with_credit(now).into_iter().find_map(|(peer, max)| {
            let is_lacking = |leaf: &Leaf| lacking.contains(peer, leaf, now);
            let chunks = window.take_run(max, room, is_lacking);
            if !chunks.is_empty() {
                return Some((peer, chunks, Vec::new()));
            }
            // Everything that it could send is requested: ask for slow chunks too.
            let (chunks, given_up) = requests.slow_for(peer, max, now, is_lacking);
            (!chunks.is_empty()).then_some((peer, chunks, given_up))
        });
        let Some((peer, chunks, given_up)) = next else { return false };
        let leaves: Vec<Leaf> = chunks.iter().map(|(_, leaf)| *leaf).collect();
        let bytes = leaves.iter().map(|leaf| u64::from(leaf.len)).sum();
        self.peers.record_run(peer, bytes, now);
        let run = self.requests.add(peer, &chunks, now);
        actions.push(Action::FetchChunks { peer, run, leaves });
        // Only now, so that a chunk of both stays requested.
        for run in given_up {
            let Some(slow) = self.requests.peer(run) else { continue };
            actions.push(Action::Cancel { run });
            self.end_run(run, actions);
            self.settle(slow, Err(Fault::TimedOut), now, actions);
        }
        true
    }

    /// The manifest, if every chunk is in the store.
    fn completed(&self) -> Option<Manifest> {
        let (header, window) = (self.header?, self.window.as_ref()?);
        if !window.is_complete() {
            return None;
        }
        debug_assert_eq!(window.page_count(), window.roots().len() as u64);
        let roots = window.roots().values().copied().collect();
        // Every page was verified against the header, so the roots lead to it.
        Manifest::new(header, roots).ok()
    }

    fn end(&mut self, action: Action<P>, actions: &mut Vec<Action<P>>) {
        self.has_ended = true;
        actions.push(action);
    }
}
