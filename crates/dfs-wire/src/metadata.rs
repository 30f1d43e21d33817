//! `/dfs/metadata/1.0.0`: headers and pages of leaves, and the bytes of small contents.
//!
//! Request and response are postcard in a length-prefixed frame. A page travels
//! with its index and proof, so any peer can serve any page, and the asker can verify it
//! on its own. It is asked for by a byte of the content, so an asker finds any part of the
//! content without the pages before it. `docs/protocols.md`, section 4, specifies both.

use bytes::Bytes;
use dfs_core::{Cid, Header, Leaf, Page, PageProof, ProvenPage};
use futures::io::{AsyncRead, AsyncWrite};
use serde::{Deserialize, Serialize};

use crate::error::{Breach, WireError};
use crate::frame;
use crate::kind::named_kinds;
use crate::value;

/// Name under which nodes negotiate the protocol.
pub const PROTOCOL: &str = "/dfs/metadata/1.0.0";

/// Most bytes that come with a header, whatever room the asker has: so many that a
/// response with a header is shorter than one with a page may be.
pub const MAX_ROOM: u32 = 64 << 10;

/// Largest request, in bytes.
pub const MAX_REQUEST: u32 = 4 << 10;

/// Largest response, in bytes. The longest that occurs has 148,345: a page of
/// 4,096 leaves with 20 siblings.
pub const MAX_RESPONSE: u32 = 256 << 10;

/// Asks about one content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The header of this content, and what comes with it.
    Header {
        /// Content asked for.
        cid: Cid,
        /// Bytes that may come with the header: if the content has one page and that
        /// fits, the page; and if the content fits as well, the content.
        room: u32,
    },
    /// The page of leaves that has one byte of this content.
    Page {
        /// Content asked for.
        cid: Cid,
        /// Content bytes before that byte.
        offset: u64,
    },
    /// Whether the provider records that the responder keeps name the asker.
    Provided {
        /// Content asked about.
        cid: Cid,
    },
}

impl Request {
    /// The content that the request is about.
    #[must_use]
    pub const fn cid(&self) -> &Cid {
        match self {
            Self::Header { cid, .. } | Self::Page { cid, .. } | Self::Provided { cid } => cid,
        }
    }
}

named_kinds!(Request {
    Header => "header",
    Page => "page",
    Provided => "provided",
});

/// Answers a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The header, and what came with it. The asker compares its CID with the one it
    /// asked for.
    Header(Description),
    /// The page with its index and proof. The asker verifies them against a header, and
    /// looks whether the page has the byte.
    Page(ProvenPage),
    /// Whether the asker is on record as a provider.
    Provided(bool),
    /// The responder does not hold what was asked for.
    NotFound,
    /// The responder is too busy to look.
    Busy {
        /// When to ask again, in milliseconds from now.
        retry_ms: u32,
    },
}

named_kinds!(Response {
    Header => "header",
    Page => "page",
    Provided => "provided",
    NotFound => "not-held",
    Busy => "busy",
});

/// A header, and what of a small content comes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The header.
    pub header: Header,
    /// The only page of the content. The asker verifies it against the header.
    pub page: Option<Page>,
    /// The content: the chunks of the page one after the other; or nothing. The codec
    /// does not hash them.
    pub content: Bytes,
}

impl Description {
    /// The chunks of the content, with their leaves; none if it did not come.
    pub fn chunks(&self) -> impl Iterator<Item = (Leaf, Bytes)> {
        let leaves = self.page.iter().flat_map(Page::leaves);
        let mut rest = self.content.clone();
        leaves.take_while(|_| !self.content.is_empty()).map(move |leaf| {
            // The codec has compared the lengths.
            let len = rest.len().min(leaf.len as usize);
            (*leaf, rest.split_to(len))
        })
    }
}

/// A header that comes alone.
impl From<Header> for Description {
    fn from(header: Header) -> Self {
        Self { header, page: None, content: Bytes::new() }
    }
}

/// A response as postcard encodes it: the order of the variants is part of the
/// protocol.
#[derive(Serialize, Deserialize)]
enum Body<'a> {
    Header { header: &'a [u8], leaves: &'a [u8], content: &'a [u8] },
    Page { index: u64, leaves: &'a [u8], siblings: &'a [u8] },
    NotFound,
    Busy { retry_ms: u32 },
    Provided(bool),
}

