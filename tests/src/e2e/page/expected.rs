//! Whether an output is the one a page shows: wildcards, and what differs from run to run.

/// Any text within a line; alone, any lines.
const ANY: &str = "…";

/// What no two runs have in common: `0` is a digit, `h` a hexadecimal one. Beside these the positions of events
/// (`44:2`) and the durations in tables (`5 ms` between columns).
const SHAPES: &[(&str, &str)] = &[
    ("hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh", "<id>"),
    ("0000-00-00T00:00:00", "<time>"),
    ("0000-00-00 00:00:00", "<time>"),
    ("00:00:00", "<time>"),
    ("1000000000000", "<ms>"),
];

/// Whether the output is the one wanted.
#[must_use]
pub fn is_as_wanted(wanted: &[String], got: &str) -> bool {
    let wanted: Vec<_> = trimmed(wanted.iter().map(String::as_str));
    let got: Vec<_> = trimmed(got.lines());
    lines_match(&wanted, &got)
}

fn trimmed<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut lines: Vec<_> = lines.map(settled).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// The line without what differs from run to run, and with one width of columns.
fn settled(line: &str) -> String {
    let mut rest = line.trim_end();
    let mut settled = String::new();
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let found = SHAPES.iter().find_map(|(shape, word)| Some((shaped(rest, shape)?, *word)));
        let found = found.filter(|_| !before.is_alphanumeric());
        let found = found.or_else(|| match before {
            ' ' if settled.ends_with("  ") => duration(rest).or_else(|| position(rest)),
            ' ' | '"' => position(rest),
            _ => None,
        });
        let taken = if let Some((end, word)) = found {
            settled.push_str(word);
            end
        } else {
            if first != ' ' || !settled.ends_with("  ") {
                settled.push(first);
            }
            first.len_utf8()
        };
        (before, rest) = (first, rest.get(taken..).unwrap_or_default());
    }
    settled
}

/// Where the shape ends that the text begins with.
fn shaped(text: &str, shape: &str) -> Option<usize> {
    let begins = text.get(..shape.len())?;
    let is_like = |(c, like): (char, char)| match like {
        '0' => c.is_ascii_digit(),
        'h' => matches!(c, '0'..='9' | 'a'..='f'),
        like => c == like,
    };
    if !begins.chars().zip(shape.chars()).all(is_like) {
        return None;
    }
    let rest = text.get(shape.len()..)?;
    let fraction = rest
        .strip_prefix('.')
        .map_or(0, |digits| 1 + digits.bytes().take_while(u8::is_ascii_digit).count());
    let fraction = if fraction > 1 && shape.contains(':') { fraction } else { 0 };
    let rest = rest.get(fraction..)?;
    let zone = usize::from(rest.starts_with('Z') && shape.contains('T'));
    let next = rest.get(zone..)?.chars().next();
    next.is_none_or(|c| !c.is_alphanumeric()).then_some(shape.len() + fraction + zone)
}

/// Where the digits end that the text begins with.
fn digits(text: &str) -> Option<usize> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    (count > 0).then_some(count)
}

/// `44:2`
fn position(text: &str) -> Option<(usize, &'static str)> {
    let colon = digits(text)?;
    let offset = text.get(colon..)?.strip_prefix(':')?;
    let end = digits(offset)?;
    let next = offset.get(end..)?.chars().next();
    next.is_none_or(|c| !c.is_alphanumeric() && c != ':').then_some((colon + 1 + end, "<position>"))
}

/// `5 ms`, up to the next column
fn duration(text: &str) -> Option<(usize, &'static str)> {
    let end = digits(text)?;
    text.get(end..)?.starts_with(" ms  ").then_some((end, "<duration>"))
}

fn lines_match(wanted: &[String], got: &[String]) -> bool {
    match wanted.split_first() {
        None => got.is_empty(),
        Some((first, rest)) if first.trim() == ANY => (0..=got.len())
            .any(|skipped| got.get(skipped..).is_some_and(|got| lines_match(rest, got))),
        Some((first, rest)) => got
            .split_first()
            .is_some_and(|(line, got)| line_matches(first, line) && lines_match(rest, got)),
    }
}

fn line_matches(wanted: &str, got: &str) -> bool {
    let mut parts = wanted.split(ANY);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = got.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &str, got: &str, is_wanted: bool) {
        let lines: Vec<_> = wanted.lines().map(str::to_owned).collect();
        assert_eq!(is_as_wanted(&lines, got), is_wanted, "{wanted:?} against {got:?}");
    }

    #[test]
    fn the_same_is_wanted_and_nothing_else() {
        check("a\nb", "a\nb\n\n", true);
        check("a\nb", "a", false);
        check("a", "a\nb", false);
        check("a", "b", false);
        check("a", "a b", false);
        check("b", "a b", false);
        check("", "x", false);
    }

    #[test]
    fn a_mark_in_a_line_is_any_text() {
        check("ok: … done", "ok: it is done", true);
        check("ok…", "ok", true);
        check("… x … y", "1 x 2 y", true);
        check("a…a", "a", false);
        check("ok: … done", "ok: it is over", false);
        check("… x … y", "1 y 2 x", false);
    }

    #[test]
    fn a_mark_alone_is_any_lines() {
        check("a\n…\nd", "a\nb\nc\nd", true);
        check("a\n…\nd", "a\nd", true);
        check("…\nd\n…", "a\nd", true);
        check("a\n…\nd", "a\nb", false);
        check("…\nx\n…", "a\nd", false);
    }

    #[test]
    fn ids_times_and_widths_are_not_compared_and_all_else_is() {
        let (one, other) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
        check(&format!("id {one}"), &format!("id {other}"), true);
        check(&format!("id {one}"), &format!("id {other}0"), false);
        check(&format!("id {one}"), "id x", false);
        check("2026-01-31 13:45:59  ok    5 MB", "2027-12-01 00:00:00  ok  5 MB", true);
        check("2026-01-31 13:45:59  ok    5 MB", "2027-12-01 00:00:00  ok  6 MB", false);
        check("ok  hello  5 ms   cold", "ok  hello  1017 ms  cold", true);
        check("limits  5 ms, 1 MB", "limits  6 ms, 1 MB", false);
        check("44:2  door", "9:1234  door", true);
        check("\"position\": \"44:2\"", "\"position\": \"0:0\"", true);
        check("sent at 44:2", "sent at 44", false);
        check("http://127.0.0.1:3233", "http://127.0.0.1:3234", false);
        check("at 2026-01-31T13:45:59.123Z.", "at 2026-01-31T13:45:59Z.", true);
        check("\"start\": 1700000000000,", "\"start\": 1800000000001,", true);
        check("\"start\": 1700000000000,", "\"start\": 180000000000,", false);
        check("a b", "ab", false);
    }
}
