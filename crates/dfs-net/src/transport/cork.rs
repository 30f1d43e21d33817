//! A writer below Yamux that sends the header of a frame together with its body.
//!
//! Yamux writes the 12 bytes of a header by themselves. Encrypted alone they would be
//! a record, a system call and a packet of their own for every frame.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

/// Length of the header of a frame, in bytes.
pub(super) const HEADER: usize = 12;

/// Holds a write of at most [`HEADER`] bytes back until the next write, or until it is
/// flushed.
pub(super) struct Cork<C> {
    io: C,
    held: [u8; HEADER],
    /// The part of `held` that is still to be written.
    start: usize,
    end: usize,
}

impl<C: AsyncWrite + Unpin> Cork<C> {
    pub(super) fn new(io: C) -> Self {
        Self { io, held: [0; HEADER], start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Writes what is held.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let held = &self.held[self.start..self.end];
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.start += written;
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Cork<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Cork<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while !this.is_empty() {
            let held = &this.held[this.start..this.end];
            let both = [IoSlice::new(held), IoSlice::new(buf)];
            let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, &both))?;
            let of_held = written.min(held.len());
            this.start += of_held;
            if written == 0 || written > of_held {
                return Poll::Ready(Ok(written - of_held));
            }
        }
        if buf.len() > HEADER {
            return Pin::new(&mut this.io).poll_write(cx, buf);
        }
        this.held[..buf.len()].copy_from_slice(buf);
        (this.start, this.end) = (0, buf.len());
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{AsyncWriteExt, FutureExt};

    /// Takes at most so many bytes at a time, every second time none, and notes the
    /// writes.
    struct Narrow {
        room: usize,
        is_ready: bool,
        writes: Vec<Vec<u8>>,
        flushed: usize,
    }

    impl Narrow {
        fn new(room: usize) -> Self {
            Self { room, is_ready: true, writes: Vec::new(), flushed: 0 }
        }

        fn bytes(&self) -> Vec<u8> {
            self.writes.concat()
        }
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.is_ready = !self.is_ready;
            if self.is_ready {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut bytes = bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<u8>>();
            bytes.truncate(self.room);
            let written = bytes.len();
            self.writes.push(bytes);
            Poll::Ready(Ok(written))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushed = self.bytes().len();
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    #[tokio::test]
    async fn a_header_goes_out_with_its_body_and_alone_when_flushed() {
        let mut cork = Cork::new(Narrow::new(usize::MAX));
        cork.write_all(&[1; HEADER]).await.expect("written");
        assert!(cork.io.writes.is_empty());
        cork.write_all(&[2; 100]).await.expect("written");
        assert_eq!(cork.io.writes, [[&[1; HEADER][..], &[2; 100]].concat()]);
        cork.write_all(&[3; HEADER]).await.expect("written");
        cork.flush().await.expect("flushed");
        assert_eq!(cork.io.writes[1..], [[3; HEADER].to_vec()]);
        assert_eq!(cork.io.flushed, 2 * HEADER + 100);
        cork.write_all(&[4; 5]).await.expect("written");
        cork.close().await.expect("closed");
        assert_eq!(cork.io.writes[2..], [[4; 5].to_vec()]);
    }

    #[tokio::test]
    async fn every_byte_goes_out_once_and_in_order_whatever_the_lengths() {
        for room in [1, 5, 11, 12, 13, 40] {
            let mut cork = Cork::new(Narrow::new(room));
            let mut expected = Vec::new();
            for (n, len) in [12, 12, 30, 0, 3, 12, 64, 13, 12, 1, 12].into_iter().enumerate() {
                let bytes = vec![u8::try_from(n).expect("few"); len];
                cork.write_all(&bytes).await.expect("written");
                expected.extend(bytes);
            }
            cork.flush().await.expect("flushed");
            assert_eq!(cork.io.bytes(), expected, "room {room}");
        }
    }

    #[test]
    fn a_writer_that_takes_nothing_is_an_error_when_flushed() {
        let mut cork = Cork::new(Narrow::new(0));
        cork.write_all(&[1; HEADER]).now_or_never().expect("held").expect("held");
        let error = cork.flush().now_or_never().expect("at once").expect_err("nothing is taken");
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}
