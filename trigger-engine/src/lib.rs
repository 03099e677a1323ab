//! Ingest, matching, dispatch, retries, dead letters and replay.
