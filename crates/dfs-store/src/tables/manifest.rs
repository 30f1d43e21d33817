//! Manifests of content that is held completely.

use dfs_core::{Cid, Manifest};

use crate::error::Damage;
use crate::layout::{Family, META};
use crate::table::{Record, Table};

/// CID to manifest. The value is the manifest as `docs/content-format.md`
/// encodes it. A row stands beside a row of [`super::Items`] in one batch.
#[derive(Debug)]
pub enum Manifests {}

impl Table for Manifests {
    const FAMILY: Family = META;
    type Key = Cid;
    type Row = Manifest;

    fn encode(manifest: &Manifest) -> Vec<u8> {
        manifest.encode()
    }

    fn decode(cid: &Cid, value: &[u8]) -> Result<Manifest, Damage> {
        let manifest = Manifest::decode(value).map_err(|source| Damage::Manifest { source })?;
        let found = manifest.cid();
        if found == *cid { Ok(manifest) } else { Err(Damage::OtherContent { found }) }
    }
}

impl Record for Manifests {}
