mod ahead;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dfs_core::limits::MAX_CHUNK_LEN;
use dfs_wire::Breach;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;

use super::super::ask::tests::pipe;
use super::super::budget::Room;
use super::super::traffic::Transferred;
use super::*;
use crate::limits::MAX_SERVED_BYTES;
use crate::tasks::Tasks;
use crate::timing::{IDLE_TIMEOUT, SERVING_WAIT};

const CHUNKS: u8 = 0;
const BUSY: Answer = Answer::Busy { retry_ms: BUSY_RETRY_MS };
/// A little less than the longest silence on a stream.
const PAUSE: Duration = IDLE_TIMEOUT.saturating_sub(Duration::from_secs(1));

/// A chunk that differs from others by its letter.
fn chunk(letter: u8, len: usize) -> Bytes {
    vec![letter; len].into()
}

/// One chunk for each letter.
fn chunks(letters: &[u8]) -> Vec<Bytes> {
    letters.iter().map(|&letter| chunk(letter, 4)).collect()
}

fn hashes(chunks: &[Bytes]) -> Vec<ChunkHash> {
    chunks.iter().map(|chunk| ChunkHash::of(chunk)).collect()
}

/// Hashes of chunks that nobody has.
fn absent(count: u32) -> Vec<ChunkHash> {
    (0..count).map(|number| ChunkHash::of(&number.to_le_bytes())).collect()
}

/// The bytes of a request for chunks.
fn request(hashes: &[ChunkHash]) -> Vec<u8> {
    let count = u16::try_from(hashes.len()).expect("few");
    let mut bytes = [&[CHUNKS][..], &count.to_le_bytes()].concat();
    hashes.iter().for_each(|hash| bytes.extend(hash.as_bytes()));
    bytes
}

/// The bytes that give up a request.
fn cancel(number: u64) -> Vec<u8> {
    [&[1][..], &number.to_le_bytes()].concat()
}

fn found(chunks: &[Bytes]) -> Vec<Answer> {
    chunks.iter().cloned().map(Answer::Found).collect()
}

/// What the streams of a node share, and the requests to its owner.
fn shared() -> (Shared, mpsc::Receiver<NetEvent>) {
    let (events, owner) = mpsc::channel(1);
    let metrics = Metrics::default();
    let budget = Budget::new(MAX_SERVED_BYTES, metrics.clone());
    (Shared { events, budget, tasks: Tasks::none(), metrics }, owner)
}

/// An owner that holds these chunks.
fn hold(mut owner: mpsc::Receiver<NetEvent>, chunks: &[Bytes]) {
    let store: HashMap<_, _> =
        chunks.iter().map(|chunk| (ChunkHash::of(chunk), chunk.clone())).collect();
    tokio::spawn(async move {
        loop {
            let (hashes, respond_to) = asked(&mut owner).await;
            let chunks = hashes.iter().map(|hash| store.get(hash).cloned()).collect();
            // The error means that the stream has ended.
            let _ = respond_to.send(chunks);
        }
    });
}

/// What the owner is asked for next.
async fn asked(
    owner: &mut mpsc::Receiver<NetEvent>,
) -> (Vec<ChunkHash>, oneshot::Sender<Vec<Option<Bytes>>>) {
    match owner.recv().await {
        Some(NetEvent::ChunkRequest { hashes, max_bytes, respond_to, .. }) => {
            assert_eq!(max_bytes, u64::from(BATCH));
            (hashes, respond_to)
        }
        // The runtime ends, and with it the owner that `hold` has started.
        None => std::future::pending().await,
        other => panic!("{other:?}"),
    }
}

/// A stream that is served, as the asker and the node see it.
struct Served {
    asker: DuplexStream,
    requests: Arc<Requests>,
    shared: Shared,
    traffic: Traffic,
    end: JoinHandle<Result<(), WireError>>,
}

