//! Where a control plane is reached.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// The address of a control plane, as `--grpc-addr` of `dfsctl` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// A text that is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a control address; write it as http://127.0.0.1:50051")]
pub struct EndpointError {
    /// The text as given.
    pub text: String,
}

impl Endpoint {
    /// Whether the daemon runs on this machine, and so can open the files that
    /// this machine's paths name.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let ip = self.host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        self.host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    }

    /// The address as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{self}")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Takes `http://HOST:PORT` and, for convenience, `HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || EndpointError { text: text.to_owned() };
        let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        if let Ok(addr) = bare.parse::<SocketAddr>() {
            let host = match addr {
                SocketAddr::V4(addr) => addr.ip().to_string(),
                SocketAddr::V6(addr) => format!("[{}]", addr.ip()),
            };
            return Ok(Self { host, port: addr.port() });
        }
        let (host, port) = bare.rsplit_once(':').ok_or_else(error)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if host.is_empty() || !host.chars().all(is_name) {
            return Err(error());
        }
        let port = port.parse().map_err(|_| error())?;
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_and_bare_addresses_and_nothing_else() {
        for (text, shown) in [
            ("http://127.0.0.1:50051", "127.0.0.1:50051"),
            ("http://localhost:1/", "localhost:1"),
            ("[::1]:7", "[::1]:7"),
            ("127.0.0.1:2", "127.0.0.1:2"),
        ] {
            assert_eq!(text.parse::<Endpoint>().expect(text).to_string(), shown);
        }
        for text in ["", "127.0.0.1", "http://:1", "ftp://h:1", "h:99999", "http://a b:1"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
