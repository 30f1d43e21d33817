//! Connecting to a control plane.

use std::time::Duration;

use tonic::transport::Channel;

use crate::MAX_MESSAGE;
use crate::endpoint::Endpoint;
use crate::proto::control_client::ControlClient;

/// A connected client.
pub type Client = ControlClient<Channel>;

/// Time to connect; a control plane is close.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Nobody answers there.
#[derive(Debug, thiserror::Error)]
#[error("no daemon answers on {endpoint}; start one with: dfsd")]
pub struct ConnectError {
    /// Where it was tried.
    pub endpoint: Endpoint,
    /// What the system answered.
    pub source: tonic::transport::Error,
}

/// Connects to the control plane.
///
/// # Errors
/// [`ConnectError`] if nobody answers there.
pub async fn connect(endpoint: &Endpoint) -> Result<Client, ConnectError> {
    let failed = |source| ConnectError { endpoint: endpoint.clone(), source };
    let channel = Channel::from_shared(endpoint.url())
        .expect("an endpoint is a valid URL")
        .connect_timeout(CONNECT_TIMEOUT)
        .connect()
        .await
        .map_err(failed)?;
    let client = ControlClient::new(channel);
    Ok(client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
}
