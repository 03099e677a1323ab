//! The REST API, identity, and the way from a rule to an activation.
