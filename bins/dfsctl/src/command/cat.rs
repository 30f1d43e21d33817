//! `dfsctl cat`: writes a part of a content to standard output, and fetches what of it is not
//! held.

use std::io::{Write, stdout};

use dfs_control::proto::ReadRangeRequest;
use tokio::signal::unix::{SignalKind, signal};

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
    let mut parts = client.read_range(request).await?.into_inner();
    let mut out = stdout().lock();
    while let Some(part) = parts.message().await? {
        // At once: another program may wait for the bytes.
        let written = out.write_all(&part.data).and_then(|()| out.flush());
        written.map_err(|error| Failure::stdout(&error))?;
    }
    Ok(())
}
