//! What long calls share: streams of replies that end with the daemon, and a
//! stream of bytes as a blocking reader.

use std::io::{self, Read};
use std::pin::Pin;

use bytes::{Buf, Bytes};
use dfs_control::{Failure, proto};
use futures::{FutureExt, Stream, StreamExt, stream};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// A stream of replies.
pub(super) type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Ends a stream with an error when the daemon stops. A reply that is ready at
/// that moment is still sent, so that a finished addition is not reported as
/// failed.
pub(super) fn until_stopped<T: Send + 'static>(
    replies: impl Stream<Item = Result<T, Status>> + Send + 'static,
    stop: CancellationToken,
) -> Replies<T> {
    enum State<S> {
        Open(S),
        Stopping,
        Ended,
    }
    let open = State::Open(Box::pin(replies));
    Box::pin(stream::unfold((open, stop), |(state, stop)| async move {
        let mut replies = match state {
            State::Open(replies) => replies,
            State::Stopping => return Some((Err(stopping()), (State::Ended, stop))),
            State::Ended => return None,
        };
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => match replies.next().now_or_never() {
                Some(Some(reply)) => return Some((reply, (State::Stopping, stop))),
                Some(None) => return None,
                None => return Some((Err(stopping()), (State::Ended, stop))),
            },
            next = replies.next() => next?,
        };
        Some((next, (State::Open(replies), stop)))
    }))
}

fn stopping() -> Status {
    let message = "the daemon is shutting down; downloads go on after its restart";
    Status::new(Failure::Unreachable.code(), message)
}

/// The bytes of a stream of parts as a blocking reader, for a blocking thread.
/// A stream that does not name its end was cut short: a client that went away
/// looks like one that has finished.
pub(super) struct PartReader<S> {
    parts: S,
    runtime: Handle,
    stop: CancellationToken,
    part: Bytes,
    received: u64,
    ended: bool,
}

impl<S> PartReader<S>
where
    S: Stream<Item = Result<proto::AddPart, Status>> + Unpin + Send,
{
    /// A reader that fails when `stop` is cancelled.
    pub(super) fn new(parts: S, stop: CancellationToken) -> Self {
        let runtime = Handle::current();
        Self { parts, runtime, stop, part: Bytes::new(), received: 0, ended: false }
    }

    fn next_part(&mut self) -> io::Result<()> {
        let next = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => None,
                next = self.parts.next() => next,
            }
        });
        let message = next.ok_or_else(cut_short)?;
        let message = message.map_err(|status| io::Error::other(status.message().to_owned()))?;
        match message.part {
            Some(proto::add_part::Part::Data(data)) => {
                self.received += data.len() as u64;
                self.part = data.into();
                Ok(())
            }
            Some(proto::add_part::Part::End(sent)) if sent == self.received => {
                self.ended = true;
                Ok(())
            }
            Some(proto::add_part::Part::End(sent)) => Err(io::Error::other(format!(
                "the client sent {sent} bytes and {} arrived",
                self.received
            ))),
            Some(proto::add_part::Part::Start(_)) | None => {
                Err(io::Error::other("a message without bytes"))
            }
        }
    }
}

impl<S> Read for PartReader<S>
where
    S: Stream<Item = Result<proto::AddPart, Status>> + Unpin + Send,
{
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() && !self.ended {
            self.next_part()?;
        }
        let len = buf.len().min(self.part.len());
        buf[..len].copy_from_slice(&self.part[..len]);
        self.part.advance(len);
        Ok(len)
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the stream was cut short")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::add_part::Part as Sent;

    /// What is read of these parts, with no more to come.
    async fn read(parts: Vec<Sent>) -> io::Result<Vec<u8>> {
        let messages = parts.into_iter().map(|part| Ok(proto::AddPart { part: Some(part) }));
        let mut reader = PartReader::new(stream::iter(messages), CancellationToken::new());
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| bytes)
        });
        read.await.expect("no panic")
    }

    #[tokio::test]
    async fn only_a_stream_that_names_its_end_is_whole() {
        let data = |text: &str| Sent::Data(text.into());
        let whole = read(vec![data("ab"), data(""), data("c"), Sent::End(3)]).await;
        assert_eq!(whole.expect("whole"), b"abc");
        assert_eq!(read(vec![Sent::End(0)]).await.expect("whole"), b"");
        for parts in [vec![], vec![data("abc")], vec![data("abc"), Sent::End(4)]] {
            assert!(read(parts).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_stop_ends_a_stream_that_waits_and_a_reader_that_waits() {
        let stop = CancellationToken::new();
        let mut replies = until_stopped(stream::pending::<Result<u8, Status>>(), stop.clone());
        let endless = stream::pending::<Result<proto::AddPart, Status>>();
        let mut reader = PartReader::new(endless, stop.clone());
        let read = tokio::task::spawn_blocking(move || reader.read(&mut [0; 1]));
        stop.cancel();
        let last = replies.next().await.expect("an error").expect_err("the daemon stops");
        assert_eq!(last.code(), Failure::Unreachable.code());
        assert!(replies.next().await.is_none());
        assert!(read.await.expect("no panic").is_err());
    }

    #[tokio::test]
    async fn a_reply_that_is_ready_at_the_stop_is_sent() {
        let stop = CancellationToken::new();
        stop.cancel();
        let mut replies = until_stopped(stream::iter([Ok(1), Ok(2)]), stop);
        assert_eq!(replies.next().await.expect("ready").expect("a reply"), 1);
        assert!(replies.next().await.expect("an error").is_err());
        assert!(replies.next().await.is_none());
    }
}
