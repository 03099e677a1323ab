//! The in-memory log conforms, with gaps and two writers (decision 25).

use std::sync::Arc;

use evoke_event_log::{MemoryLog, MemoryOptions, conformance};
use evoke_schemas::LogUid;

async fn subject(gaps: [u64; 2]) -> conformance::Subject {
    let options = MemoryOptions { gap: gaps[0], segment_records: 20, ..MemoryOptions::default() };
    let log = MemoryLog::new(LogUid([7; 16]), options);
    let second = log.writer(gaps[1]);
    conformance::Subject { log: Arc::new(log), second: Arc::new(second), seals_after: 40_000 }
}

#[tokio::test]
async fn conforms_with_gaps_and_two_writers() {
    conformance::all(|| subject([1, 3])).await;
}

#[tokio::test]
async fn conforms_without_gaps() {
    conformance::all(|| subject([0, 0])).await;
}
