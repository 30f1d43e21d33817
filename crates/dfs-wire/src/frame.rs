//! Length-prefixed bodies: a little-endian `u32`, then that many bytes.

use std::io;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::{Breach, WireError};

/// Memory taken for a body before its first byte arrives, in bytes. A peer that
/// announces a large body and sends none of it costs this much.
const FIRST_STEP: usize = 64 << 10;

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    limit: u32,
) -> Result<Vec<u8>, WireError> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let found = u32::from_le_bytes(prefix);
    if found > limit {
        return Err(Breach::FrameLength { found, limit }.into());
    }
    Ok(read_exactly(stream, found).await?)
}

/// Reads exactly `len` bytes, taking memory as they arrive.
pub(crate) async fn read_exactly(
    stream: &mut (impl AsyncRead + Unpin),
    len: u32,
) -> io::Result<Vec<u8>> {
    let len = len as usize;
    let mut body = Vec::new();
    while body.len() < len {
        // Doubling keeps the copies linear in the length.
        let from = body.len();
        let step = from.max(FIRST_STEP).min(len - from);
        body.reserve_exact(step);
        body.resize(from + step, 0);
        stream.read_exact(&mut body[from..]).await?;
    }
    Ok(body)
}

/// Writes a body of at most `limit` bytes with its prefix, and flushes.
pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    body: &[u8],
    limit: u32,
) -> io::Result<()> {
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if len > limit {
        let breach = Breach::FrameLength { found: len, limit };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, breach));
    }
    stream.write_all(&len.to_le_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await
}
