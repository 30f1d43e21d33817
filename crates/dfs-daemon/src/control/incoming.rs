//! Accepts connections to the control plane, retries transient `accept` errors,
//! and limits unauthenticated clients: their number, the time for a TLS
//! handshake, and the time until the first call with a valid token.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{FuturesUnordered, Stream, StreamExt, unfold};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// Connections at once, those included whose TLS has not begun.
const MAX_CONNECTIONS: usize = 256;
/// Time for TLS to begin.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a connection stays without a call that is allowed.
const UNKNOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause when the system cannot accept, as when files have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Places for connections to one listener.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_CONNECTIONS))
}

/// Connections on a loopback port.
pub(super) fn tcp(
    listener: TcpListener,
    places: Arc<Semaphore>,
) -> impl Stream<Item = io::Result<Connection<TcpStream>>> + Send {
    unfold((listener, places), async |(listener, places)| {
        let place = take_place(&places).await;
        let (stream, _) = patiently(|| listener.accept()).await;
        hurry(&stream);
        Some((Ok(Connection::new(stream, place, Caller::default())), (listener, places)))
    })
}

/// Connections on a Unix socket, which only those can open who are allowed.
pub(super) fn unix(
    listener: UnixListener,
    places: Arc<Semaphore>,
) -> impl Stream<Item = io::Result<Connection<UnixStream>>> + Send {
    unfold((listener, places), async |(listener, places)| {
        let place = take_place(&places).await;
        let (stream, _) = patiently(|| listener.accept()).await;
        let caller = Caller::default();
        caller.allow();
        Some((Ok(Connection::new(stream, place, caller)), (listener, places)))
    })
}

/// TLS connections on a port that anybody may reach. One that fails is logged
/// and gone.
pub(super) fn tls(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    places: Arc<Semaphore>,
) -> impl Stream<Item = io::Result<Connection<TlsStream<TcpStream>>>> + Send {
    let handshakes = FuturesUnordered::new();
    unfold((listener, handshakes), move |(listener, mut handshakes)| {
        let (acceptor, places) = (acceptor.clone(), Arc::clone(&places));
        async move {
            loop {
                let next = async {
                    let place = take_place(&places).await;
                    (patiently(|| listener.accept()).await, place)
                };
                tokio::select! {
                    ((stream, addr), place) = next => {
                        let begin = handshake(acceptor.clone(), stream, place);
                        handshakes.push(async move {
                            begin.await.map_err(|error| {
                                tracing::debug!(%addr, %error, "no TLS for control");
                            })
                        });
                    }
                    Some(begun) = handshakes.next() => if let Ok(connection) = begun {
                        return Some((Ok(connection), (listener, handshakes)));
                    },
                }
            }
        }
    })
}

/// Has TLS begin.
async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    place: OwnedSemaphorePermit,
) -> io::Result<Connection<TlsStream<TcpStream>>> {
    hurry(&stream);
    let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
    Ok(Connection::new(stream, place, Caller::default()))
}

async fn take_place(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(places).acquire_owned().await.expect("it is never closed")
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

/// Who is at the other end, as every request of the connection carries it.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller {
    allowed: Arc<AtomicBool>,
}

impl Caller {
    /// A call of this caller was allowed.
    pub(super) fn allow(&self) {
        self.allowed.store(true, Ordering::Relaxed);
    }
}

/// A connection that holds its place.
pub(super) struct Connection<S> {
    stream: S,
    _place: OwnedSemaphorePermit,
    caller: Caller,
    /// When it is closed, unless the caller is allowed by then.
    end: Pin<Box<Sleep>>,
}

impl<S> Connection<S> {
    fn new(stream: S, place: OwnedSemaphorePermit, caller: Caller) -> Self {
        Self { stream, _place: place, caller, end: Box::pin(sleep(UNKNOWN_TIMEOUT)) }
    }
}

impl<S> Connected for Connection<S> {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_allowed = self.caller.allowed.load(Ordering::Relaxed);
        if !is_allowed && self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use dfs_control::tls::Certificate;
    use tokio::io::AsyncReadExt;
    use tokio::time::Instant;

    async fn listener() -> (TcpListener, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        (listener, addr)
    }

    #[tokio::test(start_paused = true)]
    async fn who_shows_no_token_is_sent_away() {
        for allowed in [false, true] {
            let (_other_end, stream) = tokio::io::duplex(64);
            let caller = Caller::default();
            let place = take_place(&places()).await;
            let mut connection = Connection::new(stream, place, caller.clone());
            if allowed {
                connection.connect_info().allow();
            }
            let start = Instant::now();
            let read = timeout(2 * UNKNOWN_TIMEOUT, connection.read_u8()).await;
            match read {
                Ok(read) => assert_eq!(read.expect_err("no byte").kind(), io::ErrorKind::TimedOut),
                Err(_) => assert!(allowed),
            }
            assert_eq!(start.elapsed() >= 2 * UNKNOWN_TIMEOUT, allowed);
        }
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_its_connection_is_gone() {
        let (listener, addr) = listener().await;
        let mut incoming = std::pin::pin!(tcp(listener, Arc::new(Semaphore::new(1))));
        let _one = TcpStream::connect(addr).await.expect("it listens");
        let first = incoming.next().await.expect("no end").expect("a connection");
        let _two = TcpStream::connect(addr).await.expect("the system takes it");
        let waiting = futures::future::poll_immediate(incoming.next()).await;
        assert!(waiting.is_none(), "there is no place");
        drop(first);
        incoming.next().await.expect("no end").expect("the second one");
    }

    #[tokio::test]
    async fn who_does_not_begin_tls_does_not_hold_up_the_others() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let certificate =
            Certificate::load_or_create(&directory.path().join("pem")).expect("a new one");
        let (listener, addr) = listener().await;
        let places = Arc::new(Semaphore::new(8));
        let acceptor = certificate.acceptor();
        let mut incoming = std::pin::pin!(tls(listener, acceptor, Arc::clone(&places)));
        let mut strangers = Vec::new();
        for _ in 0..5 {
            strangers.push(TcpStream::connect(addr).await.expect("it listens"));
        }
        let url = format!("https://{addr}").parse::<dfs_control::Endpoint>().expect("an address");
        let client = tokio::spawn(async move {
            let certificate = Some(certificate.fingerprint());
            // It fails for lack of a token, after TLS has begun.
            let credentials = dfs_control::Credentials { token_file: None, certificate };
            dfs_control::connect(&url, credentials).await.map(drop)
        });
        let connection = incoming.next().await.expect("no end").expect("the client");
        assert!(places.available_permits() < 8);
        drop((connection, strangers));
        client.abort();
    }
}
