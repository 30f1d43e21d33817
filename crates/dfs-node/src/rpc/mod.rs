//! The control service: thin wrappers over [`NodeClient`], one per call.
//!
//! Nothing is decided here. [`convert`] translates between messages and the
//! types of the node, [`stream`] turns progress into replies.

mod convert;
mod stream;

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use dfs_control::{Control, ControlServer, MAX_MESSAGE, MAX_PART, proto};
use tokio_stream::wrappers::{BroadcastStream, ReceiverStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::client::NodeClient;
use crate::fetch::GetOptions;
use convert::{add_options, add_start, cid, path, to_status};

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service on top of a node.
#[derive(Clone)]
pub struct ControlService {
    client: NodeClient,
}

impl ControlService {
    /// A service for the node behind this client.
    #[must_use]
    pub fn new(client: NodeClient) -> Self {
        Self { client }
    }

    /// The service with its message limits, ready to be served.
    #[must_use]
    pub fn into_server(self) -> ControlServer<Self> {
        ControlServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl Control for ControlService {
    type AddStream = Replies<proto::AddProgress>;
    type AddStreamStream = Replies<proto::AddProgress>;
    type GetStream = Replies<proto::DownloadStatus>;
    type ReadStream = Replies<proto::ReadPart>;
    type ListStream = Replies<proto::Item>;
    type PeersStream = Replies<proto::PeerInfo>;
    type ProvidingStream = Replies<proto::Provided>;
    type DownloadsStream = Replies<proto::DownloadStatus>;
    type LeavesStream = Replies<proto::LeafPage>;
    type AnnouncementsStream = Replies<proto::Announcement>;

    async fn add(
        &self,
        request: Request<proto::AddRequest>,
    ) -> Result<Response<Self::AddStream>, Status> {
        let request = request.into_inner();
        let options = add_options(request.chunker, String::new(), request.public);
        let path = path(request.path)?;
        let public = options.public;
        let adding = self.client.start_add_path(path, options).await.map_err(to_status)?;
        let announce = public.then(|| self.client.clone());
        Ok(Response::new(Box::pin(stream::adding(adding, announce))))
    }

    async fn add_stream(
        &self,
        request: Request<Streaming<proto::AddPart>>,
    ) -> Result<Response<Self::AddStreamStream>, Status> {
        let mut parts = request.into_inner();
        let first = parts.message().await?.and_then(|part| part.part);
        let (options, size) = add_start(first)?;
        let reader = stream::reader(parts);
        let announce = options.public.then(|| self.client.clone());
        let adding = self.client.start_add_reader(reader, size, options);
        Ok(Response::new(Box::pin(stream::adding(adding, announce))))
    }

    async fn provide(
        &self,
        request: Request<proto::ProvideRequest>,
    ) -> Result<Response<proto::ProvideReply>, Status> {
        let cid = cid(&request.into_inner().cid)?;
        let record = self.client.provide(cid).await.map_err(to_status)?;
        Ok(Response::new(proto::ProvideReply { sent_to: record.sent_to }))
    }

    async fn unprovide(
        &self,
        request: Request<proto::UnprovideRequest>,
    ) -> Result<Response<proto::UnprovideReply>, Status> {
        let cid = cid(&request.into_inner().cid)?;
        let was_provided = self.client.unprovide(cid).await.map_err(to_status)?;
        Ok(Response::new(proto::UnprovideReply { was_provided }))
    }

    async fn providing(
        &self,
        _: Request<proto::ProvidingRequest>,
    ) -> Result<Response<Self::ProvidingStream>, Status> {
        let provides = self.client.providing().await.map_err(to_status)?;
        Ok(Response::new(listed(provides, convert::provided)))
    }

    async fn verify_provide(
        &self,
        request: Request<proto::VerifyProvideRequest>,
    ) -> Result<Response<proto::VerifyProvideReply>, Status> {
        let cid = cid(&request.into_inner().cid)?;
        let verified = self.client.verify_provide(cid).await.map_err(to_status)?;
        let (asked, confirmed) = (verified.asked, verified.confirmed);
        Ok(Response::new(proto::VerifyProvideReply { asked, confirmed }))
    }

    async fn get(
        &self,
        request: Request<proto::GetRequest>,
    ) -> Result<Response<Self::GetStream>, Status> {
        let request = request.into_inner();
        let cid = cid(&request.cid)?;
        let wanted: Option<PathBuf> =
            if request.path.is_empty() { None } else { Some(path(request.path)?) };
        let options = GetOptions {
            path: wanted.clone(),
            force: request.force,
            timeout: (request.timeout_s > 0).then(|| Duration::from_secs(request.timeout_s)),
        };
        let status = self.client.get(cid, options).await.map_err(to_status)?;
        Ok(Response::new(Box::pin(stream::download(status, wanted))))
    }

    async fn get_download(
        &self,
        request: Request<proto::GetDownloadRequest>,
    ) -> Result<Response<proto::DownloadStatus>, Status> {
        let cid = cid(&request.into_inner().cid)?;
        let status = self.client.download_status(cid).await.map_err(to_status)?;
        let status = status.ok_or_else(|| convert::no_download(cid))?;
        Ok(Response::new(convert::download(&status)))
    }

    async fn downloads(
        &self,
        _: Request<proto::DownloadsRequest>,
    ) -> Result<Response<Self::DownloadsStream>, Status> {
        let downloads = self.client.downloads().await.map_err(to_status)?;
        Ok(Response::new(listed(downloads, |status| convert::download(&status))))
    }

    async fn cancel_download(
        &self,
        request: Request<proto::CancelDownloadRequest>,
    ) -> Result<Response<proto::CancelDownloadReply>, Status> {
        let cid = cid(&request.into_inner().cid)?;
        if !self.client.cancel(cid).await {
            return Err(match self.client.download_status(cid).await.map_err(to_status)? {
                Some(_) => convert::not_running(cid),
                None => convert::no_download(cid),
            });
        }
        Ok(Response::new(proto::CancelDownloadReply {}))
    }

    async fn read(
        &self,
        request: Request<proto::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let cid = cid(&request.into_inner().cid)?;
        let chunks = self.client.read(cid).await.map_err(to_status)?;
        let parts = ReceiverStream::new(chunks).flat_map_parts();
        Ok(Response::new(Box::pin(parts)))
    }

    async fn list(
        &self,
        _: Request<proto::ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let items = ReceiverStream::new(self.client.list())
            .map(|row| row.map(|row| convert::item(&row)).map_err(to_status));
        Ok(Response::new(Box::pin(items)))
    }

    async fn inspect(
        &self,
        request: Request<proto::InspectRequest>,
    ) -> Result<Response<proto::InspectReply>, Status> {
        let cid = cid(&request.into_inner().cid)?;
        let inspection = self.client.inspect(cid).await.map_err(to_status)?;
        Ok(Response::new(convert::inspection(&inspection)))
    }

    async fn leaves(
        &self,
        request: Request<proto::LeavesRequest>,
    ) -> Result<Response<Self::LeavesStream>, Status> {
        let cid = cid(&request.into_inner().cid)?;
        let pages = self.client.leaves(cid).await.map_err(to_status)?;
        let mut offset = 0;
        let pages = ReceiverStream::new(pages).map(move |page| {
            page.map(|leaves| convert::leaves(&leaves, &mut offset)).map_err(to_status)
        });
        Ok(Response::new(Box::pin(pages)))
    }

    async fn remove(
        &self,
        request: Request<proto::RemoveRequest>,
    ) -> Result<Response<proto::RemoveReply>, Status> {
        let cid = cid(&request.into_inner().cid)?;
        let freed_bytes = self.client.remove(cid).await.map_err(to_status)?;
        Ok(Response::new(proto::RemoveReply { freed_bytes }))
    }

    async fn announcements(
        &self,
        request: Request<proto::AnnouncementsRequest>,
    ) -> Result<Response<Self::AnnouncementsStream>, Status> {
        let (kept, news) = self.client.announcements();
        let kept = tokio_stream::iter(kept).map(|heard| Ok(convert::heard(&heard)));
        if !request.into_inner().follow {
            return Ok(Response::new(Box::pin(kept)));
        }
        // A follower that is too slow misses some; there is no other word for
        // it in a stream of news.
        let news = BroadcastStream::new(news)
            .filter_map(Result::ok)
            .map(|heard| Ok(convert::heard(&heard)));
        Ok(Response::new(Box::pin(kept.chain(news))))
    }

    async fn status(
        &self,
        _: Request<proto::StatusRequest>,
    ) -> Result<Response<proto::StatusReply>, Status> {
        let status = self.client.status().await.map_err(to_status)?;
        Ok(Response::new(convert::status(&status)))
    }

    async fn peers(
        &self,
        _: Request<proto::PeersRequest>,
    ) -> Result<Response<Self::PeersStream>, Status> {
        let peers = self.client.peers().await.map_err(to_status)?;
        Ok(Response::new(listed(peers, |peer| convert::peer(&peer))))
    }
}

/// A list as a stream of replies.
fn listed<T, R>(list: Vec<T>, convert: impl Fn(T) -> R + Send + 'static) -> Replies<R>
where
    T: Send + 'static,
    R: Send + 'static,
{
    Box::pin(tokio_stream::iter(list).map(move |row| Ok(convert(row))))
}

/// Cuts chunks into messages.
trait Parts {
    fn flat_map_parts(self) -> impl Stream<Item = Result<proto::ReadPart, Status>> + Send;
}

impl<S> Parts for S
where
    S: Stream<Item = Result<bytes::Bytes, crate::error::NodeError>> + Send,
{
    fn flat_map_parts(self) -> impl Stream<Item = Result<proto::ReadPart, Status>> + Send {
        futures::StreamExt::flat_map(self, |chunk| {
            let parts: Vec<_> = match chunk {
                Ok(chunk) => chunk
                    .chunks(MAX_PART)
                    .map(|part| Ok(proto::ReadPart { data: part.to_vec() }))
                    .collect(),
                Err(error) => vec![Err(to_status(error))],
            };
            tokio_stream::iter(parts)
        })
    }
}
