//! Which stream of the log holds which kind of record.

use evoke_event_log::Stream;

/// Accepted events.
pub const EVENT: Stream = Stream(16);
/// Accepted non-blocking invocations.
pub const INVOCATION: Stream = Stream(17);
/// Deliveries that are done.
pub const OUTCOME: Stream = Stream(18);
/// Deliveries that wait.
pub const PARKED: Stream = Stream(19);
/// Dead letters.
pub const DEAD: Stream = Stream(20);
/// Dead letters whose trigger was fired.
pub const ANNOUNCED: Stream = Stream(21);
/// Replays, with how far each has read.
pub const REPLAY: Stream = Stream(22);

/// Logical partition of every record of progress: one sequence, so that of two records about one
/// delivery the later one holds.
pub const PROGRESS_PARTITION: u16 = 0;
/// Logical partitions that events are spread over by key. Do not change: a key would move.
pub const EVENT_PARTITIONS: u16 = 64;
