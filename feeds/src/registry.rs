//! The table of providers: a typed factory goes in, an erased one comes out.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::{
    fields::{Fields, Mistakes},
    provider::{FeedContext, Provider, Source, SourceError, Start, WhenEnded},
};

/// Providers by name.
#[derive(Debug, Default)]
pub struct Registry(BTreeMap<&'static str, Arc<dyn Erased>>);

/// Why a feed's provider and parameters are no good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParametersError {
    /// No provider of that name.
    #[error("unknown provider `{name}` (known: {known})")]
    UnknownProvider {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Wrong parameters, every mistake of them.
    #[error("provider `{provider}`: {mistakes}")]
    Parameters {
        /// The provider.
        provider: &'static str,
        /// What is wrong.
        mistakes: Mistakes,
    },
}

/// A provider without its types.
#[async_trait]
pub(crate) trait Erased: Send + Sync + std::fmt::Debug {
    fn check(&self, parameters: &Map<String, Value>) -> Result<(), ParametersError>;

    fn when_ended(&self, parameters: &Map<String, Value>) -> WhenEnded;

    async fn open(
        &self,
        feed: FeedContext,
        parameters: &Map<String, Value>,
        from: Start,
    ) -> Result<Box<dyn Source>, SourceError>;

    fn show_position(&self, position: &[u8]) -> Value;
}

#[derive(Debug)]
struct Entry<P>(P);

fn parse<P: Provider>(parameters: &Map<String, Value>) -> Result<P::Parameters, ParametersError> {
    let mut fields = Fields::new(parameters);
    let read = P::parameters(&mut fields);
    fields
        .finish(read)
        .map_err(|mistakes| ParametersError::Parameters { provider: P::NAME, mistakes })
}

// === impl Registry ===

impl Registry {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The table with one more provider.
    #[must_use]
    pub fn with<P: Provider>(mut self, provider: P) -> Self {
        self.0.insert(P::NAME, Arc::new(Entry(provider)));
        self
    }

    /// The names in the table.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// Whether a feed of this provider and these parameters can be made.
    ///
    /// # Errors
    /// [`ParametersError`] names every mistake, for the user.
    pub fn check(
        &self,
        provider: &str,
        parameters: &Map<String, Value>,
    ) -> Result<(), ParametersError> {
        self.get(provider)?.check(parameters)
    }

    /// What becomes of the trigger of such a feed once its source has ended.
    #[must_use]
    pub fn when_ended(&self, provider: &str, parameters: &Map<String, Value>) -> WhenEnded {
        self.get(provider).map(|provider| provider.when_ended(parameters)).unwrap_or_default()
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Arc<dyn Erased>, ParametersError> {
        self.0.get(name).ok_or_else(|| ParametersError::UnknownProvider {
            name: name.to_owned(),
            known: self.names().collect::<Vec<_>>().join(", "),
        })
    }
}

// === impl Entry ===

#[async_trait]
impl<P: Provider> Erased for Entry<P> {
    fn check(&self, parameters: &Map<String, Value>) -> Result<(), ParametersError> {
        parse::<P>(parameters).map(|_| ())
    }

    fn when_ended(&self, parameters: &Map<String, Value>) -> WhenEnded {
        parse::<P>(parameters).map(|read| P::when_ended(&read)).unwrap_or_default()
    }

    async fn open(
        &self,
        feed: FeedContext,
        parameters: &Map<String, Value>,
        from: Start,
    ) -> Result<Box<dyn Source>, SourceError> {
        let parameters =
            parse::<P>(parameters).map_err(|error| SourceError::Fatal(error.to_string()))?;
        self.0.open(feed, parameters, from).await
    }

    fn show_position(&self, position: &[u8]) -> Value {
        P::show_position(position)
    }
}
