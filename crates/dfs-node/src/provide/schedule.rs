//! When each provided CID is due.
//!
//! A value without I/O: the worker tells it what has happened and the time.
//! Times are wall-clock milliseconds, because they are stored over restarts,
//! so every entry is checked against a clock that may have been set: no CID is
//! due later than now and one interval.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use dfs_core::Cid;

use crate::timing::{PROVIDE_RETRY_MAX, PROVIDE_RETRY_MIN, PROVIDE_SPREAD};

/// Due times of all provided CIDs.
#[derive(Debug)]
pub(super) struct Schedule {
    interval_ms: u64,
    entries: HashMap<Cid, Entry>,
    /// The entries that are not being published, by due time.
    queue: BTreeSet<(u64, Cid)>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    due_ms: u64,
    /// Publications in a row that reached no node.
    misses: u32,
    /// Whether a miss is repeated at once, because the DHT got its first node
    /// while the publication was under way.
    repeat: bool,
}

impl Schedule {
    pub(super) fn new(interval: Duration) -> Self {
        let interval_ms = millis(interval).max(1);
        Self { interval_ms, entries: HashMap::new(), queue: BTreeSet::new() }
    }

    /// Number of provided CIDs.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a CID, or changes when it is due.
    pub(super) fn insert(&mut self, cid: Cid, due_ms: u64) {
        let misses = self.entries.get(&cid).map_or(0, |entry| entry.misses);
        self.set(cid, Entry { due_ms, misses, repeat: false });
    }

    /// Forgets a CID.
    pub(super) fn remove(&mut self, cid: &Cid) {
        if let Some(entry) = self.entries.remove(cid) {
            self.queue.remove(&(entry.due_ms, *cid));
        }
    }

    /// When a CID is due, in ms since the Unix epoch.
    pub(super) fn due_ms(&self, cid: &Cid) -> Option<u64> {
        self.entries.get(cid).map(|entry| entry.due_ms)
    }

    /// Time until the next CID is due; `None` without one.
    pub(super) fn next_in(&mut self, now_ms: u64) -> Option<Duration> {
        self.follow_clock(now_ms);
        self.until_next(now_ms)
    }

    /// Like [`Self::next_in`], for a status: the clock is not looked at.
    pub(super) fn until_next(&self, now_ms: u64) -> Option<Duration> {
        let (due_ms, _) = self.queue.first()?;
        Some(Duration::from_millis(due_ms.saturating_sub(now_ms)))
    }

    /// Takes the next due CID. It is not due again until its attempt has been
    /// noted.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Option<Cid> {
        self.follow_clock(now_ms);
        self.queue.first().filter(|(due_ms, _)| *due_ms <= now_ms)?;
        self.queue.pop_first().map(|(_, cid)| cid)
    }

    /// Takes a CID out of turn.
    pub(super) fn take(&mut self, cid: &Cid) {
        if let Some(entry) = self.entries.get(cid) {
            self.queue.remove(&(entry.due_ms, *cid));
        }
    }

    /// Notes a publication that reached nodes. Returns when the next is due.
    pub(super) fn published(&mut self, cid: Cid, now_ms: u64) -> u64 {
        let due_ms = now_ms.saturating_add(self.interval_ms) - spread(&cid, self.interval_ms);
        self.set(cid, Entry { due_ms, misses: 0, repeat: false });
        due_ms
    }

    /// Notes a publication that reached no node: the next follows after a
    /// pause that doubles each time.
    pub(super) fn missed(&mut self, cid: Cid, now_ms: u64) -> u64 {
        let (misses, repeat) =
            self.entries.get(&cid).map_or((0, false), |entry| (entry.misses, entry.repeat));
        if repeat {
            self.set(cid, Entry { due_ms: now_ms, misses: 0, repeat: false });
            return now_ms;
        }
        let factor = 1_u64 << misses.min(16);
        let pause = millis(PROVIDE_RETRY_MIN).saturating_mul(factor);
        let pause = pause.min(millis(PROVIDE_RETRY_MAX)).min(self.interval_ms);
        let due_ms = now_ms.saturating_add(pause);
        self.set(cid, Entry { due_ms, misses: misses + 1, repeat: false });
        due_ms
    }

    /// The DHT has its first node: makes everything due whose last publication
    /// reached no node, or will have reached none.
    pub(super) fn retry_missed(&mut self, now_ms: u64) {
        let mut missed = Vec::new();
        for (cid, entry) in &mut self.entries {
            if !self.queue.contains(&(entry.due_ms, *cid)) {
                entry.repeat = true;
            } else if entry.misses > 0 {
                missed.push(*cid);
            }
        }
        for cid in missed {
            self.set(cid, Entry { due_ms: now_ms, misses: 0, repeat: false });
        }
    }

    /// An entry that is due later than one interval from now was made under a
    /// clock that has been set back since. It is due now.
    fn follow_clock(&mut self, now_ms: u64) {
        let latest = now_ms.saturating_add(self.interval_ms);
        while let Some(&(due_ms, cid)) = self.queue.last() {
            if due_ms <= latest {
                return;
            }
            let misses = self.entries.get(&cid).map_or(0, |entry| entry.misses);
            self.set(cid, Entry { due_ms: now_ms, misses, repeat: false });
        }
    }

    fn set(&mut self, cid: Cid, entry: Entry) {
        if let Some(before) = self.entries.insert(cid, entry) {
            self.queue.remove(&(before.due_ms, cid));
        }
        self.queue.insert((entry.due_ms, cid));
    }
}

