//! The asking end of a chunk stream: writes requests as they come, and hands the
//! verified chunks to the callers in the order of the requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dfs_core::Leaf;
use dfs_wire::chunk::{self, Answer, Request};
use dfs_wire::{Breach, WireError};
use futures::StreamExt;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::traffic::Traffic;
use super::{FALSE_LENGTH, Fetch, count_sent};
use crate::error::{FetchError, PeerFault, Unreachable};
use crate::exchange::idle::IdleTimeout;
use crate::limits::MAX_REQUESTS_PER_PEER;
use crate::metrics::Metrics;
use crate::timing::UNUSED_STREAM;

/// Runs the stream until it is unused, breaks, or the connection has closed.
pub(super) async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    mut fetches: mpsc::Receiver<Fetch>,
    traffic: &Traffic,
    metrics: &Metrics,
) {
    let (reader, writer) = stream.split();
    let (sent, mut outstanding) = mpsc::channel(MAX_REQUESTS_PER_PEER);
    let mut reading = None;
    let answered = AtomicU64::new(0);
    tokio::select! {
        () = write_requests(writer, &mut fetches, sent, &answered) => {}
        () = read_answers(reader, &mut outstanding, &mut reading, &answered, traffic, metrics) => {}
    }
    // The stream is of no more use, so what has not been answered fails, and so does
    // a run that is just being put into the queue.
    if let Some(fetch) = reading {
        fetch.fail(Unreachable::ConnectionClosed, metrics);
    }
    outstanding.close();
    while let Some(fetch) = outstanding.recv().await {
        fetch.fail(Unreachable::ConnectionClosed, metrics);
    }
    fetches.close();
    while let Some(fetch) = fetches.recv().await {
        fetch.fail(Unreachable::ConnectionClosed, metrics);
    }
    traffic.report();
}

/// Writes requests, and cancels those whose callers have given up.
async fn write_requests(
    writer: impl AsyncWrite + Unpin + Send,
    fetches: &mut mpsc::Receiver<Fetch>,
    sent: mpsc::Sender<Fetch>,
    answered: &AtomicU64,
) {
    let mut writer = IdleTimeout::new(writer);
    let mut given_up = FuturesUnordered::new();
    let mut count = 0_u64;
    let mut unused = false;
    loop {
        let next = timeout(UNUSED_STREAM, async {
            let permit = sent.reserve().await.ok()?;
            fetches.recv().await.map(|fetch| (permit, fetch))
        });
        let request = tokio::select! {
            next = next => match next {
                Ok(Some((permit, fetch))) => {
                    if fetch.is_given_up() {
                        continue;
                    }
                    let hashes = fetch.leaves.iter().map(|leaf| leaf.hash).collect();
                    let (number, results) = (count, fetch.results.clone());
                    given_up.push(async move {
                        results.closed().await;
                        number
                    });
                    count += 1;
                    permit.send(fetch);
                    Request::Chunks { hashes }
                }
                // A run that has come in the meantime is still answered.
                Ok(None) if unused => break,
                // The connection has closed.
                Ok(None) => return,
                Err(_) => {
                    unused = count == answered.load(Ordering::Relaxed);
                    if unused {
                        fetches.close();
                    }
                    continue;
                }
            },
            Some(number) = given_up.next() => {
                if number < answered.load(Ordering::Relaxed) {
                    continue;
                }
                Request::Cancel { number }
            }
        };
        writer.restart();
        if let Err(error) = chunk::write_request(&mut writer, &request).await {
            tracing::debug!(%error, "a chunk stream broke");
            return;
        }
    }
    // The other half ends when it has read all answers.
    drop(sent);
    std::future::pending().await
}

/// Reads the answers to requests, in their order. The run whose answers it reads is
/// in `reading`.
async fn read_answers(
    reader: impl AsyncRead + Unpin + Send,
    outstanding: &mut mpsc::Receiver<Fetch>,
    reading: &mut Option<Fetch>,
    answered: &AtomicU64,
    traffic: &Traffic,
    metrics: &Metrics,
) {
    let mut reader = IdleTimeout::new(reader);
    while let Some(fetch) = outstanding.recv().await {
        reader.restart();
        let result = read_run(&mut reader, reading.insert(fetch), traffic, metrics).await;
        if let (Some(fetch), Err(error)) = (reading.take(), result) {
            return fetch.fail(error, metrics);
        }
        answered.fetch_add(1, Ordering::Relaxed);
        traffic.report();
    }
}

/// Reads the answers to one request. An error ends the stream.
async fn read_run(
    reader: &mut (impl AsyncRead + Unpin + Send),
    fetch: &Fetch,
    traffic: &Traffic,
    metrics: &Metrics,
) -> Result<(), FetchError> {
    for leaf in &fetch.leaves {
        let answer = match chunk::read_answer(reader, leaf.len).await {
            // The peer has sent what the hash names.
            Err(WireError::Breach(Breach::ChunkOtherLength { hash, found, .. }))
                if hash == leaf.hash =>
            {
                traffic.received(found as usize);
                count_sent(metrics, FALSE_LENGTH);
                let _ = fetch.results.try_send(Err(FetchError::FalseLength { found }));
                continue;
            }
            answer => answer.map_err(failure)?,
        };
        let result = match answer {
            Answer::Found(bytes) => {
                traffic.received(bytes.len());
                if Leaf::of(&bytes) != *leaf {
                    return Err(PeerFault::WrongChunk.into());
                }
                count_sent(metrics, "found");
                Ok(bytes)
            }
            Answer::NotFound => {
                count_sent(metrics, "not_found");
                Err(FetchError::NotFound)
            }
            Answer::Busy { retry_ms } => {
                count_sent(metrics, "busy");
                let retry = Duration::from_millis(retry_ms.into());
                let _ = fetch.results.try_send(Err(FetchError::Busy { retry }));
                return Ok(());
            }
            Answer::Cancelled if fetch.is_given_up() => return Ok(()),
            Answer::Cancelled => return Err(PeerFault::WrongResponse.into()),
        };
        // The error means that the caller has given up; the rest is read and
        // dropped until the peer has noticed.
        let _ = fetch.results.try_send(result);
    }
    Ok(())
}

/// Sorts the failure of a stream by whose fault it is.
fn failure(error: WireError) -> FetchError {
    match error {
        WireError::Breach(source) => PeerFault::Malformed { source }.into(),
        WireError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            Unreachable::TimedOut.into()
        }
        WireError::Io(source) => Unreachable::Stream { source }.into(),
    }
}

#[cfg(test)]
pub(super) mod tests;
