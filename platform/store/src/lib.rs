//! Entities, activations, code and keys, kept.
