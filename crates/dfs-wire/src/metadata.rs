//! `/dfs/metadata/1.0.0`: headers and pages of leaves.
//!
//! Both messages are postcard in a length-prefixed frame. A page travels with
//! its proof, so any peer can serve any page and the asker can check it alone.

use dfs_core::{Cid, Header, Page, PageProof};
use futures::io::{AsyncRead, AsyncWrite};
use serde::{Deserialize, Serialize};

use crate::error::WireError;
use crate::frame;

/// Name under which the protocol is negotiated.
pub const PROTOCOL: &str = "/dfs/metadata/1.0.0";

/// Largest request, in bytes.
pub const MAX_REQUEST: u32 = 4 << 10;

/// Largest response, in bytes. A full page with its longest proof
/// has about 145 KiB.
pub const MAX_RESPONSE: u32 = 256 << 10;

/// What one node asks another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The header of this content.
    Header {
        /// Content asked for.
        cid: Cid,
    },
    /// One page of leaves of this content.
    Page {
        /// Content asked for.
        cid: Cid,
        /// Index of the page, from 0.
        index: u64,
    },
    /// Whether the DHT records kept there name the asker as a provider.
    Provided {
        /// Content asked about.
        cid: Cid,
    },
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The header; its CID is for the asker to compare.
    Header(Header),
    /// The page and its proof; to be verified against a header.
    Page(Page, PageProof),
    /// Whether the asker is on record as a provider.
    Provided(bool),
    /// Nothing of the kind is held here.
    NotFound,
    /// Held perhaps, but too busy now.
    Busy {
        /// When to ask again, in milliseconds from now.
        retry_ms: u32,
    },
}

#[derive(Serialize, Deserialize)]
enum Body<'a> {
    Header(&'a [u8]),
    Page { leaves: &'a [u8], siblings: &'a [u8] },
    NotFound,
    Busy { retry_ms: u32 },
    Provided(bool),
}

/// Decodes the body of a request.
///
/// # Errors
/// [`WireError::Malformed`] if it is none.
pub fn decode_request(body: &[u8]) -> Result<Request, WireError> {
    whole(postcard::take_from_bytes(body))
}

/// Decodes the body of a response.
///
/// # Errors
/// [`WireError::Malformed`] if it is none.
pub fn decode_response(body: &[u8]) -> Result<Response, WireError> {
    match whole(postcard::take_from_bytes(body))? {
        Body::Header(bytes) => {
            Header::decode(bytes).map(Response::Header).map_err(WireError::malformed)
        }
        Body::Page { leaves, siblings } => {
            let page = Page::decode(leaves).map_err(WireError::malformed)?;
            let proof = PageProof::decode(siblings).map_err(WireError::malformed)?;
            Ok(Response::Page(page, proof))
        }
        Body::Provided(provided) => Ok(Response::Provided(provided)),
        Body::NotFound => Ok(Response::NotFound),
        Body::Busy { retry_ms } => Ok(Response::Busy { retry_ms }),
    }
}

/// Refuses bytes behind the message, which would make it ambiguous.
fn whole<T>(decoded: postcard::Result<(T, &[u8])>) -> Result<T, WireError> {
    match decoded.map_err(WireError::malformed)? {
        (message, []) => Ok(message),
        (_, rest) => Err(WireError::malformed(format!("{} bytes behind it", rest.len()))),
    }
}

/// Encodes the body of a request.
#[must_use]
pub fn encode_request(request: &Request) -> Vec<u8> {
    postcard::to_stdvec(request).expect("a vector takes every request")
}

/// Encodes the body of a response.
#[must_use]
pub fn encode_response(response: &Response) -> Vec<u8> {
    let encode =
        |body: &Body<'_>| postcard::to_stdvec(body).expect("a vector takes every response");
    match response {
        Response::Header(header) => encode(&Body::Header(&header.encode())),
        Response::Page(page, proof) => {
            encode(&Body::Page { leaves: &page.encode(), siblings: &proof.encode() })
        }
        Response::Provided(provided) => encode(&Body::Provided(*provided)),
        Response::NotFound => encode(&Body::NotFound),
        Response::Busy { retry_ms } => encode(&Body::Busy { retry_ms: *retry_ms }),
    }
}

/// Reads a request.
///
/// # Errors
/// [`WireError`] if the stream breaks or holds anything else.
pub async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Result<Request, WireError> {
    decode_request(&frame::read(stream, MAX_REQUEST).await?)
}

/// Writes a request.
///
/// # Errors
/// [`WireError::Io`] if the stream breaks.
pub async fn write_request(
    stream: &mut (impl AsyncWrite + Unpin),
    request: &Request,
) -> Result<(), WireError> {
    frame::write(stream, &encode_request(request)).await
}

/// Reads a response.
///
/// # Errors
/// [`WireError`] if the stream breaks or holds anything else.
pub async fn read_response(stream: &mut (impl AsyncRead + Unpin)) -> Result<Response, WireError> {
    decode_response(&frame::read(stream, MAX_RESPONSE).await?)
}

/// Writes a response.
///
/// # Errors
/// [`WireError::Io`] if the stream breaks.
pub async fn write_response(
    stream: &mut (impl AsyncWrite + Unpin),
    response: &Response,
) -> Result<(), WireError> {
    frame::write(stream, &encode_response(response)).await
}
