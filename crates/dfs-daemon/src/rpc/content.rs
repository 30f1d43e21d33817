//! Calls about content held here.

use std::time::Duration;

use bytes::Bytes;
use dfs_control::{MAX_PART, proto};
use dfs_node::{
    AddOptions, Added, Adding, Cid, FileState, Held, Inspection, Kind, Leaf, Linked, NodeClient,
    NodeError, Profile,
};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::request::{cid, path, usage};
use super::stream::PartReader;
use crate::failure::to_status;
use crate::timing::PROGRESS_INTERVAL;

pub(super) async fn add(
    client: &NodeClient,
    request: proto::AddRequest,
) -> Result<impl Stream<Item = Result<proto::AddProgress, Status>> + Send + use<>, Status> {
    let mut options = add_options(request.chunker, String::new(), request.public);
    options.link = request.link;
    let announce = options.public.then(|| client.clone());
    let path = path(request.path)?;
    let adding = client.content().start_add_path(path, options).await.map_err(to_status)?;
    Ok(follow(adding, announce))
}

pub(super) async fn add_stream(
    client: &NodeClient,
    mut parts: Streaming<proto::AddPart>,
    stop: CancellationToken,
) -> Result<impl Stream<Item = Result<proto::AddProgress, Status>> + Send + use<>, Status> {
    let first = parts.message().await?.and_then(|part| part.part);
    let Some(proto::add_part::Part::Start(start)) = first else {
        return Err(usage("the first message of the stream has to be its start"));
    };
    let size = (start.size > 0).then_some(start.size);
    let options = add_options(start.chunker, start.name, start.public);
    let announce = options.public.then(|| client.clone());
    let reader = PartReader::new(parts, stop);
    Ok(follow(client.content().start_add_reader(reader, size, options), announce))
}

/// Progress of an addition, a few messages a second; its end is the last one.
/// When the client goes away, the addition is dropped, which ends it. With
/// `announce`, the client announces what was added.
fn follow(
    adding: Adding,
    announce: Option<NodeClient>,
) -> impl Stream<Item = Result<proto::AddProgress, Status>> + Send {
    stream::unfold(Some((adding, announce)), |state| async move {
        let (mut adding, announce) = state?;
        let ended = tokio::select! {
            ended = adding.finish() => Some(ended),
            () = sleep(PROGRESS_INTERVAL) => None,
        };
        let size = adding.size().unwrap_or(0);
        let progress = proto::AddProgress { bytes: adding.bytes(), size, done: None };
        let Some(ended) = ended else { return Some((Ok(progress), Some((adding, announce)))) };
        let last = match announced(ended, announce.as_ref()).await {
            Ok(done) => Ok(proto::AddProgress { done: Some(added(&done)), ..progress }),
            Err(error) => Err(to_status(error)),
        };
        Some((last, None))
    })
}

async fn announced(
    ended: Result<Added, NodeError>,
    announce: Option<&NodeClient>,
) -> Result<Added, NodeError> {
    let added = ended?;
    if let Some(client) = announce {
        client.network().announce(added.cid).await?;
    }
    Ok(added)
}

pub(super) fn list(
    client: &NodeClient,
) -> impl Stream<Item = Result<proto::Item, Status>> + Send + use<> {
    let items = ReceiverStream::new(client.content().list());
    items.map(|held| held.map(|held| item(&held)).map_err(to_status))
}

pub(super) async fn inspect(
    client: &NodeClient,
    request: &proto::InspectRequest,
) -> Result<proto::InspectReply, Status> {
    let inspected = client.content().inspect(cid(&request.cid)?).await.map_err(to_status)?;
    Ok(inspection(&inspected))
}

pub(super) async fn leaves(
    client: &NodeClient,
    request: &proto::LeavesRequest,
) -> Result<impl Stream<Item = Result<proto::LeafPage, Status>> + Send + use<>, Status> {
    let pages = client.content().leaves(cid(&request.cid)?).await.map_err(to_status)?;
    let mut offset = 0;
    let pages = ReceiverStream::new(pages);
    Ok(pages.map(move |page| page.map(|page| leaf_page(&page, &mut offset)).map_err(to_status)))
}

pub(super) async fn read(
    client: &NodeClient,
    request: &proto::ReadRequest,
) -> Result<impl Stream<Item = Result<proto::ReadPart, Status>> + Send + use<>, Status> {
    let cid = cid(&request.cid)?;
    let chunks = if request.follow {
        client.content().follow(cid)
    } else {
        client.content().read(cid).await.map_err(to_status)?
    };
    Ok(read_parts(chunks))
}

