//! The engine's bounds, each with its default.

use evoke_event_log::Retention;
use evoke_schemas::limits;
use serde::{Deserialize, Serialize};

/// Settings of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// What is taken in.
    pub ingest: IngestConfig,
    /// How it is delivered.
    pub delivery: DeliveryConfig,
    /// What is kept of the log.
    pub retention: Retention,
    /// Log bytes after which a checkpoint is written. Default: 64 MiB.
    pub checkpoint_bytes: CheckpointBytes,
}

/// Log bytes between two checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CheckpointBytes(pub u64);

/// Bounds of what is taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// Longest event. Default: 1 MiB.
    pub event_bytes: usize,
    /// Longest batch. Default: 8 MiB.
    pub batch_bytes: usize,
    /// Most events of a batch. Default: 9,999.
    pub batch_events: usize,
    /// Most rules that one event may match. Default: 1,000.
    pub rules_per_event: usize,
    /// How long an event's id is remembered. Unit: milliseconds. Default: 1 h.
    pub dedup_window_ms: u64,
    /// Most ids remembered. Default: 50 million.
    pub dedup_entries: usize,
}

/// Bounds of delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryConfig {
    /// Attempts under way at once. Default: 512.
    pub running: usize,
    /// Attempts of one namespace under way at once. Default: 448.
    pub running_per_namespace: usize,
    /// Bytes of events held for dispatch and under way. Default: 64 MiB.
    pub in_flight_bytes: usize,
    /// Deliveries of one namespace that wait unparked; what is more is parked. Default: 4,096.
    pub unparked_per_namespace: usize,
    /// Deliveries that wait unparked in all. Default: 16,384.
    pub unparked: usize,
    /// Records of progress that may wait for the disk before reading on. Default: 16,384.
    pub unsettled: usize,
    /// Parked bytes of one namespace that close its intake. Default: 256 MiB.
    pub parked_bytes_per_namespace: u64,
    /// How long a dead letter is kept. Unit: milliseconds. Default: 30 days.
    pub dead_letter_ms: u64,
    /// Dead letters kept for one namespace; the oldest go first. Default: 100,000.
    pub dead_letters_per_namespace: usize,
    /// Deliveries of one replay that wait at once. Default: 1,000.
    pub replay_outstanding: usize,
    /// Events between the low-water mark and what is loaded, beyond which the oldest is parked
    /// even while it runs. Default: 32,768.
    pub above_mark: usize,
    /// Most records of one append of progress, within the log's own bound. Default: 4,096.
    pub progress_records: usize,
    /// Bytes after which an append of progress is full; with one record more it must be within
    /// the log's own bound. Default: 8 MiB.
    pub progress_bytes: usize,
}

/// What a delivery still waiting weighs beyond its event. Unit: bytes.
pub const PARKED_OVERHEAD: u64 = 512;
/// How long a refused client is asked to wait. Unit: milliseconds.
pub const RETRY_AFTER_MS: u64 = 1_000;

impl Default for CheckpointBytes {
    fn default() -> Self {
        Self(64 << 20)
    }
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            event_bytes: limits::MAX_PAYLOAD_BYTES,
            batch_bytes: limits::MAX_BATCH_BYTES,
            batch_events: 9_999,
            rules_per_event: limits::MAX_RULES_PER_EVENT,
            dedup_window_ms: 3_600_000,
            dedup_entries: 50_000_000,
        }
    }
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            running: 512,
            running_per_namespace: 448,
            in_flight_bytes: 64 << 20,
            unparked_per_namespace: 4_096,
            unparked: 16_384,
            unsettled: 16_384,
            parked_bytes_per_namespace: 256 << 20,
            dead_letter_ms: 30 * 24 * 3_600_000,
            dead_letters_per_namespace: 100_000,
            replay_outstanding: 1_000,
            above_mark: 32_768,
            progress_records: 4_096,
            progress_bytes: 8 << 20,
        }
    }
}
