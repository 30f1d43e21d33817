//! Wall-clock time as the store keeps it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; 0 if the clock is set before it.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A wall clock. Tests bring one that follows paused time and can be set.
#[derive(Debug, Clone, Default)]
pub(crate) enum Clock {
    /// The clock of the system.
    #[default]
    System,
    #[cfg(test)]
    Test(std::sync::Arc<TestClock>),
}

impl Clock {
    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        match self {
            Self::System => now_ms(),
            #[cfg(test)]
            Self::Test(clock) => clock.now_ms(),
        }
    }
}

/// A clock that starts at a fixed time and follows tokio's.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct TestClock {
    start: tokio::time::Instant,
    offset_ms: std::sync::atomic::AtomicU64,
}

#[cfg(test)]
impl TestClock {
    /// Time at which a test clock starts.
    pub(crate) const START_MS: u64 = 1_800_000_000_000;

    pub(crate) fn new() -> std::sync::Arc<Self> {
        let offset_ms = Self::START_MS.into();
        std::sync::Arc::new(Self { start: tokio::time::Instant::now(), offset_ms })
    }

    /// Sets the clock forward or back by so many milliseconds.
    pub(crate) fn set(&self, by_ms: i64) {
        let set = |offset: u64| offset.checked_add_signed(by_ms);
        let ordering = std::sync::atomic::Ordering::SeqCst;
        self.offset_ms.fetch_update(ordering, ordering, set).expect("a time after 1970");
    }

    fn now_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).expect("a short test");
        self.offset_ms.load(std::sync::atomic::Ordering::SeqCst) + elapsed
    }
}
