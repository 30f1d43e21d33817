//! `/dfs/chunk/1.0.0`: runs of chunks by hash, on a stream that stays open.
//!
//! The asker writes requests without waiting for answers. A request lists up to
//! [`MAX_HASHES`] hashes; the responder answers them one by one, in their order,
//! and the requests in theirs. A request has no number of its own: both sides
//! count the requests of the stream, from 0, so that the asker can cancel one.
//! `docs/protocols.md`, section 5, specifies every byte.

use std::io;

use bytes::Bytes;
use dfs_core::limits::MAX_CHUNK_LEN;
use dfs_core::{ChunkHash, ChunkHasher};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::{Breach, WireError};
use crate::kind::named_kinds;

/// Name under which nodes negotiate the protocol.
pub const PROTOCOL: &str = "/dfs/chunk/1.0.0";

const HASH_LEN: usize = 32;

/// Hashes of one request.
pub const MAX_HASHES: usize = 256;

const CHUNKS: u8 = 0;
const CANCEL: u8 = 1;

const FOUND: u8 = 0;
const NOT_FOUND: u8 = 1;
const BUSY: u8 = 2;
const CANCELLED: u8 = 3;

/// What the asker writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Asks for a run of chunks.
    Chunks {
        /// BLAKE3 of each chunk; 1 to [`MAX_HASHES`].
        hashes: Vec<ChunkHash>,
    },
    /// Gives up a request. The responder ends it with [`Answer::Cancelled`], unless
    /// it has answered all of it.
    Cancel {
        /// The number of the request on this stream.
        number: u64,
    },
}

/// What the responder writes: an answer to one hash, or the end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The bytes, 1 to 4 MiB. The codec does not hash them.
    Found(Bytes),
    /// The responder does not hold the chunk.
    NotFound,
    /// The responder has no room. It answers no further hash of the request.
    Busy {
        /// When to ask again, in milliseconds from now.
        retry_ms: u32,
    },
    /// The asker has given up the request. No further hash of it is answered.
    Cancelled,
}

named_kinds!(Request {
    Chunks => "chunks",
    Cancel => "cancel",
});

named_kinds!(Answer {
    Found => "chunk",
    NotFound => "not-held",
    Busy => "busy",
    Cancelled => "cancelled",
});

/// Reads a request; `None` at the end of the stream.
///
/// # Errors
/// [`WireError`] if the stream breaks or the request is invalid.
pub async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Request>, WireError> {
    let mut tag = [0; 1];
    if stream.read(&mut tag).await? == 0 {
        return Ok(None);
    }
    match tag[0] {
        CHUNKS => {
            let mut count = [0; 2];
            stream.read_exact(&mut count).await?;
            let count = usize::from(u16::from_le_bytes(count));
            check_count(count)?;
            let mut bytes = vec![0; count * HASH_LEN];
            stream.read_exact(&mut bytes).await?;
            let (hashes, _) = bytes.as_chunks();
            Ok(Some(Request::Chunks {
                hashes: hashes.iter().copied().map(ChunkHash::from_bytes).collect(),
            }))
        }
        CANCEL => {
            let mut number = [0; 8];
            stream.read_exact(&mut number).await?;
            Ok(Some(Request::Cancel { number: u64::from_le_bytes(number) }))
        }
        tag => Err(Breach::ChunkRequest { tag }.into()),
    }
}

/// Writes a request.
///
/// # Errors
/// [`WireError::Io`] if the stream breaks, or if a run has no hash or too many.
pub async fn write_request(
    stream: &mut (impl AsyncWrite + Unpin),
    request: &Request,
) -> Result<(), WireError> {
    let mut bytes = Vec::new();
    match request {
        Request::Chunks { hashes } => {
            check_count(hashes.len()).map_err(refused)?;
            let count = u16::try_from(hashes.len()).unwrap_or(u16::MAX);
            bytes.push(CHUNKS);
            bytes.extend_from_slice(&count.to_le_bytes());
            hashes.iter().for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
        }
        Request::Cancel { number } => {
            bytes.push(CANCEL);
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    stream.write_all(&bytes).await?;
    Ok(stream.flush().await?)
}

/// Reads an answer to a hash that stands for a chunk of `len` bytes.
///
/// The caller knows the length from a verified page, so memory is taken for the
/// whole chunk at once. An answer of another length is hashed and dropped as it arrives.
///
/// # Errors
/// [`WireError`] if the stream breaks or the answer is invalid. After
/// [`Breach::ChunkOtherLength`], the next answer can be read.
pub async fn read_answer(
    stream: &mut (impl AsyncRead + Unpin),
    len: u32,
) -> Result<Answer, WireError> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).await?;
    let [status, number @ ..] = head;
    let number = u32::from_le_bytes(number);
    match (status, number) {
        (FOUND, found) => {
            check_len(found)?;
            if found != len {
                let hash = hash_body(stream, found).await?;
                return Err(Breach::ChunkOtherLength { hash, found, len }.into());
            }
            let mut bytes = vec![0; len as usize];
            stream.read_exact(&mut bytes).await?;
            Ok(Answer::Found(bytes.into()))
        }
        (NOT_FOUND, 0) => Ok(Answer::NotFound),
        (BUSY, retry_ms) => Ok(Answer::Busy { retry_ms }),
        (CANCELLED, 0) => Ok(Answer::Cancelled),
        (NOT_FOUND | CANCELLED, found) => Err(Breach::ChunkNumber { status, found }.into()),
        (status, _) => Err(Breach::ChunkStatus { status }.into()),
    }
}

/// Reads a body that is not wanted, for its hash.
async fn hash_body(stream: &mut (impl AsyncRead + Unpin), len: u32) -> io::Result<ChunkHash> {
    let mut hasher = ChunkHasher::default();
    let mut body = stream.take(len.into());
    let mut part = vec![0; 16 << 10];
    while body.limit() > 0 {
        let read = body.read(&mut part).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&part[..read]);
    }
    Ok(hasher.finish())
}

/// Writes an answer, and does not flush: the next answer usually follows.
///
/// # Errors
/// [`WireError::Io`] if the stream breaks, or if the bytes cannot be a chunk.
pub async fn write_answer(
    stream: &mut (impl AsyncWrite + Unpin),
    answer: &Answer,
) -> Result<(), WireError> {
    let (status, number, bytes) = match answer {
        Answer::Found(bytes) => {
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            check_len(len).map_err(refused)?;
            (FOUND, len, &bytes[..])
        }
        Answer::NotFound => (NOT_FOUND, 0, &[][..]),
        Answer::Busy { retry_ms } => (BUSY, *retry_ms, &[][..]),
        Answer::Cancelled => (CANCELLED, 0, &[][..]),
    };
    let mut head = [status; 5];
    head[1..].copy_from_slice(&number.to_le_bytes());
    stream.write_all(&head).await?;
    Ok(stream.write_all(bytes).await?)
}

const fn check_len(found: u32) -> Result<(), Breach> {
    if found == 0 || found > MAX_CHUNK_LEN { Err(Breach::ChunkLength { found }) } else { Ok(()) }
}

const fn check_count(found: usize) -> Result<(), Breach> {
    if found == 0 || found > MAX_HASHES { Err(Breach::ChunkCount { found }) } else { Ok(()) }
}

/// The error for a message of this node that peers would refuse.
fn refused(breach: Breach) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, breach)
}
