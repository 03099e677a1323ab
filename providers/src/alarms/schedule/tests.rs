//! The schedule by a table, through clock steps both ways, and by random clocks.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const DAY: u64 = 24 * 3_600_000;

/// At this distance from that moment on.
fn every(anchor_ms: u64, period_ms: u64) -> Schedule {
    Schedule::new(Rhythm::Every { anchor_ms, period_ms })
}

/// Each second from 10 s on.
fn seconds() -> Schedule {
    every(10_000, 1_000)
}

fn mark(until_ms: u64) -> Mark {
    Mark { until_ms, ..Mark::default() }
}

/// What decides when it goes on.
fn place(mark: Mark) -> (u32, u64) {
    (mark.rewinds, mark.until_ms)
}

fn tick(scheduled_ms: u64, missed: u64) -> Tick {
    Tick { scheduled_ms, rewinds: 0, missed }
}

fn fire(ticks: &[Tick], until_ms: u64) -> Next {
    let fired = ticks.len() as u64;
    Next::Fire(ticks.to_vec(), Mark { fired, ..mark(until_ms) })
}

/// The same, of which ticks are passed over.
fn pass(until_ms: u64, missed: u64) -> Next {
    Next::Fire(Vec::new(), Mark { missed, ..mark(until_ms) })
}

#[test]
fn the_table() {
    let all = Schedule { misfire: Misfire::All, ..seconds() };
    let skip = Schedule { misfire: Misfire::Skip, ..seconds() };
    let stops = Schedule { stop_ms: Some(12_500), ..seconds() };
    let cases = [
        // before the anchor
        (seconds(), 0, 0, Next::Wait(10_000)),
        (seconds(), 0, 9_999, Next::Wait(10_000)),
        // the anchor is the first tick, and each fires at its own millisecond
        (seconds(), 0, 10_000, fire(&[tick(10_000, 0)], 10_000)),
        (seconds(), 10_000, 10_001, Next::Wait(11_000)),
        (seconds(), 10_000, 10_999, Next::Wait(11_000)),
        (seconds(), 10_000, 11_000, fire(&[tick(11_000, 0)], 11_000)),
        // late within a period: the tick keeps its instant, the next is not moved
        (seconds(), 10_000, 11_900, fire(&[tick(11_000, 0)], 11_000)),
        (seconds(), 11_000, 11_900, Next::Wait(12_000)),
        // a mark between ticks (taken at creation)
        (seconds(), 10_400, 10_500, Next::Wait(11_000)),
        // downtime of ten ticks: by policy 1, 10 or 0
        (seconds(), 10_000, 20_600, fire(&[tick(20_000, 9)], 20_000)),
        (all, 10_000, 13_600, fire(&[tick(11_000, 0), tick(12_000, 0), tick(13_000, 0)], 13_000)),
        (skip.clone(), 10_000, 20_600, fire(&[tick(20_000, 9)], 20_000)),
        (skip, 10_000, 11_000, fire(&[tick(11_000, 0)], 11_000)),
        // the stop is inclusive, and nothing comes after
        (stops.clone(), 11_000, 12_000, fire(&[tick(12_000, 0)], 12_000)),
        (stops.clone(), 12_000, 12_100, Next::Finished),
        (stops, 10_000, 99_000, fire(&[tick(12_000, 1)], 12_000)),
        (Schedule { stop_ms: Some(9_000), ..seconds() }, 0, 5_000, Next::Finished),
    ];
    for (index, (schedule, until, now, expected)) in cases.into_iter().enumerate() {
        assert_eq!(schedule.next(mark(until), now), expected, "case {index}");
    }
}

#[test]
fn a_skipped_tick_moves_the_mark_only() {
    let hourly = Schedule { misfire: Misfire::Skip, ..every(DAY, 3_600_000) };
    let late = DAY + 2 * 3_600_000 + GRACE_MS + 1;
    assert_eq!(hourly.next(mark(DAY), late), pass(DAY + 2 * 3_600_000, 2));
}

