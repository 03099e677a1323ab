//! The vocabulary of the hub: names, entities, events, activations, limits and ids.
//!
//! Invariant: this crate does no I/O, knows no runtime, no HTTP and no database; it depends on no
//! other crate of the workspace. Everything that crosses a room's border is a type of this crate.

pub mod action;
pub mod activation;
pub mod byte_size;
pub mod event;
pub mod feed;
mod hex_text;
mod json_schema;
pub mod key_value;
pub mod limits;
pub mod measure;
pub mod name;
pub mod namespace_limits;
pub mod package;
pub mod position;
pub mod rule;
pub mod secret;
pub mod trace;
pub mod trigger;
pub mod uid;
pub mod version;

pub use action::Action;
pub use activation::{Activation, ActivationResponse, ActivationStatus, ActivationSummary};
pub use byte_size::ByteSize;
pub use event::{Data, Event};
pub use feed::{Feed, FeedPayload, Reset, ResetTo};
pub use key_value::KeyValues;
pub use name::{EntityName, FullName, NameError, Namespace};
pub use namespace_limits::{NamespaceLimits, NamespaceOverrides};
pub use package::Package;
pub use position::{LogUid, LogUids, Position};
pub use rule::{DeliveryPolicy, Rule, RuleStatus};
pub use secret::Secret;
pub use trigger::Trigger;
pub use uid::{ActivationId, EntityUid, Occasion};
pub use version::SemVer;
