//! The figures of a run: every measured value under the name of its case and of
//! the contender, and the median and spread of each.
//!
//! Knows nothing about how a value was measured or how it is shown.

use std::collections::BTreeMap;

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Millions of bytes a second.
    MbPerSecond,
    /// Millions of bytes.
    Mb,
    /// Seconds of processor time.
    CpuSeconds,
    /// Milliseconds.
    Ms,
    /// Commands a second.
    PerSecond,
    /// Percent of the bytes of the content.
    Percent,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MbPerSecond => "MB/s",
            Self::Mb => "MB",
            Self::CpuSeconds => "s of processor time",
            Self::Ms => "ms",
            Self::PerSecond => "a second",
            Self::Percent => "% of the bytes",
        }
    }

    /// Digits behind the point that mean something.
    fn digits(self) -> usize {
        match self {
            Self::MbPerSecond | Self::Mb | Self::PerSecond => 0,
            Self::CpuSeconds | Self::Ms => 1,
            Self::Percent => 2,
        }
    }

    pub(crate) fn show(self, value: f64) -> String {
        format!("{value:.*}", self.digits())
    }
}

/// One row of the table: a case, one contender, and a value for each round.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) contender: String,
    pub(crate) unit: Unit,
    values: Vec<f64>,
}

impl Row {
    pub(crate) fn median(&self) -> f64 {
        median(&self.values)
    }

    pub(crate) fn least(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn greatest(&self) -> f64 {
        self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    pub(crate) fn rounds(&self) -> usize {
        self.values.len()
    }
}

/// All rows, in the order in which they were first measured.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    rows: Vec<Row>,
    by_name: BTreeMap<(&'static str, String), usize>,
}

impl Figures {
    pub(crate) fn add(&mut self, case: &'static str, contender: &str, unit: Unit, value: f64) {
        let name = (case, contender.to_owned());
        let at = *self.by_name.entry(name).or_insert_with(|| {
            self.rows.push(Row { case, contender: contender.to_owned(), unit, values: Vec::new() });
            self.rows.len() - 1
        });
        self.rows[at].values.push(value);
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The median of a row; `None` if the contender was not measured.
    pub(crate) fn median(&self, case: &'static str, contender: &str) -> Option<f64> {
        let at = *self.by_name.get(&(case, contender.to_owned()))?;
        Some(self.rows[at].median())
    }

    /// The names of the cases, in order.
    pub(crate) fn cases(&self) -> Vec<&'static str> {
        let mut cases: Vec<&'static str> = Vec::new();
        for row in &self.rows {
            if !cases.contains(&row.case) {
                cases.push(row.case);
            }
        }
        cases
    }
}

/// The middle value, or the mean of the two middle ones. 0 for no values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_order_and_their_spread() {
        let mut figures = Figures::default();
        for value in [3.0, 1.0, 8.0, 2.0] {
            figures.add("get", "b", Unit::MbPerSecond, value);
            figures.add("get", "a", Unit::MbPerSecond, 7.0);
        }
        figures.add("add", "a", Unit::Ms, 1.0);
        assert_eq!(figures.cases(), ["get", "add"]);
        let row = &figures.rows()[0];
        assert_eq!((row.contender.as_str(), row.median()), ("b", 2.5));
        assert_eq!((row.least(), row.greatest(), row.rounds()), (1.0, 8.0, 4));
        assert_eq!(figures.median("get", "a"), Some(7.0));
        assert_eq!(figures.median("get", "c"), None);
    }
}
