//! A stream under TLS, on the interface of rustls that leaves the buffers to its
//! caller: a record is decrypted where the socket has put it, and encrypted into the
//! buffer that goes to the socket.
//!
//! The other interface reads at most 4 KiB of the socket at a time, and takes and
//! clears memory for every record. Which certificates are accepted, and which ciphers,
//! `tls` decides.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, Error};

/// Bytes read from the socket at a time. They hold several records, and all messages of
/// a handshake that belong together.
const INCOMING: usize = 128 << 10;

/// Bytes of records that wait for the socket.
const OUTGOING: usize = 128 << 10;

/// Content of a record, in bytes.
const RECORD: usize = 16 << 10;

/// What a record adds to its content: a head of 5 bytes, the type, and a tag.
const RECORD_OVERHEAD: usize = 5 + 1 + 16;

/// Room for what rustls sends on its own beside content, as new keys.
const RESERVE: usize = 1 << 10;

/// One end of TLS.
pub(super) trait Session: Unpin {
    type Data;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// What is known about the connection.
    fn common(&self) -> &CommonState;
}

macro_rules! sessions {
    ($($connection:ty: $data:ty),*) => {$(
        impl Session for $connection {
            type Data = $data;

            fn process<'c, 'i>(
                &'c mut self,
                incoming: &'i mut [u8],
            ) -> UnbufferedStatus<'c, 'i, Self::Data> {
                self.process_tls_records(incoming)
            }

            fn common(&self) -> &CommonState {
                self
            }
        }
    )*};
}

// rustls has the same method on both types, and no trait for it.
sessions!(
    UnbufferedClientConnection: ClientConnectionData,
    UnbufferedServerConnection: ServerConnectionData
);

/// A stream whose bytes are encrypted on the way to `io`.
pub(super) struct TlsStream<C, S> {
    io: C,
    session: S,
    /// Records from the peer, the last of which may be incomplete.
    incoming: Buffer,
    /// Decrypted content that no reader has taken. It comes from `incoming`, so it is
    /// no longer than that.
    decrypted: Decrypted,
    /// Records for the peer.
    outgoing: Buffer,
    /// Whether rustls has put an answer into `outgoing`, which must not wait for the next
    /// write.
    owes_answer: bool,
    /// Whether each end has said that it writes no more.
    is_peer_closed: bool,
    is_closed: bool,
    /// What has ended the session. rustls must not be asked again then.
    failure: Option<Error>,
}

