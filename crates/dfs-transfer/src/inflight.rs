//! Requests for headers and pages that peers have not answered yet, and which of
//! them are slow enough to ask another peer too.
//!
//! A peer that sends one byte now and then is neither silent nor in breach of the
//! protocol, so its request never fails. A slow request is sent to another peer as
//! well, and beyond [`MAX_DUPLICATES`] the oldest one no longer counts, so no number
//! of such peers can delay the download for long.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::limits::MAX_DUPLICATES;
use crate::timing::SLOW_REQUEST;

/// Requests by what they ask for.
#[derive(Debug)]
pub(crate) struct InFlight<K, P> {
    requests: BTreeMap<K, Request<P>>,
}

#[derive(Debug)]
struct Request<P> {
    /// The peers asked, the first one first, without those that have failed.
    peers: Vec<P>,
    /// When the last of them was asked.
    since: Instant,
}

impl<K: Copy + Ord, P: Copy + Eq> InFlight<K, P> {
    pub(crate) fn new() -> Self {
        Self { requests: BTreeMap::new() }
    }

    /// Records that `peer` is asked for `key`. Returns the peer that is given up for
    /// that, if too many are being asked.
    pub(crate) fn add(&mut self, key: K, peer: P, now: Instant) -> Option<P> {
        let request =
            self.requests.entry(key).or_insert_with(|| Request { peers: Vec::new(), since: now });
        request.peers.push(peer);
        request.since = now;
        (request.peers.len() > MAX_DUPLICATES).then(|| request.peers.remove(0))
    }

    /// Removes the request to one peer, which has failed. Returns whether no
    /// other peer is being asked for `key`.
    pub(crate) fn remove(&mut self, key: K, peer: P) -> bool {
        let Some(request) = self.requests.get_mut(&key) else { return false };
        let Some(at) = request.peers.iter().position(|asked| *asked == peer) else { return false };
        request.peers.remove(at);
        let was_last = request.peers.is_empty();
        if was_last {
            self.requests.remove(&key);
        }
        was_last
    }

    /// Removes all requests for `key`, which has been received.
    pub(crate) fn complete(&mut self, key: K) {
        self.requests.remove(&key);
    }

    /// Number of keys that are being asked for.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn contains(&self, key: K) -> bool {
        self.requests.contains_key(&key)
    }

    /// Number of keys whose requests are not slow yet.
    pub(crate) fn fresh(&self, now: Instant) -> usize {
        self.requests.values().filter(|request| request.since + SLOW_REQUEST > now).count()
    }

    /// A slow request and the peer to ask as well. `choose` names a peer other
    /// than the ones it is given.
    pub(crate) fn next_duplicate(
        &self,
        now: Instant,
        choose: impl Fn(&[P]) -> Option<P>,
    ) -> Option<(K, P)> {
        let slow = self.requests.iter().filter(|(_, request)| request.since + SLOW_REQUEST <= now);
        slow.map(|(key, request)| (*key, choose(&request.peers)))
            .find_map(|(key, peer)| Some((key, peer?)))
    }

    /// Forgets the requests for other keys. Their answers are of no use any more.
    pub(crate) fn retain(&mut self, is_of_use: impl Fn(K) -> bool) {
        self.requests.retain(|key, _| is_of_use(*key));
    }

    /// When the next request becomes slow.
    pub(crate) fn next_slow(&self, now: Instant) -> Option<Instant> {
        let times = self.requests.values().map(|request| request.since + SLOW_REQUEST);
        times.filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_request_is_sent_to_further_peers_and_the_oldest_given_up() {
        let start = Instant::now();
        let mut inflight = InFlight::new();
        inflight.add("page", 1, start);
        assert_eq!(inflight.next_slow(start), Some(start + SLOW_REQUEST));
        let other = |asked: &[i32]| (1..10).find(|peer| !asked.contains(peer));
        assert_eq!(inflight.next_duplicate(start, other), None);
        for (n, peer) in (1..).zip([2, 3]) {
            let now = start + SLOW_REQUEST * n;
            assert_eq!(inflight.next_duplicate(now, |_| None), None, "no other peer");
            assert_eq!(inflight.next_duplicate(now, other), Some(("page", peer)));
            assert_eq!(inflight.add("page", peer, now), None);
        }
        let now = start + SLOW_REQUEST * 100;
        assert_eq!(inflight.next_duplicate(now, other), Some(("page", 4)));
        assert_eq!(inflight.add("page", 4, now), Some(1));

        assert!(!inflight.remove("page", 2), "two are left");
        assert!(!inflight.remove("page", 2), "removed already");
        assert!(!inflight.remove("page", 3));
        assert!(inflight.remove("page", 4));
        inflight.add("page", 1, start);
        inflight.complete("page");
        assert!(!inflight.remove("page", 1), "the page was received");
    }
}
