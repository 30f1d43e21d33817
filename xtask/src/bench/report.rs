//! The table of a run, as it is printed and as it stands in `docs/benchmarks.md`,
//! and the targets that the figures are held against.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::chart;
use super::figures::{Figures, Unit};
use super::transfer::{
    ADD, COPY, CPU, CSV_VERSION, DFS_ADD, DFS_ADD_HELD, DFS_ADD_LINKED, FIRST_BYTE, GET,
    GET_DISCARDED, GET_LINKED, MEMORY, MOVE, ONLY_HASH, RAW, SMALL_FILES, TINY, TO_FIRST_BYTE,
    VERSION, WRITTEN,
};

/// The report stands between these lines of the document.
const BEGIN: &str = "<!-- begin: cargo xtask bench transfer -->";
const END: &str = "<!-- end: cargo xtask bench transfer -->";
/// The chart, beside the document.
const CHART: &str = "benchmarks.svg";

/// A finished run.
pub(super) struct Report<'a> {
    pub(super) figures: &'a Figures,
    /// Contenders that were left out, and why.
    pub(super) absent: &'a [String],
    pub(super) machine: String,
    /// Bytes of the large file.
    pub(super) size: u64,
}

/// What a figure has to reach.
struct Target {
    what: &'static str,
    value: Option<f64>,
    floor: f64,
    goal: f64,
    /// Whether less is better.
    at_most: bool,
}

impl Target {
    fn verdict(&self) -> &'static str {
        let reaches = |bound: f64| match self.value {
            Some(value) if self.at_most => value <= bound,
            Some(value) => value >= bound,
            None => false,
        };
        match self.value {
            None => "not measured",
            Some(_) if reaches(self.goal) => "goal",
            Some(_) if reaches(self.floor) => "floor",
            Some(_) => "missed",
        }
    }
}

