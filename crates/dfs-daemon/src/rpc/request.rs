//! Arguments of calls, parsed and checked.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use dfs_control::Failure;
use dfs_node::Cid;
use tonic::Status;

/// A CID. It becomes a field of the span of the call.
pub(super) fn cid(text: &str) -> Result<Cid, Status> {
    let cid: Cid =
        text.parse().map_err(|error| usage(format!("{text:?} is not a CID: {error}")))?;
    tracing::Span::current().record("cid", tracing::field::display(cid));
    Ok(cid)
}

/// An absolute path. A relative one would start from the directory of the
/// daemon, which is not the one that the user sees.
pub(super) fn path(bytes: Vec<u8>) -> Result<PathBuf, Status> {
    let path = PathBuf::from(OsString::from_vec(bytes));
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(usage(format!("the path {} is not absolute", path.display())))
    }
}

pub(super) fn usage(message: impl Into<String>) -> Status {
    Status::new(Failure::Usage.code(), message)
}

pub(super) fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
