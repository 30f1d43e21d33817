//! The runs of chunks that a job waits for.

use std::collections::HashMap;

use dfs_transfer::RunId;
use futures::stream::{self, AbortHandle, Abortable, BoxStream, SelectAll};
use futures::{Stream, StreamExt};

/// A result of a run; `None` at its end.
type Part<T> = (RunId, Option<T>);

/// The results of all runs, in the order in which they arrive.
pub(super) struct Runs<T> {
    results: SelectAll<Abortable<BoxStream<'static, Part<T>>>>,
    handles: HashMap<RunId, AbortHandle>,
}

impl<T: Send + 'static> Runs<T> {
    pub(super) fn new() -> Self {
        Self { results: SelectAll::new(), handles: HashMap::new() }
    }

    pub(super) fn start(&mut self, run: RunId, results: impl Stream<Item = T> + Send + 'static) {
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert(run, handle);
        let parts = results.map(Some).chain(stream::iter([None])).map(move |part| (run, part));
        self.results.push(Abortable::new(parts.boxed(), registration));
    }

    /// Gives up a run: what it waits for is dropped.
    pub(super) fn cancel(&mut self, run: RunId) {
        if let Some(handle) = self.handles.remove(&run) {
            handle.abort();
        }
    }

    /// The next result; `None` while no run is under way.
    pub(super) async fn next(&mut self) -> Option<T> {
        loop {
            match self.results.next().await? {
                (_, Some(result)) => return Some(result),
                (run, None) => drop(self.handles.remove(&run)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use tokio::sync::mpsc;

    fn received(mut results: mpsc::Receiver<u8>) -> impl Stream<Item = u8> {
        stream::poll_fn(move |cx| results.poll_recv(cx))
    }

    #[tokio::test]
    async fn a_cancelled_run_is_dropped_and_an_ended_one_forgotten() {
        let mut runs = Runs::new();
        let (first, results) = mpsc::channel(4);
        runs.start(RunId::new(1), received(results));
        let (second, results) = mpsc::channel(4);
        runs.start(RunId::new(2), received(results));
        first.send(10).await.expect("wanted");
        assert_eq!(runs.next().await, Some(10));
        runs.cancel(RunId::new(1));
        assert!(runs.next().now_or_never().is_none(), "the second one goes on");
        assert!(first.is_closed());
        second.send(20).await.expect("wanted");
        drop(second);
        assert_eq!(runs.next().await, Some(20));
        assert_eq!(runs.next().await, None);
        assert!(runs.handles.is_empty());
    }
}
