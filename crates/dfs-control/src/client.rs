//! Connecting to a control plane.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint as Transport, Uri};
use tonic::{Request, Status};

use crate::MAX_MESSAGE;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::proto::control_client::ControlClient;
use crate::tls::{DialError, Fingerprint, Pinned};
use crate::token::{self, Token, TokenError};

/// A connected client.
pub type Client = ControlClient<InterceptedService<Channel, Bearer>>;

/// Time to connect, and for TLS to begin.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence on a connection to another machine after which it is asked whether
/// it still is one.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("no daemon answers on {endpoint}{}", advice(endpoint, source.as_ref()))]
    Unreachable {
        /// Where it was tried.
        endpoint: Endpoint,
        /// What the system answered.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Who answers does not speak TLS.
    #[error("what listens on {endpoint} does not speak TLS; check --grpc-addr")]
    NotTls {
        /// Where it was tried.
        endpoint: Endpoint,
        /// What came instead.
        source: io::Error,
    },
    /// The token would travel in the clear.
    #[error(
        "{endpoint} is another machine, and without TLS the control token could be read on the way; write https://{endpoint}"
    )]
    Clear {
        /// The address.
        endpoint: Endpoint,
    },
    /// Nobody has said which certificate the daemon has.
    #[error(
        "the certificate of {endpoint} is not known; give once the fingerprint that its dfsd logs at the start: --tls-fingerprint HEX"
    )]
    Unpinned {
        /// The address.
        endpoint: Endpoint,
    },
    /// Who answers has another certificate.
    #[error(
        "who answers on {endpoint} is not the daemon that is meant, or its certificate was made anew: the fingerprint is {found}, expected was {expected}; if its dfsd logs the new one, give it with --tls-fingerprint"
    )]
    OtherCertificate {
        /// The address.
        endpoint: Endpoint,
        /// Who was meant.
        expected: Fingerprint,
        /// Who answered.
        found: Fingerprint,
    },
    /// There is no token to show.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// What to do, or what the system says, which on another machine may be many
/// things.
fn advice(endpoint: &Endpoint, source: &(dyn std::error::Error + 'static)) -> String {
    if endpoint.is_local() && endpoint.unix_path().is_none() {
        return "; start one with: dfsd".to_owned();
    }
    let mut innermost = source;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!(": {innermost}")
}

impl ConnectError {
    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> Failure {
        match self {
            Self::Unreachable { .. } | Self::NotTls { .. } => Failure::Unreachable,
            Self::Clear { .. } => Failure::Usage,
            Self::Unpinned { .. } => Failure::Permission,
            Self::OtherCertificate { .. } => Failure::Verification,
            Self::Token(error) => error.kind(),
        }
    }
}

/// What a client knows of a daemon beside its address.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The file with its token; without it the token is taken from the
    /// environment, else from where the daemon leaves it.
    pub token_file: Option<&'a Path>,
    /// Its certificate, which `https://` needs.
    pub certificate: Option<Fingerprint>,
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

/// Connects to the control plane. On a Unix socket no token is needed; beyond
/// this machine TLS is.
///
/// # Errors
/// [`ConnectError`] if nobody answers there, who answers is not who is meant,
/// or there is no token.
pub async fn connect(
    endpoint: &Endpoint,
    credentials: Credentials<'_>,
) -> Result<Client, ConnectError> {
    let channel = match endpoint {
        Endpoint::Unix { path } => unix_channel(endpoint, path).await?,
        Endpoint::Tcp { tls: true, .. } => tls_channel(endpoint, credentials.certificate).await?,
        Endpoint::Tcp { .. } if !endpoint.is_local() => {
            return Err(ConnectError::Clear { endpoint: endpoint.clone() });
        }
        Endpoint::Tcp { .. } => {
            transport(endpoint).connect().await.map_err(|error| unreachable(endpoint, error))?
        }
    };
    // Only now: where nobody answers, the token is not what is missing.
    let token = match (endpoint, credentials.token_file) {
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

fn transport(endpoint: &Endpoint) -> Transport {
    Channel::from_shared(endpoint.plain_url())
        .expect("an endpoint is a valid URL")
        .connect_timeout(CONNECT_TIMEOUT)
}

async fn unix_channel(endpoint: &Endpoint, path: &Path) -> Result<Channel, ConnectError> {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
    });
    let connected = transport(endpoint).connect_with_connector(connector).await;
    connected.map_err(|error| unreachable(endpoint, error))
}

/// The first connection is made here, where its failure can be told; the
/// channel makes later ones as it needs them.
async fn tls_channel(
    endpoint: &Endpoint,
    certificate: Option<Fingerprint>,
) -> Result<Channel, ConnectError> {
    let expected =
        certificate.ok_or_else(|| ConnectError::Unpinned { endpoint: endpoint.clone() })?;
    let authority = endpoint.authority().expect("TLS is spoken on a TCP port");
    let pinned = Pinned::new(authority, expected);
    let late = |_| DialError::Unreachable(io::ErrorKind::TimedOut.into());
    let first = timeout(CONNECT_TIMEOUT, pinned.dial()).await.unwrap_or_else(|e| Err(late(e)));
    let endpoint = endpoint.clone();
    let first = match first {
        Ok(first) => Arc::new(Mutex::new(Some(first))),
        Err(DialError::Unreachable(error)) => return Err(unreachable(&endpoint, error)),
        Err(DialError::Handshake(source)) => return Err(ConnectError::NotTls { endpoint, source }),
        Err(DialError::OtherCertificate(found)) => {
            return Err(ConnectError::OtherCertificate { endpoint, expected, found });
        }
    };
    let connector = tower::service_fn(move |_: Uri| {
        let first = first.lock().expect("nobody panics with it").take();
        let pinned = pinned.clone();
        async move {
            match first {
                Some(stream) => Ok(TokioIo::new(stream)),
                None => pinned.dial().await.map(TokioIo::new),
            }
        }
    });
    transport(&endpoint)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(|error| unreachable(&endpoint, error))
}

fn unreachable(
    endpoint: &Endpoint,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ConnectError {
    ConnectError::Unreachable { endpoint: endpoint.clone(), source: source.into() }
}
