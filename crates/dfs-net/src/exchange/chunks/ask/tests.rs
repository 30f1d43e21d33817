use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use dfs_core::ChunkHash;
use dfs_core::limits::MAX_CHUNK_LEN;
use dfs_wire::Breach;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::traffic::Transferred;
use super::*;
use crate::metrics::Exchange;
use crate::timing::IDLE_TIMEOUT;

/// The end of an in-memory stream that the code under test gets.
pub(crate) struct Piped(DuplexStream);

/// An in-memory stream that holds so many bytes in each direction, and its end for
/// the code under test.
pub(crate) fn pipe(capacity: usize) -> (DuplexStream, Piped) {
    let (peer, ours) = tokio::io::duplex(capacity);
    (peer, Piped(ours))
}

impl AsyncRead for Piped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(tokio::io::AsyncRead::poll_read(Pin::new(&mut self.0), cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl AsyncWrite for Piped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.0), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

const NOT_FOUND: [u8; 5] = [1, 0, 0, 0, 0];
const CANCELLED: [u8; 5] = [3, 0, 0, 0, 0];

/// The bytes of an answer that starts so and carries a number.
fn head(status: u8, number: u32) -> Vec<u8> {
    [&[status][..], &number.to_le_bytes()].concat()
}

fn found(chunk: &[u8]) -> Vec<u8> {
    let len = u32::try_from(chunk.len()).expect("a short chunk");
    [&head(0, len)[..], chunk].concat()
}

/// The results of a run, as its caller sees them.
type Results = mpsc::Receiver<Result<Bytes, FetchError>>;

fn fetch_of(chunks: &[&[u8]]) -> (Fetch, Results) {
    let (results, receiver) = mpsc::channel(chunks.len());
    (Fetch { leaves: chunks.iter().map(|chunk| Leaf::of(chunk)).collect(), results }, receiver)
}

/// The next result of a run, which is not allowed to be lost.
async fn next(results: &mut Results) -> Result<Bytes, FetchError> {
    results.recv().await.expect("a result for each chunk")
}

async fn expect_chunks(results: &mut Results, chunks: &[&[u8]]) {
    for chunk in chunks {
        assert_eq!(next(results).await.expect("found"), chunk);
    }
}

async fn expect_closed(results: &mut Results) {
    let error = next(results).await.expect_err("the stream has ended");
    assert!(matches!(error, FetchError::Unreachable(Unreachable::ConnectionClosed)), "{error:?}");
}

/// A stream on which this node asks, as the peer and the callers see it.
struct Asking {
    peer: DuplexStream,
    fetches: mpsc::Sender<Fetch>,
    traffic: Traffic,
    metrics: Metrics,
    end: JoinHandle<()>,
}

/// A stream that holds so many bytes in each direction.
fn asking_through(capacity: usize) -> Asking {
    let (peer, ours) = pipe(capacity);
    let (fetches, queue) = mpsc::channel(MAX_REQUESTS_PER_PEER);
    let (traffic, metrics) = (Traffic::default(), Metrics::default());
    let (counted, measured) = (traffic.clone(), metrics.clone());
    let end = tokio::spawn(async move { run(ours, queue, &counted, &measured).await });
    Asking { peer, fetches, traffic, metrics, end }
}

fn asking() -> Asking {
    asking_through(64 << 10)
}

impl Asking {
    fn fetch(&self, chunks: &[&[u8]]) -> Results {
        let (fetch, results) = fetch_of(chunks);
        self.fetches.try_send(fetch).expect("the stream is open and has room");
        results
    }

    /// Reads a request for these chunks, and no byte more.
    async fn expect_request(&mut self, chunks: &[&[u8]]) {
        let mut expected = vec![0];
        expected.extend(u16::try_from(chunks.len()).expect("few").to_le_bytes());
        for chunk in chunks {
            expected.extend(ChunkHash::of(chunk).as_bytes());
        }
        assert_eq!(self.read(expected.len()).await, expected);
    }

    /// Reads the cancellation of a request.
    async fn expect_cancel(&mut self, number: u64) {
        assert_eq!(self.read(9).await, [&[1][..], &number.to_le_bytes()].concat());
    }

    async fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.peer.read_exact(&mut bytes).await.expect("the stream is open");
        bytes
    }

    async fn answer(&mut self, bytes: &[u8]) {
        self.peer.write_all(bytes).await.expect("the stream is open");
    }

    /// Writes an answer to a run of one chunk that is as long as this one.
    async fn expect_failure(mut self, chunk: &[u8], answer: &[u8]) -> FetchError {
        let mut results = self.fetch(&[chunk]);
        self.expect_request(&[chunk]).await;
        let start = Instant::now();
        self.answer(answer).await;
        let error = next(&mut results).await.expect_err("not a valid answer");
        assert_eq!(start.elapsed(), Duration::ZERO, "it waited for something");
        assert!(self.expect_end().await.is_empty());
        error
    }

    /// Waits, and checks that the stream goes on.
    async fn expect_open_for(&mut self, time: Duration) {
        assert!(timeout(time, &mut self.end).await.is_err(), "the stream has ended");
    }

    /// Waits for the end of the stream. Returns what has been written on it and the
    /// peer has not read.
    async fn expect_end(mut self) -> Vec<u8> {
        self.end.await.expect("no panic");
        let mut rest = Vec::new();
        self.peer.read_to_end(&mut rest).await.expect("the stream is in memory");
        rest
    }

    fn count(&self, outcome: &'static str) -> u64 {
        let exchange = Exchange { protocol: "chunk", outcome };
        self.metrics.requests_sent.get_or_create(&exchange).get()
    }
}

