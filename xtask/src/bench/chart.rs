//! A bar chart of one case as SVG: a bar for each contender up to its median, and
//! a line from the least to the greatest value.

use std::fmt::Write as _;

use super::figures::{Figures, Row};

/// Sizes in pixels.
const BAR: f64 = 18.0;
const STEP: f64 = 28.0;
const TOP: f64 = 34.0;
const LABELS: f64 = 210.0;
const BARS: f64 = 420.0;
const WIDTH: f64 = LABELS + BARS + 80.0;

/// The chart of a case, our own bars in another colour.
pub(super) fn bars(figures: &Figures, case: &str, title: &str) -> String {
    let mut rows: Vec<&Row> = figures.rows().iter().filter(|row| row.case == case).collect();
    rows.sort_by(|a, b| b.median().total_cmp(&a.median()));
    let most = rows.iter().map(|row| row.greatest()).fold(1.0, f64::max);
    let height = TOP + STEP * rows.len() as f64 + 8.0;
    let x = |value: f64| LABELS + BARS * value / most;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\">{}</text>\n",
        escape(title)
    );
    for (n, row) in rows.iter().enumerate() {
        let y = TOP + STEP * n as f64;
        let (middle, text) = (y + BAR / 2.0, y + BAR / 2.0 + 4.0);
        let colour = if row.contender.starts_with("dfs") { "#2f6fb0" } else { "#a9b4c0" };
        let (end, least, greatest) = (x(row.median()), x(row.least()), x(row.greatest()));
        // Writing to a string does not fail.
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{text:.0}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LABELS}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
             <path d=\"M{least:.1} {middle:.0}H{greatest:.1}\" stroke=\"#333333\"/>\n\
             <text x=\"{:.1}\" y=\"{text:.0}\">{}</text>",
            LABELS - 8.0,
            escape(&row.contender),
            end - LABELS,
            end.max(greatest) + 6.0,
            row.unit.show(row.median()),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::figures::Unit;
    use super::*;

    #[test]
    fn the_best_contender_stands_first_and_names_are_escaped() {
        let mut figures = Figures::default();
        figures.add("move", "slow", Unit::MbPerSecond, 10.0);
        figures.add("move", "dfs get > /dev/null", Unit::MbPerSecond, 90.0);
        figures.add("add", "elsewhere", Unit::MbPerSecond, 1.0);
        let svg = bars(&figures, "move", "MB/s");
        let (fast, slow) = (svg.find("&gt; /dev/null").expect("escaped"), svg.find("slow"));
        assert!(fast < slow.expect("there"), "{svg}");
        assert!(!svg.contains("elsewhere"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 3, "a background and two bars");
    }
}
