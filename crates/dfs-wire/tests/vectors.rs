//! Holds the codecs to `docs/protocols.md`: to the vectors that an implementation
//! written from that document made (`vectors/wire_reference.py`), and to the
//! examples in it.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::path::PathBuf;
use std::{fs, io};

use dfs_core::{ChunkHash, Cid, Header, HeaderError, Page, PageError, PageProof, ProvenPage};
use dfs_wire::{Announcement, Breach, WireError, chunk, metadata};
use futures::executor::block_on;
use serde_json::Value;

/// Any message, with the codec that the field `message` of a vector names.
#[derive(Debug, PartialEq)]
enum Message {
    MetadataRequest(metadata::Request),
    MetadataResponse(metadata::Response),
    ChunkRequest(chunk::Request),
    ChunkAnswer(chunk::Answer),
    Announcement(Announcement),
}

const MESSAGES: [&str; 5] =
    ["metadata/request", "metadata/response", "chunk/request", "chunk/answer", "announcement"];

impl Message {
    /// Reads a message from the front of `bytes`; also returns what is left.
    /// `len_asked` is the length of the chunk that was requested, which is by default
    /// the one that the answer announces.
    fn read<'a>(
        message: &str,
        mut bytes: &'a [u8],
        len_asked: Option<u32>,
    ) -> Result<(Self, &'a [u8]), WireError> {
        let announced = bytes.get(1..).and_then(<[u8]>::first_chunk);
        let len = len_asked.or(announced.map(|len| u32::from_le_bytes(*len))).unwrap_or(1);
        let stream = &mut bytes;
        let read = match message {
            "metadata/request" => {
                block_on(metadata::read_request(stream)).map(Self::MetadataRequest)
            }
            "metadata/response" => {
                block_on(metadata::read_response(stream)).map(Self::MetadataResponse)
            }
            "chunk/request" => {
                let request = block_on(chunk::read_request(stream))?;
                // The end of the stream between two requests is no error.
                let at_end = || io::Error::from(io::ErrorKind::UnexpectedEof).into();
                request.map(Self::ChunkRequest).ok_or_else(at_end)
            }
            "chunk/answer" => block_on(chunk::read_answer(stream, len)).map(Self::ChunkAnswer),
            "announcement" => Ok(Self::Announcement(Announcement::decode(stream)?)),
            other => panic!("{other} is no message"),
        };
        Ok((read?, bytes))
    }

    fn write(&self) -> Vec<u8> {
        let mut stream = Vec::new();
        match self {
            Self::MetadataRequest(request) => {
                block_on(metadata::write_request(&mut stream, request))
            }
            Self::MetadataResponse(response) => {
                block_on(metadata::write_response(&mut stream, response))
            }
            Self::ChunkRequest(request) => block_on(chunk::write_request(&mut stream, request)),
            Self::ChunkAnswer(answer) => block_on(chunk::write_answer(&mut stream, answer)),
            Self::Announcement(announcement) => {
                stream = announcement.encode();
                Ok(())
            }
        }
        .expect("a vector has room, and the message is valid");
        stream
    }

    fn kind(&self) -> Option<&'static str> {
        match self {
            Self::MetadataRequest(request) => Some(request.kind()),
            Self::MetadataResponse(response) => Some(response.kind()),
            Self::ChunkRequest(request) => Some(request.kind()),
            Self::ChunkAnswer(answer) => Some(answer.kind()),
            Self::Announcement(_) => None,
        }
    }

    /// The message that the fields of a vector describe.
    fn of_fields(vector: &Value) -> Self {
        let cid = || Cid::from_bytes(digest(vector, "cid"));
        match (text(vector, "message"), vector["kind"].as_str()) {
            ("metadata/request", Some(kind)) => Self::MetadataRequest(match kind {
                "header" => {
                    let room = u32::try_from(number(vector, "room")).expect("32 bits");
                    metadata::Request::Header { cid: cid(), room }
                }
                "page" => metadata::Request::Page { cid: cid(), offset: number(vector, "offset") },
                "provided" => metadata::Request::Provided { cid: cid() },
                other => panic!("{other} is no request"),
            }),
            ("metadata/response", Some(kind)) => Self::MetadataResponse(match kind {
                "header" => {
                    let header = Header::decode(&bytes(vector, "header"));
                    let leaves = bytes(vector, "leaves");
                    metadata::Response::Header(metadata::Description {
                        header: header.expect("a header"),
                        page: (!leaves.is_empty()).then(|| Page::decode(&leaves).expect("leaves")),
                        content: bytes(vector, "content").into(),
                    })
                }
                "page" => metadata::Response::Page(ProvenPage {
                    index: number(vector, "index"),
                    page: Page::decode(&bytes(vector, "leaves")).expect("leaves"),
                    proof: PageProof::decode(&bytes(vector, "siblings")).expect("siblings"),
                }),
                "provided" => {
                    metadata::Response::Provided(vector["provided"].as_bool().expect("a bool"))
                }
                "not-held" => metadata::Response::NotFound,
                "busy" => metadata::Response::Busy { retry_ms: retry_ms(vector) },
                other => panic!("{other} is no response"),
            }),
            ("chunk/request", Some(kind)) => Self::ChunkRequest(match kind {
                "chunks" => chunk::Request::Chunks { hashes: hashes(vector) },
                "cancel" => chunk::Request::Cancel { number: number(vector, "number") },
                other => panic!("{other} is no request"),
            }),
            ("chunk/answer", Some(kind)) => Self::ChunkAnswer(match kind {
                "chunk" => chunk::Answer::Found(bytes(vector, "chunk").into()),
                "not-held" => chunk::Answer::NotFound,
                "busy" => chunk::Answer::Busy { retry_ms: retry_ms(vector) },
                "cancelled" => chunk::Answer::Cancelled,
                other => panic!("{other} is no answer"),
            }),
            ("announcement", None) => Self::Announcement(Announcement {
                cid: cid(),
                size: number(vector, "size"),
                name: vector["name"].as_str().map(str::to_owned),
            }),
            other => panic!("{other:?} is no message"),
        }
    }
}

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn document() -> String {
    read("../../docs/protocols.md")
}

