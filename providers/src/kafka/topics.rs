//! Which topics a feed reads.

/// Topics by name or by pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topics {
    /// These.
    Named(Vec<String>),
    /// Those whose whole name matches; new ones too.
    Pattern(Pattern),
}

/// A glob over names: `*` for any characters, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(String);

// === impl Topics ===

impl Topics {
    /// Whether a topic of that name is read.
    pub(super) fn has(&self, topic: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|name| name == topic),
            Self::Pattern(pattern) => !topic.starts_with("__") && pattern.matches(topic),
        }
    }
}

// === impl Pattern ===

impl Pattern {
    /// A pattern of names that Kafka allows.
    pub(super) fn new(text: &str) -> Option<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-*?".contains(c);
        (!text.is_empty() && text.len() <= 249 && text.chars().all(allowed))
            .then(|| Self(text.to_owned()))
    }

    /// Whether the whole of `name` matches: each `*` is tried with as little as will do, so the
    /// time is the product of the lengths at most.
    fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut in_name) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while in_name < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, in_name));
                    at += 1;
                }
                Some(wanted) if *wanted == b'?' || Some(wanted) == name.get(in_name) => {
                    at += 1;
                    in_name += 1;
                }
                _other => match &mut star {
                    Some((back_at, back_name)) => {
                        *back_name += 1;
                        (at, in_name) = (*back_at + 1, *back_name);
                    }
                    None => return false,
                },
            }
        }
        pattern.get(at..).unwrap_or_default().iter().all(|rest| *rest == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let cases = [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("orders-*", "orders-eu", true),
            ("orders-*", "orders", false),
            ("*", "anything", true),
            ("*.v?", "a.b.v1", true),
            ("*.v?", "a.b.v12", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
        ];
        for (pattern, name, wanted) in cases {
            let pattern = Pattern::new(pattern).unwrap();
            assert_eq!(pattern.matches(name), wanted, "{pattern:?} {name}");
        }
        assert_eq!(Pattern::new("a[b]"), None);
        let all = Topics::Pattern(Pattern::new("*").unwrap());
        assert!(all.has("orders") && !all.has("__consumer_offsets"));
    }
}
