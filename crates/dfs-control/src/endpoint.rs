//! The address of a control plane, for the client that connects to it and for
//! the name of the token file that both sides use.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
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

/// A text that is no control address.
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
            Self::Tcp { .. } => self.ip().is_some_and(|ip| ip.is_loopback()),
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

    /// The address as a URL without encryption. Unix sockets and TLS have a
    /// connector of their own, which ignores the host of the URL.
    #[must_use]
    pub(crate) fn plain_url(&self) -> String {
        format!("http://{}", self.authority().unwrap_or_else(|| "localhost".to_owned()))
    }

    /// The name of the token file of a daemon that listens at this address.
    /// Daemons at different addresses have different names.
    #[must_use]
    pub(crate) fn token_name(addr: SocketAddr) -> String {
        format!("{}-{}", addr.ip(), addr.port())
    }

    /// The names under which the token of the daemon at this address may be:
    /// its own, and then those of daemons that listen on all addresses of this
    /// machine.
    pub(crate) fn token_names(&self) -> Vec<String> {
        let (host, port) = match self {
            Self::Unix { .. } => return Vec::new(),
            Self::Tcp { host, port, .. } => (host.trim_matches(['[', ']']), *port),
        };
        let all: &[IpAddr] = match self.ip() {
            Some(IpAddr::V4(ip)) if ip.is_loopback() => {
                &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
            }
            Some(IpAddr::V6(ip)) if ip.is_loopback() => &[IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            Some(_) | None => &[],
        };
        let mut names = vec![format!("{}-{port}", host.to_lowercase())];
        names.extend(all.iter().map(|ip| Self::token_name((*ip, port).into())));
        names
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
    /// `unix:PATH`. `localhost` stands for 127.0.0.1 and no other address.
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
        let host = if host.eq_ignore_ascii_case("localhost") { "127.0.0.1" } else { host };
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
            ("http://localhost:1/", "127.0.0.1:1"),
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
    fn daemons_at_different_addresses_have_different_token_files() {
        let names = |text: &str| text.parse::<Endpoint>().expect(text).token_names();
        assert_eq!(names("localhost:5"), ["127.0.0.1-5", "0.0.0.0-5", "::-5"]);
        assert_eq!(names("https://127.0.0.2:5"), ["127.0.0.2-5", "0.0.0.0-5", "::-5"]);
        assert_eq!(names("[::1]:5"), ["::1-5", "::-5"]);
        assert_eq!(names("10.0.0.1:5"), ["10.0.0.1-5"]);
        assert_eq!(names("https://Nas.lan:5"), ["nas.lan-5"]);
        assert!(names("unix:/run/dfs.sock").is_empty());
        for text in ["127.0.0.1:5", "127.0.0.2:5", "[::1]:5"] {
            let addr: SocketAddr = text.parse().expect(text);
            assert_eq!(Endpoint::token_name(addr), names(text)[0]);
        }
    }
}
