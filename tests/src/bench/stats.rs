//! Medians and percentiles of measurements.

use std::time::Duration;

/// The value below which the share `part` (0 ..= 1) of the values lie; zero for none.
#[must_use]
pub fn percentile(values: &mut [Duration], part: f64) -> Duration {
    values.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a list of measurements"
    )]
    let index = (values.len().saturating_sub(1) as f64 * part).round() as usize;
    values.get(index).copied().unwrap_or_default()
}

/// The middle one of the values; zero for none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Milliseconds with their fraction.
#[must_use]
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
