//! `/dfs/chunk/1.0.0`: chunks by hash.
//!
//! The request is the 32 bytes of the hash. The response is one status byte
//! and a little-endian `u32`: 0 with the length, followed by the bytes; 1 for
//! "not held"; 2 for "busy" with the time to wait in milliseconds.

use bytes::Bytes;
use dfs_core::ChunkHash;
use dfs_core::limits::MAX_CHUNK_LEN;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::WireError;
use crate::frame;

/// Name under which the protocol is negotiated.
pub const PROTOCOL: &str = "/dfs/chunk/1.0.0";

const FOUND: u8 = 0;
const NOT_FOUND: u8 = 1;
const BUSY: u8 = 2;

/// The chunk that one node asks another for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// BLAKE3 of the chunk.
    pub hash: ChunkHash,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The bytes, 1 to 4 MiB; their hash is for the asker to compare.
    Found(Bytes),
    /// The chunk is not held here.
    NotFound,
    /// Held perhaps, but too busy now.
    Busy {
        /// When to ask again, in milliseconds from now.
        retry_ms: u32,
    },
}

/// Reads a request.
///
/// # Errors
/// [`WireError::Io`] if the stream breaks.
pub async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Result<Request, WireError> {
    let mut hash = [0; 32];
    stream.read_exact(&mut hash).await?;
    Ok(Request { hash: ChunkHash::from_bytes(hash) })
}

/// Writes a request.
///
/// # Errors
/// [`WireError::Io`] if the stream breaks.
pub async fn write_request(
    stream: &mut (impl AsyncWrite + Unpin),
    request: &Request,
) -> Result<(), WireError> {
    stream.write_all(request.hash.as_bytes()).await?;
    Ok(stream.flush().await?)
}

/// Reads a response.
///
/// # Errors
/// [`WireError`] if the stream breaks or holds anything else.
pub async fn read_response(stream: &mut (impl AsyncRead + Unpin)) -> Result<Response, WireError> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).await?;
    let [status, number @ ..] = head;
    let number = u32::from_le_bytes(number);
    match status {
        FOUND if number > MAX_CHUNK_LEN => {
            Err(WireError::TooLarge { found: number.into(), limit: MAX_CHUNK_LEN.into() })
        }
        FOUND if number == 0 => Err(WireError::malformed("an empty chunk")),
        FOUND => Ok(Response::Found(frame::read_exactly(stream, number).await?.into())),
        NOT_FOUND if number == 0 => Ok(Response::NotFound),
        BUSY => Ok(Response::Busy { retry_ms: number }),
        _ => Err(WireError::malformed(format!("status {status} with {number}"))),
    }
}

/// Writes a response.
///
/// # Errors
/// [`WireError::Io`] if the stream breaks.
pub async fn write_response(
    stream: &mut (impl AsyncWrite + Unpin),
    response: &Response,
) -> Result<(), WireError> {
    let (status, number, bytes) = match response {
        Response::Found(bytes) => {
            let len = u32::try_from(bytes.len()).map_err(WireError::malformed)?;
            (FOUND, len, &bytes[..])
        }
        Response::NotFound => (NOT_FOUND, 0, &[][..]),
        Response::Busy { retry_ms } => (BUSY, *retry_ms, &[][..]),
    };
    let mut head = [status; 5];
    head[1..].copy_from_slice(&number.to_le_bytes());
    stream.write_all(&head).await?;
    stream.write_all(bytes).await?;
    Ok(stream.flush().await?)
}
