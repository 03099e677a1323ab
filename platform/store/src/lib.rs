//! Entities, activations, code and keys, kept.
//!
//! Invariant: this crate keeps things and knows no HTTP, no log and no sandbox. Four traits, each
//! with its conformance suite beside it, which every implementation passes.
//!
//! To add a store: one file below the trait's folder that implements it, and a line that runs the
//! suite for it. [`STORES`] lists what there is.

pub mod activations;
pub mod code;
mod disk;
pub mod dump;
pub mod entities;
mod error;
pub mod identities;
pub mod seal;

pub use activations::{ActivationQuery, ActivationStore, EmbeddedActivations};
pub use code::{CodeStore, FileCode};
pub use dump::{Load, Snapshot};
pub use entities::{
    Change, Collection, EmbeddedEntities, Entity, EntityQuery, EntityStore, Expect, FeedStore,
    Revision, Stored,
};
pub use error::StoreError;
pub use identities::{EmbeddedIdentities, Identities, Identity};
pub use seal::{Seal, SealError};

/// Implementations by trait: what the configuration may name.
pub const STORES: &[(&str, &[&str])] = &[
    ("entities", &["embedded"]),
    ("activations", &["embedded"]),
    ("code", &["files"]),
    ("identities", &["embedded"]),
];