#[test]
fn all_missed_ticks_come_in_bounded_batches() {
    let all = Schedule { misfire: Misfire::All, ..seconds() };
    let now = 10_000 + 250 * 1_000;
    let (mut at, mut sizes, mut seen) = (mark(10_000), Vec::new(), BTreeSet::new());
    while let Next::Fire(ticks, next) = all.next(at, now) {
        sizes.push(ticks.len());
        assert!(ticks.iter().all(|tick| seen.insert(tick.scheduled_ms)));
        at = next;
    }
    assert_eq!(sizes, [100, 100, 50]);
    assert_eq!(seen.last(), Some(&now));
}

#[test]
fn a_clock_that_steps_forward_fires_once_and_says_what_it_missed() {
    let two_hours = 7_200_000;
    let expected = fire(&[tick(11_000 + two_hours, 7_200)], 11_000 + two_hours);
    assert_eq!(seconds().next(mark(10_000), 11_000 + two_hours), expected);
}

#[test]
fn a_clock_that_steps_back_a_little_is_waited_for() {
    let five_minutes = 300_000;
    let at = 10_000 + DAY;
    assert_eq!(seconds().next(mark(at), at - five_minutes), Next::Wait(at + 1_000));
    assert_eq!(seconds().next(mark(at), at - MAX_WAIT_BACK_MS), Next::Wait(at + 1_000));
    let hourly = every(10_000, 3_600_000);
    let at = 10_000 + 100 * 3_600_000;
    assert_eq!(hourly.next(mark(at), at - 7_200_000), Next::Wait(at + 3_600_000));
}

#[test]
fn a_clock_that_was_wrong_by_far_starts_the_grid_again_under_new_ids() {
    let years_ahead = 10 * 365 * DAY;
    let now = 50 * DAY + 300;
    let Next::Fire(ticks, again) = seconds().next(mark(years_ahead), now) else {
        panic!("the mark must be taken back")
    };
    assert_eq!((ticks.len(), place(again)), (0, (1, now)));
    let next = 50 * DAY + 1_000;
    assert_eq!(seconds().next(again, now), Next::Wait(next));
    let fired = Tick { scheduled_ms: next, rewinds: 1, missed: 0 };
    let expected = Next::Fire(vec![fired], Mark { rewinds: 1, fired: 1, ..mark(next) });
    assert_eq!(seconds().next(again, next), expected);
}

#[test]
fn a_clock_set_back_before_the_anchor_was_wrong_when_it_was_taken() {
    let anchor = 50 * DAY;
    let (schedule, now) = (every(anchor, 1_000), 20 * DAY + 300);
    let Next::Fire(ticks, again) = schedule.next(mark(anchor + 5_000), now) else {
        panic!("the mark is taken back")
    };
    assert_eq!((ticks.len(), place(again)), (0, (1, now)));
    let next = 20 * DAY + 1_000;
    assert_eq!(schedule.next(again, now), Next::Wait(next));
    assert_eq!(schedule.due_ms(again, now), next);
    let fired = Tick { scheduled_ms: next, rewinds: 1, missed: 0 };
    let expected = Next::Fire(vec![fired], Mark { rewinds: 1, fired: 1, ..mark(next) });
    assert_eq!(schedule.next(again, next), expected);
    let asked = Schedule { start_ms: Some(anchor), ..schedule };
    assert_eq!(asked.next(again, now), Next::Wait(anchor), "a start that was asked for");
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let misfire = prop_oneof![Just(Misfire::Once), Just(Misfire::All), Just(Misfire::Skip)];
    (0..DAY, 1..100_000_u64, prop::option::of(0..2 * DAY), misfire).prop_map(
        |(anchor_ms, period_ms, stop_ms, misfire)| Schedule {
            stop_ms,
            misfire,
            ..every(anchor_ms, period_ms)
        },
    )
}

