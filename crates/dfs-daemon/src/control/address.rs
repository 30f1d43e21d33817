//! Where the control plane listens.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

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

/// A text that is no control address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write it as 127.0.0.1:50051 or unix:/path")]
pub struct InvalidAddress;

impl FromStr for ControlAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some("") | None => tcp(text).map(Self::Tcp).ok_or(InvalidAddress),
            Some(path) => Ok(Self::Unix(path.into())),
        }
    }
}

/// The address of a TCP socket; `localhost` stands for 127.0.0.1, as it does
/// for clients.
fn tcp(text: &str) -> Option<SocketAddr> {
    match text.rsplit_once(':') {
        Some((host, port)) if host.eq_ignore_ascii_case("localhost") => {
            Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into())
        }
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_an_ipv4_address() {
        let parse = |text: &str| text.parse::<ControlAddress>();
        assert_eq!(parse("localhost:7"), parse("127.0.0.1:7"));
        assert_eq!(parse("LocalHost:7"), parse("127.0.0.1:7"));
        for text in ["", "localhost", "localhost:x", "127.0.0.1", "nas.lan:7", "unix:"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
