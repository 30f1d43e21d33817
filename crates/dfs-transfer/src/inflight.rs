//! What peers have been asked for and have not given yet, and what has taken so
//! long that somebody else is asked for it too.
//!
//! A peer that sends a byte now and then is neither silent nor wrong, and its
//! request never fails; it must not hold up the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Time after which somebody else is asked too.
const SLOW: Duration = Duration::from_secs(5);
/// Peers that are asked for one thing at a time.
const MAX_ASKED: usize = 3;

/// Requests by what they are for.
#[derive(Debug)]
pub(crate) struct InFlight<K, P> {
    requests: BTreeMap<K, Request<P>>,
}

#[derive(Debug)]
struct Request<P> {
    peers: Vec<P>,
    /// When the last of them was asked.
    since: Instant,
}

impl<K: Copy + Ord, P: Copy + Eq> InFlight<K, P> {
    pub(crate) fn new() -> Self {
        Self { requests: BTreeMap::new() }
    }

    /// A request goes out.
    pub(crate) fn asked(&mut self, key: K, peer: P, now: Instant) {
        let request =
            self.requests.entry(key).or_insert_with(|| Request { peers: Vec::new(), since: now });
        request.peers.push(peer);
        request.since = now;
    }

    /// A request has failed. Returns whether it was the last one for this.
    pub(crate) fn failed(&mut self, key: K, peer: P) -> bool {
        let Some(request) = self.requests.get_mut(&key) else { return false };
        let Some(at) = request.peers.iter().position(|asked| *asked == peer) else { return false };
        request.peers.swap_remove(at);
        let last = request.peers.is_empty();
        if last {
            self.requests.remove(&key);
        }
        last
    }

    /// This has been got; what others still send of it does not matter.
    pub(crate) fn got(&mut self, key: K) {
        self.requests.remove(&key);
    }

    /// Number of requests that are not slow yet.
    pub(crate) fn fresh(&self, now: Instant) -> usize {
        self.requests.values().filter(|request| request.since + SLOW > now).count()
    }

    /// What takes so long that somebody else is to be asked, and whom; `choose`
    /// names somebody beside those who have been.
    pub(crate) fn ask_again(
        &self,
        now: Instant,
        choose: impl Fn(&[P]) -> Option<P>,
    ) -> Option<(K, P)> {
        let slow = self
            .requests
            .iter()
            .filter(|(_, request)| request.peers.len() < MAX_ASKED && request.since + SLOW <= now);
        slow.map(|(key, request)| (*key, choose(&request.peers)))
            .find_map(|(key, peer)| Some((key, peer?)))
    }

    /// When the next request becomes slow.
    pub(crate) fn next_slow(&self, now: Instant) -> Option<Instant> {
        let times = self.requests.values().map(|request| request.since + SLOW);
        times.filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slow_is_asked_for_elsewhere_but_not_everywhere() {
        let start = Instant::now();
        let mut inflight = InFlight::new();
        inflight.asked("chunk", 1, start);
        assert_eq!(inflight.next_slow(start), Some(start + SLOW));
        let other = |asked: &[i32]| (1..10).find(|peer| !asked.contains(peer));
        assert_eq!(inflight.ask_again(start, other), None);
        for (n, peer) in (1..).zip([2, 3]) {
            let now = start + SLOW * n;
            assert_eq!(inflight.ask_again(now, |_| None), None, "nobody else is there");
            assert_eq!(inflight.ask_again(now, other), Some(("chunk", peer)));
            inflight.asked("chunk", peer, now);
        }
        assert_eq!(inflight.ask_again(start + SLOW * 100, other), None);

        assert!(!inflight.failed("chunk", 1), "two are left");
        assert!(!inflight.failed("chunk", 1), "it has failed already");
        assert!(!inflight.failed("chunk", 2));
        assert!(inflight.failed("chunk", 3));
        inflight.asked("chunk", 1, start);
        inflight.got("chunk");
        assert!(!inflight.failed("chunk", 1), "nobody misses it");
    }
}