proptest! {
    /// Whatever the clock shows and however often it is asked: on the grid, before the stop,
    /// never in the future, never twice, and the mark only rises but for a counted rewind.
    #[test]
    fn no_tick_fires_twice(
        schedule in any_schedule(),
        clock in prop::collection::vec((0..2 * DAY, any::<bool>()), 1..200),
    ) {
        let Rhythm::Every { anchor_ms, period_ms } = schedule.rhythm else { unreachable!() };
        let (mut at, mut seen) = (mark(0), BTreeSet::new());
        for (now, crashes) in clock {
            let Next::Fire(ticks, next) = schedule.next(at, now) else { continue };
            for tick in &ticks {
                prop_assert!(tick.scheduled_ms <= now);
                prop_assert!(tick.scheduled_ms > at.until_ms || tick.scheduled_ms == anchor_ms);
                prop_assert!(tick.scheduled_ms >= anchor_ms || tick.rewinds > 0);
                prop_assert_eq!(tick.scheduled_ms.abs_diff(anchor_ms) % period_ms, 0);
                prop_assert!(schedule.stop_ms.is_none_or(|stop| tick.scheduled_ms <= stop));
            }
            prop_assert!(place(next) > place(at));
            if crashes {
                continue; // nothing was kept: the same ticks are due again
            }
            for tick in ticks {
                prop_assert!(seen.insert((tick.rewinds, tick.scheduled_ms)), "{:?} twice", tick);
            }
            at = next;
        }
    }

    /// With the policy `all` no tick of the grid is left out, however irregular the looks.
    #[test]
    fn all_leaves_none_out(period_ms in 1..5_000_u64, looks in prop::collection::vec(0..20_000_u64, 1..50)) {
        // No look comes so late that the limit leaves ticks out.
        let schedule =
            Schedule { misfire: Misfire::All, limit: MAX_LIMIT, ..every(7, period_ms) };
        let (mut at, mut now, mut fired) = (mark(0), 0, 0);
        for passed in looks {
            now += passed;
            while let Next::Fire(ticks, next) = schedule.next(at, now) {
                for tick in ticks {
                    prop_assert_eq!(tick.scheduled_ms, 7 + fired * period_ms);
                    fired += 1;
                }
                at = next;
            }
        }
        let expected = if now < 7 { 0 } else { (now - 7) / period_ms + 1 };
        prop_assert_eq!(fired, expected);
    }
}

#[test]
fn f22_what_has_one_tick_fires_it_late_but_within_its_deadline() {
    let once = Schedule::new(Rhythm::Once(50_000));
    assert_eq!(once.next(mark(0), 49_999), Next::Wait(50_000));
    assert_eq!(once.next(mark(0), 90_000), fire(&[tick(50_000, 0)], 50_000));
    assert_eq!(once.next(mark(50_000), 90_000), Next::Finished);
    let strict = Schedule { deadline_ms: Some(30_000), ..once };
    assert_eq!(strict.next(mark(0), 80_000), fire(&[tick(50_000, 0)], 50_000));
    assert_eq!(strict.next(mark(0), 80_001), pass(50_000, 1));
}

#[test]
fn f21_ten_minutes_of_downtime_are_made_up_as_the_policy_says() {
    let policy = |misfire, limit| Schedule { misfire, limit, ..every(60_000, 60_000) };
    let (down, up) = (mark(60_000), 60_000 * 11 + 30_000);
    let fired = |schedule: &Schedule| match schedule.next(down, up) {
        Next::Fire(ticks, mark) => (ticks.len(), ticks.first().map(|it| it.missed), mark.missed),
        other => panic!("nothing to fire: {other:?}"),
    };
    assert_eq!(fired(&policy(Misfire::Once, 1)), (1, Some(9), 0));
    assert_eq!(fired(&policy(Misfire::All, 100)), (10, Some(0), 0));
    assert_eq!(fired(&policy(Misfire::All, 3)), (3, Some(7), 0));
    assert_eq!(fired(&policy(Misfire::Skip, 1)), (0, None, 10));
    let deadline = Schedule { deadline_ms: Some(150_000), ..policy(Misfire::All, 100) };
    assert_eq!(fired(&deadline), (3, Some(7), 0), "older ones are too late");
}

#[test]
fn c12_so_many_ticks_and_no_more() {
    let two = Schedule { most: Some(2), misfire: Misfire::All, ..seconds() };
    let Next::Fire(ticks, after) = two.next(mark(0), 99_000) else { panic!("ticks") };
    assert_eq!(ticks.len(), 2);
    assert_eq!(two.next(after, 99_000), Next::Finished);
}