/// A stream that holds so many bytes in each direction.
fn serve_through(capacity: usize, shared: &Shared) -> Served {
    let (asker, ours) = pipe(capacity);
    let (requests, traffic) = (Arc::<Requests>::default(), Traffic::default());
    let (its_requests, its_traffic) = (Arc::clone(&requests), traffic.clone());
    let its_shared = shared.clone();
    let end = tokio::spawn(async move {
        serve(ours, PeerId::random(), &its_shared, &its_traffic, &its_requests).await
    });
    Served { asker, requests, shared: shared.clone(), traffic, end }
}

/// A stream of a node that holds these chunks.
fn serve_chunks(chunks: &[Bytes]) -> Served {
    let (shared, owner) = shared();
    hold(owner, chunks);
    serve_through(64 << 10, &shared)
}

impl Served {
    async fn write(&mut self, bytes: &[u8]) {
        self.asker.write_all(bytes).await.expect("the stream is open");
    }

    async fn answers(&mut self, count: usize) -> Vec<Answer> {
        let mut answers = Vec::new();
        for _ in 0..count {
            answers.push(read_answer(&mut self.asker).await);
        }
        answers
    }

    /// Asks for chunks, and checks that they come.
    async fn expect_chunks(&mut self, chunks: &[Bytes]) {
        self.write(&request(&hashes(chunks))).await;
        assert_eq!(self.answers(chunks.len()).await, found(chunks));
    }

    /// Waits, and checks that the stream goes on.
    async fn expect_open_for(&mut self, time: Duration) {
        assert!(timeout(time, &mut self.end).await.is_err(), "the stream has ended");
    }

    /// The end of the stream, and what the asker has not read.
    async fn end(mut self) -> (Result<(), WireError>, Vec<u8>) {
        let result = self.end.await.expect("no panic");
        let mut rest = Vec::new();
        self.asker.read_to_end(&mut rest).await.expect("the stream is in memory");
        (result, rest)
    }

    /// The kind of the error that ends the stream.
    async fn failure(self) -> io::ErrorKind {
        match self.end().await.0 {
            Err(WireError::Io(error)) => error.kind(),
            other => panic!("{other:?}"),
        }
    }

    /// How many requests are remembered as given up.
    fn cancelled(&self) -> usize {
        self.requests.cancelled.lock().expect("no panic").len()
    }

    /// Waits until so many requests count as given up. The server reads on while it
    /// waits for the owner.
    async fn wait_for_cancelled(&self, count: usize) {
        while self.cancelled() < count {
            tokio::task::yield_now().await;
        }
    }

    fn count(&self, outcome: &'static str) -> u64 {
        let exchange = Exchange { protocol: "chunk", outcome };
        self.shared.metrics.requests_served.get_or_create(&exchange).get()
    }
}

/// Reads one answer.
async fn read_answer(asker: &mut (impl tokio::io::AsyncRead + Unpin)) -> Answer {
    let mut head = [0; 5];
    asker.read_exact(&mut head).await.expect("the stream is open");
    let [status, number @ ..] = head;
    let number = u32::from_le_bytes(number);
    match (status, number) {
        (0, len) => {
            let mut bytes = vec![0; len as usize];
            asker.read_exact(&mut bytes).await.expect("the stream is open");
            Answer::Found(bytes.into())
        }
        (1, 0) => Answer::NotFound,
        (2, retry_ms) => Answer::Busy { retry_ms },
        (3, 0) => Answer::Cancelled,
        other => panic!("{other:?}"),
    }
}

/// Takes room until other streams have to wait.
async fn fill(budget: &Budget) -> Vec<Room> {
    let mut rooms = Vec::new();
    while !budget.is_scarce() {
        rooms.push(budget.take().await.expect("room"));
    }
    rooms
}

