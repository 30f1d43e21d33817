//! Runs of chunks that peers have been asked for, and which chunks are slow enough
//! to ask another peer too.
//!
//! A peer that sends one byte now and then is neither silent nor in breach of the
//! protocol, so its requests never fail by themselves. A chunk that is slow is
//! requested from another peer as well, and when every copy of it is slow, the
//! oldest one is given up. So no peer can keep a chunk from a download that
//! another peer could send.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use dfs_core::Leaf;

use crate::event::RunId;
use crate::limits::{MAX_DUPLICATES, MAX_RUN};
use crate::timing::SLOW_REQUEST;

/// All runs that have not been answered in full.
#[derive(Debug)]
pub(crate) struct Requests<P> {
    next: u64,
    runs: BTreeMap<RunId, Run<P>>,
    chunks: HashMap<Leaf, Asked>,
    /// Bytes of the chunks, each counted once.
    bytes: u64,
}

#[derive(Debug)]
struct Run<P> {
    peer: P,
    /// What the peer has not answered.
    leaves: Vec<Leaf>,
}

/// A chunk in flight.
#[derive(Debug)]
struct Asked {
    /// The runs that contain it, the oldest first.
    runs: Vec<RunId>,
    /// When the last of them was sent.
    since: Instant,
}

/// What became of a chunk or a run: bytes that peers no longer owe, and runs that
/// nothing is wanted of any more.
#[derive(Debug)]
pub(crate) struct Settled<P> {
    pub(crate) freed: Vec<(P, u64)>,
    pub(crate) cancelled: Vec<RunId>,
    /// Peers that were asked for the chunk before the one that has sent it.
    pub(crate) overtaken: Vec<P>,
}

impl<P> Settled<P> {
    fn new() -> Self {
        Self { freed: Vec::new(), cancelled: Vec::new(), overtaken: Vec::new() }
    }
}

impl<P: Copy + Eq> Requests<P> {
    pub(crate) fn new() -> Self {
        Self { next: 0, runs: BTreeMap::new(), chunks: HashMap::new(), bytes: 0 }
    }

    /// Bytes requested and not received. A chunk requested twice counts once.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether a peer has been asked for the chunk.
    pub(crate) fn is_asked(&self, leaf: &Leaf) -> bool {
        self.chunks.contains_key(leaf)
    }

    /// The runs of which nothing is of use any more.
    pub(crate) fn useless(&self, is_of_use: impl Fn(&Leaf) -> bool) -> Vec<RunId> {
        let useless = self.runs.iter().filter(|(_, run)| !run.leaves.iter().any(&is_of_use));
        useless.map(|(&id, _)| id).collect()
    }

    /// Records a run. Chunks that are in flight already are requested once more.
    pub(crate) fn add(&mut self, peer: P, leaves: Vec<Leaf>, now: Instant) -> RunId {
        let run = RunId(self.next);
        self.next += 1;
        for &leaf in &leaves {
            let bytes = &mut self.bytes;
            let asked = self.chunks.entry(leaf).or_insert_with(|| {
                *bytes += u64::from(leaf.len);
                Asked { runs: Vec::new(), since: now }
            });
            asked.runs.push(run);
            asked.since = now;
        }
        self.runs.insert(run, Run { peer, leaves });
        run
    }

    /// The peer of a run that has not been answered in full.
    pub(crate) fn peer(&self, run: RunId) -> Option<P> {
        self.runs.get(&run).map(|run| run.peer)
    }

    /// Whether this is the answer to a request: the run is open and still lacks the
    /// chunk.
    pub(crate) fn is_owed(&self, run: RunId, leaf: &Leaf) -> bool {
        self.runs.get(&run).is_some_and(|run| run.leaves.contains(leaf))
    }

    /// The chunk has been received from the peer of `run`. Every copy of it is settled.
    pub(crate) fn received(&mut self, run: RunId, leaf: &Leaf) -> Settled<P> {
        let mut settled = Settled::new();
        let Some(asked) = self.chunks.remove(leaf) else { return settled };
        self.bytes -= u64::from(leaf.len);
        let before = asked.runs.iter().take_while(|copy| **copy != run);
        settled.overtaken = before.filter_map(|copy| self.peer(*copy)).collect();
        for copy in asked.runs {
            self.drop_leaf(copy, leaf, &mut settled);
        }
        settled.cancelled.retain(|copy| *copy != run);
        settled
    }

    /// The peer of one run does not send the chunk. Returns whether no other run contains
    /// it.
    pub(crate) fn refused(&mut self, run: RunId, leaf: &Leaf) -> (Settled<P>, bool) {
        let mut settled = Settled::new();
        self.drop_leaf(run, leaf, &mut settled);
        // The answer to the last leaf ends the run by itself.
        settled.cancelled.clear();
        (settled, self.forget_copy(run, leaf))
    }

    /// A run has failed. Returns the chunks that no other run contains.
    pub(crate) fn failed(&mut self, run: RunId) -> (Settled<P>, Vec<Leaf>) {
        let mut settled = Settled::new();
        let Some(Run { peer, leaves }) = self.runs.remove(&run) else {
            return (settled, Vec::new());
        };
        settled.freed.push((peer, leaves.iter().map(|leaf| u64::from(leaf.len)).sum()));
        let orphans = leaves.into_iter().filter(|leaf| self.forget_copy(run, leaf)).collect();
        (settled, orphans)
    }

