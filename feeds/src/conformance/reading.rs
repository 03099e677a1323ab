//! Checks of a source alone: where it begins, what comes again, what a parameter may be.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Bench, MANY_EVENTS, MAX_EVENTS, fail, first_ids, flat, ids, next, open, open_at, pinned, read,
};
use crate::provider::Start;

pub(super) fn parameters_that_nobody_knows_are_refused(bench: &dyn Bench) {
    let registry = bench.registry();
    let mut parameters = bench.parameters();
    registry.check(bench.provider(), &parameters).unwrap_or_else(|error| fail(&error));
    for stranger in ["no such one", "nor this"] {
        parameters.insert(stranger.to_owned(), true.into());
    }
    let Err(error) = registry.check(bench.provider(), &parameters) else {
        return fail(&"unknown parameters are taken");
    };
    let text = error.to_string();
    for stranger in ["`no such one`", "`nor this`"] {
        assert!(text.contains(stranger), "{stranger} is not named: {text}");
    }
    let Err(error) = registry.check("no such provider", &parameters) else {
        return fail(&"an unknown provider is taken");
    };
    assert!(error.to_string().contains(bench.provider()), "what there is is not named: {error}");
}

pub(super) async fn the_first_batch_pins_the_beginning(bench: &dyn Bench) {
    bench.produce(3).await;
    let (source, beginning) = pinned(bench).await;
    drop(source);
    bench.produce(4).await;
    let mut late = open(bench, Some(beginning.clone())).await;
    let first = flat(&read(late.as_mut(), 4).await);
    let mut again = open(bench, Some(beginning)).await;
    let second = flat(&read(again.as_mut(), 4).await);
    assert_eq!(
        first_ids(&first, 4),
        first_ids(&second, 4),
        "what came after the first batch is kept"
    );
}

pub(super) async fn reopening_gives_exactly_what_comes_after(bench: &dyn Bench) {
    let (mut source, _) = pinned(bench).await;
    bench.produce(6).await;
    let batches = read(source.as_mut(), 6).await;
    let all = flat(&batches);
    for event in &all {
        event.check().unwrap_or_else(|error| fail(&error));
    }
    let known: BTreeSet<_> = all.iter().map(|event| (&event.source, &event.id)).collect();
    assert_eq!(known.len(), all.len(), "two events have one identity");
    let mut passed = 0;
    for batch in &batches {
        passed += batch.events.len();
        let rest = all.get(passed..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        let mut reopened = open(bench, Some(batch.position.clone())).await;
        let again = flat(&read(reopened.as_mut(), rest.len()).await);
        assert_eq!(first_ids(&again, rest.len()), ids(rest), "after {passed} events");
    }
}

pub(super) async fn a_batch_that_was_not_kept_comes_again(bench: &dyn Bench) {
    let (mut source, beginning) = pinned(bench).await;
    bench.produce(2).await;
    let yielded = next(source.as_mut()).await;
    drop(source);
    let mut reopened = open(bench, Some(beginning)).await;
    let again = flat(&read(reopened.as_mut(), yielded.events.len()).await);
    assert_eq!(first_ids(&again, yielded.events.len()), ids(&yielded.events));
}

pub(super) async fn waiting_can_be_given_up_at_any_time(bench: &dyn Bench) {
    let (mut source, beginning) = pinned(bench).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let waiting = async {
            loop {
                // Cut off at odd moments; what was read but not yielded must still come.
                let cut = Duration::from_millis(7);
                if let Ok(next) = tokio::time::timeout(cut, source.next()).await {
                    break next;
                }
            }
        };
        let (batch, ()) = tokio::join!(super::within(waiting), bench.produce(1));
        let batch = batch.unwrap_or_else(|error| fail(&error));
        seen.push(batch.unwrap_or_else(|| fail(&"the source ended")));
        source.ended(crate::BatchEnd::Kept).await.unwrap_or_else(|error| fail(&error));
    }
    let seen = flat(&seen);
    let mut reopened = open(bench, Some(beginning)).await;
    let again = flat(&read(reopened.as_mut(), seen.len()).await);
    assert_eq!(first_ids(&again, seen.len()), ids(&seen));
}

pub(super) async fn batches_are_bounded(bench: &dyn Bench) {
    let (source, beginning) = pinned(bench).await;
    drop(source);
    bench.produce(MANY_EVENTS).await;
    let mut late = open(bench, Some(beginning)).await;
    for batch in read(late.as_mut(), MANY_EVENTS).await {
        let count = batch.events.len();
        assert!(count <= MAX_EVENTS, "a batch of {count} events: {MAX_EVENTS} are the most");
    }
}

pub(super) async fn a_reset_reads_again_under_new_ids(bench: &dyn Bench) {
    let Some(back) = bench.back() else { return };
    let (mut source, _) = pinned(bench).await;
    bench.produce(3).await;
    let first = flat(&read(source.as_mut(), 3).await);
    drop(source);
    let mut again = open_at(bench, 2, Start::Reset(back)).await;
    let second = flat(&read(again.as_mut(), 3).await);
    let known: BTreeSet<_> = ids(&first).into_iter().collect();
    let same = ids(&second).into_iter().find(|id| known.contains(id));
    assert_eq!(same, None, "an event that is read again on purpose has its former id");
}
