//! The order of many alarms, against looking at each of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{super::schedule::Rhythm, *};

fn every(anchor_ms: u64, period_ms: u64) -> Schedule {
    Schedule::new(Rhythm::Every { anchor_ms, period_ms })
}

#[test]
fn the_longest_due_comes_first_and_none_twice() {
    let mut scheduler = Scheduler::new();
    let slow = scheduler.insert(every(5_000, 5_000), Mark::default(), 0);
    let fast = scheduler.insert(every(1_000, 1_000), Mark::default(), 0);
    assert_eq!((scheduler.len(), scheduler.next_due()), (2, Some(1_000)));
    assert_eq!(scheduler.pop_due(999, 10), []);
    let due: Vec<_> = scheduler.pop_due(5_000, 10).into_iter().map(|due| due.id).collect();
    assert_eq!(due, [fast, slow]);
    assert_eq!(scheduler.pop_due(9_000, 10), [], "what was popped waits to be kept");
    assert!(scheduler.keep(fast, Mark { until_ms: 5_000, ..Mark::default() }, 5_000));
    assert_eq!(scheduler.next_due(), Some(6_000));
    assert!(scheduler.remove(fast) && !scheduler.remove(fast));
    assert!(!scheduler.keep(fast, Mark::default(), 0), "it is gone");
    let again = scheduler.insert(every(7_000, 1_000), Mark::default(), 5_000);
    assert_ne!(again, fast, "a slot's next alarm is another one");
}

#[test]
fn f30_a_million_alarms_fit() {
    const MANY: u64 = 1_000_000;
    let mut scheduler = Scheduler::new();
    for number in 0..MANY {
        scheduler.insert(every(number % 60_000, 60_000), Mark::default(), 0);
    }
    assert_eq!(scheduler.len(), usize::try_from(MANY).unwrap());
    // The nodes of the order are half full at least.
    let slots = scheduler.slots.capacity() * size_of::<Slot>();
    let order = 2 * scheduler.order.len() * size_of::<(u64, u32)>();
    assert!(slots + order <= 400_000_000, "{slots} and {order} bytes");
    let mut popped = 0;
    while popped < 10_000 {
        popped += scheduler.pop_due(59_999, 1_000).len();
    }
    assert_eq!(popped, 10_000);
}

proptest! {
    /// Whatever is put in, taken out and asked for: those are popped that a look at each finds.
    #[test]
    fn it_agrees_with_a_look_at_each(
        acts in prop::collection::vec((0..4_u8, 0..40_usize, 1..5_000_u64), 1..120),
    ) {
        let (mut scheduler, mut now_ms) = (Scheduler::new(), 0);
        let mut model: BTreeMap<AlarmId, (Schedule, Mark, bool)> = BTreeMap::new();
        for (act, which, amount) in acts {
            let chosen = model.keys().nth(which).copied();
            match (act, chosen) {
                (0, _) => {
                    let schedule = every(now_ms + amount, amount);
                    let mark = Mark { until_ms: now_ms, ..Mark::default() };
                    let id = scheduler.insert(schedule.clone(), mark, now_ms);
                    prop_assert!(model.insert(id, (schedule, mark, true)).is_none());
                }
                (1, Some(id)) => {
                    prop_assert!(scheduler.remove(id));
                    model.remove(&id);
                }
                (2, Some(id)) => {
                    let (_, mark, waits) = model.get_mut(&id).unwrap();
                    (mark.until_ms, *waits) = (now_ms, true);
                    let kept = *mark;
                    scheduler.keep(id, kept, now_ms);
                }
                _ => {
                    now_ms += amount;
                    let popped = scheduler.pop_due(now_ms, usize::MAX);
                    let mut ids: Vec<_> = popped.iter().map(|due| due.id).collect();
                    ids.sort_unstable();
                    let mut expected = Vec::new();
                    for (id, (schedule, mark, waits)) in &mut model {
                        if *waits && !matches!(schedule.next(*mark, now_ms), Next::Wait(_)) {
                            *waits = false;
                            expected.push(*id);
                        }
                    }
                    expected.sort_unstable();
                    prop_assert_eq!(ids, expected);
                }
            }
        }
    }
}
