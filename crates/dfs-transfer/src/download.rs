//! The machine: one download, from a CID to all chunks in the store.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dfs_core::{Cid, Header, Kind, Leaf, Manifest, Page, PageProof, Subtree};

use crate::discovery::Discovery;
use crate::error::DownloadError;
use crate::event::{Action, Event, Fault, Peer};
use crate::inflight::InFlight;
use crate::limits::{DEFAULT_MAX_INFLIGHT, HEADER_REQUESTS};
use crate::peer::Peers;
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
    chunks: InFlight<(u64, Leaf), P>,
    /// Present as soon as the header is.
    window: Option<Window>,
    /// Content bytes requested and not yet received.
    inflight: u64,
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
            chunks: InFlight::new(),
            window: None,
            inflight: 0,
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
        self.schedule(now, &mut actions);
        actions
    }

    /// When [`Event::Wake`] is due if no other event comes first.
    #[must_use]
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        if self.has_ended || self.is_paused() {
            return None;
        }
        let give_up = self.last_answer + self.config.timeout;
        let others = [
            self.discovery.next(),
            self.peers.next_ready(now),
            self.headers.next_slow(now),
            self.pages.next_slow(now),
            self.chunks.next_slow(now),
        ];
        others.into_iter().flatten().chain([give_up]).min()
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
        if self.peers.useful() == 0 && self.inflight == 0 {
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

    /// Number of known providers, without banned ones.
    #[must_use]
    pub fn providers(&self) -> usize {
        self.peers.known()
    }

    /// Whether the owner lets it send no request.
    fn is_paused(&self) -> bool {
        self.store_retry.is_some() || self.is_queued
    }

    fn apply(&mut self, event: Event<P>, now: Instant, actions: &mut Vec<Action<P>>) {
        match event {
            Event::Wake => {}
            Event::Provider(peer) => self.peers.add(peer),
            Event::DiscoveryEnded => self.discovery.finish(self.peers.useful(), now),
            Event::Header { peer, result } => {
                self.headers.complete(peer);
                let result = result.and_then(|header| self.accept_header(header));
                self.settle(peer, result, now, actions);
            }
            Event::Page { peer, index, result } => {
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
            Event::PageLoaded { index, page } => self.accept_loaded_page(index, page, actions),
            Event::PageCommitted { index, present } => {
                if let Some(window) = &mut self.window {
                    self.stored += window.page_probed(index, &present);
                }
            }
            Event::Chunk { peer, page, leaf, result } => {
                self.inflight = self.inflight.saturating_sub(leaf.len.into());
                if let Some(window) = &mut self.window {
                    match result {
                        Ok(()) => {
                            self.chunks.complete((page, leaf));
                            self.stored += window.chunk_stored(leaf);
                        }
                        Err(_) if self.chunks.remove((page, leaf), peer) => {
                            window.return_chunk(page, leaf);
                        }
                        // Another peer may still send it.
                        Err(_) => {}
                    }
                }
                self.settle(peer, result, now, actions);
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
        let root = page.verify(header, index, proof).map_err(|_| Fault::Breach)?.root;
        if window.is_requested(index) {
            window.page_verified(index, root, page.clone());
            actions.push(Action::CommitPage { index, root, page });
        }
        Ok(())
    }

    /// Accepts a page that an earlier run has stored, if it still has the root that
    /// was verified then.
    fn accept_loaded_page(&mut self, index: u64, page: Option<Page>, actions: &mut Vec<Action<P>>) {
        let Some(window) = &mut self.window else { return };
        let root = window.roots().get(&index).copied();
        match page.zip(root).filter(|(page, root)| page.root() == *root) {
            Some((page, root)) if window.is_requested(index) => {
                window.page_verified(index, root, page.clone());
                actions.push(Action::CommitPage { index, root, page });
            }
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
        if now >= self.last_answer + self.config.timeout {
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
            self.pages.add(index, peer, now);
            actions.push(Action::FetchPage { peer, index });
        }
    }

    fn schedule_chunks(&mut self, now: Instant, actions: &mut Vec<Action<P>>) {
        let Some(window) = &mut self.window else { return };
        while self.inflight < self.config.max_inflight {
            let next = if window.has_wanted() {
                let Some(peer) = self.peers.best(now, &[]) else { break };
                window.take_chunk().map(|chunk| (chunk, peer))
            } else {
                // Every missing chunk is requested: request slow ones elsewhere too.
                self.chunks.next_duplicate(now, |asked| self.peers.best(now, asked))
            };
            let Some(((page, leaf), peer)) = next else { break };
            self.peers.record_request(peer);
            self.chunks.add((page, leaf), peer, now);
            self.inflight += u64::from(leaf.len);
            actions.push(Action::FetchChunk { peer, page, leaf });
        }
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
