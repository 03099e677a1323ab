//! The table that a run prints.

use std::fmt::Write as _;

/// One row: what was wanted, what came, and whether that is enough.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured.
    pub what: &'static str,
    /// The target as `SPECIFICATION.md` has it.
    pub target: &'static str,
    /// What came, in words.
    pub measured: String,
    /// The control's figure, in words.
    pub control: String,
    /// How far: 1 and above meets the target, 0.5 is half of it.
    pub score: f64,
}

impl Row {
    /// Whether the target is met.
    #[must_use]
    pub fn met(&self) -> bool {
        self.score >= 1.0
    }
}

/// All rows as aligned text, with a closing line.
#[must_use]
pub fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let mark = if row.met() { "met " } else { "MISS" };
        let (score, what) = (row.score, row.what);
        let _infallible = writeln!(
            text,
            "{mark} {score:>5.2}x  {what}\n             measured {}\n             control  {}\n             target   {}",
            row.measured, row.control, row.target
        );
    }
    let met = rows.iter().filter(|row| row.met()).count();
    let _infallible = writeln!(text, "{met} of {} rows met", rows.len());
    text
}
