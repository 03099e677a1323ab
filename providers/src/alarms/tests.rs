//! An alarm through its contract, with frozen time.

use std::{sync::Arc, time::Duration};

use evoke_feeds::{
    Batch, BatchEnd, Deliveries, FeedKey, MemorySink, Registry, Report, ResetTo, Undelivered,
    conformance::TestClock,
};
use evoke_schemas::{EntityName, EntityUid, Namespace};
use serde_json::{Value, json};

use super::*;

const START: i64 = 1_700_000_000_000;

fn context(clock: &Arc<TestClock>) -> FeedContext {
    context_on(&MemorySink::new(), clock)
}

/// A context whose trigger's rules are as the sink says.
fn context_on(sink: &Arc<MemorySink>, clock: &Arc<TestClock>) -> FeedContext {
    FeedContext {
        key: FeedKey { uid: EntityUid([0xab; 16]), generation: 1 },
        namespace: Namespace::new("guest").unwrap(),
        name: EntityName::new("tick tock").unwrap(),
        payload: evoke_schemas::FeedPayload::CloudEvent,
        clock: Arc::clone(clock) as _,
        deliveries: Deliveries::new(
            Arc::clone(sink) as _,
            Namespace::new("guest").unwrap(),
            EntityName::new("t").unwrap(),
        ),
        report: Report::unread(),
    }
}

fn parameters(period_ms: u64) -> Parameters {
    Parameters {
        asked: Asked::Every { period_ms, delay_ms: period_ms },
        start_ms: None,
        stop_ms: None,
        most: None,
        misfire: schedule::Misfire::Once,
        limit: schedule::DEFAULT_LIMIT,
        deadline_ms: None,
        overlap: schedule::Overlap::Allow,
        payload: json!({"colour": "red"}).as_object().unwrap().clone(),
        when_ended: WhenEnded::Keep,
    }
}

async fn keep(source: &mut dyn Source) -> Batch {
    let batch = source.next().await.unwrap().unwrap();
    source.ended(BatchEnd::Kept).await.unwrap();
    batch
}

