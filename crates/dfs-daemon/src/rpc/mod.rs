//! The control service: one thin method for each call.
//!
//! Nothing is decided here. Each service area has a file that translates
//! between messages and the types of the node: [`content`], [`download`],
//! [`provide`], [`network`], [`status`]. [`stream`] has what long replies
//! share, [`request`] the parsing of arguments. To add a call: `proto/`, a
//! method here, and the translation in the file of its area.

mod content;
mod download;
mod network;
mod provide;
mod request;
mod status;
mod stream;

use dfs_control::{Control, ControlServer, MAX_MESSAGE, proto};
use dfs_node::NodeClient;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use stream::Replies;

/// The service on top of a node.
#[derive(Clone)]
pub(crate) struct ControlService {
    client: NodeClient,
    /// Ends every stream of replies.
    stop: CancellationToken,
}

impl ControlService {
    /// A service for the node of this client. `stop` ends its calls.
    pub(crate) fn new(client: NodeClient, stop: CancellationToken) -> Self {
        Self { client, stop }
    }

    /// The service with its message limits, ready to be served.
    pub(crate) fn into_server(self) -> ControlServer<Self> {
        ControlServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    fn stream<T: Send + 'static>(
        &self,
        replies: impl futures::Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Result<Response<Replies<T>>, Status> {
        Ok(Response::new(stream::until_stopped(replies, self.stop.clone())))
    }
}

#[tonic::async_trait]
impl Control for ControlService {
    type AddStream = Replies<proto::AddProgress>;
    type AddStreamStream = Replies<proto::AddProgress>;
    type GetStream = Replies<proto::DownloadStatus>;
    type ReadStream = Replies<proto::ReadPart>;
    type ReadRangeStream = Replies<proto::ReadPart>;
    type ListStream = Replies<proto::Item>;
    type PeersStream = Replies<proto::PeerInfo>;
    type ProvidingStream = Replies<proto::Provided>;
    type DownloadsStream = Replies<proto::DownloadStatus>;
    type LeavesStream = Replies<proto::LeafPage>;
    type AnnouncementsStream = Replies<proto::Announcement>;
    type WorkersStream = Replies<proto::Worker>;

    async fn add(
        &self,
        request: Request<proto::AddRequest>,
    ) -> Result<Response<Self::AddStream>, Status> {
        self.stream(content::add(&self.client, request.into_inner()).await?)
    }

    async fn add_stream(
        &self,
        request: Request<Streaming<proto::AddPart>>,
    ) -> Result<Response<Self::AddStreamStream>, Status> {
        let parts = request.into_inner();
        self.stream(content::add_stream(&self.client, parts, self.stop.clone()).await?)
    }

    async fn provide(
        &self,
        request: Request<proto::ProvideRequest>,
    ) -> Result<Response<proto::ProvideReply>, Status> {
        Ok(Response::new(provide::start(&self.client, &request.into_inner()).await?))
    }

    async fn unprovide(
        &self,
        request: Request<proto::UnprovideRequest>,
    ) -> Result<Response<proto::UnprovideReply>, Status> {
        Ok(Response::new(provide::stop(&self.client, &request.into_inner()).await?))
    }

    async fn providing(
        &self,
        _: Request<proto::ProvidingRequest>,
    ) -> Result<Response<Self::ProvidingStream>, Status> {
        self.stream(provide::list(&self.client))
    }

    async fn verify_provide(
        &self,
        request: Request<proto::VerifyProvideRequest>,
    ) -> Result<Response<proto::VerifyProvideReply>, Status> {
        Ok(Response::new(provide::verify(&self.client, &request.into_inner()).await?))
    }

    async fn get(
        &self,
        request: Request<proto::GetRequest>,
    ) -> Result<Response<Self::GetStream>, Status> {
        self.stream(download::get(&self.client, request.into_inner()).await?)
    }

    async fn get_download(
        &self,
        request: Request<proto::GetDownloadRequest>,
    ) -> Result<Response<proto::DownloadStatus>, Status> {
        Ok(Response::new(download::status(&self.client, &request.into_inner()).await?))
    }

    async fn downloads(
        &self,
        _: Request<proto::DownloadsRequest>,
    ) -> Result<Response<Self::DownloadsStream>, Status> {
        self.stream(download::list(&self.client))
    }

    async fn cancel_download(
        &self,
        request: Request<proto::CancelDownloadRequest>,
    ) -> Result<Response<proto::CancelDownloadReply>, Status> {
        Ok(Response::new(download::cancel(&self.client, &request.into_inner()).await?))
    }

    async fn read(
        &self,
        request: Request<proto::ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        self.stream(content::read(&self.client, &request.into_inner()).await?)
    }

    async fn read_range(
        &self,
        request: Request<proto::ReadRangeRequest>,
    ) -> Result<Response<Self::ReadRangeStream>, Status> {
        self.stream(content::read_range(&self.client, &request.into_inner()).await?)
    }

    async fn list(
        &self,
        _: Request<proto::ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        self.stream(content::list(&self.client))
    }

    async fn inspect(
        &self,
        request: Request<proto::InspectRequest>,
    ) -> Result<Response<proto::InspectReply>, Status> {
        Ok(Response::new(content::inspect(&self.client, &request.into_inner()).await?))
    }

    async fn leaves(
        &self,
        request: Request<proto::LeavesRequest>,
    ) -> Result<Response<Self::LeavesStream>, Status> {
        self.stream(content::leaves(&self.client, &request.into_inner()).await?)
    }

    async fn remove(
        &self,
        request: Request<proto::RemoveRequest>,
    ) -> Result<Response<proto::RemoveReply>, Status> {
        Ok(Response::new(content::remove(&self.client, &request.into_inner()).await?))
    }

    async fn announcements(
        &self,
        request: Request<proto::AnnouncementsRequest>,
    ) -> Result<Response<Self::AnnouncementsStream>, Status> {
        self.stream(network::announcements(&self.client, &request.into_inner()))
    }

    async fn status(
        &self,
        _: Request<proto::StatusRequest>,
    ) -> Result<Response<proto::StatusReply>, Status> {
        Ok(Response::new(status::status(&self.client).await?))
    }

    async fn workers(
        &self,
        _: Request<proto::WorkersRequest>,
    ) -> Result<Response<Self::WorkersStream>, Status> {
        self.stream(status::workers(&self.client))
    }

    async fn peers(
        &self,
        _: Request<proto::PeersRequest>,
    ) -> Result<Response<Self::PeersStream>, Status> {
        self.stream(network::peers(&self.client).await?)
    }
}
