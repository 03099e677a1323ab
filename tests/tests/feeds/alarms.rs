//! Alarms: every instant of every schedule, also those that the hub was dead over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, Utc};
use evoke_tests::e2e::{entities::text, place::Place};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::campaign::{self, Course, Done, Subject, TRIGGER};

/// Period of each alarm. Unit: milliseconds.
const PERIOD_MS: usize = 500;

/// Alarms that all tick until the same moment, so that the number of ticks is known.
struct Alarms {
    alarms: usize,
    start_ms: i64,
    ticks: usize,
}

impl Alarms {
    fn new(alarms: usize, records: usize) -> Self {
        // Late enough for every feed to be made before.
        Self { alarms, start_ms: Utc::now().timestamp_millis() + 15_000, ticks: records / alarms }
    }

    fn instant(&self, tick: usize) -> String {
        let ms = self.start_ms + (tick * PERIOD_MS) as i64;
        let time = DateTime::from_timestamp_millis(ms).unwrap_or_default();
        time.to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

impl Subject for Alarms {
    fn feeds(&self) -> Vec<(String, Value)> {
        let feed = json!({"provider": "alarms", "trigger": TRIGGER, "parameters": {
            "every": format!("{PERIOD_MS}ms"), "misfire": "all",
            "startDate": self.instant(0), "stopDate": self.instant(self.ticks - 1),
        }});
        (0..self.alarms).map(|alarm| (format!("alarm{alarm:03}"), feed.clone())).collect()
    }

    /// Time produces ticks; here it is only counted.
    async fn produce(self: Arc<Self>, records: usize, produced: Arc<AtomicUsize>) -> Done {
        loop {
            let passed = Utc::now().timestamp_millis() - self.start_ms;
            let ticks = usize::try_from(passed).unwrap_or(0) / PERIOD_MS * self.alarms;
            produced.store(ticks, Ordering::SeqCst);
            if ticks >= records {
                return Ok(());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn restart(&self) -> Done {
        Ok(())
    }

    fn check(&self, records: usize, events: &[Value], activations: &[Value]) {
        let mut ticks = BTreeMap::<String, Vec<String>>::new();
        for event in events.iter().rev() {
            let times = ticks.entry(text(event, "/event/source")).or_default();
            times.push(text(event, "/event/time"));
        }
        let wanted: Vec<_> = (0..self.ticks).map(|tick| self.instant(tick)).collect();
        assert_eq!(ticks.len(), self.alarms, "alarms that ticked");
        for (alarm, times) in &ticks {
            assert_eq!(*times, wanted, "ticks of {alarm}, in the order of the log");
        }
        let ran: BTreeSet<_> =
            activations.iter().map(|record| text(record, "/response/result/event")).collect();
        assert_eq!(ran.len(), records, "ticks that ran");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tick_is_one_event_and_an_activation_though_the_hub_dies() -> Done {
    let (small, full) = (
        Course { records: 400, kills: 5, restarts: 0, between: 2 },
        Course { records: 10_000, kills: 20, restarts: 0, between: 10 },
    );
    let course = Course::of(small, full);
    let mut place = Place::new()?;
    let alarms =
        Arc::new(Alarms::new(if course.records == 400 { 20 } else { 100 }, course.records));
    campaign::run(&mut place, alarms, course).await?;
    place.done();
    Ok(())
}
