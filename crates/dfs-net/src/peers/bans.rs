//! Peers whose connections this node refuses for a time.

use std::collections::VecDeque;
use std::time::Instant;

use libp2p::PeerId;

use crate::limits::MAX_BANS;
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

    /// Bans a peer; a second ban starts the time anew. Returns the peer whose
    /// ban ends early because there are too many.
    pub(crate) fn ban(&mut self, peer: PeerId, now: Instant) -> Option<PeerId> {
        self.ends.retain(|(_, banned)| *banned != peer);
        self.ends.push_back((now + BAN, peer));
        self.metrics.bans.inc();
        if self.ends.len() <= MAX_BANS {
            return None;
        }
        self.ends.pop_front().map(|(_, peer)| peer)
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

    #[test]
    fn the_oldest_ban_makes_room() {
        let mut bans = Bans::new(Metrics::default());
        let (first, now) = (PeerId::random(), Instant::now());
        bans.ban(first, now);
        let ended: Vec<_> = (0..MAX_BANS).filter_map(|_| bans.ban(PeerId::random(), now)).collect();
        assert_eq!(ended, [first]);
    }
}