#[tokio::test]
async fn results_come_in_the_order_of_the_requests() {
    let mut stream = asking();
    let mut first = stream.fetch(&[b"one", b"two"]);
    let mut second = stream.fetch(&[b"three"]);
    stream.expect_request(&[b"one", b"two"]).await;
    stream.expect_request(&[b"three"]).await;
    stream.answer(&[found(b"one"), found(b"two"), found(b"three")].concat()).await;
    expect_chunks(&mut second, &[b"three"]).await;
    expect_chunks(&mut first, &[b"one", b"two"]).await;
    assert_eq!(stream.traffic.take(), Some(Transferred { sent: 0, received: 11 }));
    assert_eq!(stream.count("found"), 3);
}

#[tokio::test]
async fn a_run_goes_on_after_a_chunk_that_the_peer_lacks() {
    let mut stream = asking();
    let mut results = stream.fetch(&[b"one", b"two", b"three"]);
    stream.answer(&[found(b"one"), NOT_FOUND.to_vec(), found(b"three")].concat()).await;
    expect_chunks(&mut results, &[b"one"]).await;
    assert!(matches!(next(&mut results).await, Err(FetchError::NotFound)));
    expect_chunks(&mut results, &[b"three"]).await;
    assert_eq!((stream.count("found"), stream.count("not_found")), (2, 1));
}

#[tokio::test]
async fn a_busy_peer_ends_the_run_and_not_the_stream() {
    let mut stream = asking();
    let mut first = stream.fetch(&[b"one", b"two", b"three"]);
    let mut second = stream.fetch(&[b"four"]);
    stream.answer(&[found(b"one"), head(2, 700), found(b"four")].concat()).await;
    expect_chunks(&mut second, &[b"four"]).await;
    expect_chunks(&mut first, &[b"one"]).await;
    let Err(FetchError::Busy { retry }) = next(&mut first).await else { panic!("busy") };
    assert_eq!(retry, Duration::from_millis(700));
    assert!(first.try_recv().is_err(), "nothing follows");
    assert_eq!(stream.count("busy"), 1);
}

#[tokio::test]
async fn wrong_bytes_are_a_fault_and_fail_the_runs_behind_them() {
    let mut stream = asking();
    let mut wrong = stream.fetch(&[b"one", b"two", b"three"]);
    let mut others = [stream.fetch(&[b"four"]), stream.fetch(&[b"five"])];
    stream.answer(&[found(b"one"), found(b"owt"), found(b"three")].concat()).await;
    expect_chunks(&mut wrong, &[b"one"]).await;
    let error = next(&mut wrong).await.expect_err("another chunk");
    assert!(matches!(error, FetchError::Fault(PeerFault::WrongChunk)), "{error:?}");
    assert!(wrong.recv().await.is_none(), "the fault is the last result");
    for other in &mut others {
        expect_closed(other).await;
    }
    assert_eq!((stream.count("found"), stream.count("failed")), (1, 3));
    let (late, _results) = fetch_of(&[b"six"]);
    stream.end.await.expect("no panic");
    assert!(stream.fetches.try_send(late).is_err(), "the stream takes no more runs");
}

