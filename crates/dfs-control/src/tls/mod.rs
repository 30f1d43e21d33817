//! Encryption of a control plane beyond loopback.
//!
//! There is no certificate authority: the daemon generates its own certificate
//! ([`Certificate`]), and the client accepts exactly that one ([`Fingerprint`])
//! and may remember it ([`KnownDaemons`]). TLS 1.3 only. The cryptographic
//! provider is named here and never taken from the process, so a program that
//! embeds this crate keeps its own.

mod certificate;
mod known;
mod pin;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::CertificateDer;

pub use certificate::{Certificate, CertificateError, PemError};
pub use known::{KnownDaemons, KnownError};
pub(crate) use pin::{DialError, Pinned};

/// The protocol that both sides offer: gRPC over HTTP/2.
const ALPN: &[u8] = b"h2";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// SHA-256 of a certificate in DER, as `openssl x509 -fingerprint -sha256`
/// prints it. As text: 64 hexadecimal digits; the parser accepts colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, certificate);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 hexadecimal digits")]
pub struct FingerprintError;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or(FingerprintError)?;
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |a, d| a << 4 | d)).collect();
        if digits.len() != 64 {
            return Err(FingerprintError);
        }
        bytes.try_into().map(Self).map_err(|_| FingerprintError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_parse_with_and_without_colons() {
        let text = "0a".repeat(31) + "ff";
        let fingerprint: Fingerprint = text.parse().expect("64 digits");
        assert_eq!(fingerprint.to_string(), text);
        let colons = format!("{}FF", "0A:".repeat(31));
        assert_eq!(colons.parse(), Ok(fingerprint));
        for text in ["", "0a", &"0a".repeat(33), &"0g".repeat(32), &"0é".repeat(32)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
        }
    }
}
