//! Chunks that peers have said they do not hold.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use dfs_core::Leaf;

use crate::limits::MAX_LACKING;
use crate::timing::LACKING_RETRY;

/// Which peer lacks which chunk, and until when the peer is not asked for it again.
#[derive(Debug)]
pub(crate) struct Lacking<P> {
    until: HashMap<(P, Leaf), Instant>,
}

impl<P: Copy + Eq + Hash> Lacking<P> {
    pub(crate) fn new() -> Self {
        Self { until: HashMap::new() }
    }

    /// The peer says that it does not hold the chunk.
    pub(crate) fn add(&mut self, peer: P, leaf: Leaf, now: Instant) {
        if self.until.len() >= MAX_LACKING {
            self.until.retain(|_, until| *until > now);
        }
        // Beyond the limit, the peer is asked once more than necessary.
        if self.until.len() < MAX_LACKING {
            self.until.insert((peer, leaf), now + LACKING_RETRY);
        }
    }

    pub(crate) fn contains(&self, peer: P, leaf: &Leaf, now: Instant) -> bool {
        self.until.get(&(peer, *leaf)).is_some_and(|until| *until > now)
    }

    /// When the first peer may be asked again for a chunk that it lacked.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.until.values().copied().filter(|until| *until > now).min()
    }
}
