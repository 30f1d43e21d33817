//! What the machine knows about each provider: how many requests it may have in
//! flight, and until when it is left alone after a failure.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::event::{Fault, Peer};
use crate::limits::{FIRST_CREDIT, MAX_CREDIT, MAX_PEERS};
use crate::timing::{busy_pause, failure_pause};

/// State of one provider.
#[derive(Debug, Clone)]
struct Record {
    /// Requests that it has not answered.
    inflight: u32,
    /// Most requests that it may have in flight.
    credit: u32,
    /// Failures since the last success.
    failures: u32,
    /// It is left alone until then.
    paused_until: Option<Instant>,
    is_banned: bool,
}

/// All providers of one download.
#[derive(Debug)]
pub(crate) struct Peers<P> {
    records: BTreeMap<P, Record>,
}

impl<P: Peer> Peers<P> {
    pub(crate) fn new() -> Self {
        Self { records: BTreeMap::new() }
    }

    /// Adds a provider. If it is known and paused, discovery has found it again,
    /// so its pause ends.
    pub(crate) fn add(&mut self, peer: P) {
        if let Some(record) = self.records.get_mut(&peer) {
            if record.inflight == 0 && !record.is_banned {
                record.paused_until = None;
            }
        } else if self.records.len() < MAX_PEERS || self.evict() {
            let record = Record {
                inflight: 0,
                credit: FIRST_CREDIT,
                failures: 0,
                paused_until: None,
                is_banned: false,
            };
            self.records.insert(peer, record);
        }
    }

    /// Makes room by forgetting the least useful provider that has failed, so that
    /// a flood of dead providers does not keep out a live one.
    fn evict(&mut self) -> bool {
        let useless = self.records.iter().filter(|(_, record)| {
            record.inflight == 0 && (record.is_banned || record.failures > 0)
        });
        let worst = useless.max_by_key(|(_, record)| (record.is_banned, record.failures));
        let Some(peer) = worst.map(|(&peer, _)| peer) else { return false };
        self.records.remove(&peer);
        true
    }

    /// Number of known providers, without banned ones.
    pub(crate) fn known(&self) -> usize {
        self.records.values().filter(|record| !record.is_banned).count()
    }

    /// Number of providers whose last request did not fail.
    pub(crate) fn useful(&self) -> usize {
        self.records.values().filter(|record| !record.is_banned && record.failures == 0).count()
    }

    /// The peer with the most credit left, other than the excluded ones.
    pub(crate) fn best(&self, now: Instant, excluded: &[P]) -> Option<P> {
        self.records
            .iter()
            .filter(|(peer, record)| record.is_ready(now) && !excluded.contains(peer))
            .max_by_key(|(_, record)| record.credit - record.inflight)
            .map(|(&peer, _)| peer)
    }

    /// The peers without a request in flight that may be asked now.
    pub(crate) fn idle(&self, now: Instant) -> Vec<P> {
        let idle = self.records.iter().filter(|(_, r)| r.is_ready(now) && r.inflight == 0);
        idle.map(|(&peer, _)| peer).collect()
    }

    /// Records that a request is sent.
    pub(crate) fn record_request(&mut self, peer: P) {
        if let Some(record) = self.records.get_mut(&peer) {
            record.inflight += 1;
        }
    }

    /// Records a useful answer.
    pub(crate) fn record_success(&mut self, peer: P) {
        if let Some(record) = self.records.get_mut(&peer) {
            record.inflight = record.inflight.saturating_sub(1);
            record.failures = 0;
            record.paused_until = None;
            record.credit = (record.credit + 1).min(MAX_CREDIT);
        }
    }

    /// Records a failed request. Returns whether it got the peer banned.
    pub(crate) fn record_failure(&mut self, peer: P, fault: Fault, now: Instant) -> bool {
        let Some(record) = self.records.get_mut(&peer) else { return false };
        record.inflight = record.inflight.saturating_sub(1);
        let pause = match fault {
            Fault::Busy { retry } => busy_pause(retry),
            Fault::Breach => return !std::mem::replace(&mut record.is_banned, true),
            Fault::NotFound | Fault::Unreachable | Fault::TimedOut => {
                let pause = failure_pause(record.failures);
                // Requests that fail together, as when a connection breaks, count
                // once.
                if record.paused_until.is_none_or(|at| at <= now) {
                    record.failures += 1;
                }
                pause
            }
        };
        if fault == Fault::TimedOut {
            record.credit = (record.credit / 2).max(1);
        }
        record.paused_until = Some(now + pause);
        false
    }

    /// The next time a paused peer may be asked again.
    pub(crate) fn next_ready(&self, now: Instant) -> Option<Instant> {
        let paused = self.records.values().filter(|record| !record.is_banned);
        paused.filter_map(|record| record.paused_until).filter(|&at| at > now).min()
    }
}

impl Record {
    fn is_ready(&self, now: Instant) -> bool {
        !self.is_banned
            && self.inflight < self.credit
            && self.paused_until.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::timing::MAX_FAILURE_PAUSE;

    #[test]
    fn pauses_grow_with_failures_and_end_with_a_success() {
        let now = Instant::now();
        let mut peers = Peers::new();
        peers.add(1);
        let mut last = Duration::ZERO;
        let mut at = now;
        for _ in 0..12 {
            peers.record_request(1);
            peers.record_failure(1, Fault::Unreachable, at);
            let next = peers.next_ready(at).expect("paused");
            assert!(peers.best(at, &[]).is_none());
            assert!(next - at >= last && next - at <= MAX_FAILURE_PAUSE);
            last = next - at;
            at = next;
        }
        assert_eq!(last, MAX_FAILURE_PAUSE);
        peers.record_request(1);
        peers.record_success(1);
        assert_eq!(peers.best(at, &[]), Some(1));
        assert_eq!(peers.useful(), 1);
    }

    #[test]
    fn a_failed_provider_makes_room_for_a_new_one() {
        let now = Instant::now();
        let mut peers = Peers::new();
        for peer in 0..MAX_PEERS {
            peers.add(peer);
        }
        peers.add(MAX_PEERS);
        assert_eq!(peers.known(), MAX_PEERS, "no peer has failed");
        peers.record_request(7);
        peers.record_failure(7, Fault::Unreachable, now);
        peers.add(MAX_PEERS);
        assert!(peers.records.contains_key(&MAX_PEERS) && !peers.records.contains_key(&7));
    }

    #[test]
    fn a_banned_peer_is_never_asked_again() {
        let now = Instant::now();
        let mut peers = Peers::new();
        peers.add(1);
        peers.record_request(1);
        peers.record_failure(1, Fault::Breach, now);
        peers.add(1);
        assert_eq!(peers.best(now + Duration::from_secs(3600), &[]), None);
        assert_eq!(peers.known(), 0);
    }

    #[test]
    fn credit_limits_the_requests_in_flight() {
        let now = Instant::now();
        let mut peers = Peers::new();
        peers.add(1);
        let mut asked = 0;
        while peers.best(now, &[]).is_some() {
            peers.record_request(1);
            asked += 1;
        }
        assert_eq!(asked, FIRST_CREDIT);
    }
}
