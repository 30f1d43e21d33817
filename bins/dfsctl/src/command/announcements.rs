//! `dfsctl announcements`.

use dfs_control::proto::{Announcement, AnnouncementsRequest};

use indicatif::HumanBytes;
use serde::Serialize;

use crate::args::Format;
use crate::deadline;
use crate::failure::Failure;
use crate::render;
use crate::target::Target;

/// An announcement, as `--json` prints it.
#[derive(Serialize)]
struct Row {
    cid: String,
    size: u64,
    name: Option<String>,
    sender: String,
    heard_ms: u64,
}

impl From<Announcement> for Row {
    fn from(announcement: Announcement) -> Self {
        Self {
            cid: announcement.cid,
            size: announcement.size,
            name: (!announcement.name.is_empty()).then_some(announcement.name),
            sender: announcement.sender,
            heard_ms: announcement.heard_ms,
        }
    }
}

impl Row {
    fn text(&self) -> String {
        let name = render::escape(self.name.as_deref().unwrap_or("-"));
        let (size, heard) = (HumanBytes(self.size).to_string(), render::age(self.heard_ms));
        format!("{}  {size:<12}  {heard:<10}  {}  {name}", self.cid, self.sender)
    }
}

pub(super) async fn run(target: &Target, follow: bool, format: Format) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    let call = client.announcements(AnnouncementsRequest { follow });
    if !follow {
        let show = |rows: &[Row]| {
            if format.json {
                return render::json(&rows);
            }
            rows.iter().try_for_each(|row| render::line(row.text()))
        };
        return deadline::show_all(call, show).await;
    }
    let mut stream = call.await?.into_inner();
    while let Some(announcement) = stream.message().await? {
        let row = Row::from(announcement);
        // The list has no end, so it is no JSON array: one object a line.
        if format.json { render::json_line(&row)? } else { render::line(row.text())? }
    }
    Ok(())
}
