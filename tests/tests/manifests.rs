//! Manifests against a real hub: applied, applied again, changed, wrong, exported, watched.
#![expect(clippy::panic, reason = "a test that cannot go on ends")]

#[path = "manifests/apply.rs"]
mod apply;
#[path = "manifests/dev.rs"]
mod dev;
#[path = "manifests/export.rs"]
mod export;
#[path = "manifests/shop.rs"]
mod shop;
