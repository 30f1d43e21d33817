//! `/dfs/chunk/1.0.0`: chunks by hash.
//!
//! The request is the 32 bytes of the hash. The response is one status byte
//! and a little-endian `u32`: 0 with the length, followed by the bytes; 1 for
//! "not held"; 2 for "busy" with the time to wait in milliseconds.
//! `docs/protocols.md`, section 5, specifies both.

use std::io;

use bytes::Bytes;
use dfs_core::ChunkHash;
use dfs_core::limits::MAX_CHUNK_LEN;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::{Breach, WireError};
use crate::frame;
use crate::kind::named_kinds;

/// Name under which nodes negotiate the protocol.
pub const PROTOCOL: &str = "/dfs/chunk/1.0.0";

const FOUND: u8 = 0;
const NOT_FOUND: u8 = 1;
const BUSY: u8 = 2;

/// Asks for one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// BLAKE3 of the chunk.
    pub hash: ChunkHash,
}

/// Answers a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The bytes, 1 to 4 MiB. The codec does not hash them: the asker does.
    Found(Bytes),
    /// The responder does not hold the chunk.
    NotFound,
    /// The responder is too busy to look.
    Busy {
        /// When to ask again, in milliseconds from now.
        retry_ms: u32,
    },
}

named_kinds!(Response {
    Found => "chunk",
    NotFound => "not-held",
    Busy => "busy",
});

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
/// [`WireError`] if the stream breaks or the response is invalid.
pub async fn read_response(stream: &mut (impl AsyncRead + Unpin)) -> Result<Response, WireError> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).await?;
    let [status, number @ ..] = head;
    let number = u32::from_le_bytes(number);
    match status {
        FOUND => {
            check_len(number)?;
            Ok(Response::Found(frame::read_exactly(stream, number).await?.into()))
        }
        NOT_FOUND if number != 0 => Err(Breach::ChunkNotHeld { found: number }.into()),
        NOT_FOUND => Ok(Response::NotFound),
        BUSY => Ok(Response::Busy { retry_ms: number }),
        status => Err(Breach::ChunkStatus { status }.into()),
    }
}

/// Writes a response.
///
/// # Errors
/// [`WireError::Io`] if the stream breaks, or if the bytes cannot be a chunk.
pub async fn write_response(
    stream: &mut (impl AsyncWrite + Unpin),
    response: &Response,
) -> Result<(), WireError> {
    let (status, number, bytes) = match response {
        Response::Found(bytes) => {
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            check_len(len).map_err(|breach| io::Error::new(io::ErrorKind::InvalidInput, breach))?;
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

const fn check_len(found: u32) -> Result<(), Breach> {
    if found == 0 || found > MAX_CHUNK_LEN { Err(Breach::ChunkLength { found }) } else { Ok(()) }
}
