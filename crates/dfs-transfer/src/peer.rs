//! What the machine knows of each provider: how much it may be asked at once,
//! and when again after a failure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::event::{Fault, Peer};

/// Requests that a new peer is sent at once.
const FIRST_CREDIT: u32 = 4;
/// Requests that a good peer is sent at once.
const MAX_CREDIT: u32 = 16;
/// First pause after a failure; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause after a failure or on a peer's own word.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Peers kept for one download; more are not needed and would only cost.
const MAX_PEERS: usize = 256;

/// State of one provider.
#[derive(Debug, Clone)]
struct Record {
    inflight: u32,
    credit: u32,
    /// Failures since the last success.
    failures: u32,
    not_before: Option<Instant>,
    banned: bool,
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

    /// Takes note of a provider. One that discovery names again although it
    /// could not be reached gets another chance at once.
    pub(crate) fn add(&mut self, peer: P) {
        if let Some(record) = self.records.get_mut(&peer) {
            if record.inflight == 0 && !record.banned {
                record.not_before = None;
            }
        } else if self.records.len() < MAX_PEERS || self.evict() {
            let record = Record {
                inflight: 0,
                credit: FIRST_CREDIT,
                failures: 0,
                not_before: None,
                banned: false,
            };
            self.records.insert(peer, record);
        }
    }

    /// Makes room by forgetting a provider that was of no use: whoever names
    /// dead ones by the hundred is not to keep out the one that lives.
    fn evict(&mut self) -> bool {
        let useless = self
            .records
            .iter()
            .filter(|(_, record)| record.inflight == 0 && (record.banned || record.failures > 0));
        let worst = useless.max_by_key(|(_, record)| (record.banned, record.failures));
        let Some(peer) = worst.map(|(&peer, _)| peer) else { return false };
        self.records.remove(&peer);
        true
    }

    /// Number of providers heard of, liars left out.
    pub(crate) fn known(&self) -> usize {
        self.records.values().filter(|record| !record.banned).count()
    }

    /// Number of providers whose last request did not fail.
    pub(crate) fn useful(&self) -> usize {
        self.records.values().filter(|record| !record.banned && record.failures == 0).count()
    }

    /// The peer with the most credit left, these left out.
    pub(crate) fn best(&self, now: Instant, but: &[P]) -> Option<P> {
        self.records
            .iter()
            .filter(|(peer, record)| record.is_ready(now) && !but.contains(peer))
            .max_by_key(|(_, record)| record.credit - record.inflight)
            .map(|(&peer, _)| peer)
    }

    /// The peers without any request in flight that may be asked now.
    pub(crate) fn idle(&self, now: Instant) -> Vec<P> {
        let idle = self.records.iter().filter(|(_, r)| r.is_ready(now) && r.inflight == 0);
        idle.map(|(&peer, _)| peer).collect()
    }

    /// A request goes out.
    pub(crate) fn asked(&mut self, peer: P) {
        if let Some(record) = self.records.get_mut(&peer) {
            record.inflight += 1;
        }
    }

    /// A request has been answered as it should be.
    pub(crate) fn succeeded(&mut self, peer: P) {
        if let Some(record) = self.records.get_mut(&peer) {
            record.inflight = record.inflight.saturating_sub(1);
            record.failures = 0;
            record.not_before = None;
            record.credit = (record.credit + 1).min(MAX_CREDIT);
        }
    }

    /// A request has failed. Returns whether the peer is now banned and was
    /// not before.
    pub(crate) fn failed(&mut self, peer: P, fault: Fault, now: Instant) -> bool {
        let Some(record) = self.records.get_mut(&peer) else { return false };
        record.inflight = record.inflight.saturating_sub(1);
        let pause = match fault {
            Fault::Busy { retry } => retry.clamp(Duration::from_millis(50), MAX_PAUSE),
            Fault::Lied => {
                return !std::mem::replace(&mut record.banned, true);
            }
            Fault::NotFound | Fault::Unreachable | Fault::TimedOut => {
                let pause = FIRST_PAUSE * 2_u32.pow(record.failures.min(16));
                // Requests that fail together, as when a connection breaks,
                // count once.
                if record.not_before.is_none_or(|at| at <= now) {
                    record.failures += 1;
                }
                pause.min(MAX_PAUSE)
            }
        };
        if fault == Fault::TimedOut {
            record.credit = (record.credit / 2).max(1);
        }
        record.not_before = Some(now + pause);
        false
    }

    /// The next time a paused peer may be asked again.
    pub(crate) fn next_ready(&self, now: Instant) -> Option<Instant> {
        let paused = self.records.values().filter(|record| !record.banned);
        paused.filter_map(|record| record.not_before).filter(|&at| at > now).min()
    }
}

impl Record {
    fn is_ready(&self, now: Instant) -> bool {
        !self.banned && self.inflight < self.credit && self.not_before.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_pause_a_peer_longer_and_longer_and_success_forgives() {
        let now = Instant::now();
        let mut peers = Peers::new();
        peers.add(1);
        let mut last = Duration::ZERO;
        let mut at = now;
        for _ in 0..12 {
            peers.asked(1);
            peers.failed(1, Fault::Unreachable, at);
            let next = peers.next_ready(at).expect("paused");
            assert!(peers.best(at, &[]).is_none());
            assert!(next - at >= last && next - at <= MAX_PAUSE);
            last = next - at;
            at = next;
        }
        assert_eq!(last, MAX_PAUSE);
        peers.asked(1);
        peers.succeeded(1);
        assert_eq!(peers.best(at, &[]), Some(1));
        assert_eq!(peers.useful(), 1);
    }

    #[test]
    fn dead_providers_make_room_for_others() {
        let now = Instant::now();
        let mut peers = Peers::new();
        for peer in 0..MAX_PEERS {
            peers.add(peer);
        }
        peers.add(MAX_PEERS);
        assert_eq!(peers.known(), MAX_PEERS, "none of them is known to be dead");
        peers.asked(7);
        peers.failed(7, Fault::Unreachable, now);
        peers.add(MAX_PEERS);
        assert!(peers.records.contains_key(&MAX_PEERS) && !peers.records.contains_key(&7));
    }

    #[test]
    fn a_liar_is_never_asked_again() {
        let now = Instant::now();
        let mut peers = Peers::new();
        peers.add(1);
        peers.asked(1);
        peers.failed(1, Fault::Lied, now);
        peers.add(1);
        assert_eq!(peers.best(now + Duration::from_secs(3600), &[]), None);
        assert_eq!(peers.known(), 0);
    }

    #[test]
    fn credit_bounds_what_is_in_flight() {
        let now = Instant::now();
        let mut peers = Peers::new();
        peers.add(1);
        let mut asked = 0;
        while peers.best(now, &[]).is_some() {
            peers.asked(1);
            asked += 1;
        }
        assert_eq!(asked, FIRST_CREDIT);
    }
}
