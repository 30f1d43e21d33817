//! Reading the next batch while one is being written.

use futures::FutureExt;

use super::*;

#[tokio::test]
async fn the_next_batch_is_read_while_one_is_being_written() {
    let many: Vec<Bytes> = (0..2 * MAX_BATCH_CHUNKS).map(|n| vec![7; 9 + n].into()).collect();
    let (first, second) = many.split_at(MAX_BATCH_CHUNKS);
    let (shared, mut owner) = shared();
    // The stream takes a part of the first batch only.
    let mut stream = serve_through(64, &shared);
    stream.asker.write_all(&request(&hashes(&many))).await.expect("a queue has room");
    let (found_first, respond_to) = asked(&mut owner).await;
    assert_eq!(found_first, hashes(first));
    respond_to.send(first.iter().cloned().map(Some).collect()).expect("it waits");
    let (found_second, respond_to) = asked(&mut owner).await;
    assert_eq!(found_second, hashes(second));
    respond_to.send(second.iter().cloned().map(Some).collect()).expect("it waits");
    assert_eq!(stream.answers(many.len()).await, found(&many));
}

#[tokio::test]
async fn nothing_is_read_ahead_while_room_is_scarce() {
    let many: Vec<Bytes> = (0..2 * MAX_BATCH_CHUNKS).map(|n| vec![7; 9 + n].into()).collect();
    let (shared, mut owner) = shared();
    let mut rooms = Vec::new();
    while let Some(room) = shared.budget.try_take() {
        rooms.push(room);
    }
    drop(rooms.pop());
    let mut stream = serve_through(64, &shared);
    stream.asker.write_all(&request(&hashes(&many))).await.expect("a queue has room");
    let (_, respond_to) = asked(&mut owner).await;
    // Another stream waits for what this one does not need.
    let budget = shared.budget.clone();
    let mut waiting = pin!(budget.take());
    assert!((&mut waiting).now_or_never().is_none());
    respond_to.send(many[..MAX_BATCH_CHUNKS].iter().cloned().map(Some).collect()).expect("waits");
    assert_eq!(stream.answers(1).await, found(&many[..1]));
    assert!(owner.try_recv().is_err(), "a part of the batch is still to be written");
}

#[tokio::test(start_paused = true)]
async fn a_batch_arrives_in_full_while_the_next_one_is_still_being_read() {
    let many: Vec<Bytes> = (0..2 * MAX_BATCH_CHUNKS).map(|n| vec![7; 9 + n].into()).collect();
    let (shared, mut owner) = shared();
    let mut stream = serve_through(1 << 20, &shared);
    stream.asker.write_all(&request(&hashes(&many))).await.expect("a queue has room");
    let (_, respond_to) = asked(&mut owner).await;
    let first = &many[..MAX_BATCH_CHUNKS];
    respond_to.send(first.iter().cloned().map(Some).collect()).expect("it waits");
    let (_, _unanswered) = asked(&mut owner).await;
    assert_eq!(stream.answers(first.len()).await, found(first));
}

#[tokio::test]
async fn what_was_read_ahead_for_a_request_that_was_given_up_keeps_no_room() {
    let many: Vec<Bytes> = (0..2 * MAX_BATCH_CHUNKS).map(|n| vec![7; 9 + n].into()).collect();
    let (shared, mut owner) = shared();
    let room = rooms_left(&shared);
    let mut stream = serve_through(64, &shared);
    stream.write(&request(&hashes(&many))).await;
    for batch in many.chunks(MAX_BATCH_CHUNKS) {
        let (_, respond_to) = asked(&mut owner).await;
        respond_to.send(batch.iter().cloned().map(Some).collect()).expect("it waits");
    }
    stream.write(&cancel(0)).await;
    stream.wait_for_cancelled(1).await;
    while read_answer(&mut stream.asker).await != Answer::Cancelled {}
    // The stream stays open, and the peer asks for nothing.
    while rooms_left(&shared) < room {
        tokio::task::yield_now().await;
    }
}

/// Batches that other streams could read now.
fn rooms_left(shared: &Shared) -> usize {
    std::iter::from_fn(|| shared.budget.try_take()).collect::<Vec<_>>().len()
}