/// All vectors, apart by whether they are to be read or refused.
fn load() -> (Vec<Value>, Vec<Value>) {
    let vectors: Vec<Value> =
        serde_json::from_str(&read("tests/vectors/wire.json")).expect("a list of vectors");
    vectors.into_iter().partition(|vector| vector["check"].is_null())
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("{field} is a text in {vector}"))
}

fn number(vector: &Value, field: &str) -> u64 {
    vector[field].as_u64().unwrap_or_else(|| panic!("{field} is a number in {vector}"))
}

fn retry_ms(vector: &Value) -> u32 {
    u32::try_from(number(vector, "retry_ms")).expect("32 bits")
}

fn digest(vector: &Value, field: &str) -> [u8; 32] {
    bytes(vector, field).try_into().expect("32 bytes")
}

fn hashes(vector: &Value) -> Vec<ChunkHash> {
    let bytes = bytes(vector, "hashes");
    let (hashes, rest) = bytes.as_chunks();
    assert!(rest.is_empty(), "whole hashes");
    hashes.iter().copied().map(ChunkHash::from_bytes).collect()
}

/// Hex digits, or a list of parts that are hex digits or a number of zeros.
fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    let part = |part: &Value| match part["zeros"].as_u64() {
        Some(zeros) => vec![0; usize::try_from(zeros).expect("fits memory")],
        None => unhex(text(part, "hex")),
    };
    match &vector[field] {
        Value::Array(parts) => parts.iter().flat_map(part).collect(),
        _ => unhex(text(vector, field)),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "{text} has an odd number of digits");
    let digits = pairs.iter().map(|pair| str::from_utf8(pair).expect("hex is ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex digits")).collect()
}

#[test]
fn every_message_is_read_and_written_as_its_vector_says() {
    for vector in load().0 {
        let (title, message) = (text(&vector, "title"), text(&vector, "message"));
        let (encoded, expected) = (bytes(&vector, "bytes"), Message::of_fields(&vector));
        let (found, rest) = Message::read(message, &encoded, None).expect(title);
        assert_eq!(found, expected, "{title}");
        assert!(rest.is_empty() || message == "announcement", "{title}");
        assert_eq!(found.kind(), vector["kind"].as_str(), "{title}");
        let written = expected.write();
        let is_canonical = vector["readers_only"].is_null();
        assert_eq!(written == encoded, is_canonical, "{title}");
        assert_eq!(Message::read(message, &written, None).expect(title).0, expected, "{title}");
    }
}

