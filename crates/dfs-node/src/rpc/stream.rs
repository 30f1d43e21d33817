//! Long work as streams of progress: the latest state wins, and there are at
//! most a few messages a second.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes};
use dfs_control::proto;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::convert;
use crate::client::{Adding, NodeClient, join};
use crate::fetch::DownloadStatus;

/// Pause between two messages.
const PACE: Duration = Duration::from_millis(150);

/// Progress of an addition; its end is the last message. When the client goes
/// away, the work ends. With `announce`, what was added is announced by it.
pub(super) fn adding(
    mut adding: Adding,
    announce: Option<NodeClient>,
) -> impl Stream<Item = Result<proto::AddProgress, Status>> + Send {
    let (replies, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            let result = tokio::select! {
                result = join(&mut adding.result) => Some(result),
                () = sleep(PACE) => None,
                () = replies.closed() => return,
            };
            let result = match (result, &announce) {
                (Some(Ok(added)), Some(client)) => {
                    Some(client.announce(added.cid).await.map(|()| added))
                }
                (result, _) => result,
            };
            let progress = proto::AddProgress {
                bytes: adding.bytes.load(Ordering::Relaxed),
                size: adding.size.unwrap_or(0),
                done: None,
            };
            let (reply, last) = match result {
                None => (Ok(progress), false),
                Some(Ok(added)) => {
                    let done = Some(convert::added(&added));
                    (Ok(proto::AddProgress { done, ..progress }), true)
                }
                Some(Err(error)) => (Err(convert::to_status(error)), true),
            };
            if replies.send(reply).await.is_err() || last {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// States of a download up to the final one, as they concern this destination.
/// The download goes on when the client goes away.
pub(super) fn download(
    mut status: watch::Receiver<DownloadStatus>,
    destination: Option<PathBuf>,
) -> impl Stream<Item = Result<proto::DownloadStatus, Status>> + Send {
    let (replies, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            let now = status.borrow_and_update().clone();
            let last = is_last(&now);
            let shown = convert::download(&now.for_destination(destination.as_deref()));
            if replies.send(Ok(shown)).await.is_err() || last {
                return;
            }
            tokio::select! {
                () = sleep(PACE) => {}
                end = status.wait_for(is_last) => if end.is_err() { return },
                () = replies.closed() => return,
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Whether nothing more will be told: it is over, or the node stops.
fn is_last(status: &DownloadStatus) -> bool {
    status.failure.is_some() || status.phase.is_final()
}

/// The bytes of a stream as a blocking reader. A stream that does not say that
/// it is at its end is cut short: a client that went away looks like one that
/// has finished, and so does a runtime that is shutting down.
pub(super) fn reader(mut parts: Streaming<proto::AddPart>) -> impl Read + Send {
    let (bytes, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut received = 0;
        loop {
            let part = match parts.message().await {
                Ok(Some(message)) => next_part(message, &mut received),
                Ok(None) => Err(cut_short()),
                Err(status) => Err(io::Error::other(status.message().to_owned())),
            };
            let last = !matches!(part, Ok(Part::Bytes(_)));
            if bytes.send(part).await.is_err() || last {
                return;
            }
        }
    });
    PartReader { receiver, part: Bytes::new(), ended: false }
}

fn next_part(message: proto::AddPart, received: &mut u64) -> io::Result<Part> {
    match message.part {
        Some(proto::add_part::Part::Data(data)) => {
            *received += data.len() as u64;
            Ok(Part::Bytes(data.into()))
        }
        Some(proto::add_part::Part::End(sent)) if sent == *received => Ok(Part::End),
        Some(proto::add_part::Part::End(sent)) => {
            Err(io::Error::other(format!("{sent} bytes were sent and {received} arrived")))
        }
        _ => Err(io::Error::other("a message without bytes")),
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the stream was cut short")
}

/// What comes on a stream of bytes.
enum Part {
    Bytes(Bytes),
    End,
}

struct PartReader {
    receiver: mpsc::Receiver<io::Result<Part>>,
    part: Bytes,
    ended: bool,
}

impl Read for PartReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() && !self.ended {
            match self.receiver.blocking_recv().unwrap_or_else(|| Err(cut_short()))? {
                Part::Bytes(bytes) => self.part = bytes,
                Part::End => self.ended = true,
            }
        }
        let len = buf.len().min(self.part.len());
        buf[..len].copy_from_slice(&self.part[..len]);
        self.part.advance(len);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::add_part::Part as Sent;

    /// What is read of parts that come like this, and then no more.
    fn read(parts: Vec<Sent>) -> io::Result<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(parts.len() + 1);
        let mut received = 0;
        for part in parts {
            let message = proto::AddPart { part: Some(part) };
            sender.try_send(next_part(message, &mut received)).expect("there is room");
        }
        drop(sender);
        let mut bytes = Vec::new();
        let mut reader = PartReader { receiver, part: Bytes::new(), ended: false };
        reader.read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn only_a_stream_that_names_its_end_is_whole() {
        let data = |text: &str| Sent::Data(text.into());
        assert_eq!(
            read(vec![data("ab"), data(""), data("c"), Sent::End(3)]).expect("whole"),
            b"abc"
        );
        assert_eq!(read(vec![Sent::End(0)]).expect("whole"), b"");
        for parts in [vec![], vec![data("abc")], vec![data("abc"), Sent::End(4)]] {
            assert!(read(parts).is_err());
        }
    }
}
