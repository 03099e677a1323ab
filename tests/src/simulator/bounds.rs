//! The bounds of delivery in every world: so narrow that each of them is met.

use evoke_trigger_engine::config::DeliveryConfig;

/// Attempts under way at once.
pub const RUNNING: usize = 8;
/// Attempts of one namespace under way at once.
pub const RUNNING_PER_NAMESPACE: usize = 5;
/// Records of progress that may wait before reading on.
pub const UNSETTLED: usize = 40;
/// Items of one read, so few that the reader is often behind.
pub const PAGE: u64 = 40;
/// Events above the low-water mark before the oldest is parked while it runs.
const ABOVE_MARK: usize = 60;
/// Rules that an event has at most.
const RULES: usize = 4;

/// The settings of delivery.
#[must_use]
pub fn delivery() -> DeliveryConfig {
    DeliveryConfig {
        running: RUNNING,
        running_per_namespace: RUNNING_PER_NAMESPACE,
        in_flight_bytes: 12 << 10,
        unparked_per_namespace: 20,
        unparked: 50,
        unsettled: UNSETTLED,
        parked_bytes_per_namespace: 80 << 10,
        dead_letters_per_namespace: 60,
        replay_outstanding: 12,
        above_mark: ABOVE_MARK,
        progress_records: 30,
        progress_bytes: 8 << 10,
        ..DeliveryConfig::default()
    }
}

/// Most records of progress that can ever wait: those that stop the reading, one page that was
/// read just before, an end of each attempt, and what operators and a carry add.
pub const MOST_UNSETTLED: usize = UNSETTLED + PAGE as usize * RULES + RUNNING + 200;