/// A stream that ends early is no breach, and bytes behind a message are not
/// read.
#[test]
fn a_codec_reads_exactly_one_message() {
    let streamed = |vector: &Value| text(vector, "message") != "announcement";
    for vector in load().0.into_iter().filter(streamed) {
        let (title, message) = (text(&vector, "title"), text(&vector, "message"));
        let mut encoded = bytes(&vector, "bytes");
        let step = encoded.len() / 100 + 1;
        for len in (0..encoded.len()).step_by(step) {
            let error = Message::read(message, &encoded[..len], None).expect_err(title);
            assert!(!error.is_peer_fault(), "{title}, {len} bytes: {error:?}");
        }
        encoded.extend([7; 3]);
        assert_eq!(Message::read(message, &encoded, None).expect(title).1, [7; 3], "{title}");
    }
}

#[test]
fn every_negative_vector_is_refused_by_the_check_it_names() {
    for vector in load().1 {
        let (check, why) = (text(&vector, "check"), text(&vector, "why"));
        let encoded = bytes(&vector, "bytes");
        let len_asked =
            vector["len_asked"].as_u64().map(|len| u32::try_from(len).expect("32 bits"));
        let error = Message::read(text(&vector, "message"), &encoded, len_asked).expect_err(why);
        assert!(error.is_peer_fault(), "{why}");
        let WireError::Breach(breach) = error else { panic!("{why}: {error:?}") };
        assert_eq!(breach.check(), check, "{why}");
        let inner = breach.source().and_then(|source| {
            let header = source.downcast_ref::<HeaderError>().map(HeaderError::check);
            header.or_else(|| source.downcast_ref::<PageError>().map(PageError::check))
        });
        assert_eq!(inner, vector["source"].as_str(), "{why}");
    }
}

#[test]
fn every_kind_of_message_has_a_vector() {
    let vectors = load().0;
    let met: BTreeSet<_> =
        vectors.iter().map(|vector| (text(vector, "message"), vector["kind"].as_str())).collect();
    let kinds = |message: &str| match message {
        "metadata/request" => metadata::Request::KINDS,
        "metadata/response" => metadata::Response::KINDS,
        "chunk/request" => chunk::Request::KINDS,
        "chunk/answer" => chunk::Answer::KINDS,
        _ => &[],
    };
    let mut all = BTreeSet::new();
    for message in MESSAGES {
        all.extend(kinds(message).iter().map(|kind| (message, Some(*kind))));
        if kinds(message).is_empty() {
            all.insert((message, None));
        }
    }
    assert_eq!(met, all);
}

#[test]
fn every_check_has_a_negative_vector() {
    let vectors = load().1;
    let met: BTreeSet<_> = vectors.iter().map(|vector| text(vector, "check")).collect();
    assert_eq!(met, Breach::CHECKS.iter().copied().collect());
}

/// The names of checks that the document states are those of the crate.
#[test]
fn the_document_names_every_check() {
    let document = document();
    let areas = ["frame/", "message/", "metadata/", "chunk/", "announcement/"];
    let named: BTreeSet<_> = document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| areas.iter().any(|area| code.starts_with(area)))
        .filter(|code| !MESSAGES.contains(code))
        .collect();
    assert_eq!(named, Breach::CHECKS.iter().copied().collect());
}

/// An example is a line of hex digits in a block of `text`; indented lines
/// belong to the one before.
#[test]
fn the_examples_in_the_document_are_vectors() {
    let document = document();
    let mut examples: Vec<String> = Vec::new();
    let blocks = document.split("```").skip(1).step_by(2);
    for block in blocks.filter_map(|block| block.strip_prefix("text\n")) {
        for line in block.lines() {
            let digits: String = line.split_whitespace().collect();
            if line.starts_with(' ') {
                examples.last_mut().expect("a line before it").push_str(&digits);
            } else {
                examples.push(digits);
            }
        }
    }
    assert!(examples.len() >= 14, "{} examples", examples.len());
    let vectors = load().0;
    let encoded: BTreeSet<_> =
        vectors.iter().filter_map(|vector| vector["bytes"].as_str()).collect();
    for example in &examples {
        assert!(encoded.contains(&example[..]), "{example}");
    }
}
