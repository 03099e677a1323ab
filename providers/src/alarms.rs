//! Alarms: an event at each tick of a schedule.

mod parameters;
pub mod schedule;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use evoke_feeds::{
    Batch, BatchEnd, FeedContext, Fields, Provider, ResetTo, Source, SourceError, Start,
};
use evoke_schemas::{Data, Event};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use parameters::{MAX_PERIOD_MS, MIN_PERIOD_MS, Parameters};
use schedule::{Mark, Next, Schedule, Tick};

/// Kind of the events.
pub const TICK_TYPE: &str = "org.evoke.alarm.tick";
/// How long the clock is not looked at: a step of it is noticed within this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The provider `alarms`.
///
/// Source of `minutes`, `startDate`, `stopDate` and `trigger_payload`: OpenWhisk's `interval`.
/// Two differences: a `startDate` that has passed anchors the grid instead of being refused, and
/// ticks missed by downtime fire once.
#[derive(Clone, Copy, Debug)]
pub struct Alarms;

/// An open alarm.
#[derive(Debug)]
struct Alarm {
    feed: FeedContext,
    schedule: Schedule,
    payload: Map<String, Value>,
    mark: Mark,
    /// Whether a position is already kept.
    pinned: bool,
    /// What the mark becomes when the batch that was yielded is kept.
    yielded: Option<Mark>,
}

/// A feed's position, JSON in the log. Without a `startDate` it also keeps the grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Position {
    anchor_ms: u64,
    period_ms: u64,
    #[serde(flatten)]
    mark: Mark,
}

// === impl Alarms ===

#[async_trait]
impl Provider for Alarms {
    const NAME: &'static str = "alarms";
    type Parameters = Parameters;

    fn parameters(fields: &mut Fields<'_>) -> Option<Parameters> {
        Parameters::read(fields)
    }

    async fn open(
        &self,
        feed: FeedContext,
        parameters: Parameters,
        from: Start,
    ) -> Result<Box<dyn Source>, SourceError> {
        let now_ms = feed.clock.now_ms();
        let beginning = beginning(&from, &parameters, feed.key.generation, now_ms)?;
        let begins_ms = match from {
            Start::Reset(ResetTo::Time(time_ms)) => time_ms.min(now_ms),
            Start::Reset(_) | Start::Fresh | Start::After(_) => {
                now_ms.saturating_add(parameters.delay_ms)
            }
        };
        let stored = match from {
            Start::Fresh | Start::Reset(_) => None,
            Start::After(bytes) => {
                Some(serde_json::from_slice::<Position>(&bytes).map_err(|error| {
                    SourceError::Fatal(format!("the stored position is unreadable: {error}"))
                })?)
            }
        };
        let schedule = Schedule {
            anchor_ms: anchor(&parameters, stored.as_ref(), begins_ms),
            period_ms: parameters.period_ms,
            stop_ms: parameters.stop_ms,
            misfire: parameters.misfire,
        };
        feed.report.running();
        Ok(Box::new(Alarm {
            feed,
            schedule,
            payload: parameters.payload,
            mark: stored.map_or(beginning, |stored| stored.mark),
            pinned: stored.is_some_and(|stored| {
                stored.anchor_ms == schedule.anchor_ms && stored.period_ms == schedule.period_ms
            }),
            yielded: None,
        }))
    }
}

/// What a feed without a position has done already: all until now, or until where it is reset to.
/// Ticks that are fired again have the generation in their ids.
fn beginning(
    from: &Start,
    parameters: &Parameters,
    generation: u64,
    now_ms: u64,
) -> Result<Mark, SourceError> {
    let until_ms = match from {
        Start::Fresh | Start::After(_) => return Ok(Mark { until_ms: now_ms, rewinds: 0 }),
        Start::Reset(ResetTo::Latest) => now_ms,
        Start::Reset(ResetTo::Earliest) => {
            parameters.start_ms.map_or(now_ms, |start_ms| start_ms.saturating_sub(1)).min(now_ms)
        }
        Start::Reset(ResetTo::Time(time_ms)) => time_ms.saturating_sub(1).min(now_ms),
        Start::Reset(ResetTo::Position(_)) => {
            return Err(SourceError::Fatal(
                "an alarm is reset to `earliest`, `latest` or a time".to_owned(),
            ));
        }
    };
    Ok(Mark { until_ms, rewinds: u32::try_from(generation).unwrap_or(u32::MAX) })
}

/// The grid's anchor: as it is wanted, else as it was while the period is the same, else new.
fn anchor(parameters: &Parameters, stored: Option<&Position>, begins_ms: u64) -> u64 {
    let kept = stored.filter(|stored| stored.period_ms == parameters.period_ms);
    parameters.start_ms.or(kept.map(|stored| stored.anchor_ms)).unwrap_or(begins_ms)
}

// === impl Alarm ===

#[async_trait]
impl Source for Alarm {
    async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        if !self.pinned {
            return Ok(Some(self.batch(&[], self.mark, 0)));
        }
        loop {
            let now_ms = self.feed.clock.now_ms();
            match self.schedule.next(self.mark, now_ms) {
                Next::Finished => return Ok(None),
                Next::Fire(ticks, mark) => return Ok(Some(self.batch(&ticks, mark, now_ms))),
                Next::Wait(until_ms) => {
                    let wait = Duration::from_millis(until_ms.saturating_sub(now_ms));
                    tokio::time::sleep(wait.min(LOOK_AGAIN)).await;
                }
            }
        }
    }

    async fn ended(&mut self, end: BatchEnd) -> Result<(), SourceError> {
        let Some(mark) = self.yielded.take() else { return Ok(()) };
        match end {
            BatchEnd::Kept => {
                self.mark = mark;
                self.pinned = true;
                Ok(())
            }
            BatchEnd::Refused(reason) => Err(SourceError::Fatal(reason)),
        }
    }
}

impl Alarm {
    fn batch(&mut self, ticks: &[Tick], mark: Mark, now_ms: u64) -> Batch {
        self.yielded = Some(mark);
        let Schedule { anchor_ms, period_ms, .. } = self.schedule;
        let position = serde_json::json!(Position { anchor_ms, period_ms, mark });
        let events = ticks.iter().map(|tick| self.event(tick, now_ms)).collect();
        Batch::new(events, Bytes::from(position.to_string()))
    }

    /// The event of a tick. Its id is of the feed and the instant alone, so that no restart, no
    /// second task and no step of the clock makes two events of one tick.
    fn event(&self, tick: &Tick, now_ms: u64) -> Event {
        let uid = self.feed.key.uid;
        let id = match tick.rewinds {
            0 => format!("{uid}-{}", tick.scheduled_ms),
            rewinds => format!("{uid}-{}-{rewinds}", tick.scheduled_ms),
        };
        let mut data = Map::new();
        data.insert("scheduled".to_owned(), rfc3339(tick.scheduled_ms).into());
        data.insert("actual".to_owned(), rfc3339(now_ms).into());
        if tick.missed > 0 {
            data.insert("missed".to_owned(), tick.missed.into());
        }
        data.extend(self.payload.clone());
        let mut event = Event::new(id, self.feed.source(), TICK_TYPE);
        event.time = Some(rfc3339(tick.scheduled_ms));
        event.datacontenttype = Some("application/json".to_owned());
        event.data = Data::Json(Value::Object(data).to_string().into());
        event
    }
}

fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    time.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests;