impl Report<'_> {
    /// Writes the report into the document, and the chart beside it.
    pub(super) fn write(&self, docs: &Path) -> Result<()> {
        let path = docs.join("benchmarks.md");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let text = replace_between(&text, &self.table())
            .with_context(|| format!("{} lacks the lines around the report", path.display()))?;
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        let chart = chart::bars(self.figures, MOVE, "MB/s, 1 GiB, both ends on one machine");
        fs::write(docs.join(CHART), chart).context("writing the chart")
    }

    /// Machine, medians and targets in Markdown.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let rounds = self.figures.rows().iter().map(|row| row.rounds()).max().unwrap_or(0);
        let mib = self.size >> 20;
        // Writing to a string does not fail.
        let _ = writeln!(text, "Machine: {}. Large file: {mib} MiB.", self.machine);
        let _ = writeln!(text, "Medians of {rounds} rounds; least and greatest in parentheses.");
        if !self.absent.is_empty() {
            let _ = writeln!(text, "Left out: {}.", self.absent.join("; "));
        }
        for case in self.figures.cases() {
            let rows: Vec<_> = self.figures.rows().iter().filter(|row| row.case == case).collect();
            let unit = rows.first().map_or("", |row| row.unit.name());
            let _ = writeln!(text, "\n| {} | {unit} | |\n| --- | ---: | ---: |", capital(case));
            for row in rows {
                let show = |value| row.unit.show(value);
                let (least, greatest) = (show(row.least()), show(row.greatest()));
                let spread =
                    if row.rounds() > 1 { format!("({least}-{greatest})") } else { String::new() };
                let _ = writeln!(text, "| {} | {} | {spread} |", row.contender, show(row.median()));
            }
        }
        text.push_str(
            "\n| Target | value | floor | goal | |\n| --- | ---: | ---: | ---: | --- |\n",
        );
        for target in self.targets() {
            let show = |value: f64| Unit::Percent.show(value);
            let value = target.value.map_or_else(|| "-".to_owned(), show);
            let sign = if target.at_most { "<= " } else { ">= " };
            let (floor, goal) = (show(target.floor), show(target.goal));
            let verdict = target.verdict();
            let what = target.what;
            let _ =
                writeln!(text, "| {what} | {value} | {sign}{floor} | {sign}{goal} | {verdict} |");
        }
        text
    }

    fn targets(&self) -> Vec<Target> {
        let ours = |case, contender| self.figures.median(case, contender);
        let libtorrent = self
            .figures
            .rows()
            .iter()
            .find(|row| row.case == MOVE && row.contender.starts_with("libtorrent"))
            .map(|row| row.median());
        let over = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
        let least = |what, value, floor, goal| Target { what, value, floor, goal, at_most: false };
        let most = |what, value, floor, goal| Target { what, value, floor, goal, at_most: true };
        let (linked, discarded) = (ours(MOVE, GET_LINKED), ours(MOVE, GET_DISCARDED));
        let hashing = ours(ADD, ONLY_HASH);
        let memory = self
            .figures
            .rows()
            .iter()
            .filter(|row| row.case == MEMORY)
            .map(|row| row.greatest() * 1e6 / f64::from(1 << 20))
            .reduce(f64::max);
        vec![
            least("`get`, over libtorrent", over(ours(MOVE, GET), libtorrent), 1.2, 1.5),
            least("`get --link`, over libtorrent", over(linked, libtorrent), 1.8, 2.5),
            least("`get -o -`, over `get --link`", over(discarded, linked), 0.9, 1.0),
            least("`add`, over cp + sync", over(ours(ADD, DFS_ADD), ours(ADD, COPY)), 1.3, 1.5),
            least(
                "`add` of held content, over hashing it",
                over(ours(ADD, DFS_ADD_HELD), hashing),
                0.9,
                1.0,
            ),
            least("`add --link`, over hashing", over(ours(ADD, DFS_ADD_LINKED), hashing), 0.9, 1.0),
            most("bytes written by an `add --link`, %", ours(WRITTEN, DFS_ADD_LINKED), 1.0, 0.5),
            most("bytes written by an `add`, %", ours(WRITTEN, DFS_ADD), 105.0, 102.0),
            least("contents of 4 KiB a second", ours(SMALL_FILES, GET), 200.0, 300.0),
            most("`get` of 1 KiB, ms", ours(TINY, GET), 10.0, 7.0),
            most("1 KiB to the first byte, ms", ours(FIRST_BYTE, TO_FIRST_BYTE), 5.0, 2.0),
            most(
                "processor time of `get --link`, over the network alone",
                over(ours(CPU, GET_LINKED), ours(CPU, RAW)),
                1.5,
                1.3,
            ),
            most("peak memory of any daemon, MiB", memory, 384.0, 320.0),
            most("bytes for a version, %", ours(VERSION, GET), 0.5, 0.3),
            most("bytes for an edited CSV file, %", ours(CSV_VERSION, GET), 9.0, 7.5),
        ]
    }
}

fn replace_between(text: &str, report: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{report}{END}{after}"))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(figures: &Figures) -> String {
        let machine = "2 cores".to_owned();
        Report { figures, absent: &[], machine, size: 1 << 30 }.table()
    }

    #[test]
    fn a_target_is_held_against_its_floor_and_its_goal() {
        let mut figures = Figures::default();
        figures.add(MOVE, "libtorrent 2.1.1", Unit::MbPerSecond, 100.0);
        for (rate, verdict) in [(119.0, "missed"), (130.0, "floor"), (150.0, "goal")] {
            let mut figures = Figures::default();
            figures.add(MOVE, "libtorrent 2.1.1", Unit::MbPerSecond, 100.0);
            figures.add(MOVE, GET, Unit::MbPerSecond, rate);
            let text = report(&figures);
            let line = text.lines().find(|line| line.starts_with("| `get`, over")).expect("a row");
            assert!(line.ends_with(&format!("| {verdict} |")), "{line}");
        }
        assert!(report(&figures).contains("| not measured |"), "{}", report(&figures));
    }

    #[test]
    fn the_report_replaces_the_one_before() {
        let text = format!("# A\n{BEGIN}\nold\n{END}\n## B\n");
        let text = replace_between(&text, "new\n").expect("both lines");
        assert_eq!(text, format!("# A\n{BEGIN}\nnew\n{END}\n## B\n"));
        assert_eq!(replace_between("# A\n", "new\n"), None);
    }
}
