//! One addition under way on a blocking thread.
//!
//! Owns its progress, its cancellation and its place among the tasks of the node. What is read
//! and stored is the business of [`super::import`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dfs_store::Store;
use tokio::task::JoinHandle;

use super::import::Added;
use crate::error::NodeError;
use crate::metrics::{Metrics, OutcomeLabel};
use crate::scope::TaskScope;

/// Called with the bytes read so far; answers whether to go on.
pub(super) type Progress = Box<dyn FnMut(u64) -> bool + Send>;

/// What an addition does on its thread.
pub(super) trait Work:
    FnOnce(&Arc<dyn Store>, Progress) -> Result<Added, NodeError> + Send + 'static
{
}

impl<T> Work for T where
    T: FnOnce(&Arc<dyn Store>, Progress) -> Result<Added, NodeError> + Send + 'static
{
}

/// An addition under way. Dropping it ends the work, and nothing is added.
#[derive(Debug)]
pub struct Adding {
    bytes: Arc<AtomicU64>,
    size: Option<u64>,
    go_on: Arc<AtomicBool>,
    result: JoinHandle<Result<Added, NodeError>>,
}

pub(super) fn start(
    store: &Arc<dyn Store>,
    tasks: &TaskScope,
    metrics: &Metrics,
    size: Option<u64>,
    work: impl Work,
    ended: impl FnOnce(&Result<Added, NodeError>) + Send + 'static,
) -> Adding {
    let bytes = Arc::new(AtomicU64::new(0));
    let go_on = Arc::new(AtomicBool::new(true));
    let (count, flag, scope) = (Arc::clone(&bytes), Arc::clone(&go_on), tasks.clone());
    let (store, metrics) = (Arc::clone(store), metrics.clone());
    let result = tasks.spawn_blocking(move || {
        let progress = Box::new(move |bytes| {
            count.store(bytes, Ordering::Relaxed);
            flag.load(Ordering::Relaxed) && !scope.is_stopping()
        });
        let result = work(&store, progress);
        let outcome = match &result {
            Ok(added) => {
                metrics.added.inc_by(added.size);
                metrics.added_new.inc_by(added.new_bytes);
                "added"
            }
            Err(NodeError::Interrupted) => "interrupted",
            Err(_) => "failed",
        };
        metrics.additions.get_or_create(&OutcomeLabel::of(outcome)).inc();
        ended(&result);
        result
    });
    Adding { bytes, size, go_on, result }
}

impl Adding {
    /// Bytes read so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes to read, if known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Waits for the end. Dropping the future does not end the work; dropping
    /// the addition does. A panic of the work is a panic here.
    ///
    /// # Errors
    /// [`NodeError`] if the bytes cannot be read or the store fails.
    pub async fn finish(&mut self) -> Result<Added, NodeError> {
        match (&mut self.result).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(NodeError::ShuttingDown),
            },
        }
    }
}

impl Drop for Adding {
    fn drop(&mut self) {
        self.go_on.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc;

    use dfs_store::MemoryStore;

    use super::*;
    use crate::content::AddOptions;
    use crate::content::import::add_reader;

    /// Yields zeros and a mark in each MiB, so that no two chunks are equal, and
    /// waits for the test before the last one.
    struct Paced {
        left: u64,
        pause: mpsc::Receiver<()>,
    }

    impl Read for Paced {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            if self.left == 1 {
                // The error means that the test has dropped its end.
                let _ = self.pause.recv();
            }
            if self.left == 0 {
                return Ok(0);
            }
            buf.fill(0);
            buf[..8].copy_from_slice(&self.left.to_le_bytes());
            self.left -= 1;
            Ok(buf.len())
        }
    }

    #[tokio::test]
    async fn an_addition_that_is_dropped_leaves_nothing_in_the_store() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let (tasks, metrics) = (TaskScope::default(), Metrics::default());
        let (go_on, pause) = mpsc::sync_channel(1);
        let reader = Paced { left: 2000, pause };
        let work = move |store: &Arc<dyn Store>, progress: Progress| {
            add_reader(store, reader, AddOptions::default(), progress)
        };
        let (ended, end) = tokio::sync::oneshot::channel();
        let adding = start(&store, &tasks, &metrics, None, work, move |result| {
            let interrupted = matches!(result, Err(NodeError::Interrupted));
            ended.send(interrupted).expect("the test waits");
        });
        while adding.bytes() < 20 << 20 {
            tokio::task::yield_now().await;
        }
        assert!(store.chunk_count().expect("a count") > 0, "chunks are in the store");
        drop(adding);
        drop(go_on);
        assert!(end.await.expect("it ends"), "interrupted");
        assert_eq!(store.chunk_count().expect("a count"), 0);
        tasks.stop().await;
    }

    #[tokio::test]
    async fn a_stop_ends_additions() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let (tasks, metrics) = (TaskScope::default(), Metrics::default());
        let work = |store: &Arc<dyn Store>, progress: Progress| {
            add_reader(store, std::io::repeat(7), AddOptions::default(), progress)
        };
        let mut adding = start(&store, &tasks, &metrics, None, work, |_| {});
        tasks.stop().await;
        let ended = adding.finish().await;
        assert!(matches!(ended, Err(NodeError::Interrupted)), "{ended:?}");
    }
}
