//! Serving the control plane: listening, authenticating, ending.
//!
//! [`address`] is what a user configures, [`incoming`] accepts connections and
//! limits those without a token, [`socket`] owns the Unix socket. What a call
//! does is in [`crate::rpc`].

mod address;
mod incoming;
pub(crate) mod socket;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use dfs_control::DESCRIPTORS;
use dfs_control::tls::Certificate;
use dfs_control::token::{self, Token, TokenFile};
use dfs_node::NodeClient;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use crate::error::DaemonError;
use crate::metrics::Metrics;
use crate::rpc::ControlService;
use crate::timing::KEEPALIVE_INTERVAL;
pub use address::{ControlAddress, InvalidAddress};
use incoming::{Admission, Caller};
use socket::Socket;
pub use socket::SocketError;

/// A control plane that listens and does not serve yet.
pub(super) struct Control {
    listener: Listener,
}

enum Listener {
    Tcp(TcpListener, SocketAddr),
    Tls(TcpListener, SocketAddr, Certificate),
    Unix(Socket),
}

/// The token that calls over TCP must carry.
pub(super) struct PlacedToken {
    /// `None` on a Unix socket.
    token: Option<Token>,
    /// The file for clients, unless the token is from the environment. Dropping
    /// it removes the file.
    _file: Option<TokenFile>,
}

impl Control {
    /// Opens the socket; beyond loopback, generates the certificate if there is
    /// none.
    pub(super) async fn open(
        address: &ControlAddress,
        certificate_file: &Path,
    ) -> Result<Self, DaemonError> {
        let addr = match address {
            ControlAddress::Unix(path) => {
                return Ok(Self { listener: Listener::Unix(socket::listen(path).await?) });
            }
            ControlAddress::Tcp(addr) => *addr,
        };
        let failed = |source| DaemonError::Control { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let listener = if addr.ip().is_loopback() {
            Listener::Tcp(listener, addr)
        } else {
            Listener::Tls(listener, addr, Certificate::load_or_create(certificate_file)?)
        };
        Ok(Self { listener })
    }

    /// Leaves the token, or the Unix socket, where clients find it. The daemon does this
    /// once the node runs, so that a daemon that cannot start leaves the token and the socket
    /// of a running one alone.
    ///
    /// The token is, in this order: a new one in the configured file, the one
    /// in the environment, a new one in the default file.
    pub(super) fn place_token(
        &mut self,
        token_file: Option<&Path>,
    ) -> Result<PlacedToken, DaemonError> {
        let addr = match &mut self.listener {
            Listener::Unix(socket) => {
                socket.place()?;
                return Ok(PlacedToken { token: None, _file: None });
            }
            Listener::Tcp(_, addr) | Listener::Tls(_, addr, _) => *addr,
        };
        let (file, token) = match token_file {
            Some(path) => TokenFile::create(path)?,
            None => match Token::from_environment()? {
                Some(token) => return Ok(PlacedToken { token: Some(token), _file: None }),
                None => TokenFile::create(&token::default_path(addr)?)?,
            },
        };
        Ok(PlacedToken { token: Some(token), _file: Some(file) })
    }

    /// Where it listens, as `dfsctl --grpc-addr` takes it.
    pub(super) fn address(&self) -> String {
        match &self.listener {
            Listener::Tcp(_, addr) => addr.to_string(),
            Listener::Tls(_, addr, _) => format!("https://{addr}"),
            Listener::Unix(socket) => format!("unix:{}", socket.path().display()),
        }
    }

    /// The certificate that clients must know, if the control plane has one.
    pub(super) fn certificate(&self) -> Option<&Certificate> {
        match &self.listener {
            Listener::Tls(_, _, certificate) => Some(certificate),
            Listener::Tcp(..) | Listener::Unix(..) => None,
        }
    }

    /// Serves until `stop`; returns when the last call has ended.
    pub(super) async fn serve(
        self,
        placed: PlacedToken,
        client: NodeClient,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        // The token file is removed when the last call has ended.
        let PlacedToken { token, _file } = placed;
        let admission = Admission::new(Arc::clone(&metrics));
        let check = move |request: tonic::Request<()>| {
            if let Some(token) = &token {
                token.check(&request).inspect_err(|_| {
                    metrics.control_refused.inc();
                })?;
            }
            metrics.control_calls.inc();
            if let Some(caller) = request.extensions().get::<Caller>() {
                caller.authenticate();
            }
            Ok(request)
        };
        let service = ControlService::new(client, stop.clone()).into_server();
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<dfs_control::ControlServer<ControlService>>().await;
        let router = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .trace_fn(|request| {
                let call = request.uri().path().rsplit('/').next().unwrap_or_default();
                tracing::info_span!("control", call, cid = tracing::field::Empty)
            })
            .add_service(InterceptedService::new(service, check))
            .add_service(health_service)
            .add_service(reflection().build_v1().expect(DESCRIPTORS_ARE_VALID))
            .add_service(reflection().build_v1alpha().expect(DESCRIPTORS_ARE_VALID));
        let stopped = stop.cancelled_owned();
        match self.listener {
            Listener::Tcp(listener, _) => {
                let incoming = incoming::tcp(listener, admission);
                router.serve_with_incoming_shutdown(incoming, stopped).await
            }
            Listener::Tls(listener, _, certificate) => {
                let incoming = incoming::tls(listener, certificate.acceptor(), admission);
                router.serve_with_incoming_shutdown(incoming, stopped).await
            }
            Listener::Unix(socket) => {
                let (listener, _file) = socket.into_parts();
                let incoming = incoming::unix(listener, admission);
                router.serve_with_incoming_shutdown(incoming, stopped).await
            }
        }
    }
}

const DESCRIPTORS_ARE_VALID: &str = "the build generated the descriptors";

/// Reflection in both versions that clients use: `v1`, and `v1alpha`, the only
/// one that some client libraries know.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
