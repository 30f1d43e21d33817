//! `dfsctl status --workers`.

use dfs_control::proto::{Worker, WorkerState, WorkersRequest};
use serde::Serialize;

use crate::args::Format;
use crate::deadline;
use crate::failure::Failure;
use crate::render;
use crate::target::Target;

/// A worker, as `--json` prints it.
#[derive(Serialize)]
struct Row {
    name: String,
    state: &'static str,
    steps: u64,
    last_run_ms_ago: Option<u64>,
    last_duration_ms: Option<u64>,
    next_run_ms: Option<u64>,
    last_error: Option<String>,
    restarts: u64,
}

impl From<Worker> for Row {
    fn from(worker: Worker) -> Self {
        Self {
            state: match worker.state() {
                WorkerState::Unspecified => "unknown",
                WorkerState::Waiting => "waiting",
                WorkerState::Working => "working",
                WorkerState::Restarting => "restarting",
                WorkerState::Ended => "ended",
            },
            name: worker.name,
            steps: worker.steps,
            last_run_ms_ago: worker.last_run_ms_ago,
            last_duration_ms: worker.last_duration_ms,
            next_run_ms: worker.next_run_ms,
            last_error: (!worker.last_error.is_empty()).then_some(worker.last_error),
            restarts: worker.restarts,
        }
    }
}

pub(super) async fn run(target: &Target, format: Format) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    deadline::show_all(client.workers(WorkersRequest {}), |rows: &[Row]| show(rows, format)).await
}

fn show(rows: &[Row], format: Format) -> Result<(), Failure> {
    if format.json {
        return render::json(rows);
    }
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            let ago = |ms: u64| format!("{} ago", render::span(ms / 1000));
            [
                row.name.clone(),
                row.state.to_owned(),
                row.steps.to_string(),
                row.last_run_ms_ago.map_or_else(|| "never".to_owned(), ago),
                row.next_run_ms.map_or_else(
                    || "when needed".to_owned(),
                    |ms| format!("in {}", render::span(ms / 1000)),
                ),
                render::escape(row.last_error.as_deref().unwrap_or("-")),
            ]
        })
        .collect();
    render::table(["WORKER", "STATE", "STEPS", "LAST RUN", "NEXT RUN", "LAST ERROR"], &cells)
}
