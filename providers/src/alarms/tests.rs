//! An alarm through its contract, with frozen time.

use std::sync::Arc;

use evoke_feeds::{Deliveries, FeedKey, MemorySink, Registry, Report, conformance::TestClock};
use evoke_schemas::{EntityName, EntityUid, Namespace};
use serde_json::json;

use super::*;

const START: i64 = 1_700_000_000_000;

fn context(clock: &Arc<TestClock>) -> FeedContext {
    FeedContext {
        key: FeedKey { uid: EntityUid([0xab; 16]), generation: 1 },
        namespace: Namespace::new("guest").unwrap(),
        name: EntityName::new("tick tock").unwrap(),
        payload: evoke_schemas::FeedPayload::CloudEvent,
        clock: Arc::clone(clock) as _,
        deliveries: Deliveries::new(MemorySink::new(), EntityUid([0xab; 16])),
        report: Report::unread(),
    }
}

fn parameters(period_ms: u64) -> Parameters {
    Parameters {
        period_ms,
        start_ms: None,
        delay_ms: period_ms,
        stop_ms: None,
        misfire: schedule::Misfire::Once,
        payload: json!({"colour": "red"}).as_object().unwrap().clone(),
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
    let mut alarm = Alarms.open(context(&clock), parameters(1_000), Start::Fresh).await.unwrap();
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
    let mut alarm = Alarms.open(context(&clock), parameters(1_000), Start::Fresh).await.unwrap();
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
    let mut alarm = Alarms.open(context(&clock), parameters(60_000), Start::Fresh).await.unwrap();
    keep(alarm.as_mut()).await;
    let position = keep(alarm.as_mut()).await.position;
    tokio::time::sleep(Duration::from_secs(630)).await;
    let mut late =
        Alarms.open(context(&clock), parameters(60_000), Start::After(position)).await.unwrap();
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
        Alarms.open(context(&clock), parameters(3_600_000), Start::Fresh).await.unwrap();
    keep(alarm.as_mut()).await;
    let before = tokio::time::Instant::now();
    let (batch, ()) = tokio::join!(keep(alarm.as_mut()), async { clock.step(2 * 3_600_000) });
    assert!(before.elapsed() <= Duration::from_secs(1));
    assert_eq!(batch.events[0].arguments().get("missed"), Some(&json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_new_period_makes_a_new_grid_that_keeps_the_mark() {
    let clock = TestClock::at(START);
    let mut alarm = Alarms.open(context(&clock), parameters(60_000), Start::Fresh).await.unwrap();
    keep(alarm.as_mut()).await;
    let position = keep(alarm.as_mut()).await.position;
    let mut changed = Alarms
        .open(context(&clock), parameters(7_000), Start::After(position.clone()))
        .await
        .unwrap();
    assert_eq!(keep(changed.as_mut()).await.events, [], "the new grid is pinned first");
    let batch = keep(changed.as_mut()).await;
    assert!(batch.events[0].id.ends_with(&format!("-{}", START + 67_000)), "{batch:?}");
    let same =
        Alarms.open(context(&clock), parameters(60_000), Start::After(position)).await.unwrap();
    assert!(format!("{same:?}").contains("pinned: true"));
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_has_stopped_ends() {
    let clock = TestClock::at(START);
    let stop_ms = u64::try_from(START).ok().map(|start| start + 2_500);
    let stops = Parameters { stop_ms, ..parameters(1_000) };
    let mut alarm = Alarms.open(context(&clock), stops, Start::Fresh).await.unwrap();
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
    let mut alarm = Alarms.open(feed.clone(), all, reset).await.unwrap();
    assert_eq!(keep(alarm.as_mut()).await.events, [], "its place is pinned first");
    let ids: Vec<_> = keep(alarm.as_mut()).await.events.into_iter().map(|it| it.id).collect();
    let id = |back| format!("{}-{}-4", feed.key.uid, now - back);
    assert_eq!(ids, [id(3_000), id(2_000), id(1_000), id(0)]);
    for (to, works) in [(ResetTo::Latest, true), (ResetTo::Position(json!(7)), false)] {
        let opened = Alarms.open(feed.clone(), parameters(1_000), Start::Reset(to)).await;
        assert_eq!(opened.is_ok(), works);
    }
}

#[test]
fn parameters_are_refused_with_every_mistake() {
    let check = |parameters: Value| {
        let parameters = parameters.as_object().unwrap().clone();
        let checked = Registry::new().with(Alarms).check("alarms", &parameters);
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
        Err("provider `alarms`: `every` (like `1s`) or `minutes` is missing".to_owned())
    );
    assert_eq!(
        check(json!({
            "every": "1 fortnight", "minutes": 0, "startDate": "soon", "misfire": "never",
            "trigger_payload": [1], "cron": "* * * * *",
        })),
        Err("provider `alarms`: \
             `every` must be a duration of 10ms to 366 days, like `500ms`, `1s`, `5m` or `2h`; \
             `minutes` must be a whole number from 1 to 527040; \
             `every` and `minutes` exclude each other; \
             `startDate` must be an RFC 3339 time, a date or epoch milliseconds; \
             `misfire` must be `once`, `all` or `skip`; \
             `trigger_payload` must be a JSON object or text; \
             unknown parameter `cron` (known: every, minutes, misfire, startDate, stopDate, \
             trigger_payload)"
            .to_owned())
    );
    assert_eq!(
        check(json!({"every": "1s", "startDate": 2_000, "stopDate": 2_000})),
        Err("provider `alarms`: `stopDate` must be later than `startDate`".to_owned())
    );
}