pub(super) async fn read_range(
    client: &NodeClient,
    request: &proto::ReadRangeRequest,
) -> Result<impl Stream<Item = Result<proto::ReadPart, Status>> + Send + use<>, Status> {
    let proto::ReadRangeRequest { offset, length, timeout_s, .. } = *request;
    let range = offset..length.map_or(u64::MAX, |length| offset.saturating_add(length));
    let timeout = (timeout_s > 0).then(|| Duration::from_secs(timeout_s));
    let chunks = client.content().read_range(cid(&request.cid)?, range, timeout).await;
    Ok(read_parts(chunks.map_err(to_status)?))
}

fn read_parts(
    chunks: mpsc::Receiver<Result<Bytes, NodeError>>,
) -> impl Stream<Item = Result<proto::ReadPart, Status>> + Send {
    ReceiverStream::new(chunks).flat_map(|chunk| {
        let parts: Vec<_> = match chunk {
            Ok(chunk) => parts_of(chunk).map(|data| Ok(proto::ReadPart { data })).collect(),
            Err(error) => vec![Err(to_status(error))],
        };
        stream::iter(parts)
    })
}

/// The bytes in parts that fit into a message.
fn parts_of(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let part = bytes.split_to(bytes.len().min(MAX_PART));
        (!part.is_empty()).then_some(part)
    })
}

pub(super) async fn remove(
    client: &NodeClient,
    request: &proto::RemoveRequest,
) -> Result<proto::RemoveReply, Status> {
    let freed_bytes = client.content().remove(cid(&request.cid)?).await.map_err(to_status)?;
    Ok(proto::RemoveReply { freed_bytes })
}

fn add_options(chunker: i32, name: String, public: bool) -> AddOptions {
    let mut options = AddOptions::default();
    options.profile = match proto::Chunker::try_from(chunker) {
        Ok(proto::Chunker::Fixed) => Profile::Fixed,
        Ok(proto::Chunker::Fastcdc) => Profile::FastCdc,
        Ok(proto::Chunker::Fastcdc1m) => Profile::FastCdc1M,
        Ok(proto::Chunker::Unspecified) | Err(_) => Profile::default(),
    };
    options.name = (!name.is_empty()).then_some(name);
    options.public = public;
    options
}

fn added(added: &Added) -> proto::AddDone {
    proto::AddDone {
        cid: added.cid.to_string(),
        size: added.size,
        chunks: added.chunks,
        new_bytes: added.new_bytes,
    }
}

fn item(held: &Held) -> proto::Item {
    let Held { cid, item, provide, files, .. } = held;
    let header = &item.header;
    proto::Item {
        cid: cid.to_string(),
        name: item.name.clone().unwrap_or_default(),
        size: header.size(),
        chunks: header.chunk_count(),
        added_ms: item.added_ms,
        provided: provide.is_some(),
        public: item.public,
        pinned: item.pinned,
        used_ms: item.used_ms,
        files: linked_files(files),
    }
}

fn linked_files(files: &[Linked]) -> Vec<proto::LinkedFile> {
    let file = |file: &Linked| proto::LinkedFile {
        path: file.path.as_os_str().as_encoded_bytes().to_vec(),
        state: match file.state {
            FileState::Unchanged => proto::FileState::Unchanged,
            FileState::Changed => proto::FileState::Changed,
            FileState::Missing => proto::FileState::Missing,
        }
        .into(),
    };
    files.iter().map(file).collect()
}

fn inspection(inspection: &Inspection) -> proto::InspectReply {
    let (header, item) = (&inspection.header, inspection.item.as_ref());
    let cid: Cid = header.cid();
    proto::InspectReply {
        cid: cid.to_string(),
        kind: match header.kind() {
            Kind::File(_) => "file".to_owned(),
            Kind::Directory => "directory".to_owned(),
        },
        name: item.and_then(|item| item.name.clone()).unwrap_or_default(),
        size: header.size(),
        chunker: header.kind().profile_name().to_owned(),
        root: header.root().hash.to_string(),
        chunks: header.chunk_count(),
        pages: header.page_count(),
        complete: item.is_some(),
        bytes_held: inspection.bytes_held,
        chunks_held: inspection.chunks_held,
        added_ms: item.map_or(0, |item| item.added_ms),
        provided: inspection.provide.is_some(),
        pinned: item.is_some_and(|item| item.pinned),
        used_ms: item.map_or(0, |item| item.used_ms),
        files: linked_files(&inspection.files),
        public: item.is_some_and(|item| item.public),
    }
}

/// A page of leaves with the offsets of their chunks.
fn leaf_page(leaves: &[Leaf], offset: &mut u64) -> proto::LeafPage {
    let leaves = leaves.iter().map(|leaf| {
        let at = *offset;
        *offset += u64::from(leaf.len);
        proto::Leaf { hash: leaf.hash.to_string(), offset: at, len: leaf.len }
    });
    proto::LeafPage { leaves: leaves.collect() }
}
