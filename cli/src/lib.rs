//! The client for people.
