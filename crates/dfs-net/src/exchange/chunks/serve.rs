//! The serving end of a chunk stream: reads requests ahead, has chunks read from
//! the store in batches, and writes them in the order of the requests.
//!
//! The next batch is read while one is being written. What a peer can make this node
//! hold is two batches of chunks and a queue of hashes, and one batch while room is
//! scarce. While other streams wait for room, a peer that reads slower than
//! [`MIN_SERVED_RATE`](crate::limits::MIN_SERVED_RATE) loses its stream.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use dfs_core::ChunkHash;
use dfs_wire::WireError;
use dfs_wire::chunk::{self, Answer, Request};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::Shared;
use super::budget::{Budget, Room, patience};
use super::traffic::Traffic;
use crate::event::NetEvent;
use crate::exchange::idle::IdleTimeout;
use crate::limits::{BATCH, MAX_BATCH_CHUNKS, MAX_MISSES, MAX_QUEUED_CHUNKS};
use crate::metrics::{Exchange, Metrics};
use crate::timing::{BUSY_RETRY_MS, IDLE_ASKER, MISSES_WINDOW};
use crate::transport::FRAME;

/// Serves the stream until the peer closes it, breaks the protocol, stops reading,
/// or asks for nothing for a while.
pub(super) async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    peer: PeerId,
    shared: &Shared,
    traffic: &Traffic,
) {
    let served = serve(stream, peer, shared, traffic, &Requests::default()).await;
    traffic.report();
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a chunk stream ended early");
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    peer: PeerId,
    shared: &Shared,
    traffic: &Traffic,
    requests: &Requests,
) -> Result<(), WireError> {
    let (reader, writer) = stream.split();
    let (queue, queued) = mpsc::channel(MAX_QUEUED_CHUNKS);
    let mut server = Server {
        peer,
        shared,
        traffic,
        requests,
        queued,
        batch: VecDeque::new(),
        ahead: None,
        skipped: None,
        misses: Misses::default(),
    };
    let read = read_requests(reader, queue, requests);
    futures::future::try_join(read, server.answer_all(writer)).await?;
    Ok(())
}

/// A chunk that the peer has asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Number of the request on the stream.
    request: u64,
    hash: ChunkHash,
    /// Whether the request ends with it.
    is_last: bool,
}

/// What the two halves of the stream share.
#[derive(Debug, Default)]
struct Requests {
    /// Chunks read from the stream and answered, or skipped.
    asked: AtomicU64,
    settled: AtomicU64,
    settled_at: Mutex<Option<Instant>>,
    /// Requests given up by the peer and not yet ended. It holds no more numbers
    /// than requests are queued.
    cancelled: Mutex<BTreeSet<u64>>,
    /// Requests that have their last answer: all before this number.
    ended: AtomicU64,
}

impl Requests {
    fn cancel(&self, number: u64) {
        if number >= self.ended.load(Ordering::Relaxed) {
            self.cancelled.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        }
    }

    /// Whether the request has been given up.
    fn is_cancelled(&self, number: u64) -> bool {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    /// A request, and with it every earlier one, has its last answer. The next ones
    /// may be given up still.
    fn end(&self, number: u64) {
        self.ended.store(number + 1, Ordering::Relaxed);
        let mut cancelled = self.cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        *cancelled = cancelled.split_off(&(number + 1));
    }

    /// Notes that so many chunks have been answered or passed over.
    fn settle(&self, chunks: u64) {
        *self.settled_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.settled.fetch_add(chunks, Ordering::Relaxed);
    }

    /// Since when nothing is owed, if that is so; at the earliest since `earliest`.
    fn idle_since(&self, earliest: Instant) -> Option<Instant> {
        if self.asked.load(Ordering::Relaxed) != self.settled.load(Ordering::Relaxed) {
            return None;
        }
        let settled_at = *self.settled_at.lock().unwrap_or_else(PoisonError::into_inner);
        Some(settled_at.map_or(earliest, |settled| settled.max(earliest)))
    }
}

/// Reads requests into the queue. While the queue is full it reads nothing, so the
/// peer has to wait.
async fn read_requests(
    mut reader: impl AsyncRead + Unpin + Send,
    queue: mpsc::Sender<Asked>,
    requests: &Requests,
) -> Result<(), WireError> {
    let mut count = 0_u64;
    loop {
        let request = {
            let mut next = pin!(chunk::read_request(&mut reader));
            let mut idle_since = Instant::now();
            loop {
                match timeout_at(idle_since + IDLE_ASKER, &mut next).await {
                    Ok(request) => break request?,
                    Err(_) => match requests.idle_since(idle_since) {
                        Some(since) if since == idle_since => return Ok(()),
                        since => idle_since = since.unwrap_or_else(Instant::now),
                    },
                }
            }
        };
        match request {
            None => return Ok(()),
            Some(Request::Chunks { hashes }) => {
                requests.asked.fetch_add(hashes.len() as u64, Ordering::Relaxed);
                let last = hashes.len() - 1;
                for (position, hash) in hashes.into_iter().enumerate() {
                    let asked = Asked { request: count, hash, is_last: position == last };
                    if queue.send(asked).await.is_err() {
                        return Ok(());
                    }
                }
                count += 1;
            }
            Some(Request::Cancel { number }) if number < count => requests.cancel(number),
            Some(Request::Cancel { .. }) => {
                let error = "a request was given up before it was made";
                return Err(io::Error::new(io::ErrorKind::InvalidData, error).into());
            }
        }
    }
}

/// The half of a stream that answers.
struct Server<'a> {
    peer: PeerId,
    shared: &'a Shared,
    traffic: &'a Traffic,
    requests: &'a Requests,
    queued: mpsc::Receiver<Asked>,
    /// The chunks to answer next, in order.
    batch: VecDeque<Asked>,
    /// What follows the chunks being written, read already.
    ahead: Option<ReadChunks>,
    /// The request that has ended early; what is left of it is passed over.
    skipped: Option<u64>,
    misses: Misses,
}

