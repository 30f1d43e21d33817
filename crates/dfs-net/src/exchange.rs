//! The codecs of `dfs-wire` on libp2p streams, with a limit on silence.
//!
//! No exchange has a limit on its whole length: a slow line may take minutes
//! for a chunk. What is limited is the time without a single byte.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use dfs_wire::{chunk, metadata};
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;
use tokio::time::{Instant, Sleep, sleep};

/// Longest time without any progress on a stream.
const PATIENCE: Duration = Duration::from_secs(15);

/// `/dfs/metadata/1.0.0` on a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct MetadataCodec;

/// `/dfs/chunk/1.0.0` on a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChunkCodec;

macro_rules! codec {
    ($codec:ty, $protocol:ident) => {
        impl Codec for $codec {
            type Protocol = StreamProtocol;
            type Request = $protocol::Request;
            type Response = $protocol::Response;

            async fn read_request<T: AsyncRead + Unpin + Send>(
                &mut self,
                _: &StreamProtocol,
                io: &mut T,
            ) -> io::Result<Self::Request> {
                Ok($protocol::read_request(&mut Patient::new(io)).await?)
            }

            async fn read_response<T: AsyncRead + Unpin + Send>(
                &mut self,
                _: &StreamProtocol,
                io: &mut T,
            ) -> io::Result<Self::Response> {
                Ok($protocol::read_response(&mut Patient::new(io)).await?)
            }

            async fn write_request<T: AsyncWrite + Unpin + Send>(
                &mut self,
                _: &StreamProtocol,
                io: &mut T,
                request: Self::Request,
            ) -> io::Result<()> {
                Ok($protocol::write_request(&mut Patient::new(io), &request).await?)
            }

            async fn write_response<T: AsyncWrite + Unpin + Send>(
                &mut self,
                _: &StreamProtocol,
                io: &mut T,
                response: Self::Response,
            ) -> io::Result<()> {
                Ok($protocol::write_response(&mut Patient::new(io), &response).await?)
            }
        }
    };
}

codec!(MetadataCodec, metadata);
codec!(ChunkCodec, chunk);

/// A stream that fails after [`PATIENCE`] without progress.
struct Patient<'a, T> {
    io: &'a mut T,
    timer: Pin<Box<Sleep>>,
}

impl<'a, T> Patient<'a, T> {
    fn new(io: &'a mut T) -> Self {
        Self { io, timer: Box::pin(sleep(PATIENCE)) }
    }

    /// Passes on what the stream answered, or fails if it has been silent.
    fn watch<R>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.timer.as_mut().reset(Instant::now() + PATIENCE);
            return polled;
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.io).poll_read(cx, buf);
        self.watch(cx, polled)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<'_, T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.io).poll_write(cx, buf);
        self.watch(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut *self.io).poll_flush(cx);
        self.watch(cx, polled)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut *self.io).poll_close(cx);
        self.watch(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that never has anything.
    struct Silent;

    impl AsyncRead for Silent {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_given_up_in_time() {
        let start = Instant::now();
        let protocol = StreamProtocol::new(chunk::PROTOCOL);
        let error = ChunkCodec.read_response(&protocol, &mut Silent).await.expect_err("silence");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= PATIENCE && start.elapsed() < PATIENCE * 2);
    }
}
