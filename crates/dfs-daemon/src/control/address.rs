//! Where the control plane listens.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::DaemonError;

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