/// Chunks that were read, with the room that they take.
struct ReadChunks {
    /// What was asked for; the answer may be shorter.
    hashes: Vec<ChunkHash>,
    chunks: Vec<Option<Bytes>>,
    room: Room,
}

impl Server<'_> {
    async fn answer_all(
        &mut self,
        writer: impl AsyncWrite + Unpin + Send,
    ) -> Result<(), WireError> {
        // The head of an answer goes into the frame that ends the one before.
        let mut writer = IdleTimeout::new(BufWriter::with_capacity(FRAME, writer));
        while self.fill().await {
            if self.is_front_cancelled() {
                writer.restart();
                self.end_front(&mut writer, &Answer::Cancelled).await?;
            } else {
                self.answer_batch(&mut writer).await?;
            }
            if self.batch.is_empty() {
                writer.flush().await?;
                self.traffic.report();
            }
        }
        Ok(writer.close().await?)
    }

    /// Waits until there is something to answer. Returns false at the end of the
    /// requests.
    async fn fill(&mut self) -> bool {
        loop {
            if self.batch.is_empty() {
                // What was read ahead has been given up. Its room must not wait for the
                // peer.
                self.ahead = None;
                if let Some(asked) = self.queued.recv().await {
                    self.take(asked);
                }
            }
            self.take_queued();
            if !self.batch.is_empty() {
                return true;
            }
            if self.queued.is_closed() && self.queued.is_empty() {
                return false;
            }
        }
    }

    /// Takes what is queued, as far as a batch may need it.
    fn take_queued(&mut self) {
        while self.batch.len() < 2 * MAX_BATCH_CHUNKS
            && let Ok(asked) = self.queued.try_recv()
        {
            self.take(asked);
        }
    }

    fn take(&mut self, asked: Asked) {
        if self.skipped == Some(asked.request) {
            self.requests.settle(1);
        } else {
            self.batch.push_back(asked);
        }
    }

    fn is_front_cancelled(&self) -> bool {
        self.batch.front().is_some_and(|front| self.requests.is_cancelled(front.request))
    }

    /// Writes the chunks at the front of the batch, and has the next ones read meanwhile.
    async fn answer_batch(
        &mut self,
        writer: &mut IdleTimeout<impl AsyncWrite + Unpin + Send>,
    ) -> Result<(), WireError> {
        let ReadChunks { chunks, room, .. } = match self.read_ahead() {
            Some(ahead) => ahead,
            None => {
                writer.flush().await?;
                let Some(room) = self.shared.budget.take().await else {
                    writer.restart();
                    let busy = Answer::Busy { retry_ms: BUSY_RETRY_MS };
                    return self.end_front(writer, &busy).await;
                };
                read_chunks(self.shared, self.peer, self.hashes_behind(0), room).await?
            }
        };
        writer.restart();
        self.take_queued();
        let (shared, peer, next) = (self.shared, self.peer, self.hashes_behind(chunks.len()));
        let is_read = AtomicBool::new(false);
        let read_next = async {
            let ahead = match shared.budget.try_take() {
                Some(room) if !next.is_empty() => {
                    Some(read_chunks(shared, peer, next, room).await?)
                }
                _ => None,
            };
            is_read.store(true, Ordering::Relaxed);
            Ok(ahead)
        };
        let bytes = bytes_of(&chunks);
        let write = async {
            self.write_chunks(writer, chunks).await?;
            // The end of the last chunk must not wait until the next one is there.
            if !is_read.load(Ordering::Relaxed) {
                writer.flush().await?;
            }
            Ok(())
        };
        let write = paced(write, bytes, &shared.budget);
        let ((), ahead) = futures::future::try_join(write, read_next).await?;
        self.ahead = ahead;
        drop(room);
        Ok(())
    }

    /// The chunks that were read ahead, if they are those at the front of the batch. They
    /// are others if a request has ended early.
    fn read_ahead(&mut self) -> Option<ReadChunks> {
        let ahead = self.ahead.take()?;
        let asked = self.batch.iter().map(|asked| &asked.hash);
        let is_next = asked.take(ahead.hashes.len()).eq(ahead.hashes.iter());
        is_next.then_some(ahead)
    }

    /// What is asked for next behind so many chunks, and has not been given up.
    fn hashes_behind(&self, chunks: usize) -> Vec<ChunkHash> {
        let asked = self.batch.iter().skip(chunks).take(MAX_BATCH_CHUNKS);
        let wanted = asked.take_while(|asked| !self.requests.is_cancelled(asked.request));
        wanted.map(|asked| asked.hash).collect()
    }

    async fn write_chunks(
        &mut self,
        writer: &mut IdleTimeout<impl AsyncWrite + Unpin + Send>,
        chunks: Vec<Option<Bytes>>,
    ) -> Result<(), WireError> {
        for chunk in chunks {
            let Some(asked) = self.batch.front().copied() else { break };
            if self.requests.is_cancelled(asked.request) {
                // The rest has been read in vain, and `end_front` drops part of the
                // batch: read the remaining chunks again.
                return self.end_front(writer, &Answer::Cancelled).await;
            }
            let answer = match chunk {
                Some(bytes) => Answer::Found(bytes),
                None if self.misses.is_too_many(Instant::now()) => {
                    let busy = Answer::Busy { retry_ms: BUSY_RETRY_MS };
                    return self.end_front(writer, &busy).await;
                }
                None => Answer::NotFound,
            };
            chunk::write_answer(writer, &answer).await?;
            self.count(&answer);
            if asked.is_last {
                self.requests.end(asked.request);
            }
            self.batch.pop_front();
            self.requests.settle(1);
        }
        Ok(())
    }

    /// Ends the request at the front of the batch with an answer, and passes over
    /// the rest of it.
    async fn end_front(
        &mut self,
        writer: &mut IdleTimeout<impl AsyncWrite + Unpin + Send>,
        answer: &Answer,
    ) -> Result<(), WireError> {
        let Some(front) = self.batch.front().copied() else { return Ok(()) };
        chunk::write_answer(writer, answer).await?;
        writer.flush().await?;
        self.count(answer);
        let before = self.batch.len();
        self.batch.retain(|asked| asked.request != front.request);
        self.requests.settle((before - self.batch.len()) as u64);
        self.skipped = Some(front.request);
        self.requests.end(front.request);
        Ok(())
    }

    fn count(&self, answer: &Answer) {
        let outcome = match answer {
            Answer::Found(bytes) => {
                self.traffic.sent(bytes.len());
                "found"
            }
            Answer::NotFound => "not_found",
            Answer::Busy { .. } => "busy",
            Answer::Cancelled => "cancelled",
        };
        count_served(&self.shared.metrics, outcome);
    }
}

