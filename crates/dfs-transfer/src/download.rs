//! The machine: one download, from a CID to the wanted chunks in the store.
//!
//! Owns the order of things: what an event changes, and which actions follow. What it knows
//! of peers, pages and requests is in the modules that it is made of. It has no clock, starts
//! nothing and stores nothing: the owner does, and reports.

use std::time::{Duration, Instant};

use dfs_core::{Cid, Header, Kind, Leaf, Manifest, Page, ProvenPage};

use crate::discovery::Discovery;
use crate::error::DownloadError;
use crate::event::{Action, Event, Fault, KnownPage, Peer, RunId};
use crate::inflight::InFlight;
use crate::lacking::Lacking;
use crate::limits::{DEFAULT_MAX_INFLIGHT, HEADER_REQUESTS, WORTHWHILE_ROOM};
use crate::pages::{Next, Pages};
use crate::peer::Peers;
use crate::requests::{Requests, Settled};
use crate::status::{Status, Wait};
use crate::timing::DEFAULT_TIMEOUT;
use crate::wants::Wants;

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
    wants: Wants,
    header: Option<Header>,
    headers: InFlight<P, P>,
    /// Present as soon as the header is.
    pages: Option<Pages>,
    /// Requests for pages, by the byte that is asked for.
    fetching: InFlight<u64, P>,
    requests: Requests<P>,
    lacking: Lacking<P>,
    /// Pages that the owner is loading, or committing and probing.
    local_work: u32,
    /// Time of the last useful answer of a peer, or of the start.
    last_answer: Instant,
    /// While the store has no room: when the owner tries again.
    store_retry: Option<Instant>,
    /// Whether the download waits for its turn.
    is_queued: bool,
    has_ended: bool,
}

impl<P: Peer> Download<P> {
    /// A download that starts from its CID. It does nothing before [`Event::Want`].
    #[must_use]
    pub fn new(cid: Cid, config: Config, now: Instant) -> Self {
        Self {
            cid,
            config,
            discovery: Discovery::new(now),
            peers: Peers::new(),
            wants: Wants::default(),
            header: None,
            headers: InFlight::new(),
            pages: None,
            fetching: InFlight::new(),
            requests: Requests::new(),
            lacking: Lacking::new(),
            local_work: 0,
            last_answer: now,
            store_retry: None,
            is_queued: false,
            has_ended: false,
        }
    }

