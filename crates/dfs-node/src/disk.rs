//! The store as seen from asynchronous code: every call runs on a thread that
//! may block.

use std::sync::Arc;

use dfs_store::{Store, StoreError};

use crate::error::NodeError;

/// A store shared by everything in a node.
#[derive(Clone)]
pub(crate) struct Disk {
    store: Arc<dyn Store>,
}

impl Disk {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The store itself, for code that is on a blocking thread already.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Runs a call of the store.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        blocking(move || call(&*store)).await
    }
}

/// Runs something on a thread that may block. A panic there is a panic here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and with it whoever waits.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Goes through all rows of a kind in bounded parts.
pub(crate) fn for_each<K, T>(
    mut part: impl FnMut(Option<&K>, usize) -> Result<Vec<(K, T)>, StoreError>,
    mut visit: impl FnMut(K, T) -> Result<(), NodeError>,
) -> Result<(), NodeError>
where
    K: Clone,
{
    const PART: usize = 256;
    let mut after: Option<K> = None;
    loop {
        let rows = part(after.as_ref(), PART)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, row) in rows {
            visit(key, row)?;
        }
    }
}