    /// Slow chunks to request from a peer as well, up to `max` bytes, but at least
    /// one if there is one. Also returns the runs that are given up for that: those
    /// with the oldest of too many slow copies.
    pub(crate) fn slow_for(
        &self,
        peer: P,
        max: u64,
        now: Instant,
        is_lacking: impl Fn(&Leaf) -> bool,
    ) -> (Vec<Leaf>, Vec<RunId>) {
        let (mut chunks, mut given_up, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut slow: Vec<_> =
            self.chunks.iter().filter(|(_, asked)| asked.since + SLOW_REQUEST <= now).collect();
        slow.sort_by_key(|(leaf, asked)| (asked.since, leaf.hash));
        for (leaf, asked) in slow {
            let holders = asked.runs.iter().filter_map(|run| self.peer(*run));
            if holders.into_iter().any(|holder| holder == peer) || is_lacking(leaf) {
                continue;
            }
            if bytes >= max || chunks.len() >= MAX_RUN {
                break;
            }
            if asked.runs.len() >= MAX_DUPLICATES {
                given_up.extend(asked.runs.first().filter(|run| !given_up.contains(*run)));
            }
            bytes += u64::from(leaf.len);
            chunks.push(*leaf);
        }
        (chunks, given_up)
    }

    /// When the next chunk becomes slow.
    pub(crate) fn next_slow(&self, now: Instant) -> Option<Instant> {
        let times = self.chunks.values().map(|asked| asked.since + SLOW_REQUEST);
        times.filter(|at| *at > now).min()
    }

    /// Takes a leaf out of a run, and the run out of the list if that was its last.
    fn drop_leaf(&mut self, id: RunId, leaf: &Leaf, settled: &mut Settled<P>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(at) = run.leaves.iter().position(|owed| owed == leaf) else { return };
        run.leaves.remove(at);
        settled.freed.push((run.peer, leaf.len.into()));
        if run.leaves.is_empty() {
            self.runs.remove(&id);
            settled.cancelled.push(id);
        }
    }

    /// Takes a run out of the copies of a chunk. Returns whether that was the last one.
    fn forget_copy(&mut self, run: RunId, leaf: &Leaf) -> bool {
        let Some(asked) = self.chunks.get_mut(leaf) else { return false };
        asked.runs.retain(|copy| *copy != run);
        let was_last = asked.runs.is_empty();
        if was_last {
            self.bytes -= u64::from(leaf.len);
            self.chunks.remove(leaf);
        }
        was_last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(n: u32) -> Leaf {
        Leaf { len: 100, ..Leaf::of(&n.to_le_bytes()) }
    }

    #[test]
    fn a_chunk_received_settles_every_copy() {
        let now = Instant::now();
        let mut requests = Requests::new();
        let first = requests.add("a", vec![chunk(1), chunk(2)], now);
        let second = requests.add("b", vec![chunk(1)], now);
        assert_eq!(requests.bytes(), 200);
        assert!(requests.is_owed(first, &chunk(1)));
        let settled = requests.received(first, &chunk(1));
        assert_eq!(settled.freed, [("a", 100), ("b", 100)]);
        assert_eq!(settled.cancelled, [second], "nothing else is wanted of it");
        assert!(settled.overtaken.is_empty(), "the second one was asked later");
        let third = requests.add("c", vec![chunk(2)], now);
        assert_eq!(requests.received(third, &chunk(2)).overtaken, ["a"]);
        let first = requests.add("a", vec![chunk(1), chunk(2)], now);
        requests.received(first, &chunk(1));
        assert!(!requests.is_owed(first, &chunk(1)));
        assert_eq!((requests.bytes(), requests.peer(first)), (100, Some("a")));
        let (settled, orphans) = requests.failed(first);
        assert_eq!((settled.freed, orphans), (vec![("a", 100)], vec![chunk(2)]));
        assert!(requests.is_empty() && requests.bytes() == 0);
    }

    #[test]
    fn a_refused_chunk_returns_when_no_other_peer_is_asked() {
        let now = Instant::now();
        let mut requests = Requests::new();
        let first = requests.add("a", vec![chunk(1)], now);
        let second = requests.add("b", vec![chunk(1)], now);
        assert!(!requests.refused(first, &chunk(1)).1);
        assert!(requests.refused(second, &chunk(1)).1);
        assert!(!requests.refused(second, &chunk(1)).1, "answered already");
    }

    #[test]
    fn the_oldest_of_three_slow_copies_is_given_up_for_a_fourth() {
        let start = Instant::now();
        let mut requests = Requests::new();
        let first = requests.add(1, vec![chunk(1)], start);
        assert_eq!(requests.next_slow(start), Some(start + SLOW_REQUEST));
        assert!(requests.slow_for(2, 1000, start, |_| false).0.is_empty(), "not slow yet");
        let mut now = start;
        for peer in 2..=3 {
            now += SLOW_REQUEST;
            assert!(requests.slow_for(1, 1000, now, |_| false).0.is_empty(), "asked already");
            assert!(requests.slow_for(peer, 1000, now, |_| true).0.is_empty(), "lacks it");
            let (chunks, given_up) = requests.slow_for(peer, 1000, now, |_| false);
            assert_eq!((&chunks[..], &given_up[..]), (&[chunk(1)][..], &[][..]));
            requests.add(peer, chunks, now);
        }
        now += SLOW_REQUEST;
        assert_eq!(requests.slow_for(4, 1000, now, |_| false), (vec![chunk(1)], vec![first]));
    }
}
