//! Bytes per second over the last few seconds.

use std::collections::VecDeque;
use std::time::Instant;

use crate::timing::{RATE_BIN, RATE_SPAN};

/// Counts bytes by the time at which they were transferred.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    bins: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// Counts bytes transferred now.
    pub fn add(&mut self, bytes: u64, now: Instant) {
        match self.bins.back_mut() {
            Some((start, sum)) if now - *start < RATE_BIN => *sum += bytes,
            _ => self.bins.push_back((now, bytes)),
        }
        self.forget(now);
    }

    /// Bytes per second.
    pub fn per_second(&mut self, now: Instant) -> u64 {
        self.forget(now);
        let Some((start, _)) = self.bins.front() else { return 0 };
        let bytes: u64 = self.bins.iter().map(|(_, sum)| sum).sum();
        let millis = (now - *start).max(RATE_BIN).as_millis();
        u64::try_from(u128::from(bytes) * 1000 / millis).unwrap_or(u64::MAX)
    }

    fn forget(&mut self, now: Instant) {
        while self.bins.pop_front_if(|(start, _)| now - *start > RATE_SPAN).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_the_transfer_and_falls_to_zero() {
        let start = Instant::now();
        let mut rate = Rate::default();
        for step in 0..20 {
            rate.add(1000, start + step * RATE_BIN);
        }
        let now = start + 20 * RATE_BIN;
        assert_eq!(rate.per_second(now), 10_000);
        assert_eq!(rate.per_second(now + 2 * RATE_SPAN), 0);
    }
}
