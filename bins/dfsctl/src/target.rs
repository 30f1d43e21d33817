//! The daemon that a command is for.

use std::path::PathBuf;

use dfs_control::tls::{Fingerprint, KnownDaemons, KnownError};
use dfs_control::{Client, Credentials, Endpoint, Failure as Kind, connect};

use crate::failure::Failure;

/// Where the daemon is, how its token is found, and which certificate it has.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) tls_fingerprint: Option<Fingerprint>,
}

impl Target {
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let certificate = self.certificate()?;
        let token_file = self.token_file.as_deref();
        let client = connect(&self.endpoint, Credentials { token_file, certificate }).await?;
        if let Some(fingerprint) = self.tls_fingerprint {
            self.remember(fingerprint);
        }
        Ok(client)
    }

    /// The certificate named, else the one remembered.
    fn certificate(&self) -> Result<Option<Fingerprint>, Failure> {
        match self.tls_fingerprint {
            Some(_) if !self.endpoint.is_tls() => Err(Failure::new(
                Kind::Usage,
                format!("--tls-fingerprint goes with https://; {} has no TLS", self.endpoint),
            )),
            Some(named) => Ok(Some(named)),
            None if self.endpoint.is_tls() => Ok(KnownDaemons::load()?.get(&self.endpoint)),
            None => Ok(None),
        }
    }

    /// Keeps the certificate for the next time. The command at hand does not
    /// need that, so a failure is only told.
    fn remember(&self, fingerprint: Fingerprint) {
        let remembered =
            KnownDaemons::load().and_then(|mut known| known.remember(&self.endpoint, fingerprint));
        if let Err(error) = remembered {
            eprintln!("dfsctl: the certificate is not remembered: {error}");
        }
    }
}

impl From<KnownError> for Failure {
    fn from(error: KnownError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}
