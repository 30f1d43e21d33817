//! The machine: one download from nothing to "everything is in the store".

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dfs_core::{Cid, Header, Kind, Leaf, Manifest, Page, PageProof, Subtree};

use crate::discovery::Discovery;
use crate::event::{Action, Event, Failure, Fault, Peer};
use crate::inflight::InFlight;
use crate::peer::Peers;
use crate::status::{Status, Wait};
use crate::window::{Gain, Window};

/// Peers that are asked for the header at the same time, so that one silent
/// peer does not hold everything up.
const HEADER_REQUESTS: usize = 3;

/// What may be chosen about a download.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// How long nothing useful may come from anybody before it fails.
    pub timeout: Duration,
    /// Content bytes in flight over all peers.
    pub max_inflight: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(600), max_inflight: 32 << 20 }
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
    /// Present from the moment the header is.
    window: Option<Window>,
    inflight: u64,
    progress: Gain,
    /// When somebody last gave something useful, or the start.
    last_answer: Instant,
    /// Set while the store has no room: when its owner tries again.
    store_retry: Option<Instant>,
    over: bool,
}

impl<P: Peer> Download<P> {
    /// A download of which nothing but the CID is known.
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
            progress: Gain::default(),
            last_answer: now,
            store_retry: None,
            over: false,
        }
    }

    /// A download that an earlier run has begun: its header, which must be the
    /// one of the CID, and the roots of the pages that run had stored.
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

    /// Takes note of what has happened and says what is to be done.
    pub fn handle(&mut self, event: Event<P>, now: Instant) -> Vec<Action<P>> {
        let mut actions = Vec::new();
        if self.over {
            return actions;
        }
        self.note(event, now, &mut actions);
        self.schedule(now, &mut actions);
        actions
    }

    /// When [`Event::Wake`] is due if nothing else happens before.
    #[must_use]
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        if self.over || self.store_retry.is_some() {
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
        if self.over {
            return Status::Over;
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

    /// Lets the download wait at least this long for a useful answer.
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
        self.progress.bytes
    }

    /// Chunks that are in the store.
    #[must_use]
    pub fn chunks_done(&self) -> u64 {
        self.progress.chunks
    }

    /// Whether a chunk is still missing. One that somebody else was asked for
    /// too may come twice.
    #[must_use]
    pub fn is_missing(&self, leaf: &Leaf) -> bool {
        self.window.as_ref().is_some_and(|window| window.is_missing(leaf))
    }

    /// Providers known, liars left out.
    #[must_use]
    pub fn providers(&self) -> usize {
        self.peers.known()
    }

    fn note(&mut self, event: Event<P>, now: Instant, actions: &mut Vec<Action<P>>) {
        match event {
            Event::Wake => {}
            Event::Provider(peer) => self.peers.add(peer),
            Event::DiscoveryEnded => self.discovery.ended(self.peers.useful(), now),
            Event::Header { peer, result } => {
                self.headers.got(peer);
                let result = result.and_then(|header| self.accept_header(header));
                self.answered(peer, result, now, actions);
            }
            Event::Page { peer, index, result } => {
                let result =
                    result.and_then(|(page, proof)| self.accept_page(index, page, &proof, actions));
                if result.is_ok() {
                    self.pages.got(index);
                } else if self.pages.failed(index, peer)
                    && let Some(window) = &mut self.window
                {
                    window.page_lost(index);
                }
                self.answered(peer, result, now, actions);
            }
            Event::Loaded { index, page } => self.loaded(index, page, actions),
            Event::Examined { index, present } => {
                if let Some(window) = &mut self.window {
                    self.progress += window.page_examined(index, &present);
                }
            }
            Event::Chunk { peer, page, leaf, result } => {
                self.inflight = self.inflight.saturating_sub(leaf.len.into());
                if let Some(window) = &mut self.window {
                    match result {
                        Ok(()) => {
                            self.chunks.got((page, leaf));
                            self.progress += window.chunk_stored(leaf);
                        }
                        Err(_) if self.chunks.failed((page, leaf), peer) => {
                            window.return_chunk(page, leaf);
                        }
                        // Somebody else is still at it.
                        Err(_) => {}
                    }
                }
                self.answered(peer, result, now, actions);
            }
            Event::StoreFull { retry } => self.store_retry = Some(retry),
            Event::StoreFree => {
                self.store_retry = None;
                self.last_answer = now;
            }
        }
    }

    /// Settles a request with the peer that it was sent to.
    fn answered(
        &mut self,
        peer: P,
        result: Result<(), Fault>,
        now: Instant,
        actions: &mut Vec<Action<P>>,
    ) {
        match result {
            Ok(()) => {
                self.peers.succeeded(peer);
                self.last_answer = now;
            }
            Err(fault) => {
                if self.peers.failed(peer, fault, now) {
                    actions.push(Action::Ban { peer });
                }
                // Being busy is no useful answer: a peer that always is must not
                // keep a download alive for ever.
                if self.peers.useful() == 0 {
                    self.discovery.hurry(now);
                }
            }
        }
    }

    fn accept_header(&mut self, header: Header) -> Result<(), Fault> {
        if header.cid() != self.cid {
            return Err(Fault::Lied);
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
        let root = page.verify(header, index, proof).map_err(|_| Fault::Lied)?.root;
        if window.is_coming(index) {
            window.page_verified(index, root, page.clone());
            actions.push(Action::Examine { index, root, page });
        }
        Ok(())
    }

    /// A page that an earlier run had stored. It is believed only if it still
    /// has the root that was verified then.
    fn loaded(&mut self, index: u64, page: Option<Page>, actions: &mut Vec<Action<P>>) {
        let Some(window) = &mut self.window else { return };
        let root = window.roots().get(&index).copied();
        match page.zip(root).filter(|(page, root)| page.root() == *root) {
            Some((page, root)) if window.is_coming(index) => {
                window.page_verified(index, root, page.clone());
                actions.push(Action::Examine { index, root, page });
            }
            _ => {
                window.forget_root(index);
                window.page_lost(index);
            }
        }
    }

    fn schedule(&mut self, now: Instant, actions: &mut Vec<Action<P>>) {
        if self.header.is_some_and(|header| header.kind() == Kind::Directory) {
            return self.end(Action::Fail(Failure::Directory), actions);
        }
        if let Some(manifest) = self.completed() {
            return self.end(Action::Complete { manifest }, actions);
        }
        // Whoever waits for the user's disk waits without end.
        if self.store_retry.is_some() {
            return;
        }
        if now >= self.last_answer + self.config.timeout {
            let (timeout, known) = (self.config.timeout, self.peers.known());
            return self.end(Action::Fail(Failure::NoProvider { timeout, known }), actions);
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
            self.peers.asked(peer);
            self.headers.asked(peer, peer, now);
            actions.push(Action::FetchHeader { peer });
        }
    }

    fn schedule_pages(&mut self, now: Instant, actions: &mut Vec<Action<P>>) {
        let Some(window) = &mut self.window else { return };
        while let Some((index, root)) = window.next_page() {
            if let Some(root) = root {
                actions.push(Action::LoadPage { index, root });
            } else if let Some(peer) = self.peers.best(now, &[]) {
                self.peers.asked(peer);
                self.pages.asked(index, peer, now);
                actions.push(Action::FetchPage { peer, index });
            } else {
                break;
            }
            window.page_coming(index);
        }
        while let Some((index, peer)) =
            self.pages.ask_again(now, |asked| self.peers.best(now, asked))
        {
            self.peers.asked(peer);
            self.pages.asked(index, peer, now);
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
                // Nothing else is left to do: what takes long is asked for again.
                self.chunks.ask_again(now, |asked| self.peers.best(now, asked))
            };
            let Some(((page, leaf), peer)) = next else { break };
            self.peers.asked(peer);
            self.chunks.asked((page, leaf), peer, now);
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
        // Every page was verified against the header, so its roots are right.
        Manifest::new(header, roots).ok()
    }

    fn end(&mut self, action: Action<P>, actions: &mut Vec<Action<P>>) {
        self.over = true;
        actions.push(action);
    }
}
