//! `/yamux/1.0.0` with settings of our own: large frames, and bounds on streams
//! and windows that a peer cannot exceed. libp2p's upgrade hides both.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::io::{AsyncRead, AsyncWrite};
use libp2p::core::UpgradeInfo;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

use super::cork::{Cork, HEADER};
use crate::limits::{MAX_CONNECTION_STREAMS, MAX_CONNECTION_WINDOW};

/// Payload of a frame, in bytes. With the header it fills one message of libp2p's
/// Noise, which holds 64,511 bytes.
pub(crate) const FRAME: usize = 64_511 - HEADER;

/// The upgrade of a connection to Yamux.
#[derive(Debug, Clone, Copy)]
pub(super) struct Yamux;

impl Yamux {
    fn start<C: AsyncRead + AsyncWrite + Unpin>(socket: C, mode: Mode) -> Muxer<C> {
        let mut config = Config::default();
        // The window is checked against the number of streams at each call.
        config
            .set_max_num_streams(MAX_CONNECTION_STREAMS)
            .set_max_connection_receive_window(Some(MAX_CONNECTION_WINDOW))
            .set_split_send_size(FRAME);
        Muxer {
            connection: Connection::new(Cork::new(socket), config, mode),
            arrived: VecDeque::new(),
            accepting: None,
        }
    }
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, _: &'static str) -> Self::Future {
        ready(Ok(Self::start(socket, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, _: &'static str) -> Self::Future {
        ready(Ok(Self::start(socket, Mode::Client)))
    }
}

/// A connection. Yamux makes progress only while the next stream is asked for,
/// so streams that arrive while libp2p wants none wait here. Yamux itself refuses
/// more than [`MAX_CONNECTION_STREAMS`].
pub(super) struct Muxer<C> {
    connection: Connection<Cork<C>>,
    arrived: VecDeque<Stream>,
    /// Woken when a stream has arrived.
    accepting: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let arrival = std::task::ready!(self.connection.poll_next_inbound(cx));
        Poll::Ready(arrival.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        let this = self.get_mut();
        if let Some(stream) = this.arrived.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let arrival = this.poll_arrival(cx);
        if arrival.is_pending() {
            this.accepting = Some(cx.waker().clone());
        }
        arrival
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        self.get_mut().connection.poll_new_outbound(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.get_mut().connection.poll_close(cx)
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        let this = self.get_mut();
        let stream = std::task::ready!(this.poll_arrival(cx))?;
        this.arrived.push_back(stream);
        if let Some(accepting) = this.accepting.take() {
            accepting.wake();
        }
        // Others run before the next stream is looked for.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use tokio::io::DuplexStream;
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

    use super::*;

    type End = Muxer<Compat<DuplexStream>>;

    /// A client that keeps to no bound, and one of our servers.
    fn pair() -> (End, End) {
        let (here, there) = tokio::io::duplex(1 << 20);
        let mut unbounded = Config::default();
        unbounded.set_max_connection_receive_window(None).set_max_num_streams(1 << 16);
        let client = Muxer {
            connection: Connection::new(Cork::new(here.compat()), unbounded, Mode::Client),
            arrived: VecDeque::new(),
            accepting: None,
        };
        (client, Yamux::start(there.compat(), Mode::Server))
    }

    /// Opens a stream. The other end learns of it with the first byte.
    fn open(end: &mut End, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let mut stream = std::task::ready!(Pin::new(&mut *end).poll_outbound(cx))?;
        assert!(matches!(Pin::new(&mut stream).poll_write(cx, b"x"), Poll::Ready(Ok(1))));
        Poll::Ready(Ok(stream))
    }

    /// Opens streams at one end that the other one takes, until `count` are open
    /// or the connection ends.
    async fn open_all(
        from: &mut End,
        to: &mut End,
        count: usize,
    ) -> Result<Vec<Stream>, ConnectionError> {
        let (mut opened, mut taken) = (Vec::new(), Vec::new());
        poll_fn(|cx| {
            while opened.len() < count {
                match open(from, cx)? {
                    Poll::Ready(stream) => opened.push(stream),
                    Poll::Pending => break,
                }
            }
            assert!(Pin::new(&mut *from).poll(cx)?.is_pending());
            while let Poll::Ready(mut stream) = Pin::new(&mut *to).poll_inbound(cx)? {
                // Yamux acknowledges a stream with the first byte of an answer.
                assert!(Pin::new(&mut stream).poll_write(cx, b"y").is_ready());
                taken.push(stream);
            }
            let is_done = taken.len() == count;
            if is_done { Poll::Ready(Ok::<_, ConnectionError>(())) } else { Poll::Pending }
        })
        .await?;
        opened.append(&mut taken);
        Ok(opened)
    }

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_stream_that_arrives_while_nobody_asks_is_kept_and_wakes_the_one_who_asked() {
        let (mut client, mut server) = pair();
        let asked = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&asked));
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut server).poll_inbound(&mut cx).is_pending());
        let mut streams = Vec::new();
        poll_fn(|cx| {
            if streams.is_empty() {
                streams.extend([open(&mut client, cx)?, open(&mut client, cx)?]);
            }
            assert!(Pin::new(&mut client).poll(cx)?.is_pending());
            assert!(Pin::new(&mut server).poll(cx)?.is_pending());
            if server.arrived.len() == 2 { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
        .unwrap_or_else(|error: ConnectionError| panic!("{error}"));
        assert!(asked.0.load(Ordering::Relaxed), "woken");
        for _ in 0..2 {
            assert!(Pin::new(&mut server).poll_inbound(&mut cx).is_ready());
        }
        assert!(Pin::new(&mut server).poll_inbound(&mut cx).is_pending());
    }

    #[tokio::test]
    async fn a_connection_has_room_for_every_stream_of_every_protocol_and_no_more() {
        /// 32 of Kademlia in each direction, and a few of identify, ping and gossip.
        const OTHERS: usize = 2 * 32 + 8;
        let (mut client, mut server) = pair();
        let half = (2 * crate::limits::MAX_STREAMS + OTHERS) / 2;
        let mut streams = open_all(&mut client, &mut server, half).await.expect("half of them");
        streams.extend(open_all(&mut server, &mut client, half).await.expect("all of them"));
        let room = MAX_CONNECTION_STREAMS - 2 * half;
        streams.extend(open_all(&mut client, &mut server, room).await.expect("the rest"));
        assert!(open_all(&mut client, &mut server, 1).await.is_err(), "one too many");
        drop(streams);
    }
}