/// How much earlier than the interval this CID is due, in ms.
fn spread(cid: &Cid, interval_ms: u64) -> u64 {
    let first = cid.as_bytes().first_chunk().expect("a CID has 32 bytes");
    u64::from_le_bytes(*first) % (interval_ms / PROVIDE_SPREAD).max(1)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const NOW: u64 = 1_000 * HOUR;

    fn cid(n: u8) -> Cid {
        Cid::from_bytes([n; 32])
    }

    fn schedule() -> Schedule {
        Schedule::new(Duration::from_millis(12 * HOUR))
    }

    #[test]
    fn a_published_cid_is_due_again_within_the_interval() {
        let mut schedule = schedule();
        schedule.insert(cid(7), NOW);
        assert_eq!(schedule.take_due(NOW), Some(cid(7)));
        assert_eq!(schedule.take_due(NOW), None, "it is being published");
        let due = schedule.published(cid(7), NOW);
        assert!((NOW + 10 * HOUR..=NOW + 12 * HOUR).contains(&due));
        assert_eq!(schedule.take_due(due - 1), None);
        assert_eq!(schedule.take_due(due), Some(cid(7)));
    }

    #[test]
    fn the_pause_after_a_miss_doubles_up_to_an_hour_and_ends_with_a_new_node() {
        let mut schedule = schedule();
        schedule.insert(cid(1), NOW);
        schedule.insert(cid(2), NOW + HOUR);
        let mut pauses = Vec::new();
        let mut now = NOW;
        for _ in 0..9 {
            assert_eq!(schedule.take_due(now), Some(cid(1)));
            let due = schedule.missed(cid(1), now);
            pauses.push((due - now) / 60_000);
            schedule.insert(cid(2), due + HOUR);
            now = due;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(schedule.take_due(now), Some(cid(1)));
        let due = schedule.missed(cid(1), now);
        schedule.retry_missed(now);
        assert_eq!(schedule.take_due(now), Some(cid(1)), "due at once, not at {due}");
        assert_eq!(schedule.take_due(now), None, "the other one reached nodes");
    }

    #[test]
    fn a_node_that_is_met_during_an_publication_has_a_miss_repeated_at_once() {
        let mut schedule = schedule();
        schedule.insert(cid(1), NOW);
        assert_eq!(schedule.take_due(NOW), Some(cid(1)));
        schedule.retry_missed(NOW);
        assert_eq!(schedule.take_due(NOW), None, "it is being published");
        schedule.missed(cid(1), NOW);
        assert_eq!(schedule.take_due(NOW), Some(cid(1)));
        let due = schedule.missed(cid(1), NOW);
        assert!(due > NOW, "and only once");
    }

    #[test]
    fn a_clock_that_is_set_back_makes_everything_due() {
        let mut schedule = schedule();
        let ahead = NOW + 72 * HOUR;
        schedule.insert(cid(1), ahead);
        schedule.take(&cid(1));
        schedule.published(cid(1), ahead);
        assert_eq!(schedule.next_in(NOW), Some(Duration::ZERO));
        assert_eq!(schedule.due_ms(&cid(1)), Some(NOW));
        assert_eq!(schedule.take_due(NOW), Some(cid(1)));
    }

    #[test]
    fn a_removed_cid_is_gone() {
        let mut schedule = schedule();
        schedule.insert(cid(1), NOW);
        schedule.insert(cid(1), NOW + 1);
        schedule.remove(&cid(1));
        assert_eq!((schedule.len(), schedule.take_due(NOW + HOUR)), (0, None));
    }
}
