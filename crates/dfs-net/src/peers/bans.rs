//! Peers whose connections this node refuses for a time.

use std::collections::VecDeque;
use std::time::Instant;

use libp2p::PeerId;

use crate::metrics::Metrics;
use crate::timing::BAN;

/// Bans by the time at which they end, the earliest first.
#[derive(Debug)]
pub(crate) struct Bans {
    ends: VecDeque<(Instant, PeerId)>,
    metrics: Metrics,
}

impl Bans {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { ends: VecDeque::new(), metrics }
    }

    /// Bans a peer; a second ban starts the time anew.
    pub(crate) fn ban(&mut self, peer: PeerId, now: Instant) {
        self.ends.retain(|(_, banned)| *banned != peer);
        self.ends.push_back((now + BAN, peer));
        self.metrics.bans.inc();
    }

    /// The next peer whose ban has ended.
    pub(crate) fn ended(&mut self, now: Instant) -> Option<PeerId> {
        self.ends.pop_front_if(|(end, _)| *end <= now).map(|(_, peer)| peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_ban_ends_once_and_counts_from_the_last_offence() {
        let mut bans = Bans::new(Metrics::default());
        let (peer, now) = (PeerId::random(), Instant::now());
        bans.ban(peer, now);
        bans.ban(peer, now + BAN / 2);
        assert_eq!(bans.ended(now + BAN), None);
        assert_eq!(bans.ended(now + BAN * 3 / 2), Some(peer));
        assert_eq!(bans.ended(now + BAN * 2), None);
    }
}
