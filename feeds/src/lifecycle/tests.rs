//! The lifecycle by tables of events, and by random ones.

use proptest::prelude::*;

use super::*;

fn want(generation: u64) -> Event {
    Event::Want { generation, paused: false }
}

fn pause(generation: u64) -> Event {
    Event::Want { generation, paused: true }
}

fn retry(progressed: bool) -> Event {
    Event::Ended(End::Retry { reason: "broken".to_owned(), progressed, waits: false })
}

/// Steps through `events` (each with its time) and compares the end and all effects.
fn check(events: &[(u64, Event)], state: &State, effects: &[Effect]) {
    let mut now = State::NEW;
    let mut done = Vec::new();
    for (time, event) in events {
        let (next, mut new) =
            now.step(event.clone(), *time).unwrap_or_else(|| panic!("{event:?} in {now:?}"));
        now = next;
        done.append(&mut new);
    }
    assert_eq!(&now, state);
    assert_eq!(done, effects);
}

fn backoff(failures: u32, until_ms: u64) -> State {
    State::Backoff { generation: 1, failures, until_ms, reason: "broken".to_owned(), waits: false }
}

#[test]
fn create_starts_and_an_old_generation_is_ignored() {
    let running = State::Running { generation: 2, failures: 0 };
    check(&[(0, want(2)), (1, want(2)), (2, pause(1))], &running, &[Effect::Start(2)]);
}

#[test]
fn update_drains_the_old_task_before_the_new_one_starts() {
    let draining = State::Draining { generation: 1, abort_ms: Some(10_005), then: Then::Start(2) };
    check(&[(0, want(1)), (5, want(2))], &draining, &[Effect::Start(1), Effect::Cancel]);
    check(
        &[(0, want(1)), (5, want(2)), (6, Event::Ended(End::Drained))],
        &State::Running { generation: 2, failures: 0 },
        &[Effect::Start(1), Effect::Cancel, Effect::Start(2)],
    );
}

#[test]
fn f25_of_two_updates_during_a_drain_only_the_last_starts() {
    check(
        &[(0, want(1)), (5, want(2)), (6, want(3)), (7, Event::Ended(End::Drained))],
        &State::Running { generation: 3, failures: 0 },
        &[Effect::Start(1), Effect::Cancel, Effect::Start(3)],
    );
}

#[test]
fn a_task_that_does_not_drain_is_aborted_once() {
    let aborted = State::Draining { generation: 1, abort_ms: None, then: Then::Remove };
    check(
        &[(0, want(1)), (5, Event::Remove), (10_004, Event::Due), (10_005, Event::Due)],
        &aborted,
        &[Effect::Start(1), Effect::Cancel, Effect::Abort],
    );
    assert_eq!(aborted.due_ms(), None);
}

#[test]
fn delete_forgets_after_the_task_has_ended_and_is_final() {
    check(
        &[
            (0, want(1)),
            (1, Event::Remove),
            (2, want(2)),
            (3, Event::Ended(End::Superseded)),
            (4, want(5)),
            (5, Event::Remove),
        ],
        &State::Gone,
        &[Effect::Start(1), Effect::Cancel, Effect::Forget],
    );
    check(&[(0, pause(1)), (1, Event::Remove)], &State::Gone, &[Effect::Forget]);
}

#[test]
fn pause_rests_and_unpause_starts() {
    let rest = State::Resting { generation: 2, why: Rest::Paused };
    let pausing = [(0, want(1)), (1, pause(2)), (2, Event::Ended(End::Drained))];
    check(&pausing, &rest, &[Effect::Start(1), Effect::Cancel]);
    let mut both = pausing.to_vec();
    both.push((3, want(3)));
    let running = State::Running { generation: 3, failures: 0 };
    check(&both, &running, &[Effect::Start(1), Effect::Cancel, Effect::Start(3)]);
}

#[test]
fn failures_in_a_row_double_the_wait_up_to_ten_seconds() {
    let waits: Vec<_> = (1..=8).map(backoff_ms).collect();
    assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
    assert_eq!(backoff_ms(u32::MAX), 10_000);
    let twice = [(0, want(1)), (1, retry(false)), (201, Event::Due), (300, retry(false))];
    check(&twice, &backoff(2, 700), &[Effect::Start(1), Effect::Start(1)]);
    let mut progress = twice.to_vec();
    progress.extend([(700, Event::Due), (900, retry(true))]);
    check(&progress, &backoff(1, 1_100), &[Effect::Start(1); 3]);
}

#[test]
fn nothing_starts_before_its_time() {
    check(
        &[(0, want(1)), (1, retry(false)), (200, Event::Due)],
        &backoff(1, 201),
        &[Effect::Start(1)],
    );
}

#[test]
fn what_cannot_be_retried_rests_until_an_update() {
    for (end, why) in [
        (End::Fatal("no".to_owned()), Rest::Failed("no".to_owned())),
        (End::Finished, Rest::Finished),
        (End::Superseded, Rest::Superseded),
    ] {
        let rest = State::Resting { generation: 1, why };
        assert_eq!(rest.due_ms(), None);
        check(&[(0, want(1)), (1, Event::Ended(end))], &rest, &[Effect::Start(1)]);
        let (next, effects) = rest.step(want(2), 9).unwrap();
        assert_eq!(next, State::Running { generation: 2, failures: 0 });
        assert_eq!(effects, [Effect::Start(2)]);
    }
}

#[test]
fn an_end_without_a_task_cannot_happen() {
    assert_eq!(State::NEW.step(Event::Ended(End::Drained), 0), None);
    assert_eq!(State::Gone.step(Event::Due, 0), None);
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..6_u64, any::<bool>())
            .prop_map(|(generation, paused)| Event::Want { generation, paused }),
        1 => Just(Event::Remove),
        4 => prop_oneof![
            Just(End::Drained),
            Just(End::Finished),
            Just(End::Superseded),
            any::<(bool, bool)>().prop_map(|(progressed, waits)| End::Retry { reason: String::new(), progressed, waits }),
            Just(End::Fatal(String::new())),
        ]
        .prop_map(Event::Ended),
        4 => Just(Event::Due),
    ]
}

proptest! {
    /// Whatever happens: never two tasks, generations only rise, gone is the end.
    #[test]
    fn there_is_at_most_one_task(events in prop::collection::vec((0..8_000_u64, any_event()), 1..60)) {
        let (mut state, mut now, mut tasks, mut newest) = (State::NEW, 0, 0_i32, 0);
        for (passed, event) in events {
            now += passed;
            let ended = matches!(event, Event::Ended(_));
            let Some((next, effects)) = state.step(event, now) else { continue };
            tasks -= i32::from(ended);
            prop_assert!(state != State::Gone || (next == State::Gone && effects.is_empty()));
            for effect in effects {
                if let Effect::Start(generation) = effect {
                    prop_assert!(generation >= newest);
                    newest = generation;
                    tasks += 1;
                }
            }
            let working = matches!(next, State::Running { .. } | State::Draining { .. });
            prop_assert_eq!(tasks, i32::from(working), "{:?}", next);
            state = next;
        }
    }
}
