//! Connecting to a control plane.

use std::path::Path;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Uri};
use tonic::{Request, Status};

use crate::MAX_MESSAGE;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::proto::control_client::ControlClient;
use crate::token::{self, Token, TokenError};

/// A connected client.
pub type Client = ControlClient<InterceptedService<Channel, Bearer>>;

/// Time to connect; a control plane is close.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("no daemon answers on {endpoint}; start one with: dfsd")]
    Unreachable {
        /// Where it was tried.
        endpoint: Endpoint,
        /// What the system answered.
        source: tonic::transport::Error,
    },
    /// There is no token to show.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl ConnectError {
    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> Failure {
        match self {
            Self::Unreachable { .. } => Failure::Unreachable,
            Self::Token(error) => error.kind(),
        }
    }
}

/// Adds the token to every call.
#[derive(Debug, Clone)]
pub struct Bearer {
    token: Option<Token>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            token.apply(&mut request);
        }
        Ok(request)
    }
}

/// Connects to the control plane. The token is taken from the file named, else
/// from the environment, else from where the daemon leaves it; a Unix socket
/// needs none.
///
/// # Errors
/// [`ConnectError`] if nobody answers there or there is no token.
pub async fn connect(
    endpoint: &Endpoint,
    token_file: Option<&Path>,
) -> Result<Client, ConnectError> {
    let channel = channel(endpoint)
        .await
        .map_err(|source| ConnectError::Unreachable { endpoint: endpoint.clone(), source })?;
    // Only now: where nobody answers, the token is not what is missing.
    let token = match (endpoint, token_file) {
        (_, Some(path)) => Some(Token::read(path)?),
        (Endpoint::Unix { .. }, None) => None,
        (Endpoint::Tcp { .. }, None) => Some(match Token::from_environment()? {
            Some(token) => token,
            None => Token::read(&token::default_path(endpoint)?)?,
        }),
    };
    let client = ControlClient::with_interceptor(channel, Bearer { token });
    Ok(client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
}

async fn channel(endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
    let channel = Channel::from_shared(endpoint.url())
        .expect("an endpoint is a valid URL")
        .connect_timeout(CONNECT_TIMEOUT);
    match endpoint.unix_path() {
        None => channel.connect().await,
        Some(path) => {
            let path = path.to_owned();
            let connector = tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
            });
            channel.connect_with_connector(connector).await
        }
    }
}
