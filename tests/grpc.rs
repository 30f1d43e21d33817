//! The control plane as other gRPC clients see it: health and reflection, called
//! with the clients that come with tonic.

use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::harness::{Daemon, Setup};

async fn channel(node: &Daemon) -> Channel {
    let url = format!("http://{}", node.grpc_addr());
    Channel::from_shared(url).expect("a URL").connect().await.expect("it listens")
}

#[tokio::test]
async fn health_answers_without_a_token() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(directory.path()).start();
    let mut health = HealthClient::new(channel(&node).await);
    for service in ["", "dfs.v1.Control"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let reply = health.check(request).await.expect("it is known").into_inner();
        assert_eq!(reply.status(), ServingStatus::Serving, "{service:?}");
    }
    let request = HealthCheckRequest { service: "dfs.v1.Nonsense".to_owned() };
    let status = health.check(request).await.expect_err("there is no such service");
    assert_eq!(status.code(), Code::NotFound);
}

async fn reflect(channel: Channel, message_request: MessageRequest) -> ServerReflectionResponse {
    let request =
        ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
    let mut client = ServerReflectionClient::new(channel);
    let requests = tokio_stream::once(request);
    let replies = client.server_reflection_info(requests).await.expect("it is served");
    replies.into_inner().message().await.expect("an answer").expect("one answer")
}

#[tokio::test]
async fn reflection_describes_every_service() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(directory.path()).start();
    let channel = channel(&node).await;
    let reply = reflect(channel.clone(), MessageRequest::ListServices(String::new())).await;
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else {
        panic!("{reply:?}");
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["dfs.v1.Control", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }

    let symbol = MessageRequest::FileContainingSymbol("dfs.v1.Control".to_owned());
    let reply = reflect(channel, symbol).await;
    let Some(MessageResponse::FileDescriptorResponse(files)) = reply.message_response else {
        panic!("{reply:?}");
    };
    let described = files.file_descriptor_proto.concat();
    for name in ["DownloadStatus", "CancelDownload", "Announcements"] {
        let found = described.windows(name.len()).any(|part| part == name.as_bytes());
        assert!(found, "{name} is described");
    }
}

#[tokio::test]
async fn reflection_is_also_served_in_its_first_version() {
    use tonic_reflection::pb::v1alpha;
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;

    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(directory.path()).start();
    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(channel(&node).await);
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request };
    let replies = client.server_reflection_info(tokio_stream::once(request)).await;
    let mut replies = replies.expect("it is served").into_inner();
    let reply = replies.message().await.expect("an answer").expect("one answer");
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else {
        panic!("{reply:?}");
    };
    assert!(list.service.iter().any(|service| service.name == "dfs.v1.Control"), "{list:?}");
}
