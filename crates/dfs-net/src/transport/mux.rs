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

use crate::limits::{MAX_CONNECTION_STREAMS, MAX_CONNECTION_WINDOW};

/// Payload of a frame. With the header of 12 bytes it fills one message of
/// libp2p's Noise, which holds 64,511 bytes.
const FRAME: usize = 64_511 - 12;

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
            connection: Connection::new(socket, config, mode),
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
    connection: Connection<C>,
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