#[tokio::test(start_paused = true)]
async fn a_chunk_of_another_length_and_hash_is_a_fault_once_it_is_read() {
    for sent in [&b"on"[..], b"ones", &[7; 40_000]] {
        let error = asking().expect_failure(b"one", &found(sent)).await;
        let FetchError::Fault(PeerFault::Malformed { source }) = error else { panic!("{error}") };
        let (hash, found) = (ChunkHash::of(sent), Leaf::of(sent).len);
        assert_eq!(source, Breach::ChunkOtherLength { hash, found, len: 3 });
    }
    for len in [0, MAX_CHUNK_LEN + 1, u32::MAX] {
        let error = asking().expect_failure(b"one", &head(0, len)).await;
        let FetchError::Fault(PeerFault::Malformed { source }) = error else { panic!("{error}") };
        assert_eq!(source, Breach::ChunkLength { found: len });
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_not_to_blame_for_a_false_length_in_a_leaf() {
    let chunk = vec![7; 40_000];
    let mut stream = asking();
    for len in [1, 39_999, 40_001, MAX_CHUNK_LEN] {
        let (results, mut receiver) = mpsc::channel(2);
        let leaves = vec![Leaf { len, ..Leaf::of(&chunk) }, Leaf::of(b"next")];
        stream.fetches.try_send(Fetch { leaves, results }).expect("the stream is open");
        stream.expect_request(&[&chunk, b"next"]).await;
        stream.answer(&[found(&chunk), found(b"next")].concat()).await;
        let error = next(&mut receiver).await.expect_err("a false length");
        assert!(matches!(error, FetchError::FalseLength { found: 40_000 }), "{error:?}");
        expect_chunks(&mut receiver, &[b"next"]).await;
    }
    assert_eq!((stream.count("false_length"), stream.count("found")), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_answer_are_a_fault() {
    for answer in [head(4, 0), head(255, u32::MAX), head(1, 1), head(3, 1)] {
        let error = asking().expect_failure(b"one", &answer).await;
        assert!(matches!(error, FetchError::Fault(PeerFault::Malformed { .. })), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_of_a_run_that_is_wanted_is_a_fault() {
    let error = asking().expect_failure(b"one", &CANCELLED).await;
    assert!(matches!(error, FetchError::Fault(PeerFault::WrongResponse)), "{error:?}");
}

#[tokio::test]
async fn a_peer_that_hangs_up_is_no_fault() {
    let mut stream = asking();
    let mut first = stream.fetch(&[b"one"]);
    let mut second = stream.fetch(&[b"two"]);
    stream.expect_request(&[b"one"]).await;
    stream.answer(&found(b"one")[..6]).await;
    drop(stream.peer);
    let error = next(&mut first).await.expect_err("half a chunk");
    assert!(matches!(error, FetchError::Unreachable(Unreachable::Stream { .. })), "{error:?}");
    expect_closed(&mut second).await;
}

#[tokio::test]
async fn a_run_given_up_is_cancelled_once_and_the_next_one_served() {
    let mut stream = asking();
    let mut first = stream.fetch(&[b"one"]);
    let given_up = stream.fetch(&[b"two", b"three", b"four"]);
    let mut last = stream.fetch(&[b"five", b"six"]);
    stream.expect_request(&[b"one"]).await;
    stream.expect_request(&[b"two", b"three", b"four"]).await;
    stream.expect_request(&[b"five", b"six"]).await;
    drop(given_up);
    stream.expect_cancel(1).await;
    stream.answer(&[found(b"one"), found(b"two"), CANCELLED.to_vec()].concat()).await;
    stream.answer(&[found(b"five"), found(b"six")].concat()).await;
    expect_chunks(&mut first, &[b"one"]).await;
    expect_chunks(&mut last, &[b"five", b"six"]).await;
    // Those that have been answered are not worth a cancellation.
    drop((first, last));
    let mut next = stream.fetch(&[b"seven"]);
    stream.expect_request(&[b"seven"]).await;
    stream.answer(&found(b"seven")).await;
    expect_chunks(&mut next, &[b"seven"]).await;
    // The connection closes.
    stream.fetches = mpsc::channel(1).0;
    assert_eq!(stream.expect_end().await, [0; 0], "nothing else has been written");
}

#[tokio::test]
async fn a_peer_may_answer_a_run_in_full_before_it_sees_the_cancellation() {
    let mut stream = asking();
    let given_up = stream.fetch(&[b"one", b"two"]);
    let mut next = stream.fetch(&[b"three"]);
    stream.expect_request(&[b"one", b"two"]).await;
    drop(given_up);
    stream.expect_request(&[b"three"]).await;
    stream.expect_cancel(0).await;
    stream.answer(&[found(b"one"), found(b"two"), found(b"three")].concat()).await;
    expect_chunks(&mut next, &[b"three"]).await;
}

#[tokio::test]
async fn a_run_given_up_before_it_was_sent_is_never_written() {
    let mut stream = asking();
    drop(stream.fetch(&[b"one"]));
    let wanted = stream.fetch(&[b"two"]);
    drop(stream.fetch(&[b"three"]));
    stream.expect_request(&[b"two"]).await;
    drop(wanted);
    // Only requests that have been written count.
    stream.expect_cancel(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_is_waited_for_and_a_silent_one_is_not() {
    let mut stream = asking();
    let mut slow = stream.fetch(&[b"one"]);
    let mut silent = stream.fetch(&[b"two"]);
    let mut last = stream.fetch(&[b"three"]);
    let pause = IDLE_TIMEOUT - Duration::from_secs(1);
    for byte in found(b"one") {
        stream.expect_open_for(pause).await;
        stream.answer(&[byte]).await;
    }
    expect_chunks(&mut slow, &[b"one"]).await;
    stream.expect_open_for(pause).await;
    stream.answer(&found(b"two")[..7]).await;
    let start = Instant::now();
    let error = next(&mut silent).await.expect_err("a byte is missing");
    assert!(matches!(error, FetchError::Unreachable(Unreachable::TimedOut)), "{error:?}");
    assert_eq!(start.elapsed(), IDLE_TIMEOUT);
    expect_closed(&mut last).await;
}

#[tokio::test(start_paused = true)]
async fn the_time_between_two_runs_is_no_silence() {
    // The request does not fit, so it waits for the peer to read.
    let mut stream = asking_through(8);
    let pause = IDLE_TIMEOUT - Duration::from_secs(1);
    stream.expect_open_for(2 * pause).await;
    let mut results = stream.fetch(&[b"one"]);
    stream.expect_open_for(pause).await;
    stream.expect_request(&[b"one"]).await;
    stream.answer(&found(b"one")).await;
    expect_chunks(&mut results, &[b"one"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_no_request_fails_the_runs() {
    let mut stream = asking_through(40);
    let mut first = stream.fetch(&[b"one"]);
    stream.expect_request(&[b"one"]).await;
    let mut second = stream.fetch(&[b"two", b"three"]);
    // The peer goes on with its answer, which it takes from the first request.
    let start = Instant::now();
    stream.expect_open_for(IDLE_TIMEOUT / 2).await;
    stream.answer(&found(b"one")[..6]).await;
    expect_closed(&mut first).await;
    expect_closed(&mut second).await;
    assert_eq!(start.elapsed(), IDLE_TIMEOUT);
    assert_eq!(stream.count("failed"), 2);
}

#[tokio::test]
async fn the_end_of_the_connection_fails_what_is_under_way() {
    let mut stream = asking();
    let mut first = stream.fetch(&[b"one"]);
    let mut second = stream.fetch(&[b"two"]);
    stream.expect_request(&[b"one"]).await;
    stream.expect_request(&[b"two"]).await;
    drop(stream.fetches);
    expect_closed(&mut first).await;
    expect_closed(&mut second).await;
    stream.end.await.expect("no panic");
    let failed = Exchange { protocol: "chunk", outcome: "failed" };
    assert_eq!(stream.metrics.requests_sent.get_or_create(&failed).get(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unused_stream_is_closed() {
    let start = Instant::now();
    assert!(asking().expect_end().await.is_empty());
    assert_eq!(start.elapsed(), UNUSED_STREAM);

    let mut stream = asking();
    stream.expect_open_for(UNUSED_STREAM - Duration::from_secs(1)).await;
    let mut results = stream.fetch(&[b"one"]);
    stream.expect_request(&[b"one"]).await;
    stream.answer(&found(b"one")).await;
    expect_chunks(&mut results, &[b"one"]).await;
    let start = Instant::now();
    assert!(stream.expect_end().await.is_empty());
    assert_eq!(start.elapsed(), UNUSED_STREAM);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_comes_as_the_stream_is_closed_is_not_lost() {
    // In the moment before: it is served.
    let mut stream = asking();
    tokio::time::advance(UNUSED_STREAM).await;
    let mut results = stream.fetch(&[b"one"]);
    stream.answer(&found(b"one")).await;
    expect_chunks(&mut results, &[b"one"]).await;

    // While it is closed: it is served as well.
    let mut stream = asking();
    let sending = stream.fetches.clone().reserve_owned().await.expect("open");
    stream.fetches.closed().await;
    let (fetch, mut results) = fetch_of(&[b"one"]);
    sending.send(fetch);
    stream.expect_request(&[b"one"]).await;
    stream.answer(&found(b"one")).await;
    expect_chunks(&mut results, &[b"one"]).await;

    // Afterwards: the connection gets it back and opens another stream.
    let (fetch, _results) = fetch_of(&[b"one"]);
    let refused = stream.fetches.try_send(fetch);
    assert!(matches!(refused, Err(mpsc::error::TrySendError::Closed(_))));
    assert!(stream.expect_end().await.is_empty());
}

#[tokio::test]
async fn a_run_that_comes_as_the_stream_breaks_is_not_lost() {
    let mut stream = asking();
    let mut wrong = stream.fetch(&[b"one"]);
    let sending = stream.fetches.clone().reserve_owned().await.expect("open");
    stream.answer(&CANCELLED).await;
    assert!(matches!(next(&mut wrong).await, Err(FetchError::Fault(_))));
    stream.fetches.closed().await;
    let (fetch, mut results) = fetch_of(&[b"two"]);
    sending.send(fetch);
    expect_closed(&mut results).await;
}