/// What to do when all that has arrived is decrypted.
enum Task<'a> {
    /// Fill this with content, and decrypt no more when it is full.
    Read(&'a mut [u8]),
    /// Encrypt this.
    Write(&'a [u8]),
    /// Say that nothing more will be written.
    Close,
    /// Nothing.
    Settle,
}

impl<C: AsyncRead + AsyncWrite + Unpin, S: Session> TlsStream<C, S> {
    /// Joins the peer at the other end of `io`.
    ///
    /// # Errors
    /// If the connection breaks, or either end does not accept the other.
    pub(super) async fn join(io: C, session: S) -> io::Result<Self> {
        let mut stream = Self {
            io,
            session,
            incoming: Buffer::new(INCOMING),
            decrypted: Decrypted::default(),
            outgoing: Buffer::new(OUTGOING + RESERVE),
            owes_answer: false,
            is_peer_closed: false,
            is_closed: false,
            failure: None,
        };
        loop {
            let settled = stream.process(Task::Settle);
            // An alert tells the peer why this end gives up.
            let sent = std::future::poll_fn(|cx| stream.poll_flush_all(cx)).await;
            settled.and(sent.map(|()| 0))?;
            if !stream.common().is_handshaking() {
                return Ok(stream);
            }
            let room = stream.incoming.room_for_more()?;
            let read = stream.io.read(room).await?;
            if read == 0 || stream.is_peer_closed {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            stream.incoming.fill(read);
        }
    }

    pub(super) fn common(&self) -> &CommonState {
        self.session.common()
    }

    /// Decrypts what has arrived, puts what rustls has to say into `outgoing`, and carries
    /// out the task. Returns how many bytes it has filled, or encrypted.
    fn process(&mut self, mut task: Task<'_>) -> io::Result<usize> {
        if let Some(error) = &self.failure {
            return Err(invalid(error.clone()));
        }
        let mut done = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.session.process(self.incoming.filled());
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    self.incoming.consume(discard);
                    self.prepare_alert();
                    self.failure = Some(error.clone());
                    return Err(invalid(error));
                }
            };
            let is_done = match state {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        let wanted = match &mut task {
                            Task::Read(buf) => copy(record.payload, &mut buf[done..]),
                            Task::Write(_) | Task::Close | Task::Settle => 0,
                        };
                        done += wanted;
                        self.decrypted.bytes.extend_from_slice(&record.payload[wanted..]);
                    }
                    matches!(&task, Task::Read(buf) if buf.len() == done)
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let encoded = data.encode(self.outgoing.room()).map_err(io::Error::other)?;
                    self.outgoing.fill(encoded);
                    self.owes_answer = true;
                    false
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    false
                }
                ConnectionState::WriteTraffic(traffic) => {
                    done += write(&task, traffic, &mut self.outgoing)?;
                    true
                }
                ConnectionState::BlockedHandshake => true,
                ConnectionState::PeerClosed => {
                    self.is_peer_closed = true;
                    false
                }
                ConnectionState::Closed => true,
                state => {
                    let state = format!("unexpected state of TLS: {state:?}");
                    return Err(io::Error::other(state));
                }
            };
            self.incoming.consume(discard);
            if is_done {
                return Ok(done);
            }
        }
    }

    /// After an error: puts the alert that rustls has for the peer into `outgoing`.
    fn prepare_alert(&mut self) {
        while self.common().wants_write()
            && let Ok(ConnectionState::EncodeTlsData(mut data)) =
                self.session.process(self.incoming.filled()).state
            && let Ok(encoded) = data.encode(self.outgoing.room())
        {
            self.outgoing.fill(encoded);
        }
    }

    /// Sends records until none is left.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let records = self.outgoing.filled();
            let sent = ready!(Pin::new(&mut self.io).poll_write(cx, records))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.consume(sent);
        }
        self.owes_answer = false;
        Poll::Ready(Ok(()))
    }

    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Waits until a record fits, and encrypts content, as much as fits.
    fn poll_encrypt(&mut self, cx: &mut Context<'_>, content: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.outgoing.room().len() < RECORD + RECORD_OVERHEAD + RESERVE {
            ready!(self.poll_send(cx))?;
        }
        Poll::Ready(self.process(Task::Write(content)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin, S: Session> AsyncRead for TlsStream<C, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.decrypted.is_empty() {
            return Poll::Ready(Ok(this.decrypted.take(buf)));
        }
        loop {
            let read = this.process(Task::Read(buf));
            if this.owes_answer || read.is_err() {
                // The peer learns of an error if there is room for the alert at once.
                let sent = this.poll_send(cx);
                if let (Ok(_), Poll::Ready(Err(error))) = (&read, sent) {
                    return Poll::Ready(Err(error));
                }
            }
            let read = read?;
            if read > 0 || buf.is_empty() || this.is_peer_closed {
                return Poll::Ready(Ok(read));
            }
            let room = this.incoming.room_for_more()?;
            let arrived = ready!(Pin::new(&mut this.io).poll_read(cx, room))?;
            if arrived == 0 {
                // Without its farewell, the peer may have been cut off.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            this.incoming.fill(arrived);
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin, S: Session> AsyncWrite for TlsStream<C, S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_encrypt(cx, buf)
    }

    /// Puts what is shorter than a record into one record together.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = bufs.iter().map(|buf| &**buf).find(|buf| !buf.is_empty()).unwrap_or_default();
        if first.len() >= RECORD {
            return this.poll_encrypt(cx, first);
        }
        let mut together = Vec::with_capacity(RECORD);
        for buf in bufs {
            let room = RECORD - together.len();
            together.extend_from_slice(&buf[..buf.len().min(room)]);
        }
        this.poll_encrypt(cx, &together)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush_all(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_closed {
            // Of a connection that has failed, nothing is left to be said.
            let _ = this.process(Task::Close);
            this.is_closed = true;
        }
        ready!(this.poll_send(cx))?;
        match ready!(Pin::new(&mut this.io).poll_close(cx)) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            // The peer was faster.
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// Carries out a task that sends something. Returns how many bytes it has encrypted.
fn write<D>(
    task: &Task<'_>,
    mut traffic: WriteTraffic<'_, D>,
    outgoing: &mut Buffer,
) -> io::Result<usize> {
    let room = outgoing.room();
    let (written, encrypted) = match task {
        Task::Write(content) => {
            let content = &content[..content.len().min(capacity(room.len()))];
            (traffic.encrypt(content, room), content.len())
        }
        Task::Close => (traffic.queue_close_notify(room), 0),
        Task::Read(_) | Task::Settle => return Ok(0),
    };
    outgoing.fill(written.map_err(io::Error::other)?);
    Ok(encrypted)
}

/// Content in front of the reader.
#[derive(Default)]
struct Decrypted {
    bytes: Vec<u8>,
    /// How many of them have been taken; never all.
    taken: usize,
}

impl Decrypted {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take(&mut self, buf: &mut [u8]) -> usize {
        let taken = copy(&self.bytes[self.taken..], buf);
        self.taken += taken;
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        }
        taken
    }
}

/// Copies as much as there is, and as fits. Returns how much.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let len = from.len().min(to.len());
    to[..len].copy_from_slice(&from[..len]);
    len
}

/// Bytes in a row, taken at the front and added at the end.
struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new(len: usize) -> Self {
        Self { bytes: vec![0; len].into(), start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn filled(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// Room for at least the rest of a record.
    ///
    /// # Errors
    /// If what is there already takes all room.
    fn room_for_more(&mut self) -> io::Result<&mut [u8]> {
        if self.bytes.len() - self.end < RECORD + RECORD_OVERHEAD {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.bytes.len() {
            return Err(invalid("a message of TLS is too long"));
        }
        Ok(self.room())
    }

    fn fill(&mut self, len: usize) {
        self.end += len;
    }

    fn consume(&mut self, len: usize) {
        self.start += len;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }
}

/// How much content fits into so much room, encrypted.
fn capacity(room: usize) -> usize {
    let room = room.saturating_sub(RESERVE);
    let whole = room / (RECORD + RECORD_OVERHEAD);
    let rest = room % (RECORD + RECORD_OVERHEAD);
    whole * RECORD + rest.saturating_sub(RECORD_OVERHEAD)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use futures::future::Either;
    use futures::io::AsyncWriteExt;
    use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
    use libp2p::identity::Keypair;
    use tokio::io::DuplexStream;
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

    use super::*;
    use crate::transport::tls::Tls;

    type Socket = Compat<DuplexStream>;
    type Client = TlsStream<Socket, UnbufferedClientConnection>;
    type Server = TlsStream<Socket, UnbufferedServerConnection>;

    /// Two ends of a connection that holds so many bytes.
    async fn pair(len: usize) -> (Client, Server) {
        let tls = Tls::new(&Keypair::generate_ed25519()).expect("an upgrade");
        let (here, there) = tokio::io::duplex(len);
        let (dialled, accepted) = futures::join!(
            tls.clone().upgrade_outbound(here.compat(), ""),
            tls.upgrade_inbound(there.compat(), ""),
        );
        match (dialled.expect("a client").1, accepted.expect("a server").1) {
            (Either::Left(client), Either::Right(server)) => (client, server),
            _ => panic!("the ends are exchanged"),
        }
    }

    #[tokio::test]
    async fn both_ends_write_at_once_through_a_narrow_connection() {
        const LEN: usize = 500_000;
        let (client, server) = pair(1_000).await;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let (mut at_client, mut at_server) = (Vec::new(), Vec::new());
        let ended = futures::try_join!(
            async {
                to_client.write_all(&vec![1; LEN]).await?;
                to_client.close().await
            },
            async {
                to_server.write_all(&vec![2; LEN]).await?;
                to_server.close().await
            },
            from_client.read_to_end(&mut at_client),
            from_server.read_to_end(&mut at_server),
        );
        ended.expect("everything sent");
        assert!(at_client == vec![2; LEN] && at_server == vec![1; LEN], "other bytes");
    }

    #[tokio::test]
    async fn content_that_a_write_has_found_is_read_later() {
        let (mut client, mut server) = pair(1 << 20).await;
        client.write_all(&[7; 100_000]).await.expect("written");
        client.flush().await.expect("sent");
        // One byte is read, and all records arrive. The write decrypts them.
        let mut first = [0];
        server.read_exact(&mut first).await.expect("read");
        server.write_all(b"x").await.expect("written");
        assert!(!server.decrypted.is_empty());
        let mut rest = vec![0; 99_999];
        server.read_exact(&mut rest).await.expect("read");
        assert!(first == [7] && rest == [7; 99_999], "other bytes");
    }

    #[tokio::test]
    async fn a_connection_that_was_cut_off_is_no_end() {
        let (mut client, mut server) = pair(1 << 20).await;
        client.write_all(b"half of").await.expect("written");
        client.flush().await.expect("sent");
        client.io.close().await.expect("cut off");
        let error = server.read_to_end(&mut Vec::new()).await.expect_err("cut off");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_forged_record_is_refused_and_the_peer_is_told() {
        for len in [32, 60_000] {
            let (mut client, mut server) = pair(1 << 20).await;
            let [high, low] = u16::to_be_bytes(len);
            client.io.write_all(&[23, 3, 3, high, low]).await.expect("written");
            client.io.write_all(&[0; 32]).await.expect("written");
            for _ in 0..2 {
                let error = server.read(&mut [0; 9]).await.expect_err("a forged record");
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            }
            let error = client.read(&mut [0; 9]).await.expect_err("an alert");
            assert!(error.to_string().contains("fatal alert"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_message_that_never_ends_takes_no_more_than_the_buffer() {
        let tls = Tls::new(&Keypair::generate_ed25519()).expect("an upgrade");
        let (here, there) = tokio::io::duplex(1 << 20);
        let mut here = here.compat();
        // A greeting of 16 MiB, in records of 16 KiB.
        here.write_all(&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]).await.expect("written");
        here.write_all(&[0; (16 << 10) - 4]).await.expect("written");
        for _ in 0..20 {
            here.write_all(&[22, 3, 1, 0x40, 0]).await.expect("written");
            here.write_all(&[0; 16 << 10]).await.expect("written");
        }
        let refused = tls.upgrade_inbound(there.compat(), "").await.err().expect("refused");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{refused}");
    }

    #[test]
    fn content_fills_the_room_and_no_more() {
        let record = RECORD + RECORD_OVERHEAD;
        assert_eq!(capacity(RESERVE), 0);
        assert_eq!(capacity(RESERVE + RECORD_OVERHEAD + 1), 1);
        assert_eq!(capacity(RESERVE + record), RECORD);
        assert_eq!(capacity(RESERVE + record + RECORD_OVERHEAD), RECORD);
        assert_eq!(capacity(RESERVE + 3 * record + RECORD_OVERHEAD + 5), 3 * RECORD + 5);
    }
}