/// Asks the owner of the network for chunks.
async fn read_chunks(
    shared: &Shared,
    peer: PeerId,
    hashes: Vec<ChunkHash>,
    mut room: Room,
) -> Result<ReadChunks, WireError> {
    let (respond_to, response) = oneshot::channel();
    let (asked, max_bytes) = (hashes.clone(), BATCH.into());
    let event = NetEvent::ChunkRequest { peer, hashes: asked, max_bytes, respond_to };
    let gone = |_| io::Error::from(io::ErrorKind::NotConnected);
    shared.events.send(event).await.map_err(|_| gone(()))?;
    let mut chunks = response.await.map_err(|_| gone(()))?;
    // An owner that answers nothing does not have the first one.
    if chunks.is_empty() {
        chunks.push(None);
    }
    room.shrink_to(bytes_of(&chunks));
    Ok(ReadChunks { hashes, chunks, room })
}

fn bytes_of(chunks: &[Option<Bytes>]) -> u64 {
    chunks.iter().flatten().map(|chunk| chunk.len() as u64).sum()
}

/// Carries out the write of a batch. While room is scarce, a peer that reads too
/// slowly fails it.
async fn paced(
    write: impl Future<Output = Result<(), WireError>>,
    bytes: u64,
    budget: &Budget,
) -> Result<(), WireError> {
    let mut write = pin!(write);
    loop {
        match timeout(patience(bytes), &mut write).await {
            Ok(written) => return written,
            Err(_) if budget.is_scarce() => {
                let error = "the peer reads too slowly while others wait";
                return Err(io::Error::new(io::ErrorKind::TimedOut, error).into());
            }
            Err(_) => {}
        }
    }
}

fn count_served(metrics: &Metrics, outcome: &'static str) {
    let exchange = Exchange { protocol: "chunk", outcome };
    metrics.requests_served.get_or_create(&exchange).inc();
}

/// Counts requests for chunks that are not held.
#[derive(Debug, Default)]
struct Misses {
    since: Option<Instant>,
    count: u32,
}

impl Misses {
    /// Counts one. Returns whether the peer has asked for too many of late.
    fn is_too_many(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now - since >= MISSES_WINDOW) {
            (self.since, self.count) = (Some(now), 0);
        }
        self.count += 1;
        self.count > MAX_MISSES
    }
}

#[cfg(test)]
mod tests;
