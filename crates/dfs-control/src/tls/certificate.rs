//! The certificate of a daemon: generated at the first start and kept.
//!
//! The file is PEM: the private key, and the certificate signed with it. Only
//! its owner may be able to read it. Clients trust the fingerprint, so the
//! certificate names no host and does not expire.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, version};

use super::{ALPN, Fingerprint, provider};
use crate::private_file::{self, PrivateFileError};
use crate::run_file::{self, ReplaceError};

/// More than a key and a certificate take, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Other users can read the file, or it belongs to one of them.
    #[error(
        "{} is open to others or not yours, so it is not taken for the key of the control plane; if no other user has copied it, run: chmod go-rwx {}",
        path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a key with its certificate.
    #[error(
        "{} does not hold a private key and its certificate; remove it to have new ones made, and give their fingerprint to every client",
        path.display()
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PemError,
    },
    /// The file cannot be read, or its directory not created.
    #[error("cannot use the certificate {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot keep a new certificate")]
    Write(#[from] ReplaceError),
    /// No certificate can be generated.
    #[error("cannot generate a certificate")]
    Generate(#[from] rcgen::Error),
}

/// What is wrong with the text of a certificate file.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It is not text of a plausible size.
    #[error("it is not a text file of at most {MAX_FILE} bytes")]
    NotText,
    /// It has no private key.
    #[error("it has no private key")]
    NoKey(#[source] pem::Error),
    /// It has no certificate.
    #[error("it has no certificate")]
    NoCertificate(#[source] pem::Error),
    /// Key and certificate do not belong together, or cannot be used.
    #[error("key and certificate cannot be used together")]
    Unusable(#[source] tokio_rustls::rustls::Error),
}

/// A certificate with its private key, ready to serve.
#[derive(Clone)]
pub struct Certificate {
    config: Arc<ServerConfig>,
    fingerprint: Fingerprint,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({})", self.fingerprint)
    }
}

impl Certificate {
    /// Reads the file, or makes a new key, its certificate and the file if
    /// there is none.
    ///
    /// # Errors
    /// [`CertificateError`] if the file is exposed, not a key with its
    /// certificate, or not accessible.
    pub fn load_or_create(path: &Path) -> Result<Self, CertificateError> {
        let invalid = |source| CertificateError::Invalid { path: path.to_owned(), source };
        match private_file::read_own(path, MAX_FILE) {
            Ok(pem) => Self::from_pem(&pem).map_err(invalid),
            Err(PrivateFileError::Absent) => Self::create(path),
            Err(PrivateFileError::Exposed(path)) => Err(CertificateError::Exposed { path }),
            Err(PrivateFileError::Invalid) => Err(invalid(PemError::NotText)),
            Err(PrivateFileError::Io(source)) => {
                Err(CertificateError::Io { path: path.to_owned(), source })
            }
        }
    }

    /// What a client must know of the daemon.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Carries out the TLS handshake of a connection.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    fn create(path: &Path) -> Result<Self, CertificateError> {
        run_file::destination(path)?;
        let pem = generate()?;
        let made = Self::from_pem(&pem)
            .map_err(|source| CertificateError::Invalid { path: path.to_owned(), source })?;
        if let Some(directory) = path.parent() {
            let io = |source| CertificateError::Io { path: path.to_owned(), source };
            std::fs::create_dir_all(directory).map_err(io)?;
        }
        private_file::write(path, &pem)?;
        Ok(made)
    }

    fn from_pem(pem: &str) -> Result<Self, PemError> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(PemError::NoKey)?;
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(PemError::NoCertificate)?;
        let fingerprint = Fingerprint::of(&certificate);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])
            .expect("the provider speaks TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(PemError::Unusable)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { config: Arc::new(config), fingerprint })
    }
}

/// A new key and its certificate, as PEM.
fn generate() -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(["dfsd".to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "dfsd");
    let certificate = params.self_signed(&key)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_certificate_is_kept_and_private() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("deep/control.pem");
        let first = Certificate::load_or_create(&path).expect("create").fingerprint();
        assert_eq!(Certificate::load_or_create(&path).expect("read").fingerprint(), first);
        let other = Certificate::load_or_create(&directory.path().join("other")).expect("create");
        assert_ne!(other.fingerprint(), first);
        let mode = fs::metadata(&path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);

        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("chmod");
        let read = Certificate::load_or_create(&path);
        assert!(matches!(read, Err(CertificateError::Exposed { .. })), "{read:?}");
    }

    #[test]
    fn a_damaged_file_is_refused_and_kept() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("control.pem");
        Certificate::load_or_create(&path).expect("create");
        let whole = fs::read_to_string(&path).expect("read");
        let key_only = whole.split("-----BEGIN CERTIFICATE").next().expect("the key comes first");
        let other = generate().expect("another");
        let foreign =
            format!("{key_only}{}", &other[other.find("-----BEGIN CERT").expect("one")..]);
        for text in ["", key_only, &whole[key_only.len()..], &foreign, &"x".repeat(70_000)] {
            fs::write(&path, text).expect("write");
            let read = Certificate::load_or_create(&path);
            assert!(matches!(read, Err(CertificateError::Invalid { .. })), "{read:?}");
            assert_eq!(fs::read_to_string(&path).expect("read"), text);
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_named_and_not_replaced() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("control.pem");
        let target = directory.path().join("not-mounted/control.pem");
        std::os::unix::fs::symlink(&target, &path).expect("a link");
        let error = Certificate::load_or_create(&path).expect_err("no certificate");
        let CertificateError::Write(error @ ReplaceError::DanglingLink { .. }) = error else {
            panic!("{error:?}");
        };
        assert!(error.to_string().contains("which does not exist"), "{error}");
        assert!(fs::symlink_metadata(&path).expect("the link").file_type().is_symlink());
    }
}
