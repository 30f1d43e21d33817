//! Serving the control plane: listening, authenticating, ending.
//!
//! [`address`] is what a user configures, [`incoming`] accepts connections and
//! limits those without a token, [`socket`] owns the Unix socket. What a call
//! does is in [`crate::rpc`].

mod address;
mod incoming;
mod socket;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dfs_control::tls::Certificate;
use dfs_control::token::{self, Token, TokenFile};
use dfs_control::{DESCRIPTORS, Endpoint};
use dfs_node::NodeClient;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use crate::error::DaemonError;
use crate::metrics::Metrics;
use crate::rpc::ControlService;
use crate::timing::KEEPALIVE_INTERVAL;
pub use address::ControlAddress;
use incoming::Caller;
use socket::SocketFile;

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
                let (listener, file) = socket::listen(path).await.map_err(failed)?;
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
            Listener::Unix(_, file) => format!("unix:{}", file.path().display()),
        }
    }

    /// The certificate that a client has to be told of.
    pub(super) fn certificate(&self) -> Option<&Certificate> {
        match &self.listener {
            Listener::Tls(_, _, certificate) => Some(certificate),
            _ => None,
        }
    }

    /// Serves until `stop`; returns when the last call has ended.
    pub(super) async fn serve(
        self,
        client: NodeClient,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        // The token file is removed when the last call has ended.
        let Self { listener, token, token_file: _token_file } = self;
        let refused = Arc::clone(&metrics);
        let check = move |request: tonic::Request<()>| {
            if let Some(token) = &token {
                token.check(&request).inspect_err(|_| {
                    refused.control_refused.inc();
                })?;
            }
            refused.control_calls.inc();
            if let Some(caller) = request.extensions().get::<Caller>() {
                caller.allow();
            }
            Ok(request)
        };
        let service = ControlService::new(client, stop.clone()).into_server();
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<dfs_control::ControlServer<ControlService>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .expect("the build made the descriptors");
        let router = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .trace_fn(|request| {
                let call = request.uri().path().rsplit('/').next().unwrap_or_default();
                tracing::info_span!("control", call, cid = tracing::field::Empty)
            })
            .add_service(InterceptedService::new(service, check))
            .add_service(health_service)
            .add_service(reflection);
        let stopped = stop.cancelled_owned();
        match listener {
            Listener::Tcp(listener, _) => {
                let incoming = incoming::tcp(listener, incoming::places());
                router.serve_with_incoming_shutdown(incoming, stopped).await
            }
            Listener::Tls(listener, _, certificate) => {
                let incoming = incoming::tls(listener, certificate.acceptor(), incoming::places());
                router.serve_with_incoming_shutdown(incoming, stopped).await
            }
            Listener::Unix(listener, _file) => {
                let incoming = incoming::unix(listener, incoming::places());
                router.serve_with_incoming_shutdown(incoming, stopped).await
            }
        }
    }
}

/// The token that calls have to carry, and the file that it is in. In this
/// order: the configured file, the environment, the default path.
fn place_token(
    addr: SocketAddr,
    token_file: Option<PathBuf>,
) -> Result<(Token, Option<TokenFile>), DaemonError> {
    let path = match token_file {
        Some(path) => path,
        None => match Token::from_environment()? {
            Some(token) => return Ok((token, None)),
            None => token::default_path(&Endpoint::from(addr))?,
        },
    };
    let (file, token) = TokenFile::create(path)?;
    Ok((token, Some(file)))
}
