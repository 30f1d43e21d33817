//! What the machine knows about each provider: what it owes, how much it may owe,
//! and until when it is left alone after a failure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Instant;

use crate::credit::Credit;
use crate::event::{Fault, Peer};
use crate::limits::{MAX_PEERS, MAX_RUN_BYTES, MAX_SMALL_REQUESTS};
use crate::timing::{busy_pause, failure_pause};

/// State of one provider.
#[derive(Debug, Clone, Default)]
struct Record {
    /// Requests for headers and pages that it has not answered.
    small_requests: u32,
    /// Bytes of chunks that it has not sent.
    owed: u64,
    credit: Credit,
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
            if record.is_idle() && !record.is_banned {
                record.paused_until = None;
            }
        } else if self.records.len() < MAX_PEERS || self.evict() {
            self.records.insert(peer, Record::default());
        }
    }

    /// Makes room by forgetting the least useful provider that has failed, so that
    /// a flood of dead providers does not keep out a live one.
    fn evict(&mut self) -> bool {
        let useless = self
            .records
            .iter()
            .filter(|(_, record)| record.is_idle() && (record.is_banned || record.failures > 0));
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

    /// The peer that owes least, other than the excluded ones, for a header or page.
    pub(crate) fn best(&self, now: Instant, excluded: &[P]) -> Option<P> {
        self.records
            .iter()
            .filter(|(peer, record)| record.is_ready(now) && !excluded.contains(peer))
            .filter(|(_, record)| record.small_requests < MAX_SMALL_REQUESTS)
            .min_by_key(|(_, record)| (record.small_requests, record.owed))
            .map(|(&peer, _)| peer)
    }

    /// The peers without a request in flight that may be asked now.
    pub(crate) fn idle(&self, now: Instant) -> Vec<P> {
        let idle = self.records.iter().filter(|(_, r)| r.is_ready(now) && r.is_idle());
        idle.map(|(&peer, _)| peer).collect()
    }

    /// The peers that may be asked for chunks now, and for how many bytes in one run;
    /// the one with the most credit left comes first.
    pub(crate) fn with_credit(&self, now: Instant) -> Vec<(P, u64)> {
        let ready = self.records.iter().filter(|(_, record)| record.is_ready(now));
        let mut peers: Vec<_> = ready
            .filter(|(_, record)| record.owed == 0 || record.spare() >= record.credit.run())
            .map(|(&peer, record)| (Reverse(record.spare()), peer, record.credit.run()))
            .collect();
        peers.sort_unstable();
        peers.into_iter().map(|(_, peer, run)| (peer, run.min(MAX_RUN_BYTES))).collect()
    }

    /// Records that a header or page is requested.
    pub(crate) fn record_request(&mut self, peer: P) {
        if let Some(record) = self.records.get_mut(&peer) {
            record.small_requests += 1;
        }
    }

    /// Records that a request for a header or page has been answered or has failed.
    pub(crate) fn record_answer(&mut self, peer: P) {
        if let Some(record) = self.records.get_mut(&peer) {
            record.small_requests = record.small_requests.saturating_sub(1);
        }
    }

    /// Records that a run of chunks is requested.
    pub(crate) fn record_run(&mut self, peer: P, bytes: u64, now: Instant) {
        if let Some(record) = self.records.get_mut(&peer) {
            if record.owed == 0 {
                record.credit.on_first_request(now);
            }
            record.owed += bytes;
        }
    }

    /// Records that a peer no longer owes some bytes.
    pub(crate) fn release(&mut self, peer: P, bytes: u64) {
        if let Some(record) = self.records.get_mut(&peer) {
            record.owed = record.owed.saturating_sub(bytes);
        }
    }

    /// Records that a chunk has been received.
    pub(crate) fn record_chunk(&mut self, peer: P, bytes: u64, now: Instant) {
        self.record_success(peer);
        if let Some(record) = self.records.get_mut(&peer) {
            record.credit.on_received(bytes, now);
        }
    }

    /// Records a useful answer.
    pub(crate) fn record_success(&mut self, peer: P) {
        if let Some(record) = self.records.get_mut(&peer) {
            record.failures = 0;
            record.paused_until = None;
        }
    }

    /// Records a failed request. Returns whether it got the peer banned.
    pub(crate) fn record_failure(&mut self, peer: P, fault: Fault, now: Instant) -> bool {
        let Some(record) = self.records.get_mut(&peer) else { return false };
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
            record.credit.on_timeout();
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
        !self.is_banned && self.paused_until.is_none_or(|at| at <= now)
    }

    fn is_idle(&self) -> bool {
        self.small_requests == 0 && self.owed == 0
    }

    /// Bytes that it may owe beyond those it does.
    fn spare(&self) -> u64 {
        self.credit.bytes().saturating_sub(self.owed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::FIRST_CREDIT;
    use crate::timing::MAX_FAILURE_PAUSE;

    #[test]
    fn pauses_grow_with_failures_and_end_with_a_success() {
        let now = Instant::now();
        let mut peers = Peers::new();
        peers.add(1);
        let mut last = Duration::ZERO;
        let mut at = now;
        for _ in 0..12 {
            peers.record_failure(1, Fault::Unreachable, at);
            let next = peers.next_ready(at).expect("paused");
            assert!(peers.best(at, &[]).is_none());
            assert!(next - at >= last && next - at <= MAX_FAILURE_PAUSE);
            last = next - at;
            at = next;
        }
        assert_eq!(last, MAX_FAILURE_PAUSE);
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
        peers.record_answer(7);
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
    fn credit_limits_the_bytes_that_a_peer_owes() {
        let now = Instant::now();
        let mut peers = Peers::new();
        peers.add(1);
        let mut owed = 0;
        while let Some(&(peer, run)) = peers.with_credit(now).first() {
            peers.record_run(peer, run, now);
            owed += run;
        }
        assert_eq!(owed, FIRST_CREDIT);
        assert!(peers.idle(now).is_empty());
        // A small rest of the credit is not worth a request.
        peers.release(1, 1000);
        assert!(peers.with_credit(now).is_empty());
        peers.release(1, FIRST_CREDIT / 4);
        assert_eq!(peers.with_credit(now), [(1, FIRST_CREDIT / 4)]);
    }
}
