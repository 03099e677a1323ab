//! Patterns of `type`, `source` and `subject`: the whole value, or a prefix followed by `*`.

use evoke_schemas::{Event, trigger::Subscription};

use super::Filter;

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The whole value.
    Exact(Box<str>),
    /// How the value begins.
    Prefix(Box<str>),
}

#[derive(Debug)]
struct Patterns {
    r#type: Option<Pattern>,
    source: Option<Pattern>,
    subject: Option<Pattern>,
}

impl Pattern {
    /// Reads a pattern; only a `*` at the end is special.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(text.into()),
        }
    }

    /// Whether the value fits.
    #[must_use]
    pub fn fits(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => value == &**text,
            Self::Prefix(prefix) => value.starts_with(&**prefix),
        }
    }
}

impl Filter for Patterns {
    fn matches(&self, event: &Event) -> bool {
        let fits = |pattern: &Option<Pattern>, value: Option<&str>| match (pattern, value) {
            (None, _) => true,
            (Some(pattern), Some(value)) => pattern.fits(value),
            (Some(_), None) => false,
        };
        fits(&self.r#type, Some(&event.r#type))
            && fits(&self.source, Some(&event.source))
            && fits(&self.subject, event.subject.as_deref())
    }
}

pub(super) fn compile(subscription: &Subscription) -> Option<Box<dyn Filter>> {
    let pattern = |text: &Option<String>| text.as_deref().map(Pattern::new);
    let patterns = Patterns {
        r#type: pattern(&subscription.r#type),
        source: pattern(&subscription.source),
        subject: pattern(&subscription.subject),
    };
    let says_nothing =
        patterns.r#type.is_none() && patterns.source.is_none() && patterns.subject.is_none();
    if says_nothing { None } else { Some(Box::new(patterns)) }
}

#[cfg(test)]
mod tests {
    use crate::filter::CompiledSubscription;

    use super::*;

    #[test]
    fn every_given_pattern_must_fit() {
        let mut event = Event::new("1", "/a/b", "com.x.created");
        let check = |event: &Event, [r#type, source, subject]: [&str; 3]| {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            CompiledSubscription::new(&Subscription {
                r#type: given(r#type),
                source: given(source),
                subject: given(subject),
            })
            .matches(event)
        };
        for (patterns, fits) in [
            (["", "", ""], true),
            (["com.x.created", "", ""], true),
            (["com.x.create", "", ""], false),
            (["com.x.*", "", ""], true),
            (["*", "/a/*", ""], true),
            (["*", "/b*", ""], false),
            (["", "", "*"], false),
            (["com.*.created", "", ""], false),
        ] {
            assert_eq!(check(&event, patterns), fits, "{patterns:?}");
        }
        event.subject = Some("s1".to_owned());
        assert!(check(&event, ["", "", "s*"]) && !check(&event, ["", "", "s"]));
    }
}
