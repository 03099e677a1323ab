//! One event source each.
