//! Entities, activations, code and keys, kept.
//!
//! Invariant: this crate keeps things and knows no HTTP, no log and no sandbox. Four traits, each
//! with its conformance suite beside it, which every implementation passes.
//!
//! To add a store of code: one file below `code/` and a line of [`CODE_STORES`], which runs the suite
//! for it and lets the hub choose it (CONTRIBUTING.md shows it).

pub mod activations;
pub mod code;
mod disk;
pub mod dump;
pub mod entities;
mod error;
pub mod identities;
mod reserve;
pub mod seal;

pub use activations::{ActivationQuery, ActivationStore, EmbeddedActivations};
pub use code::{CODE_STORES, CodeStore, FileCode, OpenCode, open_code_store};
pub use dump::{Load, Snapshot};
pub use entities::{
    Change, Collection, EmbeddedEntities, Entity, EntityQuery, EntityStore, Expect, FeedStore,
    Revision, Stored,
};
pub use error::StoreError;
pub use identities::{EmbeddedIdentities, Identities, Identity};
pub use reserve::Reserve;
pub use seal::{Seal, SealError};