    /// A download that an earlier run has begun. The caller has checked that
    /// `header` has the CID; `known` are the pages that the run has stored.
    #[must_use]
    pub fn resume(header: Header, known: Vec<KnownPage>, config: Config, now: Instant) -> Self {
        let mut download = Self::new(header.cid(), config, now);
        download.header = Some(header);
        download.pages = Some(Pages::new(&header, known));
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
        if self.has_ended || self.is_paused() || self.is_satisfied() {
            return None;
        }
        let give_up = self.gives_up_at();
        let others = [
            self.discovery.next(),
            self.peers.next_ready(now),
            self.headers.next_slow(now),
            self.fetching.next_slow(now),
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
        if self.is_satisfied() {
            return Status::Satisfied;
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
        let is_placed = self.pages.as_ref().is_some_and(Pages::is_any_known);
        if is_placed { Status::Downloading } else { Status::FetchingManifest }
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

    /// Content bytes that are in the store.
    #[must_use]
    pub fn bytes_done(&self) -> u64 {
        self.pages.as_ref().map_or(0, |pages| pages.held().bytes)
    }

    /// Chunks that are in the store.
    #[must_use]
    pub fn chunks_done(&self) -> u64 {
        self.pages.as_ref().map_or(0, |pages| pages.held().chunks)
    }

    /// The pages all of whose chunks have arrived or been found since the last call.
    pub fn take_completed_pages(&mut self) -> Vec<KnownPage> {
        self.pages.as_mut().map_or_else(Vec::new, Pages::take_completed)
    }

    /// Whether a chunk is still missing. A chunk that was requested from two peers
    /// may arrive twice.
    #[must_use]
    pub fn is_missing(&self, leaf: &Leaf) -> bool {
        self.pages.as_ref().is_some_and(|pages| pages.is_missing(leaf))
    }

    /// Where a missing chunk stands in the content, in bytes from its start, ascending.
    /// Further places may follow: those in pages that are not open yet, where the
    /// owner will find the chunk present.
    #[must_use]
    pub fn places(&self, leaf: &Leaf) -> Vec<u64> {
        let pages = self.pages.as_ref();
        pages.into_iter().flat_map(|pages| pages.places(leaf)).map(|place| place.start).collect()
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

    /// Whether everything that is wanted is in the store.
    fn is_satisfied(&self) -> bool {
        match &self.pages {
            Some(pages) => pages.satisfy(&self.wants),
            None => self.wants.ranges().next().is_none(),
        }
    }

    /// When the download fails unless a useful answer comes first. The time does not
    /// run while the owner reads and probes pages, which may take long.
    fn gives_up_at(&self) -> Option<Instant> {
        (self.local_work == 0).then(|| self.last_answer + self.config.timeout)
    }

    fn apply(&mut self, event: Event<P>, now: Instant, actions: &mut Vec<Action<P>>) {
        match event {
            Event::Wake => {}
            Event::Want { id, range, priority } => {
                // The time without an answer does not count while nothing is wanted, and begins
                // anew for a new reader.
                if self.is_satisfied() || !self.wants.has(id) {
                    self.last_answer = now;
                }
                self.wants.set(id, range, priority);
                self.forget_useless_requests(actions);
            }
            Event::Unwanted { id } => {
                self.wants.remove(id);
                self.forget_useless_requests(actions);
            }
            Event::Provider(peer) => self.peers.add(peer),
            Event::Offer { peer, result } => self.accept_offer(peer, result, now, actions),
            Event::DiscoveryEnded => self.discovery.finish(self.peers.useful(), now),
            Event::Header { peer, result } => {
                self.headers.complete(peer);
                self.peers.record_answer(peer);
                let result = result.and_then(|header| self.accept_header(header));
                self.settle(peer, result, now, actions);
            }
            Event::Page { peer, offset, result } => {
                self.peers.record_answer(peer);
                let result = result.and_then(|page| self.accept_page(offset, page, actions));
                if result.is_ok() {
                    self.fetching.complete(offset);
                } else {
                    self.fetching.remove(offset, peer);
                }
                self.settle(peer, result, now, actions);
            }
            Event::PageLoaded { start, page } => {
                self.end_local_work(now);
                self.accept_loaded_page(start, page, actions);
            }
            Event::PageCommitted { start, present } => {
                self.end_local_work(now);
                if let Some(pages) = &mut self.pages {
                    pages.probed(start, &present, |leaf| self.requests.is_asked(leaf));
                }
            }
            Event::Chunk { run, leaf } => self.accept_chunk(run, leaf, now, actions),
            Event::NotHeld { run, leaf } => {
                let Some(peer) = self.owing_peer(run, &leaf) else { return };
                self.lacking.add(peer, leaf, now);
                let (settled, is_unasked) = self.requests.refused(run, &leaf);
                self.release(settled, actions);
                self.put_back(is_unasked.then_some(leaf));
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
        if let Some(pages) = &mut self.pages {
            pages.stored(leaf);
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
        self.put_back(orphans);
    }

    fn put_back(&mut self, chunks: impl IntoIterator<Item = Leaf>) {
        let Some(pages) = &mut self.pages else { return };
        chunks.into_iter().for_each(|leaf| pages.put_back(&leaf));
    }

    /// Cancels the runs of which nothing is wanted any more, and lets go of pages without a
    /// wanted byte that are on their way.
    fn forget_useless_requests(&mut self, actions: &mut Vec<Action<P>>) {
        self.fetching.retain(|offset| self.wants.overlap(&(offset..offset + 1)));
        let Some(pages) = &self.pages else { return };
        for run in self.requests.useless(|leaf| pages.is_of_use(&self.wants, leaf)) {
            actions.push(Action::Cancel { run });
            self.end_run(run, actions);
        }
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
            self.pages = Some(Pages::new(&header, Vec::new()));
        }
        Ok(())
    }

    fn accept_page(
        &mut self,
        offset: u64,
        proven: ProvenPage,
        actions: &mut Vec<Action<P>>,
    ) -> Result<(), Fault> {
        let Some(header) = &self.header else { return Ok(()) };
        let verified = proven.verify(header).map_err(|_| Fault::Breach)?;
        if !verified.has(offset) {
            return Err(Fault::Breach);
        }
        let ProvenPage { index, page, .. } = proven;
        let (start, root) = (verified.offset, verified.root);
        // A late copy of a page that has come from another peer is of no use.
        if self.fetching.contains(offset) {
            // Another byte of the page may have been asked for too.
            self.fetching.retain(|other| other == offset || !verified.has(other));
            self.probe(KnownPage { index, start, root, is_complete: false }, page, actions);
        }
        Ok(())
    }

    /// Accepts a page that an earlier run has stored, if it still has the root that
    /// was verified then.
    fn accept_loaded_page(&mut self, start: u64, page: Option<Page>, actions: &mut Vec<Action<P>>) {
        let Some(pages) = &mut self.pages else { return };
        let Some(known) = pages.loading(start) else { return };
        match page.filter(|page| page.root() == known.root) {
            Some(page) => self.probe(known, page, actions),
            None => pages.lost(start),
        }
    }

    /// Has the owner find out which chunks of a verified page are present.
    fn probe(&mut self, known: KnownPage, page: Page, actions: &mut Vec<Action<P>>) {
        let Some(pages) = &mut self.pages else { return };
        if pages.verified(known, &page) {
            self.local_work += 1;
            actions.push(Action::CommitPage { known, page });
        }
    }

    fn schedule(&mut self, now: Instant, actions: &mut Vec<Action<P>>) {
        if self.header.is_some_and(|header| header.kind() == Kind::Directory) {
            return self.end(Action::Fail(DownloadError::Directory), actions);
        }
        if let Some(manifest) = self.completed() {
            return self.end(Action::Complete { manifest }, actions);
        }
        // The timeout does not run while the download may not go on, or need not.
        if self.is_paused() || self.is_satisfied() {
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
        let Some(pages) = &mut self.pages else { return };
        while let Some(next) =
            pages.next(&self.wants, self.fetching.len(), |offset| self.fetching.contains(offset))
        {
            match next {
                Next::Load { start, root } => {
                    self.local_work += 1;
                    actions.push(Action::LoadPage { start, root });
                }
                Next::Fetch { offset } => {
                    let Some(peer) = self.peers.best(now, &[]) else { break };
                    self.peers.record_request(peer);
                    self.fetching.add(offset, peer, now);
                    actions.push(Action::FetchPage { peer, offset });
                }
            }
        }
        while let Some((offset, peer)) =
            self.fetching.next_duplicate(now, |asked| self.peers.best(now, asked))
        {
            self.peers.record_request(peer);
            actions.push(Action::FetchPage { peer, offset });
            if let Some(slow) = self.fetching.add(offset, peer, now) {
                self.settle(slow, Err(Fault::TimedOut), now, actions);
            }
        }
    }

    fn schedule_chunks(&mut self, now: Instant, actions: &mut Vec<Action<P>>) {
        while self.request_run(now, actions) {}
        let is_wanting = self.pages.as_ref().is_some_and(|pages| pages.has_unasked(&self.wants));
        if is_wanting && self.requests.is_empty() {
            // No peer can be asked now, or those that can lack what is left.
            self.discovery.search_soon(now);
        }
    }

    /// Sends one run to the peer with the most credit left for which there is one.
    fn request_run(&mut self, now: Instant, actions: &mut Vec<Action<P>>) -> bool {
        let Some(pages) = &mut self.pages else { return false };
        let (requests, lacking) = (&self.requests, &self.lacking);
        let room = match self.config.max_inflight.saturating_sub(requests.bytes()) {
            // A download may always have one chunk in flight.
            _ if requests.is_empty() => u64::MAX,
            room if room < WORTHWHILE_ROOM => 0,
            room => room,
        };
        let next = self.peers.with_credit(now).into_iter().find_map(|(peer, max)| {
            let is_lacking = |leaf: &Leaf| lacking.contains(peer, leaf, now);
            let chunks = pages.take_run(&self.wants, max, room, is_lacking);
            if !chunks.is_empty() {
                return Some((peer, chunks, Vec::new()));
            }
            // Everything that it could send is requested: ask for slow chunks too.
            let (chunks, given_up) = requests.slow_for(peer, max, now, is_lacking);
            (!chunks.is_empty()).then_some((peer, chunks, given_up))
        });
        let Some((peer, leaves, given_up)) = next else { return false };
        let bytes = leaves.iter().map(|leaf| u64::from(leaf.len)).sum();
        self.peers.record_run(peer, bytes, now);
        let run = self.requests.add(peer, leaves.clone(), now);
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
        let (header, pages) = (self.header?, self.pages.as_ref()?);
        if !pages.is_complete() {
            return None;
        }
        let roots = pages.known().map(|page| page.root).collect();
        // Every page was verified against the header, so the roots lead to it.
        Manifest::new(header, roots).ok()
    }

    fn end(&mut self, action: Action<P>, actions: &mut Vec<Action<P>>) {
        self.has_ended = true;
        actions.push(action);
    }
}
