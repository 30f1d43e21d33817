//! Connections to the control plane, as the server takes them.
//!
//! Owns that accepting never ends, whatever the system says, and who is let in
//! over TLS before a token can be asked for: how many connections there are at
//! once, and how long TLS may take to begin.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{FuturesUnordered, Stream, StreamExt, unfold};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// TLS connections at once, those included that have not begun.
const MAX_CONNECTIONS: usize = 256;
/// Time for TLS to begin.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause when the system cannot accept, as when files have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Connections on a loopback port.
pub(super) fn tcp(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> + Send {
    unfold(listener, async |listener| {
        let (stream, _) = patiently(|| listener.accept()).await;
        hurry(&stream);
        Some((Ok(stream), listener))
    })
}

/// Connections on a Unix socket.
pub(super) fn unix(listener: UnixListener) -> impl Stream<Item = io::Result<UnixStream>> + Send {
    unfold(listener, async |listener| {
        let (stream, _) = patiently(|| listener.accept()).await;
        Some((Ok(stream), listener))
    })
}

/// TLS connections on a port that anybody may reach. One that fails is logged
/// and gone.
pub(super) fn tls(
    listener: TcpListener,
    acceptor: TlsAcceptor,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let handshakes = FuturesUnordered::new();
    unfold((listener, handshakes), move |(listener, mut handshakes)| {
        let (acceptor, places) = (acceptor.clone(), Arc::clone(&places));
        async move {
            loop {
                let next = async {
                    let place = Arc::clone(&places).acquire_owned().await;
                    (patiently(|| listener.accept()).await, place.expect("it is never closed"))
                };
                tokio::select! {
                    ((stream, addr), place) = next => {
                        handshakes.push(handshake(acceptor.clone(), stream, addr, place));
                    }
                    Some(begun) = handshakes.next() => if let Some(connection) = begun {
                        return Some((Ok(connection), (listener, handshakes)));
                    },
                }
            }
        }
    })
}

/// Accepts a connection, over all errors: a system that has run out of files
/// for a while is no reason to end.
async fn patiently<T, F>(accept: impl Fn() -> F) -> T
where
    F: Future<Output = io::Result<T>>,
{
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for control");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Small messages leave at once.
fn hurry(stream: &TcpStream) {
    // Where that fails, the connection is gone already, as reading will tell.
    let _ = stream.set_nodelay(true);
}

/// Has TLS begin.
async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    addr: SocketAddr,
    place: OwnedSemaphorePermit,
) -> Option<Connection> {
    hurry(&stream);
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(Connection { stream, _place: place }),
        Ok(Err(error)) => {
            tracing::debug!(%addr, %error, "no TLS for control");
            None
        }
        Err(_) => {
            tracing::debug!(%addr, "no TLS for control in time");
            None
        }
    }
}

/// A TLS connection that holds its place.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.get_ref().0.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
