//! `dfsctl list`.

use dfs_control::proto::{Item, ListRequest};

use indicatif::HumanBytes;
use serde::Serialize;

use crate::args::Format;
use crate::deadline;
use crate::failure::Failure;
use crate::linked::LinkedFile;
use crate::render;
use crate::target::Target;

/// One row, as `--json` prints it.
#[derive(Serialize)]
struct Row {
    cid: String,
    name: Option<String>,
    size: u64,
    chunks: u64,
    added_ms: u64,
    provided: bool,
    public: bool,
    complete: bool,
    pinned: bool,
    used_ms: u64,
    files: Vec<LinkedFile>,
}

impl From<Item> for Row {
    fn from(item: Item) -> Self {
        Self {
            cid: item.cid,
            name: (!item.name.is_empty()).then_some(item.name),
            size: item.size,
            chunks: item.chunks,
            added_ms: item.added_ms,
            provided: item.provided,
            public: item.public,
            complete: true,
            pinned: item.pinned,
            used_ms: item.used_ms,
            files: item.files.into_iter().map(LinkedFile::from).collect(),
        }
    }
}

pub(super) async fn run(target: &Target, format: Format) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    deadline::show_all(client.list(ListRequest {}), |rows: &[Row]| show(rows, format)).await
}

fn show(rows: &[Row], format: Format) -> Result<(), Failure> {
    if format.json {
        return render::json(rows);
    }
    let heading = ["CID", "SIZE", "CHUNKS", "ADDED", "PROVIDED", "PUBLIC", "NAME"];
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            [
                row.cid.clone(),
                HumanBytes(row.size).to_string(),
                row.chunks.to_string(),
                render::age(row.added_ms),
                render::mark(row.provided),
                render::mark(row.public),
                name(row),
            ]
        })
        .collect();
    render::table(heading, &cells)
}

/// The name, and the files that the content is linked to.
fn name(row: &Row) -> String {
    let name = render::escape(row.name.as_deref().unwrap_or("-"));
    row.files.iter().fold(name, |text, file| format!("{text} -> {file}"))
}
