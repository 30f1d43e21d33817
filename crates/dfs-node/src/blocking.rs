//! Moving calls that block off the asynchronous threads.
//!
//! Owns the shared handle of the store, [`Disk`], and the loop that reads a
//! table in bounded parts. Every other module of the crate reaches the store
//! through it.

use std::sync::Arc;

use dfs_store::{Store, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::NodeError;

/// A store shared by all parts of a node.
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

    /// Runs a call of the store on a blocking thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        blocking(move || call(&*store)).await
    }
}

/// Runs work on a blocking thread. A panic there is a panic here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and drops the waiting task too.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Sends from a blocking thread, unless the stop signal comes first. Returns
/// whether the receiver has the value.
pub(crate) fn send<T>(parts: &mpsc::Sender<T>, part: T, stop: &CancellationToken) -> bool {
    tokio::runtime::Handle::current().block_on(async {
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            sent = parts.send(part) => sent.is_ok(),
        }
    })
}

/// Sends all rows of a table, each as `make` makes it. A row that cannot be read does not
/// hide the others: the first such error is sent last.
pub(crate) fn send_all<K: Clone, T, U>(
    part: impl FnMut(Option<&K>, usize) -> Result<Vec<(K, Result<T, StoreError>)>, StoreError>,
    mut make: impl FnMut(K, T) -> Result<U, NodeError>,
    parts: &mpsc::Sender<Result<U, NodeError>>,
    stop: &CancellationToken,
) {
    let mut unreadable = None;
    let listed = for_each(part, |key, row| {
        let sent = match row.map_err(NodeError::from).and_then(|row| make(key, row)) {
            Ok(made) => send(parts, Ok(made), stop),
            Err(error) => {
                unreadable.get_or_insert(error);
                true
            }
        };
        if sent { Ok(()) } else { Err(NodeError::ShuttingDown) }
    });
    if let Some(error) = listed.err().or(unreadable) {
        send(parts, Err(error), stop);
    }
}

/// Visits all rows of a table, reading at most 256 at a time.
pub(crate) fn for_each<K, T>(
    mut part: impl FnMut(Option<&K>, usize) -> Result<Vec<(K, T)>, StoreError>,
    mut visit: impl FnMut(K, T) -> Result<(), NodeError>,
) -> Result<(), NodeError>
where
    K: Clone,
{
    const ROWS: usize = 256;
    let mut after: Option<K> = None;
    loop {
        let rows = part(after.as_ref(), ROWS)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, row) in rows {
            visit(key, row)?;
        }
    }
}
