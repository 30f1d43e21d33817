//! Pages of leaves.

use dfs_core::{Page, TreeHash};

use crate::error::Damage;
use crate::layout::{Family, PAGE};
use crate::table::Table;

/// Hash of a page root to the page. Pages change together with their
/// references, so they are no [`crate::Record`]: see [`crate::Batch::put_page`].
#[derive(Debug)]
pub enum Pages {}

impl Table for Pages {
    const FAMILY: Family = PAGE;
    type Key = TreeHash;
    type Row = Page;

    fn encode(page: &Page) -> Vec<u8> {
        page.encode()
    }

    /// The page is not hashed again here: the caller decides whether to.
    fn decode(_: &TreeHash, value: &[u8]) -> Result<Page, Damage> {
        Page::decode(value).map_err(|source| Damage::Page { source })
    }
}
