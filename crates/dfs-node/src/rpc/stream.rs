//! Long work as streams of progress: the latest state wins, and there are at
//! most a few messages a second.

use std::io::{self, Read};
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

/// States of a download up to the final one. The download goes on when the
/// client goes away.
pub(super) fn download(
    mut status: watch::Receiver<DownloadStatus>,
) -> impl Stream<Item = Result<proto::DownloadStatus, Status>> + Send {
    let (replies, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            let now = status.borrow_and_update().clone();
            let last = is_last(&now);
            if replies.send(Ok(convert::download(&now))).await.is_err() || last {
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

/// The bytes of a stream as a blocking reader.
pub(super) fn reader(mut parts: Streaming<proto::AddPart>) -> impl Read + Send {
    let (bytes, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            let part = match parts.message().await {
                Ok(None) => return,
                Ok(Some(proto::AddPart { part: Some(proto::add_part::Part::Data(data)) })) => {
                    Ok(Bytes::from(data))
                }
                Ok(Some(_)) => Err(io::Error::other("a message without bytes")),
                Err(status) => Err(io::Error::other(status.message().to_owned())),
            };
            let broken = part.is_err();
            if bytes.send(part).await.is_err() || broken {
                return;
            }
        }
    });
    PartReader { receiver, part: Bytes::new() }
}

struct PartReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    part: Bytes,
}

impl Read for PartReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.receiver.blocking_recv() {
                Some(part) => self.part = part?,
                None => return Ok(0),
            }
        }
        let len = buf.len().min(self.part.len());
        buf[..len].copy_from_slice(&self.part[..len]);
        self.part.advance(len);
        Ok(len)
    }
}
