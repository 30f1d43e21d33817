//! Serving the control plane: where it listens, and who may speak to it.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use dfs_control::tls::Certificate;
use dfs_control::token::{self, Token, TokenFile};
use dfs_control::{DESCRIPTORS, Endpoint};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use super::DaemonError;
use super::incoming::{self, Caller};
use crate::client::NodeClient;
use crate::rpc::ControlService;

/// Silence on a connection from another machine after which it is asked whether
/// it still is one.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// Where the control plane listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlAddress {
    /// A TCP socket, with TLS unless it is on loopback.
    Tcp(SocketAddr),
    /// A Unix socket, which only the daemon's user can open.
    Unix(PathBuf),
}

impl Default for ControlAddress {
    fn default() -> Self {
        Self::Tcp((Ipv4Addr::LOCALHOST, 50051).into())
    }
}

impl std::fmt::Display for ControlAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ControlAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some("") | None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| "write it as 127.0.0.1:50051 or unix:/path".to_owned()),
            Some(path) => Ok(Self::Unix(path.into())),
        }
    }
}

impl ControlAddress {
    /// Refuses an address that others can reach, unless that is meant.
    ///
    /// # Errors
    /// [`DaemonError::NotLoopback`].
    pub fn check(&self, allow_remote: bool) -> Result<(), DaemonError> {
        match *self {
            Self::Tcp(addr) if !addr.ip().is_loopback() && !allow_remote => {
                Err(DaemonError::NotLoopback { addr })
            }
            _ => Ok(()),
        }
    }
}

/// A control plane that listens and has its token in place.
pub(super) struct Control {
    listener: Listener,
    token: Option<Token>,
    /// Removed at the end.
    token_file: Option<TokenFile>,
}

enum Listener {
    Tcp(TcpListener, SocketAddr),
    Tls(TcpListener, SocketAddr, Certificate),
    Unix(UnixListener, SocketFile),
}

impl Control {
    /// Opens the socket and writes the token; beyond loopback, makes the
    /// certificate if there is none.
    pub(super) async fn open(
        address: &ControlAddress,
        token_file: Option<PathBuf>,
        certificate_file: &Path,
    ) -> Result<Self, DaemonError> {
        let failed = |source| DaemonError::Control { address: address.clone(), source };
        let addr = match address {
            ControlAddress::Unix(path) => {
                let (listener, file) = listen_unix(path).await.map_err(failed)?;
                let listener = Listener::Unix(listener, file);
                return Ok(Self { listener, token: None, token_file: None });
            }
            ControlAddress::Tcp(addr) => addr,
        };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let listener = if addr.ip().is_loopback() {
            Listener::Tcp(listener, addr)
        } else {
            Listener::Tls(listener, addr, Certificate::load_or_create(certificate_file)?)
        };
        let (token, token_file) = place_token(addr, token_file)?;
        Ok(Self { listener, token: Some(token), token_file })
    }

    /// Where it listens, as `dfsctl --grpc-addr` takes it.
    pub(super) fn address(&self) -> String {
        match &self.listener {
            Listener::Tcp(_, addr) => addr.to_string(),
            Listener::Tls(_, addr, _) => format!("https://{addr}"),
            Listener::Unix(_, file) => format!("unix:{}", file.0.display()),
        }
    }

    /// The certificate that a client has to be told of.
    pub(super) fn certificate(&self) -> Option<&Certificate> {
        match &self.listener {
            Listener::Tls(_, _, certificate) => Some(certificate),
            _ => None,
        }
    }

    /// Serves until `stop`, and then until the last call has ended.
    pub(super) fn serve(
        self,
        client: NodeClient,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), tonic::transport::Error>> + Send {
        let Self { listener, token, token_file } = self;
        let check = move |request: tonic::Request<()>| {
            if let Some(token) = &token {
                token.check(&request)?;
            }
            if let Some(caller) = request.extensions().get::<Caller>() {
                caller.allow();
            }
            Ok(request)
        };
        let service = InterceptedService::new(ControlService::new(client).into_server(), check);
        async move {
            // Removed when the last call has ended.
            let _token_file = token_file;
            let (health, health_service) = tonic_health::server::health_reporter();
            health.set_serving::<dfs_control::ControlServer<ControlService>>().await;
            let reflection = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .build_v1()
                .expect("the descriptors were made by the build");
            let router = Server::builder()
                .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
                .add_service(service)
                .add_service(health_service)
                .add_service(reflection);
            let stopped = stop.cancelled_owned();
            match listener {
                Listener::Tcp(listener, _) => {
                    let incoming = incoming::tcp(listener, incoming::places());
                    router.serve_with_incoming_shutdown(incoming, stopped).await
                }
                Listener::Tls(listener, _, certificate) => {
                    let incoming =
                        incoming::tls(listener, certificate.acceptor(), incoming::places());
                    router.serve_with_incoming_shutdown(incoming, stopped).await
                }
                Listener::Unix(listener, _file) => {
                    let incoming = incoming::unix(listener, incoming::places());
                    router.serve_with_incoming_shutdown(incoming, stopped).await
                }
            }
        }
    }
}

/// The token that calls have to carry, and the file it was left in.
fn place_token(
    addr: SocketAddr,
    token_file: Option<PathBuf>,
) -> Result<(Token, Option<TokenFile>), DaemonError> {
    let path = match token_file {
        // A file that is named comes first, as in dfsctl.
        Some(path) => path,
        None => match Token::from_environment()? {
            Some(token) => return Ok((token, None)),
            None => token::default_path(&Endpoint::from(addr))?,
        },
    };
    let (file, token) = TokenFile::create(path)?;
    Ok((token, Some(file)))
}

/// A socket in the file system; dropping it removes it.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A file that is gone already is as it should be.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens on a Unix socket, in place of one that a killed daemon has left.
async fn listen_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is no socket"));
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    // The socket is made under another name, made private, and only then put
    // where others look for it.
    let mut private = path.to_owned().into_os_string();
    private.push(format!(".{}", std::process::id()));
    let private = PathBuf::from(private);
    let listener = UnixListener::bind(&private)?;
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&private, path)?;
    Ok((listener, SocketFile(path.to_owned())))
}
