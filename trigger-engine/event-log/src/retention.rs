//! Which sealed segment may go: by age, by size, and never above the low-water mark.

use crate::cursor::Cursor;
use crate::index::Summary;
use crate::read::{Retention, SegmentInfo};

/// The oldest of `sealed`, which is ascending, if `policy` lets it go and `low_water` has passed
/// all of it. `active_bytes` count towards the total, though they never go.
#[must_use]
pub fn droppable(
    sealed: &[Summary],
    active_bytes: u64,
    policy: &Retention,
    low_water: &Cursor,
    now_ms: u64,
) -> Option<SegmentInfo> {
    let oldest = sealed.first()?;
    let total = active_bytes + sealed.iter().map(|summary| summary.bytes).sum::<u64>();
    let old = |age| now_ms.saturating_sub(oldest.last_ms) > age;
    let wanted =
        policy.max_age_ms.is_some_and(old) || policy.max_bytes.is_some_and(|bytes| total > bytes);
    let info = SegmentInfo {
        id: oldest.id,
        from: Cursor::sequence(oldest.id.0),
        to: Cursor::sequence(oldest.end),
        bytes: oldest.bytes,
        last_ms: oldest.last_ms,
    };
    (wanted && low_water.covers(&info.to)).then_some(info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Chain;
    use crate::read::SegmentId;

    fn summary(id: u64, last_ms: u64) -> Summary {
        Summary {
            id: SegmentId(id),
            end: id + 10,
            bytes: 100,
            first_ms: 1,
            last_ms,
            chain: Chain::START,
            marked: false,
        }
    }

    /// Whether the first of three segments of 100 bytes, last written at 1,000 ms, may go.
    fn goes(policy: &Retention, low_water: u64, now_ms: u64) -> bool {
        let sealed = [summary(0, 1_000), summary(10, 2_000), summary(20, 3_000)];
        let info = droppable(&sealed, 50, policy, &Cursor::sequence(low_water), now_ms);
        assert!(info.as_ref().is_none_or(|info| info.id == SegmentId(0)));
        info.is_some()
    }

    #[test]
    fn age_and_size_let_go_and_the_low_water_mark_holds() {
        let age = |ms| Retention { max_age_ms: Some(ms), max_bytes: None };
        let size = |bytes| Retention { max_age_ms: None, max_bytes: Some(bytes) };
        assert!(!goes(&Retention::default(), 100, u64::MAX), "no bound");
        assert!(goes(&age(500), 10, 1_501) && !goes(&age(500), 10, 1_500));
        assert!(!goes(&age(500), 10, 3), "a clock that went back makes nothing old");
        assert!(goes(&size(349), 10, 0) && !goes(&size(350), 10, 0));
        assert!(!goes(&size(0), 9, 0), "its last record is still needed");
        assert!(droppable(&[], 50, &size(0), &Cursor::sequence(9), 0).is_none());
    }
}
