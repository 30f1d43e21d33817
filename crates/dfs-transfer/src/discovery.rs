//! When to look for providers, and when to look again.

use std::time::{Duration, Instant};

/// First pause between two searches; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause while nobody useful is known.
const MAX_PAUSE: Duration = Duration::from_secs(15);
/// Pause while some, but few, useful peers are known.
const PAUSE_WITH_PEERS: Duration = Duration::from_secs(60);
/// With this many useful peers there is no need to look for more.
const ENOUGH: usize = 3;

/// Schedule of searches.
#[derive(Debug)]
pub(crate) struct Discovery {
    running: bool,
    next: Option<Instant>,
    pause: Duration,
}

impl Discovery {
    /// The first search is due at once.
    pub(crate) fn new(now: Instant) -> Self {
        Self { running: false, next: Some(now), pause: FIRST_PAUSE }
    }

    /// Starts a search if one is due.
    pub(crate) fn start_if_due(&mut self, now: Instant) -> bool {
        let due = !self.running && self.next.is_some_and(|at| at <= now);
        if due {
            self.running = true;
            self.next = None;
        }
        due
    }

    /// A search has ended.
    pub(crate) fn ended(&mut self, useful: usize, now: Instant) {
        self.running = false;
        if useful > 0 {
            self.pause = FIRST_PAUSE;
            self.next = (useful < ENOUGH).then(|| now + PAUSE_WITH_PEERS);
        } else {
            self.next = Some(now + self.pause);
            self.pause = (self.pause * 2).min(MAX_PAUSE);
        }
    }

    /// The last useful peer is gone: look again soon.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if !self.running {
            let soon = now + self.pause;
            if self.next.is_none_or(|at| at > soon) {
                self.next = Some(soon);
                self.pause = (self.pause * 2).min(MAX_PAUSE);
            }
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }
}
