//! Which events of a hub a trigger gets: the seam for filter languages.
//!
//! To add a dialect: one file here that compiles its part of a [`Subscription`], one line in
//! [`FILTERS`].

mod pattern;

use evoke_schemas::{Event, trigger::Subscription};

pub use pattern::Pattern;

/// One compiled condition.
pub trait Filter: Send + Sync + std::fmt::Debug {
    /// Whether the event passes.
    fn matches(&self, event: &Event) -> bool;
}

/// A dialect's reader: nothing where the subscription says nothing in it.
type Compile = fn(&Subscription) -> Option<Box<dyn Filter>>;

/// All dialects; an event must pass what each of them says.
pub const FILTERS: &[(&str, Compile)] = &[("pattern", pattern::compile)];

/// A subscription ready to match.
#[derive(Debug)]
pub struct CompiledSubscription {
    /// The only `type` that can match, where there is only one.
    exact_type: Option<Box<str>>,
    filters: Vec<Box<dyn Filter>>,
}

impl CompiledSubscription {
    /// Compiles a subscription; one that says nothing matches every event.
    #[must_use]
    pub fn new(subscription: &Subscription) -> Self {
        let exact = subscription.r#type.as_deref().filter(|text| !text.ends_with('*'));
        Self {
            exact_type: exact.map(Into::into),
            filters: FILTERS.iter().filter_map(|(_, compile)| compile(subscription)).collect(),
        }
    }

    /// The only `type` that can match, where there is only one: what the index looks up first.
    #[must_use]
    pub fn exact_type(&self) -> Option<&str> {
        self.exact_type.as_deref()
    }

    /// Whether the event passes every condition.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.filters.iter().all(|filter| filter.matches(event))
    }
}
