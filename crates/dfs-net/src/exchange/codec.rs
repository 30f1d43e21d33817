//! The codec of the metadata protocol as one of libp2p's request-response.

use std::io;

use dfs_wire::metadata;
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;

use super::idle::IdleTimeout;

/// `/dfs/metadata/1.0.0` on a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct MetadataCodec;

impl Codec for MetadataCodec {
    type Protocol = StreamProtocol;
    type Request = metadata::Request;
    type Response = metadata::Response;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Self::Request> {
        Ok(metadata::read_request(&mut IdleTimeout::new(io)).await?)
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Self::Response> {
        Ok(metadata::read_response(&mut IdleTimeout::new(io)).await?)
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Self::Request,
    ) -> io::Result<()> {
        Ok(metadata::write_request(&mut IdleTimeout::new(io), &request).await?)
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Self::Response,
    ) -> io::Result<()> {
        Ok(metadata::write_response(&mut IdleTimeout::new(io), &response).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::time::Instant;

    use super::*;
    use crate::timing::IDLE_TIMEOUT;

    /// A stream that never has any bytes.
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
    async fn a_read_from_a_silent_peer_times_out() {
        let start = Instant::now();
        let protocol = StreamProtocol::new(metadata::PROTOCOL);
        let error = MetadataCodec.read_response(&protocol, &mut Silent).await.expect_err("silence");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= IDLE_TIMEOUT && start.elapsed() < IDLE_TIMEOUT * 2);
    }
}
