//! The daemon that a command controls.

use std::path::PathBuf;

use dfs_control::tls::{Fingerprint, KnownDaemons};
use dfs_control::{Client, Credentials, Endpoint, Failure as Kind, connect};

use crate::failure::Failure;
use crate::render;

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

    /// The certificate of the command line, else the remembered one.
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

    /// Remembers the certificate for later commands. This command does not need
    /// that, so a failure is only reported.
    fn remember(&self, fingerprint: Fingerprint) {
        let remembered =
            KnownDaemons::load().and_then(|mut known| known.remember(&self.endpoint, fingerprint));
        if let Err(error) = remembered {
            let failure = Failure::from(error);
            render::error(&format!("the certificate is not remembered: {}", failure.message));
        }
    }
}
