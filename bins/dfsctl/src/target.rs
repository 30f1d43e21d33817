//! The daemon that a command is for.

use std::path::PathBuf;

use dfs_control::{Client, Endpoint, connect};

use crate::failure::Failure;

/// Where the daemon is and how its token is found.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) token_file: Option<PathBuf>,
}

impl Target {
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Ok(connect(&self.endpoint, self.token_file.as_deref()).await?)
    }
}
