//! When to search for providers.

use std::time::{Duration, Instant};

use crate::limits::ENOUGH_PROVIDERS;
use crate::timing::{FIRST_SEARCH_PAUSE, MAX_SEARCH_PAUSE, SEARCH_PAUSE_WITH_FEW};

/// Schedule of searches.
#[derive(Debug)]
pub(crate) struct Discovery {
    is_running: bool,
    next: Option<Instant>,
    /// Pause before the next search that follows one without success.
    pause: Duration,
}

impl Discovery {
    /// The first search is due at once.
    pub(crate) fn new(now: Instant) -> Self {
        Self { is_running: false, next: Some(now), pause: FIRST_SEARCH_PAUSE }
    }

    /// Starts a search if one is due.
    pub(crate) fn start_if_due(&mut self, now: Instant) -> bool {
        let due = !self.is_running && self.next.is_some_and(|at| at <= now);
        if due {
            self.is_running = true;
            self.next = None;
        }
        due
    }

    /// Plans the next search after one that has ended with so many useful
    /// providers known.
    pub(crate) fn finish(&mut self, useful: usize, now: Instant) {
        self.is_running = false;
        if useful > 0 {
            self.pause = FIRST_SEARCH_PAUSE;
            self.next = (useful < ENOUGH_PROVIDERS).then(|| now + SEARCH_PAUSE_WITH_FEW);
        } else {
            self.next = Some(self.after_pause(now));
        }
    }

    /// Brings the next search forward: no useful provider is left.
    pub(crate) fn search_soon(&mut self, now: Instant) {
        if !self.is_running && self.next.is_none_or(|at| at > now + self.pause) {
            self.next = Some(self.after_pause(now));
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.is_running
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    fn after_pause(&mut self, now: Instant) -> Instant {
        let next = now + self.pause;
        self.pause = (self.pause * 2).min(MAX_SEARCH_PAUSE);
        next
    }
}
