//! Room on the disk: the store refuses chunks before the disk is full.
//!
//! A full disk stops RocksDB as a whole. RocksDB then refuses even the few bytes
//! that would record progress, or remove content to make room, until it has
//! noticed by itself that there is room again. So the last part of the disk is
//! left to everything but chunks.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{NoSpace, StoreError};

/// Most that is kept free, in bytes: the content of the write buffers has to fit.
const MAX_RESERVE: u64 = 256 << 20;
/// Part of a small disk that is kept free, as a divisor.
const RESERVE_DIVISOR: u64 = 8;
/// Bytes of chunks between two looks at the disk.
const STRIDE: u64 = 4 << 20;

/// Watches the disk that a database is on.
#[derive(Debug)]
pub(crate) struct Space {
    path: PathBuf,
    /// Bytes put since the last look that found room.
    since: AtomicU64,
}

impl Space {
    pub(crate) fn new(path: PathBuf) -> Self {
        // The first chunk makes the first check.
        Self { path, since: AtomicU64::new(STRIDE) }
    }

    /// Whether there is room for a chunk of `len` bytes. `unwritten` tells how
    /// many bytes are in memory on their way to the disk.
    pub(crate) fn check(
        &self,
        len: usize,
        unwritten: impl FnOnce() -> Result<u64, StoreError>,
    ) -> Result<(), StoreError> {
        let len = len as u64;
        if self.since.fetch_add(len, Ordering::Relaxed).saturating_add(len) < STRIDE {
            return Ok(());
        }
        let unwritten = unwritten()?;
        let (free, reserve) = self.look()?;
        if free < reserve.saturating_add(unwritten).saturating_add(len) {
            let source = NoSpace::Reserve { free, unwritten, reserve };
            return Err(StoreError::NoSpace { path: self.path.clone(), source });
        }
        self.since.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Bytes that are free beyond the reserve.
    pub(crate) fn available(&self) -> Result<u64, StoreError> {
        let (free, reserve) = self.look()?;
        Ok(free.saturating_sub(reserve))
    }

    /// Bytes that are free, and how many of them are to stay so.
    fn look(&self) -> Result<(u64, u64), StoreError> {
        let directory = |source: rustix::io::Errno| StoreError::Directory {
            path: self.path.clone(),
            source: source.into(),
        };
        let disk = rustix::fs::statvfs(&self.path).map_err(directory)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        Ok((free, reserve(disk.f_blocks.saturating_mul(disk.f_frsize))))
    }
}

fn reserve(disk: u64) -> u64 {
    MAX_RESERVE.min(disk / RESERVE_DIVISOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_asked_every_time_and_one_with_room_is_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let space = Space::new(directory.path().to_owned());
        let full = || Ok(u64::MAX);
        for _ in 0..3 {
            let refused = space.check(1, full);
            assert!(matches!(refused, Err(StoreError::NoSpace { .. })), "{refused:?}");
        }
        space.check(1, || Ok(0)).expect("there is room");
        space.check(1 << 20, full).expect("no second look so soon");
        for _ in 0..3 {
            // These fill the stride.
            let _ = space.check(1 << 20, full);
        }
        assert!(space.check(1, full).is_err());
    }

    #[test]
    fn a_small_disk_keeps_less() {
        assert_eq!(reserve(200 << 20), 25 << 20);
        assert_eq!(reserve(1 << 40), 256 << 20);
    }
}
