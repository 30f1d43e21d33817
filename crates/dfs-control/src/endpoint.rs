//! Where a control plane is, for the daemon that listens there and for the
//! client that connects to it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The address of a control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// A TCP port.
    Tcp {
        /// Name or address of the host; an IPv6 address in brackets.
        host: String,
        /// Port.
        port: u16,
        /// Whether TLS is spoken there.
        tls: bool,
    },
    /// A Unix socket, protected by its file permissions.
    Unix {
        /// The socket.
        path: PathBuf,
    },
}

/// A text that is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a control address; write it as http://127.0.0.1:50051, https://HOST:50051 or unix:/path"
)]
pub struct EndpointError {
    /// The text as given.
    pub text: String,
}

impl Endpoint {
    /// Whether the daemon runs on this machine, and so can open the files that
    /// this machine's paths name.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix { .. } => true,
            Self::Tcp { host, .. } => {
                host.eq_ignore_ascii_case("localhost")
                    || self.ip().is_some_and(|ip| ip.is_loopback())
            }
        }
    }

    /// The socket path, if it is a Unix socket.
    #[must_use]
    pub fn unix_path(&self) -> Option<&Path> {
        match self {
            Self::Unix { path } => Some(path),
            Self::Tcp { .. } => None,
        }
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }

    /// `HOST:PORT`, the host in lower case, if it is a TCP port.
    #[must_use]
    pub fn authority(&self) -> Option<String> {
        match self {
            Self::Unix { .. } => None,
            Self::Tcp { host, port, .. } => Some(format!("{}:{port}", host.to_lowercase())),
        }
    }

    /// The address as a URL without encryption. Where there is a connector of
    /// its own, which is everywhere but on plain TCP, it says where to go and
    /// the URL does not.
    #[must_use]
    pub(crate) fn plain_url(&self) -> String {
        format!("http://{}", self.authority().unwrap_or_else(|| "localhost".to_owned()))
    }

    /// What a token file for this address is named after. The ways to write
    /// loopback are one, and who listens everywhere listens there too.
    #[must_use]
    pub fn token_name(&self) -> String {
        match self {
            Self::Tcp { port, .. } if self.is_local() || self.is_unspecified() => {
                format!("127.0.0.1-{port}")
            }
            Self::Tcp { host, port, .. } => format!("{}-{port}", host.trim_matches(['[', ']'])),
            Self::Unix { .. } => "unix".to_owned(),
        }
    }

    fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Unix { .. } => None,
            Self::Tcp { host, .. } => host.trim_matches(['[', ']']).parse().ok(),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    /// Without TLS.
    fn from(addr: SocketAddr) -> Self {
        let host = match addr {
            SocketAddr::V4(addr) => addr.ip().to_string(),
            SocketAddr::V6(addr) => format!("[{}]", addr.ip()),
        };
        Self::Tcp { host, port: addr.port(), tls: false }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls: false } => write!(f, "{host}:{port}"),
            Self::Tcp { host, port, tls: true } => write!(f, "https://{host}:{port}"),
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Takes `http://HOST:PORT`, `HOST:PORT`, `https://HOST:PORT` and
    /// `unix:PATH`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || EndpointError { text: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(error())
            } else {
                Ok(Self::Unix { path: path.into() })
            };
        }
        let (tls, bare) = match text.strip_prefix("https://") {
            Some(bare) => (true, bare),
            None => (false, text.strip_prefix("http://").unwrap_or(text)),
        };
        let bare = bare.trim_end_matches('/');
        if let Ok(addr) = bare.parse::<SocketAddr>() {
            let Self::Tcp { host, port, .. } = addr.into() else { return Err(error()) };
            return Ok(Self::Tcp { host, port, tls });
        }
        let (host, port) = bare.rsplit_once(':').ok_or_else(error)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if host.is_empty() || !host.chars().all(is_name) {
            return Err(error());
        }
        let port = port.parse().map_err(|_| error())?;
        Ok(Self::Tcp { host: host.to_owned(), port, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_bare_addresses_and_sockets_and_nothing_else() {
        for (text, shown) in [
            ("http://127.0.0.1:50051", "127.0.0.1:50051"),
            ("http://localhost:1/", "localhost:1"),
            ("[::1]:7", "[::1]:7"),
            ("127.0.0.1:2", "127.0.0.1:2"),
            ("https://nas.lan:2/", "https://nas.lan:2"),
            ("https://[::1]:7", "https://[::1]:7"),
            ("unix:/run/dfs.sock", "unix:/run/dfs.sock"),
            ("unix:///run/dfs.sock", "unix:/run/dfs.sock"),
        ] {
            assert_eq!(text.parse::<Endpoint>().expect(text).to_string(), shown);
        }
        for text in [
            "",
            "127.0.0.1",
            "http://:1",
            "ftp://h:1",
            "h:99999",
            "http://a b:1",
            "https://h",
            "unix:",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn all_ways_to_write_loopback_share_a_token() {
        let name = |text: &str| text.parse::<Endpoint>().expect(text).token_name();
        assert_eq!(name("localhost:5"), name("http://127.0.0.1:5"));
        assert_eq!(name("[::1]:5"), name("127.0.0.1:5"));
        assert_eq!(name("https://0.0.0.0:5"), name("127.0.0.1:5"));
        assert_ne!(name("127.0.0.1:6"), name("127.0.0.1:5"));
        assert_ne!(name("10.0.0.1:5"), name("127.0.0.1:5"));
    }
}