#[tokio::test]
async fn requests_are_answered_in_their_order_and_the_end_comes_after_all_of_them() {
    let chunks = chunks(b"abc");
    let mut stream = serve_chunks(&chunks);
    let [a, b, c] = hashes(&chunks)[..] else { panic!("three chunks") };
    let lack = absent(1)[0];
    stream.write(&[request(&[a, lack, b]), request(&[lack]), request(&[c])].concat()).await;
    stream.asker.shutdown().await.expect("in memory");
    let lacked = [1, 0, 0, 0, 0];
    let held = |letter| [&[0, 4, 0, 0, 0][..], &[letter; 4]].concat();
    assert_eq!(stream.answers(1).await, found(&chunks[..1]));
    let counted = stream.shared.metrics.requests_served.clone();
    let traffic = stream.traffic.clone();
    let (result, rest) = stream.end().await;
    result.expect("a proper end");
    let expected = [&lacked[..], &held(b'b'), &lacked, &held(b'c')].concat();
    assert_eq!(rest, expected);
    for (outcome, count) in [("found", 3), ("not_found", 2)] {
        let exchange = Exchange { protocol: "chunk", outcome };
        assert_eq!(counted.get_or_create(&exchange).get(), count, "{outcome}");
    }
    assert_eq!(traffic.take(), Some(Transferred { sent: 12, received: 0 }));
}

#[tokio::test]
async fn a_request_given_up_ends_once_and_the_next_one_is_answered_in_full() {
    let (first, second) = (chunks(b"abcd"), chunks(b"xy"));
    let (shared, mut owner) = shared();
    let mut stream = serve_through(64 << 10, &shared);
    stream.write(&request(&hashes(&first))).await;
    let (_, respond_to) = asked(&mut owner).await;
    respond_to.send(vec![Some(first[0].clone())]).expect("it waits");
    let (_, respond_to) = asked(&mut owner).await;
    stream.write(&[request(&hashes(&second)), cancel(0), cancel(0)].concat()).await;
    stream.wait_for_cancelled(1).await;
    hold(owner, &second);
    respond_to.send(vec![Some(first[1].clone())]).expect("it waits");
    assert_eq!(stream.answers(1).await, found(&first[..1]));
    assert_eq!(stream.answers(1).await, [Answer::Cancelled]);
    assert_eq!(stream.answers(2).await, found(&second));
    assert_eq!(stream.count("cancelled"), 1);
    stream.asker.shutdown().await.expect("in memory");
    let (result, rest) = stream.end().await;
    result.expect("a proper end");
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn a_long_request_given_up_is_passed_over_in_the_queue_as_well() {
    let last = chunks(b"z");
    let (shared, mut owner) = shared();
    let mut stream = serve_through(64 << 10, &shared);
    stream.write(&request(&absent(256))).await;
    let (_, respond_to) = asked(&mut owner).await;
    stream.write(&[request(&hashes(&last)), cancel(0)].concat()).await;
    stream.wait_for_cancelled(1).await;
    respond_to.send(vec![None]).expect("it waits");
    assert_eq!(stream.answers(1).await, [Answer::Cancelled]);
    let (hashes, respond_to) = asked(&mut owner).await;
    assert_eq!(hashes.len(), 1, "nothing is asked for in vain");
    respond_to.send(vec![Some(last[0].clone())]).expect("it waits");
    assert_eq!(stream.answers(1).await, found(&last));
}

#[tokio::test]
async fn giving_up_a_request_that_has_been_answered_changes_nothing() {
    let chunks = chunks(b"abc");
    let mut stream = serve_chunks(&chunks);
    stream.expect_chunks(&chunks).await;
    stream.write(&cancel(0)).await;
    stream.expect_chunks(&chunks).await;
    stream.write(&[cancel(1), cancel(0), cancel(1)].concat()).await;
    stream.expect_chunks(&chunks).await;
    assert_eq!((stream.count("found"), stream.count("cancelled")), (9, 0));
}

#[tokio::test]
async fn only_requests_that_wait_for_an_answer_are_remembered_as_given_up() {
    let chunks = chunks(b"a");
    let (shared, mut owner) = shared();
    let mut stream = serve_through(1 << 10, &shared);
    let ask = request(&hashes(&chunks));
    stream.write(&[&ask[..], &ask, &ask].concat()).await;
    let (_, respond_to) = asked(&mut owner).await;
    for number in 0..30_000 {
        stream.write(&cancel(number % 3)).await;
    }
    stream.write(&ask).await;
    while stream.requests.asked.load(Ordering::Relaxed) < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stream.cancelled(), 3);
    hold(owner, &chunks);
    respond_to.send(vec![None]).expect("it waits");
    assert_eq!(stream.answers(3).await, vec![Answer::Cancelled; 3]);
    assert_eq!(stream.answers(1).await, found(&chunks));
    assert_eq!(stream.cancelled(), 0);

    // Those that come too late are forgotten as well.
    for number in 4..1_000 {
        stream.expect_chunks(&chunks).await;
        stream.write(&cancel(number)).await;
    }
    assert!(stream.cancelled() <= 1, "{}", stream.cancelled());
}

