//! Runs through real sandboxes.