#[tokio::test(start_paused = true)]
async fn a_tick_is_an_event_with_its_own_instant() {
    let clock = TestClock::at(START);
    let mut alarm =
        Alarms::default().open(context(&clock), parameters(1_000), Start::Fresh).await.unwrap();
    assert_eq!(keep(alarm.as_mut()).await.events, []);
    let batch = keep(alarm.as_mut()).await;
    let [event] = batch.events.as_slice() else { panic!("one event: {batch:?}") };
    event.check().unwrap();
    assert_eq!(event.id, format!("{}-1700000001000", "ab".repeat(16)));
    assert_eq!(event.source, "/namespaces/guest/feeds/tick%20tock");
    assert_eq!(event.r#type, "org.evoke.alarm.tick");
    assert_eq!(event.time.as_deref(), Some("2023-11-14T22:13:21.000Z"));
    let mut arguments = event.arguments();
    let actual = arguments.remove("actual").unwrap();
    assert!(actual.as_str().unwrap() >= "2023-11-14T22:13:21.000Z");
    assert_eq!(
        Value::Object(arguments),
        json!({"scheduled": "2023-11-14T22:13:21.000Z", "colour": "red"})
    );
}

#[tokio::test(start_paused = true)]
async fn slow_appends_do_not_make_the_schedule_drift() {
    let clock = TestClock::at(START);
    let mut alarm =
        Alarms::default().open(context(&clock), parameters(1_000), Start::Fresh).await.unwrap();
    keep(alarm.as_mut()).await;
    for second in 1..=50 {
        let batch = keep(alarm.as_mut()).await;
        tokio::time::sleep(Duration::from_millis(337)).await;
        assert!(batch.events[0].id.ends_with(&format!("-{}", START + second * 1_000)));
    }
}

#[tokio::test(start_paused = true)]
async fn downtime_fires_once_and_the_event_says_so() {
    let clock = TestClock::at(START);
    let mut alarm =
        Alarms::default().open(context(&clock), parameters(60_000), Start::Fresh).await.unwrap();
    keep(alarm.as_mut()).await;
    let position = keep(alarm.as_mut()).await.position;
    tokio::time::sleep(Duration::from_secs(630)).await;
    let mut late = Alarms::default()
        .open(context(&clock), parameters(60_000), Start::After(position))
        .await
        .unwrap();
    let batch = keep(late.as_mut()).await;
    assert_eq!(batch.events.len(), 1);
    let arguments = batch.events[0].arguments();
    assert_eq!(arguments.get("missed"), Some(&json!(9)));
    assert_eq!(arguments.get("scheduled"), Some(&json!("2023-11-14T22:24:20.000Z")));
    let after = keep(late.as_mut()).await;
    assert_eq!(after.events[0].arguments().get("missed"), None);
}

#[tokio::test(start_paused = true)]
async fn a_clock_stepping_while_it_waits_is_noticed_within_a_second() {
    let clock = TestClock::at(START);
    let mut alarm =
        Alarms::default().open(context(&clock), parameters(3_600_000), Start::Fresh).await.unwrap();
    keep(alarm.as_mut()).await;
    let before = tokio::time::Instant::now();
    let (batch, ()) = tokio::join!(keep(alarm.as_mut()), async { clock.step(2 * 3_600_000) });
    assert!(before.elapsed() <= Duration::from_secs(1));
    assert_eq!(batch.events[0].arguments().get("missed"), Some(&json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_new_period_makes_a_new_grid_that_keeps_the_mark() {
    let clock = TestClock::at(START);
    let mut alarm =
        Alarms::default().open(context(&clock), parameters(60_000), Start::Fresh).await.unwrap();
    keep(alarm.as_mut()).await;
    let position = keep(alarm.as_mut()).await.position;
    let mut changed = Alarms::default()
        .open(context(&clock), parameters(7_000), Start::After(position.clone()))
        .await
        .unwrap();
    assert_eq!(keep(changed.as_mut()).await.events, [], "the new grid is pinned first");
    let batch = keep(changed.as_mut()).await;
    assert!(batch.events[0].id.ends_with(&format!("-{}", START + 67_000)), "{batch:?}");
    let same = Alarms::default()
        .open(context(&clock), parameters(60_000), Start::After(position))
        .await
        .unwrap();
    assert!(format!("{same:?}").contains("pinned: true"));
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_has_stopped_ends() {
    let clock = TestClock::at(START);
    let stop_ms = u64::try_from(START).ok().map(|start| start + 2_500);
    let stops = Parameters { stop_ms, ..parameters(1_000) };
    let mut alarm = Alarms::default().open(context(&clock), stops, Start::Fresh).await.unwrap();
    let mut ticks = 0;
    while let Some(batch) = alarm.next().await.unwrap() {
        ticks += batch.events.len();
        alarm.ended(BatchEnd::Kept).await.unwrap();
    }
    assert_eq!(ticks, 2);
}

#[tokio::test(start_paused = true)]
async fn a_reset_fires_again_under_new_ids() {
    let clock = TestClock::at(START);
    let now = u64::try_from(START).unwrap();
    let all = Parameters { misfire: schedule::Misfire::All, ..parameters(1_000) };
    let mut feed = context(&clock);
    feed.key.generation = 4;
    let reset = Start::Reset(ResetTo::Time(now - 3_000));
    let mut alarm = Alarms::default().open(feed.clone(), all, reset).await.unwrap();
    assert_eq!(keep(alarm.as_mut()).await.events, [], "its place is pinned first");
    let ids: Vec<_> = keep(alarm.as_mut()).await.events.into_iter().map(|it| it.id).collect();
    let id = |back| format!("{}-{}-4", feed.key.uid, now - back);
    assert_eq!(ids, [id(3_000), id(2_000), id(1_000), id(0)]);
    for (to, works) in [(ResetTo::Latest, true), (ResetTo::Position(json!(7)), false)] {
        let opened =
            Alarms::default().open(feed.clone(), parameters(1_000), Start::Reset(to)).await;
        assert_eq!(opened.is_ok(), works);
    }
}

#[test]
fn parameters_are_refused_with_every_mistake() {
    let check = |parameters: Value| {
        let parameters = parameters.as_object().unwrap().clone();
        let checked = Registry::new().with(Alarms::default()).check("alarms", &parameters);
        checked.map_err(|error| error.to_string())
    };
    assert_eq!(check(json!({"every": "1s"})), Ok(()));
    assert_eq!(
        check(json!({"minutes": 5, "startDate": "2030-01-01", "trigger_payload": "x"})),
        Ok(())
    );
    assert_eq!(check(json!({"minutes": "5", "misfire": "all", "trigger_payload": {}})), Ok(()));
    assert_eq!(
        check(json!({})),
        Err("provider `alarms`: `every` (like `1s`), `minutes`, `cron` or `date` is missing"
            .to_owned())
    );
    assert_eq!(check(json!({"cron": "0 9 * * mon-fri", "timezone": "Europe/Berlin"})), Ok(()));
    assert_eq!(check(json!({"cron": "@daily", "gap": "skip", "repeat": "twice"})), Ok(()));
    let legacy = json!({"cron": "*/5 * * * *", "dialect": "openwhisk", "jitter": 30});
    assert_eq!(check(legacy), Ok(()));
    assert_eq!(check(json!({"date": "2040-01-01T00:00:00Z", "misfireDeadline": "1h"})), Ok(()));
    let error = check(json!({
        "every": "1 fortnight", "minutes": 0, "startDate": "soon", "misfire": "never",
        "misfireLimit": 0, "misfireDeadline": "now", "maxTriggers": "x", "trigger_payload": [1],
        "jitter": 60, "timezone": "Mars", "colour": "red",
    }))
    .unwrap_err();
    for part in [
        "`every` must be a duration of 10ms to 366 days, like `500ms`, `1s`, `5m` or `2h`",
        "`minutes` must be a whole number from 1 to 527040",
        "`every` and `minutes` exclude each other",
        "`startDate` must be an RFC 3339 time, a date or epoch milliseconds",
        "`misfire` must be `once`, `all` or `skip`",
        "`misfireLimit` must be a whole number from 1 to 50000",
        "`misfireDeadline` must be a duration",
        "`maxTriggers` must be a whole number",
        "`trigger_payload` must be a JSON object or text",
        "`jitter` must be a whole number of seconds, up to 59",
        "`timezone` must be a time zone",
        "`timezone` needs `cron`",
        "unknown parameter `colour`",
    ] {
        assert!(error.contains(part), "no {part} in {error}");
    }
    for (bad, part) in [
        (json!({"cron": "* * *"}), "`cron`: `* * *` is not a pattern"),
        (json!({"cron": "0 0 30 2 *"}), "never fires"),
        (json!({"cron": "0 0 1 12 *", "dialect": "openwhisk"}), "is not a pattern"),
        (json!({"cron": "@daily", "jitter": 5}), "`jitter` and `strict` are of"),
        (json!({"date": 1, "stopDate": 5}), "`date` has neither `startDate` nor `stopDate`"),
    ] {
        let error = check(bad).unwrap_err();
        assert!(error.contains(part), "no {part} in {error}");
    }
    assert_eq!(
        check(json!({"every": "1s", "startDate": 2_000, "stopDate": 2_000})),
        Err("provider `alarms`: `stopDate` must be later than `startDate`".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_cron_fires_at_its_wall_time_in_its_zone() {
    // 2023-11-14T22:13:20Z is 23:13:20 in Berlin.
    let clock = TestClock::at(START);
    let given = json!({"cron": "30 23 * * *", "timezone": "Europe/Berlin"});
    let parameters = Fields::read(given.as_object().unwrap(), Parameters::read).unwrap();
    let mut alarm =
        Alarms::default().open(context(&clock), parameters, Start::Fresh).await.unwrap();
    keep(alarm.as_mut()).await;
    for day in ["2023-11-14", "2023-11-15"] {
        let batch = keep(alarm.as_mut()).await;
        let time = batch.events[0].time.clone();
        assert_eq!(time.as_deref(), Some(format!("{day}T22:30:00.000Z").as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn f22_a_single_tick_missed_over_downtime_comes_at_start_and_ends_the_feed() {
    let clock = TestClock::at(START);
    let at_ms = u64::try_from(START).unwrap() + 60_000;
    let once = || Parameters { asked: Asked::Once { at_ms }, ..parameters(1) };
    let mut alarm = Alarms::default().open(context(&clock), once(), Start::Fresh).await.unwrap();
    let position = keep(alarm.as_mut()).await.position;
    drop(alarm);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let after = Start::After(position);
    let mut late = Alarms::default().open(context(&clock), once(), after).await.unwrap();
    let batch = keep(late.as_mut()).await;
    assert!(batch.events[0].id.ends_with(&format!("-{at_ms}")));
    assert_eq!(late.next().await.unwrap(), None);
    let passed = Alarms::default().open(context(&clock), once(), Start::Fresh).await;
    assert!(passed.unwrap_err().to_string().contains("`date` must be in the future"));
}

#[tokio::test(start_paused = true)]
async fn c12_the_count_of_ticks_holds_over_restarts() {
    let clock = TestClock::at(START);
    let three = || Parameters { most: Some(3), ..parameters(1_000) };
    let mut from = Start::Fresh;
    let mut ticks = 0;
    loop {
        let mut alarm = Alarms::default().open(context(&clock), three(), from).await.unwrap();
        let Some(batch) = alarm.next().await.unwrap() else { break };
        ticks += batch.events.len();
        from = Start::After(batch.position);
    }
    assert_eq!(ticks, 3);
}

#[tokio::test(start_paused = true)]
async fn f24_an_update_before_the_first_tick_leaves_only_the_new_schedule() {
    let clock = TestClock::at(START);
    let start = u64::try_from(START).unwrap();
    let first = Parameters { start_ms: Some(start + 30_000), ..parameters(60_000) };
    let mut alarm = Alarms::default().open(context(&clock), first, Start::Fresh).await.unwrap();
    let position = keep(alarm.as_mut()).await.position;
    drop(alarm);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let second = Parameters { start_ms: Some(start + 45_000), ..parameters(60_000) };
    let after = Start::After(position);
    let mut alarm = Alarms::default().open(context(&clock), second, after).await.unwrap();
    assert_eq!(keep(alarm.as_mut()).await.events, [], "the new grid is pinned first");
    let batch = keep(alarm.as_mut()).await;
    assert!(batch.events[0].id.ends_with(&format!("-{}", start + 45_000)));
}

#[tokio::test(start_paused = true)]
async fn f27_no_step_of_the_clock_makes_a_tick_twice() {
    let clock = TestClock::at(START);
    let mut alarm =
        Alarms::default().open(context(&clock), parameters(60_000), Start::Fresh).await.unwrap();
    keep(alarm.as_mut()).await;
    let mut ids = std::collections::BTreeSet::new();
    for step in [0, -300_000, 7_200_000, -300_000, 0] {
        clock.step(step);
        for event in keep(alarm.as_mut()).await.events {
            assert!(ids.insert(event.id.clone()), "{} came twice", event.id);
        }
    }
    assert_eq!(ids.len(), 5);
}

/// An alarm each second with this policy, pinned, whose last tick is still being delivered.
async fn overlapping(
    overlap: schedule::Overlap,
    misfire: schedule::Misfire,
) -> (Arc<MemorySink>, Box<dyn Source>) {
    let (clock, sink) = (TestClock::at(START), MemorySink::new());
    let parameters = Parameters { overlap, misfire, ..parameters(1_000) };
    let context = context_on(&sink, &clock);
    let mut alarm = Alarms::default().open(context, parameters, Start::Fresh).await.unwrap();
    keep(alarm.as_mut()).await;
    assert_eq!(keep(alarm.as_mut()).await.events.len(), 1);
    sink.set_undelivered(Undelivered { open: 1, dead: 0 });
    (sink, alarm)
}

fn seconds(batch: &Batch) -> Vec<u64> {
    let of = |event: &evoke_schemas::Event| {
        let ms: u64 = event.id.rsplit('-').next().unwrap().parse().unwrap();
        (ms - u64::try_from(START).unwrap()) / 1_000
    };
    batch.events.iter().map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tick_beside_the_former_one_is_skipped_and_counted() {
    let (sink, mut alarm) = overlapping(schedule::Overlap::Skip, schedule::Misfire::Once).await;
    for _ in 0..3 {
        assert_eq!(keep(alarm.as_mut()).await.events, []);
    }
    // A dead letter waits for people, and keeps no tick from firing.
    sink.set_undelivered(Undelivered { open: 0, dead: 1 });
    let batch = keep(alarm.as_mut()).await;
    assert_eq!(seconds(&batch), [5]);
    assert_eq!(batch.events[0].arguments().get("missed"), Some(&json!(3)));
    assert_eq!(seconds(&keep(alarm.as_mut()).await), [6]);
}

#[tokio::test(start_paused = true)]
async fn a_queued_tick_fires_once_the_former_one_is_over() {
    for (misfire, fires) in [
        (schedule::Misfire::Once, vec![vec![5], vec![6]]),
        (schedule::Misfire::All, vec![vec![2], vec![3], vec![4], vec![5], vec![6]]),
    ] {
        let (sink, mut alarm) = overlapping(schedule::Overlap::Queue, misfire).await;
        let over = async {
            tokio::time::sleep(Duration::from_millis(4_050)).await;
            sink.set_undelivered(Undelivered::default());
        };
        let (first, ()) = tokio::join!(keep(alarm.as_mut()), over);
        let mut seen = vec![seconds(&first)];
        while seen.len() < fires.len() {
            seen.push(seconds(&keep(alarm.as_mut()).await));
        }
        assert_eq!(seen, fires, "{misfire:?}: one at a time");
    }
}

#[tokio::test(start_paused = true)]
async fn c11_an_openwhisk_trigger_is_fired_with_what_was_stored_alone() {
    let clock = TestClock::at(START);
    let context = FeedContext { payload: evoke_schemas::FeedPayload::OpenWhisk, ..context(&clock) };
    let mut alarm = Alarms::default().open(context, parameters(1_000), Start::Fresh).await.unwrap();
    keep(alarm.as_mut()).await;
    let batch = keep(alarm.as_mut()).await;
    assert_eq!(Value::Object(batch.events[0].arguments()), json!({"colour": "red"}));
}

#[tokio::test(start_paused = true)]
async fn c10_an_interval_fires_from_its_start_until_its_stop() {
    let start_ms = u64::try_from(START).unwrap() + 30_000;
    let clock = TestClock::at(START);
    let interval = Parameters {
        start_ms: Some(start_ms),
        stop_ms: Some(start_ms + 100_000),
        ..parameters(60_000)
    };
    let mut alarm = Alarms::default().open(context(&clock), interval, Start::Fresh).await.unwrap();
    keep(alarm.as_mut()).await;
    assert_eq!(seconds(&keep(alarm.as_mut()).await), [30]);
    assert_eq!(seconds(&keep(alarm.as_mut()).await), [90]);
    assert_eq!(alarm.next().await.unwrap(), None, "and no more");
}