#[tokio::test]
async fn a_flood_of_cancellations_holds_up_neither_its_own_stream_nor_another() {
    let chunks = chunks(b"abc");
    let (shared, owner) = shared();
    hold(owner, &chunks);
    let mut flooded = serve_through(1 << 10, &shared);
    let mut other = serve_through(1 << 10, &shared);
    flooded.expect_chunks(&chunks).await;
    let (mut reader, mut writer) = tokio::io::split(&mut flooded.asker);
    let flood = cancel(0).repeat(1_000);
    let write = async {
        writer.write_all(&flood).await.expect("open");
        writer.write_all(&request(&hashes(&chunks))).await.expect("open");
        for _ in 0..100 {
            writer.write_all(&flood).await.expect("open");
        }
    };
    let read = async {
        for chunk in &chunks {
            assert_eq!(read_answer(&mut reader).await, Answer::Found(chunk.clone()));
            other.expect_chunks(&chunks).await;
        }
    };
    tokio::select! {
        () = read => {}
        () = write => panic!("the answers waited for the end of the flood"),
    }
}

#[tokio::test]
async fn giving_up_a_request_that_was_never_made_ends_the_stream() {
    let mut stream = serve_chunks(&[]);
    stream.write(&cancel(0)).await;
    assert_eq!(stream.failure().await, io::ErrorKind::InvalidData);

    let chunks = chunks(b"a");
    let mut stream = serve_chunks(&chunks);
    stream.expect_chunks(&chunks).await;
    stream.write(&cancel(1)).await;
    assert_eq!(stream.failure().await, io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn bytes_that_are_no_request_end_the_stream() {
    let cases = [
        (vec![2], Breach::ChunkRequest { tag: 2 }),
        (vec![255], Breach::ChunkRequest { tag: 255 }),
        (vec![CHUNKS, 0, 0], Breach::ChunkCount { found: 0 }),
        (vec![CHUNKS, 1, 1], Breach::ChunkCount { found: 257 }),
        (vec![CHUNKS, 255, 255], Breach::ChunkCount { found: 65_535 }),
    ];
    for (bytes, expected) in cases {
        let mut stream = serve_chunks(&[]);
        stream.write(&bytes).await;
        let (Err(WireError::Breach(breach)), rest) = stream.end().await else { panic!("valid") };
        assert_eq!(breach, expected);
        assert!(rest.is_empty(), "{rest:?}");
    }
    let mut stream = serve_chunks(&[]);
    stream.write(&request(&absent(1))[..20]).await;
    stream.asker.shutdown().await.expect("in memory");
    assert_eq!(stream.failure().await, io::ErrorKind::UnexpectedEof);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_for_what_is_not_held_has_to_wait() {
    let misses = MAX_MISSES as usize;
    let held = chunks(b"a");
    let mut stream = serve_chunks(&held);
    let all = [absent(MAX_MISSES), hashes(&held), absent(100)].concat();
    stream.write(&request(&all)).await;
    assert_eq!(stream.answers(misses).await, vec![Answer::NotFound; misses]);
    assert_eq!(stream.answers(1).await, found(&held), "chunks that are held do not count");
    assert_eq!(stream.answers(1).await, [BUSY]);

    // The request has ended, and the next one gets no more within the second.
    stream.expect_chunks(&held).await;
    stream.write(&request(&absent(2))).await;
    assert_eq!(stream.answers(1).await, [BUSY]);
    stream.expect_open_for(MISSES_WINDOW).await;
    stream.write(&request(&absent(MAX_MISSES + 2))).await;
    assert_eq!(stream.answers(misses).await, vec![Answer::NotFound; misses]);
    assert_eq!(stream.answers(1).await, [BUSY]);
    stream.expect_chunks(&held).await;
    assert_eq!((stream.count("busy"), stream.count("not_found")), (3, 2 * u64::from(MAX_MISSES)));
}

#[tokio::test(start_paused = true)]
async fn a_request_for_which_there_is_no_room_ends_as_busy() {
    let chunks = chunks(b"abc");
    let mut stream = serve_chunks(&chunks);
    let rooms = fill(&stream.shared.budget).await;
    let start = Instant::now();
    stream.write(&request(&hashes(&chunks))).await;
    assert_eq!(stream.answers(1).await, [BUSY]);
    assert_eq!(start.elapsed(), SERVING_WAIT);
    drop(rooms);
    stream.expect_chunks(&chunks).await;
    assert_eq!(stream.count("busy"), 1);
    assert_eq!(stream.shared.metrics.chunks_being_served.get(), 0, "the room is free again");
}

/// A stream through which only part of this chunk fits, and whose asker has read
/// nothing but the head of the answer.
async fn half_read(chunk: Bytes) -> Served {
    let (shared, owner) = shared();
    hold(owner, std::slice::from_ref(&chunk));
    let mut stream = serve_through(1 << 10, &shared);
    stream.write(&request(&[ChunkHash::of(&chunk)])).await;
    let mut head = [0; 5];
    stream.asker.read_exact(&mut head).await.expect("open");
    assert_eq!(head[0], 0);
    stream
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_loses_its_stream_at_once_if_room_is_scarce() {
    let len = 64 << 10;
    let time = patience(len as u64);
    assert!(time < IDLE_TIMEOUT);
    let stream = half_read(chunk(b'a', len)).await;
    let shared = stream.shared.clone();
    let rooms = fill(&shared.budget).await;
    let start = Instant::now();
    assert_eq!(stream.failure().await, io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed(), time);
    drop(rooms);
    assert_eq!(shared.metrics.chunks_being_served.get(), 0, "its room is free again");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_loses_its_stream_at_last() {
    let stream = half_read(chunk(b'a', 64 << 10)).await;
    let start = Instant::now();
    assert_eq!(stream.failure().await, io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed(), IDLE_TIMEOUT);
}

/// Has the asker read a few bytes with long pauses. Returns whether the stream has
/// outlived all of them.
async fn read_slowly(stream: &mut Served, pauses: u32) -> bool {
    for _ in 0..pauses {
        if timeout(PAUSE, &mut stream.end).await.is_ok() {
            return false;
        }
        stream.asker.read_exact(&mut [0; 16]).await.expect("open");
    }
    true
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_its_stream_if_room_is_scarce() {
    let len = usize::try_from(BATCH).expect("it fits into memory");
    let mut stream = half_read(chunk(b'a', len)).await;
    let shared = stream.shared.clone();
    let rooms = fill(&shared.budget).await;
    let start = Instant::now();
    assert!(!read_slowly(&mut stream, 10).await);
    assert_eq!(start.elapsed(), patience(BATCH.into()));
    drop(rooms);
    assert_eq!(shared.metrics.chunks_being_served.get(), 0, "its room is free again");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_served_while_there_is_room() {
    let len = usize::try_from(BATCH).expect("it fits into memory");
    let slow = chunk(b'a', len);
    let mut stream = half_read(slow.clone()).await;
    let start = Instant::now();
    assert!(read_slowly(&mut stream, 10).await);
    assert!(start.elapsed() > IDLE_ASKER.max(2 * patience(BATCH.into())));
    let mut rest = vec![0; len - 160];
    stream.asker.read_exact(&mut rest).await.expect("open");
    assert_eq!(rest, slow[160..]);
    stream.expect_chunks(&[slow]).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_asker_loses_its_stream() {
    let start = Instant::now();
    let (result, rest) = serve_chunks(&[]).end().await;
    assert!(result.is_ok() && rest.is_empty());
    assert_eq!(start.elapsed(), IDLE_ASKER);

    let chunks = chunks(b"a");
    let mut stream = serve_chunks(&chunks);
    stream.expect_open_for(IDLE_ASKER / 2).await;
    stream.expect_chunks(&chunks).await;
    let start = Instant::now();
    // Part of a request is none.
    stream.write(&[CHUNKS]).await;
    let (result, rest) = stream.end().await;
    assert!(result.is_ok() && rest.is_empty());
    assert_eq!(start.elapsed(), IDLE_ASKER);
}

#[tokio::test(start_paused = true)]
async fn an_asker_is_not_idle_until_it_has_been_answered() {
    let chunks = chunks(b"a");
    let (shared, mut owner) = shared();
    let mut stream = serve_through(64 << 10, &shared);
    stream.write(&request(&hashes(&chunks))).await;
    let (_, respond_to) = asked(&mut owner).await;
    stream.expect_open_for(IDLE_ASKER * 3 / 2).await;
    respond_to.send(vec![Some(chunks[0].clone())]).expect("it waits");
    assert_eq!(stream.answers(1).await, found(&chunks));
    let start = Instant::now();
    let (result, rest) = stream.end().await;
    assert!(result.is_ok() && rest.is_empty());
    assert_eq!(start.elapsed(), IDLE_ASKER);
}

#[tokio::test]
async fn what_the_owner_leaves_out_is_asked_again() {
    let chunks = chunks(b"abc");
    let [a, b, c] = hashes(&chunks)[..] else { panic!("three chunks") };
    let (shared, mut owner) = shared();
    let mut stream = serve_through(64 << 10, &shared);
    stream.write(&request(&[a, b, c])).await;
    let held = |number: usize| Some(chunks[number].clone());
    // The third one has nothing, which stands for a chunk that is not held.
    let rounds =
        [(vec![a, b, c], vec![held(0)]), (vec![b, c], vec![]), (vec![c], vec![held(2), held(0)])];
    for (expected, answer) in rounds {
        let (hashes, respond_to) = asked(&mut owner).await;
        assert_eq!(hashes, expected);
        respond_to.send(answer).expect("it waits");
    }
    let [a, c] = [found(&chunks[..1]), found(&chunks[2..])];
    assert_eq!(stream.answers(3).await, [a, vec![Answer::NotFound], c].concat());
    hold(owner, &chunks);
    stream.expect_chunks(&chunks).await;
}

#[tokio::test]
async fn an_owner_that_is_gone_ends_the_stream() {
    let (shared, owner) = shared();
    drop(owner);
    let mut stream = serve_through(64 << 10, &shared);
    stream.write(&request(&absent(1))).await;
    assert_eq!(stream.failure().await, io::ErrorKind::NotConnected);
}

#[tokio::test(start_paused = true)]
async fn a_peer_makes_the_node_hold_a_queue_of_hashes_and_one_batch() {
    let (shared, mut owner) = shared();
    let mut stream = serve_through(1 << 10, &shared);
    let many = request(&absent(256)).repeat(100);
    let second = Duration::from_secs(1);
    assert!(timeout(second, stream.asker.write_all(&many)).await.is_err(), "all have been read");
    let (hashes, _respond_to) = asked(&mut owner).await;
    assert_eq!(hashes.len(), MAX_BATCH_CHUNKS);
    let asked = stream.requests.asked.load(Ordering::Relaxed);
    // What is in the queue, the batch, and the request that does not fit.
    let limit = MAX_QUEUED_CHUNKS + MAX_BATCH_CHUNKS + 256;
    assert!((MAX_QUEUED_CHUNKS..=limit).contains(&usize::try_from(asked).expect("few")));
    let batch = u64::from(BATCH + MAX_CHUNK_LEN);
    assert!(shared.metrics.chunks_being_served.get() <= batch);
}
