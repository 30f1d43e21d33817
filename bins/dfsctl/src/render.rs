//! Output: tables, sizes, ages, and text of other nodes made safe for a
//! terminal.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::failure::Failure;

/// Prints rows under a heading, with aligned columns.
pub(crate) fn table<const N: usize>(
    heading: [&str; N],
    rows: &[[String; N]],
) -> Result<(), Failure> {
    let mut widths = heading.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = io::stdout().lock();
    let mut line = |cells: [&str; N]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(heading)
        .and_then(|()| rows.iter().try_for_each(|row| line(row.each_ref().map(String::as_str))))
        .map_err(|error| Failure::stdout(&error))
}

/// Prints one line to standard output.
pub(crate) fn line(text: impl AsRef<str>) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{}", text.as_ref()).map_err(|error| Failure::stdout(&error))
}

/// Prints one line to standard error, which may be closed or full; there is no
/// other place to report that to. A line may contain file names, so it is
/// escaped.
pub(crate) fn error(message: &str) {
    note(&format!("dfsctl: {}", escape(message)));
}

/// Prints one line as it is to standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints a value as JSON.
pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
    line(serde_json::to_string_pretty(value).expect("a row of strings and numbers is JSON"))
}

/// Prints a value as JSON on one line.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(value).expect("a row of strings and numbers is JSON"))
}

/// Text of other nodes and of files, made safe for a terminal: control
/// characters and those that change the direction of writing are shown by
/// their number.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        let directs = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || directs {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// How long ago a time in ms since the Unix epoch was.
pub(crate) fn age(ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_sub(ms) / 1000;
    format!("{} ago", span(seconds))
}

/// How long it is until a time in ms since the Unix epoch.
pub(crate) fn until(ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = ms.saturating_sub(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)) / 1000;
    format!("in {}", span(left))
}

/// A count with its noun.
pub(crate) fn count(n: u64, name: &str) -> String {
    if n == 1 { format!("1 {name}") } else { format!("{n} {name}s") }
}

/// A number of seconds in its largest unit.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// "yes" or an empty cell, which is easier to scan than "no".
pub(crate) fn mark(set: bool) -> String {
    if set { "yes".to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_control_the_terminal() {
        assert_eq!(escape("dfs/0.1 \u{1b}[2Jred"), "dfs/0.1 \\u{1b}[2Jred");
        assert_eq!(escape("a\nb\u{202e}c"), "a\\nb\\u{202e}c");
        assert_eq!(escape("naïve 名前"), "naïve 名前");
    }

    #[test]
    fn spans_use_their_largest_unit() {
        assert_eq!(span(59), "59 s");
        assert_eq!(span(61), "1 min");
        assert_eq!(span(2 * 86_400), "2 days");
    }
}
