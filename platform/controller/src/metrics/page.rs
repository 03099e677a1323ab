//! A page of metrics in Prometheus' text format: lines gathered by family, in the table's order.

use std::{collections::HashMap, fmt::Write as _};

use evoke_schemas::measure::Distribution;

use super::table::{FAMILIES, Family, Scope};

/// Lines to be shown.
#[derive(Debug)]
pub(super) struct Page {
    /// Whether the reader is an operator.
    operator: bool,
    lines: HashMap<&'static str, String>,
}

impl Page {
    /// An empty page.
    pub(super) fn new(operator: bool) -> Self {
        Self { operator, lines: HashMap::new() }
    }

    /// Adds a line; the values of the labels are in the family's order.
    pub(super) fn add(&mut self, family: &Family, labels: &[&str], value: f64) {
        let labels = labelled(family.labels, labels, None);
        self.put(family, "", &labels, value);
    }

    /// Adds a line with a whole number.
    pub(super) fn count(&mut self, family: &Family, labels: &[&str], value: u64) {
        self.add(family, labels, number(value));
    }

    /// Adds the lines of a histogram, in seconds.
    pub(super) fn distribution(
        &mut self,
        family: &Family,
        labels: &[&str],
        measured: &Distribution,
    ) {
        let mut up_to = 0;
        for (place, count) in measured.counts.iter().enumerate() {
            up_to += count;
            let bound = measured.bounds_us.get(place).map(|bound| number(*bound) / 1e6);
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            let labels = labelled(family.labels, labels, Some(&bound));
            self.put(family, "_bucket", &labels, number(up_to));
        }
        let labels = labelled(family.labels, labels, None);
        self.put(family, "_sum", &labels, number(measured.sum_us) / 1e6);
        self.put(family, "_count", &labels, number(up_to));
    }

    /// The page as text.
    pub(super) fn text(self) -> String {
        let mut text = String::new();
        for family in FAMILIES {
            let Some(lines) = self.lines.get(family.name) else { continue };
            let (name, kind, help) = (family.name, family.kind.as_str(), family.help);
            push(&mut text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}"));
        }
        text
    }

    fn put(&mut self, family: &Family, ending: &str, labels: &str, value: f64) {
        if family.scope == Scope::Hub && !self.operator {
            return;
        }
        let lines = self.lines.entry(family.name).or_default();
        push(lines, format_args!("{}{ending}{labels} {value}\n", family.name));
    }
}

fn labelled(names: &[&str], values: &[&str], bound: Option<&str>) -> String {
    debug_assert_eq!(names.len(), values.len(), "a value for each label");
    let own = names.iter().zip(values).map(|(name, value)| (*name, *value));
    let mut text = String::new();
    for (name, value) in own.chain(bound.map(|bound| ("le", bound))) {
        text.push(if text.is_empty() { '{' } else { ',' });
        push(&mut text, format_args!("{name}=\"{}\"", escaped(value)));
    }
    if !text.is_empty() {
        text.push('}');
    }
    text
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _always = text.write_fmt(more).is_ok();
}

/// A label's value as the format has it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[expect(clippy::cast_precision_loss, reason = "the format has no other numbers")]
pub(super) fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evoke_schemas::measure::Histogram;

    use super::*;
    use crate::metrics::table;

    #[test]
    fn lines_stand_below_their_family_in_the_tables_order() {
        let mut page = Page::new(true);
        page.count(table::LOG_SEGMENTS, &[], 3);
        page.count(table::EVENTS_ACCEPTED, &["a\"b\\c\nd", "hub"], 7);
        let text = page.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert_eq!(lines[1], "# TYPE evoke_events_accepted_total counter");
        let escaped = "evoke_events_accepted_total{namespace=\"a\\\"b\\\\c\\nd\",to=\"hub\"} 7";
        assert_eq!(lines[2], escaped);
        assert_eq!(lines[5], "evoke_log_segments 3");
    }

    #[test]
    fn a_namespace_does_not_see_the_hubs() {
        let mut page = Page::new(false);
        page.count(table::LOG_SEGMENTS, &[], 3);
        page.count(table::OWED_BYTES, &["guest"], 1);
        assert_eq!(page.text().lines().filter(|line| !line.starts_with('#')).count(), 1);
    }

    #[test]
    fn a_histogram_adds_up() {
        let histogram = Histogram::new(&[1_000, 2_000_000]);
        for took in [1, 5, 3_000] {
            histogram.observe(Duration::from_millis(took));
        }
        let mut page = Page::new(true);
        page.distribution(table::HTTP_SECONDS, &["events"], &histogram.distribution());
        let text = page.text();
        let lines: Vec<_> = text.lines().skip(2).collect();
        let name = "evoke_http_request_duration_seconds";
        assert_eq!(
            lines,
            [
                format!("{name}_bucket{{route=\"events\",le=\"0.001\"}} 1"),
                format!("{name}_bucket{{route=\"events\",le=\"2\"}} 2"),
                format!("{name}_bucket{{route=\"events\",le=\"+Inf\"}} 3"),
                format!("{name}_sum{{route=\"events\"}} 3.006"),
                format!("{name}_count{{route=\"events\"}} 3"),
            ]
        );
    }
}
