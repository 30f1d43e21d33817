//! What peers answer to requests of a job, as events of the job and its machine.

use dfs_core::Leaf;
use dfs_net::{Bytes, FetchError, NetHandle, PeerId, Unreachable};
use dfs_transfer::{Event, Fault, RunId};
use futures::stream;
use futures::{FutureExt, Stream, StreamExt, TryFutureExt};

use super::JobEvent;

/// The results of a run of chunks as they arrive.
pub(super) fn results_of(
    net: NetHandle,
    peer: PeerId,
    run: RunId,
    leaves: Vec<Leaf>,
) -> impl Stream<Item = JobEvent> {
    let failed = move |fault| JobEvent::Machine(Event::RunFailed { run, fault });
    let start = async move {
        match net.fetch_chunks(peer, leaves.clone()).await {
            Ok(results) => Ok((results, leaves.into_iter())),
            Err(_) => Err(failed(Fault::Unreachable)),
        }
    };
    let results = start.map_ok(move |state| {
        stream::unfold(Some(state), move |state| async move {
            let (mut results, mut leaves) = state?;
            let leaf = leaves.next()?;
            let event = match results.recv().await {
                Some(Ok(bytes)) => JobEvent::Fetched { run, leaf, bytes },
                Some(Err(FetchError::NotFound)) => JobEvent::Machine(Event::NotHeld { run, leaf }),
                Some(Err(FetchError::FalseLength { .. })) => {
                    JobEvent::Machine(Event::FalseLength { run, leaf })
                }
                Some(Err(error)) => return Some((failed(fault(error)), None)),
                // The connection has closed.
                None => return Some((failed(Fault::Unreachable), None)),
            };
            Some((event, Some((results, leaves))))
        })
    });
    results
        .map(|started| match started {
            Ok(results) => results.left_stream(),
            Err(event) => stream::iter([event]).right_stream(),
        })
        .flatten_stream()
}

/// The results of a run whose chunks are here already.
pub(super) fn results_at_once(
    run: RunId,
    leaves: Vec<Leaf>,
    chunks: Vec<Bytes>,
) -> impl Stream<Item = JobEvent> {
    let results = leaves.into_iter().zip(chunks);
    stream::iter(results.map(move |(leaf, bytes)| JobEvent::Fetched { run, leaf, bytes }))
}

/// Sorts the failure of a request by what the machine does about it.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(super) fn fault(error: FetchError) -> Fault {
    match error {
        // Only of a chunk can the length be false, and then the machine ends.
        FetchError::NotFound | FetchError::FalseLength { .. } => Fault::NotFound,
        FetchError::Busy { retry } => Fault::Busy { retry },
        FetchError::Fault(_) => Fault::Breach,
        FetchError::Unreachable(Unreachable::TimedOut) => Fault::TimedOut,
        FetchError::Unreachable(
            Unreachable::Dial | Unreachable::ConnectionClosed | Unreachable::Stream { .. },
        )
        | FetchError::Closed => Fault::Unreachable,
    }
}
