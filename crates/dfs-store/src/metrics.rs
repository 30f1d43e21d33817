//! What the store counts.

use dfs_metrics::{Counter, Gauge, Histogram, buckets, metrics};

metrics! {
    /// Metrics of a store. `_count` of a histogram is the number of calls.
    pub struct Metrics("store") {
        /// Chunks stored.
        pub chunks_put: Counter,
        /// Bytes of chunks stored.
        pub put: Counter [Bytes],
        /// Chunks read.
        pub chunks_read: Counter,
        /// Bytes of chunks read.
        pub read: Counter [Bytes],
        /// Time of a commit, with the flush before it.
        pub commit: Histogram [Seconds] = Histogram::new(buckets::SECONDS),
        /// Time of a flush of chunks.
        pub flush: Histogram [Seconds] = Histogram::new(buckets::SECONDS),
        /// Time of a step that reclaimed space.
        pub reclaim: Histogram [Seconds] = Histogram::new(buckets::SECONDS),
        /// Disk space of removed chunks given back to the file system.
        pub reclaimed: Counter [Bytes],
        /// Pages that an owner no longer needed.
        pub pages_released: Counter,
        /// Pages that could not be read when they were released.
        pub pages_damaged: Counter,
        /// Chunks removed.
        pub chunks_removed: Counter,
        /// Bytes of chunks removed.
        pub removed: Counter [Bytes],
        /// Chunks refused because the disk was nearly full.
        pub space_refusals: Counter,
        /// Disk space of the database, when last asked for.
        pub disk: Gauge [Bytes],
        /// Contents held completely, when last asked for.
        pub items: Gauge,
    }
}
