//! `dfsctl inspect`.

use dfs_control::Client;
use dfs_control::proto::{InspectReply, InspectRequest, Leaf, LeavesRequest};
use dfs_core::Cid;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::args::Format;
use crate::deadline;
use crate::failure::Failure;
use crate::linked::LinkedFile;
use crate::render;
use crate::target::Target;

/// Content, as `--json` prints it.
#[derive(Serialize)]
struct Content {
    cid: String,
    kind: String,
    name: Option<String>,
    size: u64,
    chunker: String,
    root: String,
    chunks: u64,
    pages: u64,
    complete: bool,
    bytes_held: u64,
    chunks_held: u64,
    provided: bool,
    public: bool,
    pinned: bool,
    used_ms: u64,
    files: Vec<LinkedFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaves: Option<Vec<Chunk>>,
}

/// One chunk of it.
#[derive(Serialize)]
struct Chunk {
    hash: String,
    offset: u64,
    len: u32,
}

impl From<Leaf> for Chunk {
    fn from(leaf: Leaf) -> Self {
        Self { hash: leaf.hash, offset: leaf.offset, len: leaf.len }
    }
}

impl From<InspectReply> for Content {
    fn from(reply: InspectReply) -> Self {
        Self {
            cid: reply.cid,
            kind: reply.kind,
            name: (!reply.name.is_empty()).then_some(reply.name),
            size: reply.size,
            chunker: reply.chunker,
            root: reply.root,
            chunks: reply.chunks,
            pages: reply.pages,
            complete: reply.complete,
            bytes_held: reply.bytes_held,
            chunks_held: reply.chunks_held,
            provided: reply.provided,
            public: reply.public,
            pinned: reply.pinned,
            used_ms: reply.used_ms,
            files: reply.files.into_iter().map(LinkedFile::from).collect(),
            leaves: None,
        }
    }
}

pub(super) async fn run(
    target: &Target,
    cid: Cid,
    chunks: bool,
    format: Format,
) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    let request = InspectRequest { cid: cid.to_string() };
    let mut content: Content = deadline::reply(client.inspect(request)).await?.into();
    if chunks {
        content.leaves = Some(leaves(&mut client, cid).await?);
    }
    if format.json {
        return render::json(&content);
    }
    let held = if content.complete {
        "everything".to_owned()
    } else {
        format!("{} in {} chunks", HumanBytes(content.bytes_held), content.chunks_held)
    };
    for (name, value) in [
        ("cid", content.cid),
        ("kind", content.kind),
        ("name", render::escape(content.name.as_deref().unwrap_or("-"))),
        ("size", format!("{} bytes ({})", content.size, HumanBytes(content.size))),
        ("chunker", content.chunker),
        ("root", content.root),
        ("chunks", content.chunks.to_string()),
        ("pages", content.pages.to_string()),
        ("held", held),
        ("provided", if content.provided { "yes" } else { "no" }.to_owned()),
        ("public", if content.public { "yes" } else { "no" }.to_owned()),
    ] {
        render::line(format!("{name:<10} {value}"))?;
    }
    for file in &content.files {
        render::line(format!("{:<10} {file}", "linked to"))?;
    }
    let Some(leaves) = content.leaves else { return Ok(()) };
    let rows: Vec<_> = leaves
        .into_iter()
        .map(|chunk| [chunk.offset.to_string(), chunk.len.to_string(), chunk.hash])
        .collect();
    render::table(["OFFSET", "LENGTH", "HASH"], &rows)
}

async fn leaves(client: &mut Client, cid: Cid) -> Result<Vec<Chunk>, Failure> {
    let request = LeavesRequest { cid: cid.to_string() };
    let mut stream = deadline::reply(client.leaves(request)).await?;
    let mut chunks = Vec::new();
    while let Some(page) = deadline::next(&mut stream).await? {
        chunks.extend(page.leaves.into_iter().map(Chunk::from));
    }
    Ok(chunks)
}
