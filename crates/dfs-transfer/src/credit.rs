//! How many bytes a peer may owe at once.
//!
//! Enough to keep its line busy: twice what it sends in a round trip, and what it sends
//! while this node is busy with something else. The credit starts small and doubles while
//! the measured rate grows, as in the startup of BBR; then it follows rate and round trip.

use std::time::{Duration, Instant};

use crate::limits::{FIRST_CREDIT, MAX_CREDIT, MIN_CREDIT};

/// Growth of the rate, in percent, from which a doubled credit was worth it.
const WORTHWHILE_GROWTH: u64 = 125;
/// Share of the best rate, in percent, that is kept after a slower round, so that
/// the credit follows a line that becomes slower.
const DECAY: u64 = 90;
/// Bytes beyond twice the product of rate and round trip: two chunks of 256 KiB.
const SPARE: u64 = 512 << 10;
/// Time for which this node may not get to asking, as while it writes a portion. On one
/// machine, a round trip is far shorter.
const JITTER: Duration = Duration::from_millis(10);

/// The credit of one peer, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Credit {
    bytes: u64,
    is_growing: bool,
    /// Shortest time from a request to an idle peer to its first chunk.
    round_trip: Option<Duration>,
    /// When a request was sent to the idle peer, until its first chunk arrives.
    asked: Option<Instant>,
    /// The best rate of late, in bytes per second.
    rate: u64,
    /// Since when, and how many, bytes of this round have been received.
    round: Option<(Instant, u64)>,
}

impl Default for Credit {
    fn default() -> Self {
        Self {
            bytes: FIRST_CREDIT,
            is_growing: true,
            round_trip: None,
            asked: None,
            rate: 0,
            round: None,
        }
    }
}

impl Credit {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes to ask for in one request: a part of the credit, so that the peer has
    /// another request to answer when it has answered one.
    pub(crate) fn run(&self) -> u64 {
        self.bytes / 4
    }

    /// A request is sent to a peer that owes nothing.
    pub(crate) fn on_first_request(&mut self, now: Instant) {
        self.asked = Some(now);
        self.round = None;
    }

    /// So many bytes have arrived.
    pub(crate) fn on_received(&mut self, bytes: u64, now: Instant) {
        if let Some(asked) = self.asked.take() {
            let measured = now.saturating_duration_since(asked);
            self.round_trip = Some(self.round_trip.map_or(measured, |best| best.min(measured)));
        }
        // The bytes that start a round were sent before it.
        let Some((since, received)) = &mut self.round else {
            self.round = Some((now, 0));
            return;
        };
        *received += bytes;
        if *received < self.bytes {
            return;
        }
        let micros = now.saturating_duration_since(*since).as_micros().max(1);
        let rate = u128::from(*received) * 1_000_000 / micros;
        self.round = Some((now, 0));
        self.end_round(u64::try_from(rate).unwrap_or(u64::MAX));
    }

    /// The peer was silent for too long.
    pub(crate) fn on_timeout(&mut self) {
        self.bytes = (self.bytes / 2).max(MIN_CREDIT);
        self.is_growing = false;
        (self.asked, self.round) = (None, None);
    }

    fn end_round(&mut self, rate: u64) {
        let is_worthwhile = rate > self.rate.saturating_mul(WORTHWHILE_GROWTH) / 100;
        self.rate = rate.max(self.rate.saturating_mul(DECAY) / 100);
        if self.is_growing && is_worthwhile {
            self.bytes = (self.bytes * 2).min(MAX_CREDIT);
            return;
        }
        self.is_growing = false;
        let Some(round_trip) = self.round_trip else { return };
        let time = round_trip.saturating_mul(2).saturating_add(JITTER);
        let in_that_time = u128::from(self.rate) * time.as_micros() / 1_000_000;
        let wanted = u64::try_from(in_that_time).unwrap_or(u64::MAX).saturating_add(SPARE);
        // A peer that is slow for a moment must not lose everything at once.
        self.bytes = wanted.clamp((self.bytes / 2).max(FIRST_CREDIT), MAX_CREDIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u64 = 64 << 10;

    /// Plays a line of a rate, in bytes per second, and a delay: keeps the credit
    /// in use for a while and returns it.
    fn settled(rate: u64, round_trip: Duration) -> u64 {
        let mut credit = Credit::default();
        let mut now = Instant::now();
        let mut is_idle = true;
        for _ in 0..40 {
            // The credit goes out at once, and comes back after a round trip or at
            // the rate of the line, whatever takes longer.
            if is_idle {
                credit.on_first_request(now);
                is_idle = false;
                now += round_trip;
            }
            let chunks = credit.bytes() / CHUNK;
            let sending = Duration::from_micros(credit.bytes() * 1_000_000 / rate);
            let took = sending.max(round_trip);
            for _ in 0..chunks {
                now += took / u32::try_from(chunks).expect("few");
                credit.on_received(CHUNK, now);
            }
        }
        credit.bytes()
    }

    #[test]
    fn the_credit_fills_a_long_fast_line() {
        let credit = settled(100 << 20, Duration::from_millis(100));
        assert!(credit >= 10 << 20, "{credit} bytes");
    }

    #[test]
    fn a_short_or_slow_line_needs_little() {
        for (rate, ms) in [(1 << 20, 20), (500 << 20, 1), (200 << 10, 300)] {
            let credit = settled(rate, Duration::from_millis(ms));
            let limit = rate * (2 * ms + 10) / 1000 + (1 << 20);
            assert!(credit <= limit, "{credit} bytes at {rate} bytes/s and {ms} ms");
        }
    }

    #[test]
    fn timeouts_halve_the_credit_down_to_its_minimum() {
        let mut credit = Credit::default();
        credit.on_timeout();
        assert_eq!(credit.bytes(), FIRST_CREDIT / 2);
        (0..10).for_each(|_| credit.on_timeout());
        assert_eq!(credit.bytes(), MIN_CREDIT);
    }
}
