//! Connecting to a control plane.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint as Transport, Uri};
use tonic::{Request, Status};

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::proto::control_client::ControlClient;
use crate::timing::{CONNECT_TIMEOUT, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use crate::tls::{DialError, Fingerprint, Pinned};
use crate::token::{self, Token, TokenError};
use crate::{MAX_MESSAGE, MAX_SOCKET_PATH};

/// Bytes of one frame of HTTP/2 that a client takes. With the default of 16 KiB, each part of
/// a content would come in dozens of frames. The daemon keeps to the default: it reads a whole
/// frame before it knows who sent it.
const MAX_FRAME: u32 = 1 << 20;

/// A connected client.
pub type Client = ControlClient<InterceptedService<Channel, Bearer>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No daemon listens there.
    #[error("no daemon answers on {endpoint}")]
    Unreachable {
        /// The address.
        endpoint: Endpoint,
        /// What the system answered.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something listens there, but nothing comes back.
    #[error("the daemon on {endpoint} does not answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Silent {
        /// The address.
        endpoint: Endpoint,
    },
    /// The system does not let this user open the socket.
    #[error("this user may not open {endpoint}")]
    Forbidden {
        /// The address.
        endpoint: Endpoint,
        /// What the system answered.
        source: io::Error,
    },
    /// The path of the socket is longer than the system allows.
    #[error(
        "the socket path {} has {} bytes, and a socket path has at most {MAX_SOCKET_PATH}",
        path.display(), path.as_os_str().len()
    )]
    LongPath {
        /// The path.
        path: PathBuf,
    },
    /// The other end does not speak TLS.
    #[error("the program that listens on {endpoint} does not speak TLS")]
    NotTls {
        /// The address.
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
    /// The certificate of the daemon is not known.
    #[error("the certificate of {endpoint} is not known")]
    Unpinned {
        /// The address.
        endpoint: Endpoint,
    },
    /// The daemon has another certificate than the known one.
    #[error("certificate mismatch for {endpoint}: expected {expected}, got {found}")]
    OtherCertificate {
        /// The address.
        endpoint: Endpoint,
        /// Fingerprint of the known certificate.
        expected: Fingerprint,
        /// Fingerprint of the certificate of the other end.
        found: Fingerprint,
    },
    /// There is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl ConnectError {
    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> Failure {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } | Self::NotTls { .. } => {
                Failure::Unreachable
            }
            Self::Clear { .. } | Self::LongPath { .. } => Failure::Usage,
            Self::Unpinned { .. } | Self::Forbidden { .. } => Failure::Permission,
            Self::OtherCertificate { .. } => Failure::Verification,
            Self::Token(error) => error.kind(),
        }
    }

    fn new(endpoint: &Endpoint, source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        let endpoint = endpoint.clone();
        match io_kind(source.as_ref()) {
            // A full backlog: the daemon accepts no connections.
            Some(io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => Self::Silent { endpoint },
            Some(kind @ io::ErrorKind::PermissionDenied) => {
                Self::Forbidden { endpoint, source: kind.into() }
            }
            Some(_) | None => Self::Unreachable { endpoint, source },
        }
    }
}

/// The kind of the system error behind an error, if there is one.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        next = error.source();
    }
    None
}

/// What a client knows of a daemon besides its address.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The file with its token. Without it the client looks for the token in the
    /// environment, and then where the daemon writes it by default.
    pub token_file: Option<&'a Path>,
    /// Fingerprint of its certificate, which `https://` needs.
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

/// Connects to the control plane. A Unix socket needs no token; a daemon on
/// another machine needs TLS.
///
/// The connection notices a daemon that stops answering during a call: the call
/// fails after [`KEEPALIVE_INTERVAL`] and [`KEEPALIVE_TIMEOUT`].
///
/// # Errors
/// [`ConnectError`] if no daemon answers there, the daemon has another
/// certificate, or there is no token.
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
            let connected = transport(endpoint).connect().await;
            connected.map_err(|error| ConnectError::new(endpoint, error.into()))?
        }
    };
    // After the connection: without a daemon there is no token either, and the
    // daemon is what the user misses.
    let token = match (endpoint, credentials.token_file) {
        (_, Some(path)) => Some(Token::read(path)?),
        (Endpoint::Unix { .. }, None) => None,
        (Endpoint::Tcp { .. }, None) => Some(match Token::from_environment()? {
            Some(token) => token,
            None => token::find(endpoint)?,
        }),
    };
    let client = ControlClient::with_interceptor(channel, Bearer { token });
    Ok(client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
}

fn transport(endpoint: &Endpoint) -> Transport {
    Channel::from_shared(endpoint.plain_url())
        .expect("an endpoint is a valid URL")
        .connect_timeout(CONNECT_TIMEOUT)
        .max_frame_size(MAX_FRAME)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
}

async fn unix_channel(endpoint: &Endpoint, path: &Path) -> Result<Channel, ConnectError> {
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(ConnectError::LongPath { path: path.to_owned() });
    }
    let path = path.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
    });
    let connected = transport(endpoint).connect_with_connector(connector).await;
    connected.map_err(|error| ConnectError::new(endpoint, error.into()))
}

/// Makes the first connection itself, because a channel does not report why its
/// connector failed. The channel makes later connections as it needs them.
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
        Err(DialError::Unreachable(error)) => {
            return Err(ConnectError::new(&endpoint, error.into()));
        }
        Err(DialError::Handshake(source)) => return Err(ConnectError::NotTls { endpoint, source }),
        Err(DialError::OtherCertificate(found)) => {
            return Err(ConnectError::OtherCertificate { endpoint, expected, found });
        }
    };
    let connector = tower::service_fn(move |_: Uri| {
        let first = first.lock().expect("no code panics while it holds the lock").take();
        let pinned = pinned.clone();
        async move {
            match first {
                Some(stream) => Ok(TokioIo::new(stream)),
                None => pinned.dial().await.map(TokioIo::new),
            }
        }
    });
    transport(&endpoint)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(|error| ConnectError::new(&endpoint, error.into()))
}
