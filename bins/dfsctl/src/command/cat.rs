//! `dfsctl cat`: writes a part of a content to standard output, and fetches what of it is not
//! held.

use std::io::stdout;

use dfs_control::proto::ReadRangeRequest;
use tokio::signal::unix::{SignalKind, signal};

use super::parts::{self, Unsent};
use crate::args::Cat;
use crate::failure::Failure;
use crate::target::Target;

pub(super) async fn run(target: &Target, args: Cat) -> Result<(), Failure> {
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|error| Failure::system("catch Ctrl+C", &error))?;
    tokio::select! {
        copied = copy(target, &args) => copied,
        _ = interrupt.recv() => Err(Failure::interrupted("interrupted".to_owned())),
    }
}

async fn copy(target: &Target, args: &Cat) -> Result<(), Failure> {
    let request = ReadRangeRequest {
        cid: args.cid.to_string(),
        offset: args.offset,
        length: args.length,
        timeout_s: args.timeout,
    };
    let mut client = target.connect().await?;
    let parts = client.read_range(request).await?.into_inner();
    let copied = parts::copy(parts, &mut stdout().lock(), Failure::stdout).await;
    copied.map_err(Unsent::into_failure)
}
