//! The record kinds, one a file: its family, its key, its row and its codec.
//!
//! A new record kind is a file here with an implementation of
//! [`crate::Table`], and a place in [`crate::layout::FAMILIES`].

mod download;
mod download_page;
mod file;
mod have;
mod intent;
mod item;
mod manifest;
mod page;
mod provide;

pub use download::{
    Destination, DownloadRecord, DownloadState, Downloads, FailureKind, FileIdentity,
};
pub use download_page::{DownloadPage, DownloadPages, PageEnd};
pub use file::{FileId, Files, LinkedFile};
pub(crate) use have::MAX_LINKS;
pub use have::{Have, Haves, Link};
pub use intent::{Intents, PortionNumber};
pub use item::{Item, Items};
pub use manifest::Manifests;
pub use page::Pages;
pub use provide::{ProvideRecord, Provides};
