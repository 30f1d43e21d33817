//! Length-prefixed bodies: a little-endian `u32`, then that many bytes.

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::WireError;

/// Step in which memory for a body is taken, in bytes. A peer that announces
/// a large body and sends none of it costs this much.
const STEP: usize = 64 << 10;

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    limit: u32,
) -> Result<Vec<u8>, WireError> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let len = u32::from_le_bytes(prefix);
    if len > limit {
        return Err(WireError::TooLarge { found: len.into(), limit: limit.into() });
    }
    read_exactly(stream, len).await
}

/// Reads exactly `len` bytes, taking memory as they arrive.
pub(crate) async fn read_exactly(
    stream: &mut (impl AsyncRead + Unpin),
    len: u32,
) -> Result<Vec<u8>, WireError> {
    let len = len as usize;
    let mut body = Vec::new();
    while body.len() < len {
        // Doubling keeps the copies linear in the length.
        let from = body.len();
        let step = from.max(STEP).min(len - from);
        body.reserve_exact(step);
        body.resize(from + step, 0);
        stream.read_exact(&mut body[from..]).await?;
    }
    Ok(body)
}

/// Writes a body with its prefix and flushes.
pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    body: &[u8],
) -> Result<(), WireError> {
    let len = u32::try_from(body.len()).map_err(WireError::malformed)?;
    stream.write_all(&len.to_le_bytes()).await?;
    stream.write_all(body).await?;
    Ok(stream.flush().await?)
}
