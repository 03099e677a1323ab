//! The sandbox an action runs in.
