//! Deadlines of commands that only read: a daemon that does not answer must not
//! hold up a script.
//!
//! Commands that follow a long job have no deadline. Their connection fails when
//! the daemon stops answering, and [`is_silent`] then tells a daemon that stands
//! still from one that has ended.

use std::future::Future;
use std::time::Duration;

use dfs_control::REPLY_TIMEOUT;
use dfs_control::proto::StatusRequest;
use tokio::time::timeout;
use tonic::{Response, Status, Streaming};

use crate::failure::Failure;
use crate::target::Target;

/// Time to answer a second connection, after the first one has failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The reply to a call.
pub(crate) async fn reply<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    Ok(within(call).await??.into_inner())
}

/// The next message of a reply in parts; `None` at its end.
pub(crate) async fn next<T>(stream: &mut Streaming<T>) -> Result<Option<T>, Failure> {
    Ok(within(stream.message()).await??)
}

/// Shows all messages of a reply in parts, also if an error follows them.
pub(crate) async fn show_all<T, R: From<T>>(
    call: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
    show: impl FnOnce(&[R]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut stream = reply(call).await?;
    let mut rows = Vec::new();
    let ended = loop {
        match next(&mut stream).await {
            Ok(Some(message)) => rows.push(message.into()),
            Ok(None) => break Ok(()),
            Err(failure) if rows.is_empty() => return Err(failure),
            Err(failure) => break Err(failure),
        }
    };
    show(&rows)?;
    ended
}

async fn within<T>(answer: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(REPLY_TIMEOUT, answer).await.map_err(|_| Failure::silent())
}

/// Whether a daemon takes connections and does not answer on them. Asked after
/// a connection has failed.
pub(crate) async fn is_silent(target: &Target) -> bool {
    let answer =
        async { target.connect().await?.status(StatusRequest {}).await.map_err(Failure::from) };
    timeout(PROBE_TIMEOUT, answer).await.is_err()
}