/// Decodes the body of a request.
///
/// # Errors
/// [`Breach`] if the body is not a request.
pub fn decode_request(body: &[u8]) -> Result<Request, Breach> {
    value::decode(body)
}

/// Decodes the body of a response.
///
/// # Errors
/// [`Breach`] if the body is not a response.
pub fn decode_response(body: &[u8]) -> Result<Response, Breach> {
    match value::decode(body)? {
        Body::Header { header, leaves, content } => {
            let header = Header::decode(header).map_err(|source| Breach::Header { source })?;
            let page = if leaves.is_empty() { None } else { Some(decode_page(leaves)?) };
            check_content(page.as_ref(), content)?;
            let content = Bytes::copy_from_slice(content);
            Ok(Response::Header(Description { header, page, content }))
        }
        Body::Page { index, leaves, siblings } => {
            let page = decode_page(leaves)?;
            let proof = PageProof::decode(siblings).map_err(|source| Breach::Proof { source })?;
            Ok(Response::Page(ProvenPage { index, page, proof }))
        }
        Body::Provided(provided) => Ok(Response::Provided(provided)),
        Body::NotFound => Ok(Response::NotFound),
        Body::Busy { retry_ms } => Ok(Response::Busy { retry_ms }),
    }
}

fn decode_page(leaves: &[u8]) -> Result<Page, Breach> {
    Page::decode(leaves).map_err(|source| Breach::Page { source })
}

/// Content comes whole or not at all.
fn check_content(page: Option<&Page>, content: &[u8]) -> Result<(), Breach> {
    let leaves = page.map_or(&[][..], Page::leaves);
    let len: u64 = leaves.iter().map(|leaf| u64::from(leaf.len)).sum();
    let found = content.len() as u64;
    if found == 0 || found == len { Ok(()) } else { Err(Breach::Content { found, len }) }
}

/// Encodes the body of a request.
#[must_use]
pub fn encode_request(request: &Request) -> Vec<u8> {
    value::encode(request)
}

/// Encodes the body of a response.
#[must_use]
pub fn encode_response(response: &Response) -> Vec<u8> {
    match response {
        Response::Header(Description { header, page, content }) => {
            let leaves = page.as_ref().map(Page::encode).unwrap_or_default();
            value::encode(&Body::Header { header: &header.encode(), leaves: &leaves, content })
        }
        Response::Page(ProvenPage { index, page, proof }) => {
            let (leaves, siblings) = (page.encode(), proof.encode());
            value::encode(&Body::Page { index: *index, leaves: &leaves, siblings: &siblings })
        }
        Response::Provided(provided) => value::encode(&Body::Provided(*provided)),
        Response::NotFound => value::encode(&Body::NotFound),
        Response::Busy { retry_ms } => value::encode(&Body::Busy { retry_ms: *retry_ms }),
    }
}

/// Reads a request.
///
/// # Errors
/// [`WireError`] if the stream breaks or the request is invalid.
pub async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Result<Request, WireError> {
    Ok(decode_request(&frame::read(stream, MAX_REQUEST).await?)?)
}

/// Writes a request.
///
/// # Errors
/// [`WireError::Io`] if the stream breaks.
pub async fn write_request(
    stream: &mut (impl AsyncWrite + Unpin),
    request: &Request,
) -> Result<(), WireError> {
    Ok(frame::write(stream, &encode_request(request), MAX_REQUEST).await?)
}

/// Reads a response.
///
/// # Errors
/// [`WireError`] if the stream breaks or the response is invalid.
pub async fn read_response(stream: &mut (impl AsyncRead + Unpin)) -> Result<Response, WireError> {
    Ok(decode_response(&frame::read(stream, MAX_RESPONSE).await?)?)
}

/// Writes a response.
///
/// # Errors
/// [`WireError::Io`] if the stream breaks, or if a proof with surplus siblings or
/// content beyond the room makes the response too long.
pub async fn write_response(
    stream: &mut (impl AsyncWrite + Unpin),
    response: &Response,
) -> Result<(), WireError> {
    Ok(frame::write(stream, &encode_response(response), MAX_RESPONSE).await?)
}
