//! How providers show themselves to OpenWhisk's clients: as actions of the packages of
//! `/whisk.system`.

use async_trait::async_trait;
use evoke_schemas::FullName;
use serde_json::{Map, Value, json};

/// A feed action of `/whisk.system`: OpenWhisk's parameters and answers over a feed of ours.
///
/// Source: `spec/feeds-and-cloudevents.md` 1.2. It translates and says no; what a feed is and
/// does is the same as behind every other face.
pub trait FeedAction: Send + Sync + std::fmt::Debug + 'static {
    /// Where it is and what it is for.
    fn card(&self) -> ActionCard;

    /// Name of the provider whose feeds it makes.
    fn provider(&self) -> &'static str;

    /// The provider's parameters of a feed that CREATE asks for with these of OpenWhisk; those of
    /// the protocol itself (`lifecycleEvent`, `triggerName`, `authKey`) are taken out already.
    ///
    /// # Errors
    /// [`FeedRefusal`] as OpenWhisk's provider words it.
    fn create(&self, asked: &Map<String, Value>) -> Result<Map<String, Value>, FeedRefusal>;

    /// The provider's parameters after an UPDATE of a feed that has `present`. Whatever CREATE
    /// takes may be changed.
    ///
    /// # Errors
    /// [`FeedRefusal`] as OpenWhisk's provider words it.
    fn update(
        &self,
        present: &Map<String, Value>,
        asked: &Map<String, Value>,
    ) -> Result<Map<String, Value>, FeedRefusal>;

    /// The first members of READ's `config`: which trigger it is of.
    fn identity(&self, trigger: &FullName) -> Map<String, Value> {
        members(json!({"name": trigger.name, "namespace": trigger.namespace}))
    }

    /// The others, of a feed that has these parameters, without credentials.
    fn config(&self, present: &Map<String, Value>) -> Map<String, Value>;

    /// The result of a CREATE.
    fn created(&self, uuid: &str) -> Map<String, Value> {
        let _of_no_use = uuid;
        members(json!({"status": "success"}))
    }

    /// The result of an UPDATE or a DELETE.
    fn done(&self) -> Map<String, Value> {
        members(json!({"status": "success"}))
    }

    /// The result of a refusal.
    fn refused(&self, refusal: &FeedRefusal) -> Map<String, Value> {
        members(json!({"error": {"error": refusal.message}}))
    }
}

/// An action of `/whisk.system` that the hub runs by itself, without a sandbox.
#[async_trait]
pub trait NativeAction: Send + Sync + std::fmt::Debug + 'static {
    /// Where it is and what it is for.
    fn card(&self) -> ActionCard;

    /// Runs it with these arguments to its result.
    ///
    /// # Errors
    /// The value of the result's `error`: it makes an application error of the activation.
    async fn run(&self, arguments: Map<String, Value>) -> Result<Map<String, Value>, Value>;
}

/// A package of `/whisk.system`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackageCard {
    /// Name.
    pub name: &'static str,
    /// One sentence.
    pub description: &'static str,
}

/// What an action's listing shows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionCard {
    /// Package below `/whisk.system`.
    pub package: &'static str,
    /// Name in its package.
    pub name: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// Its parameters; those that it shares with every feed action are not among them.
    pub parameters: Vec<ParameterCard>,
}

/// What a listing shows of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterCard {
    /// Name.
    pub name: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// One sentence.
    pub description: &'static str,
}

/// A feed action says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FeedRefusal {
    /// HTTP status that OpenWhisk's provider answers with.
    pub status: u16,
    /// Its words.
    pub message: String,
}

impl FeedRefusal {
    /// A mistake of the caller's: 400.
    pub fn bad(message: impl Into<String>) -> Self {
        Self { status: 400, message: message.into() }
    }
}

fn members(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
