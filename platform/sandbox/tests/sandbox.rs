//! Sandboxes for real.
