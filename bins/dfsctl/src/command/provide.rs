//! `dfsctl provide`, `unprovide` and `providing`.

use dfs_control::Failure as Kind;
use dfs_control::proto::{
    ProvideRequest, Provided, ProvidingRequest, UnprovideRequest, VerifyProvideRequest,
};
use dfs_core::Cid;
use serde::Serialize;

use crate::args::Format;
use crate::deadline;
use crate::failure::Failure;
use crate::render;
use crate::target::Target;

pub(super) async fn run(target: &Target, cid: Cid, verify: bool) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    let request = ProvideRequest { cid: cid.to_string() };
    let reply = client.provide(request).await?.into_inner();
    let sent = match reply.sent_to {
        0 => "provided; no node is known yet, so the record is sent as soon as one is".to_owned(),
        n => format!("provided; record sent to {}", render::count(n.into(), "node")),
    };
    render::line(sent)?;
    if verify {
        let request = VerifyProvideRequest { cid: cid.to_string() };
        let reply = client.verify_provide(request).await?.into_inner();
        let (confirmed, asked) = (reply.confirmed, reply.asked);
        render::line(format!("{confirmed} of the {asked} closest nodes have it on record"))?;
    }
    Ok(())
}

pub(super) async fn stop(target: &Target, cid: Cid) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    let request = UnprovideRequest { cid: cid.to_string() };
    if client.unprovide(request).await?.into_inner().was_provided {
        return render::line("no longer provided; records elsewhere expire within two days");
    }
    Err(Failure::new(Kind::NotFound, format!("{cid} is not provided")))
}

/// One row, as `--json` prints it.
#[derive(Serialize)]
struct Row {
    cid: String,
    since_ms: u64,
    announced_ms: Option<u64>,
    due_ms: u64,
    sent_to: u32,
}

impl From<Provided> for Row {
    fn from(provided: Provided) -> Self {
        Self {
            cid: provided.cid,
            since_ms: provided.since_ms,
            announced_ms: provided.announced_ms,
            due_ms: provided.due_ms,
            sent_to: provided.sent_to,
        }
    }
}

pub(super) async fn list(target: &Target, format: Format) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    deadline::show_all(client.providing(ProvidingRequest {}), |rows: &[Row]| {
        show_list(rows, format)
    })
    .await
}

fn show_list(rows: &[Row], format: Format) -> Result<(), Failure> {
    if format.json {
        return render::json(rows);
    }
    let heading = ["CID", "SINCE", "ANNOUNCED", "DUE", "SENT TO"];
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            [
                row.cid.clone(),
                render::age(row.since_ms),
                row.announced_ms.map_or_else(|| "never".to_owned(), render::age),
                render::until(row.due_ms),
                row.sent_to.to_string(),
            ]
        })
        .collect();
    render::table(heading, &cells)
}
