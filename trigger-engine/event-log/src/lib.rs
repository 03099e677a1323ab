//! The event log: a segmented, checksummed, group-committed append-only log.
