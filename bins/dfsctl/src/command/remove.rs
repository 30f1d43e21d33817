//! `dfsctl rm`.

use std::io::{IsTerminal, Write, stdin};

use dfs_control::Failure as Kind;
use dfs_control::proto::{InspectRequest, RemoveRequest};
use dfs_core::Cid;
use indicatif::HumanBytes;

use crate::deadline;
use crate::failure::Failure;
use crate::render;
use crate::target::Target;

pub(super) async fn run(target: &Target, cid: Cid, yes: bool) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    if !yes {
        let request = InspectRequest { cid: cid.to_string() };
        let what = match deadline::reply(client.inspect(request)).await {
            Ok(content) => {
                format!("{} ({}, {cid})", render::escape(&content.name), HumanBytes(content.size))
            }
            // A download whose header has not arrived can be forgotten too.
            Err(failure) if failure.exit_code == Kind::NotFound.exit_code() => cid.to_string(),
            Err(failure) => return Err(failure),
        };
        confirm(&format!("Forget {what}?"))?;
    }
    let request = RemoveRequest { cid: cid.to_string() };
    let freed = client.remove(request).await?.into_inner().freed_bytes;
    render::line(format!("removed; {} freed", HumanBytes(freed)))
}

/// Asks on the terminal; fails if there is none.
fn confirm(question: &str) -> Result<(), Failure> {
    if !stdin().is_terminal() {
        let message = "rm asks before it forgets, and there is no terminal; use --yes";
        return Err(Failure::new(Kind::Usage, message));
    }
    let mut out = std::io::stderr();
    let mut answer = String::new();
    write!(out, "{question} [y/N] ")
        .and_then(|()| out.flush())
        .and_then(|()| stdin().read_line(&mut answer))
        .map_err(|error| Failure::system("ask on the terminal", &error))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Kind::Cancelled, "nothing was removed"))
}
