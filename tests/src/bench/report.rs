//! Medians, percentiles, and the table they end in.

use std::{fmt, time::Duration};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Seconds, shown with a fitting prefix.
    Seconds,
    /// Octets of memory.
    Octets,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 1e-3 => format!("{:.0} µs", value * 1e6),
            Self::Seconds if value < 1.0 => format!("{:.1} ms", value * 1e3),
            Self::Seconds => format!("{value:.2} s"),
            Self::Octets => format!("{:.1} MiB", value / f64::from(1 << 20)),
        }
    }
}

/// One comparison.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) measure: String,
    pub(super) unit: Unit,
    /// Ours.
    pub(super) ours: f64,
    /// Whose, and how much.
    pub(super) peer: Option<(String, f64)>,
    /// What we want to stay below.
    pub(super) aim: Option<f64>,
}

/// The table of a part.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    pub(super) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// A sentence below the table.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["measured", "tortie", "aim", "peer", "", "ours ÷ peer"].map(ToOwned::to_owned);
        let mut lines = vec![head];
        lines.extend(self.rows.iter().map(|row| {
            let (peer, theirs, ratio) = match &row.peer {
                Some((peer, theirs)) => (peer.clone(), row.unit.show(*theirs), format!("{:.3}", row.ours / theirs)),
                None => Default::default(),
            };
            let aim = row.aim.map_or_else(String::new, |aim| format!("≤ {}", row.unit.show(aim)));
            [row.measure.clone(), row.unit.show(row.ours), aim, peer, theirs, ratio]
        }));
        let mut widths = [0; 6];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        for line in &lines {
            let [measure, ours, aim, peer, theirs, ratio] = line;
            let [a, b, c, d, e, g] = widths;
            let text = format!("{measure:a$}  {ours:>b$}  {aim:>c$}  {peer:d$}  {theirs:>e$}  {ratio:>g$}");
            writeln!(f, "{}", text.trim_end())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))
    }
}

/// The value that a share of all samples (0 to 1) does not exceed; 0 without samples.
pub(super) fn percentile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The middle one of the samples.
pub(super) fn median(samples: &[f64]) -> f64 {
    percentile(samples, 0.5)
}

/// Durations as seconds.
pub(super) fn seconds(samples: &[Duration]) -> Vec<f64> {
    samples.iter().map(Duration::as_secs_f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_and_the_last_one_is_the_worst() {
        let samples: Vec<_> = (1..=100).rev().map(f64::from).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| percentile(&samples, share)), [1.0, 50.0, 99.0, 100.0]);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_row_has_the_ratio_and_columns_stand_below_each_other() {
        let mut report = Report::default();
        report.push(Row {
            measure: "ADD".to_owned(),
            unit: Unit::Seconds,
            ours: 0.0042,
            peer: Some(("ptp".to_owned(), 0.021)),
            aim: Some(0.005),
        });
        let text = report.to_string();
        let (head, row) = text.split_once('\n').unwrap();
        let expected = "ADD       4.2 ms  ≤ 5.0 ms  ptp   21.0 ms        0.200";
        assert_eq!((head, row.trim_end()), ("measured  tortie       aim  peer           ours ÷ peer", expected));
    }
}
