//! An open alarm: its ticks as events, its mark as the position.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use evoke_feeds::{Batch, BatchEnd, FeedContext, ResetTo, Source, SourceError, Start};
use evoke_schemas::{Data, Event, FeedPayload};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    TICK_TYPE,
    parameters::{Asked, Parameters},
    schedule::{MAX_TICKS, Mark, Next, Overlap, Rhythm, Schedule, Tick},
    timer::{Place, Timer},
};

/// Wait of a queued tick before it is looked again whether the former one is over.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// An open alarm.
#[derive(Debug)]
pub(super) struct Alarm {
    feed: FeedContext,
    place: Place,
    plan: Plan,
    mark: Mark,
    overlap: Overlap,
    /// Whether a position of this schedule is already kept.
    pinned: bool,
    /// What the mark becomes when the batch that was yielded is kept.
    yielded: Option<Mark>,
}

/// What an alarm's events and positions are made of.
#[derive(Debug)]
struct Plan {
    /// The schedule as text: another text, another schedule.
    schedule: String,
    anchor_ms: Option<u64>,
    payload: Map<String, Value>,
}

/// A feed's position, JSON in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Position {
    schedule: String,
    /// Where the grid of an interval without `startDate` is fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor_ms: Option<u64>,
    #[serde(flatten)]
    mark: Mark,
}

// === impl Alarm ===

impl Alarm {
    pub(super) fn open(
        feed: FeedContext,
        parameters: Parameters,
        from: Start,
        timer: &Timer,
    ) -> Result<Self, SourceError> {
        let now_ms = feed.clock.now_ms();
        let text = parameters.schedule_text();
        let stored = match &from {
            Start::Fresh | Start::Reset(_) => None,
            Start::After(bytes) => Some(read_position(bytes)?),
        };
        let same = stored.as_ref().filter(|stored| stored.schedule == text);
        let mark = match (same, &stored) {
            (Some(same), _) => same.mark,
            // Only the new schedule after an UPDATE, and only from now on.
            (None, Some(former)) => {
                let until_ms = former.mark.until_ms.max(now_ms);
                Mark { until_ms, rewinds: former.mark.rewinds, ..Mark::default() }
            }
            (None, None) => beginning(&from, &parameters, feed.key.generation, now_ms)?,
        };
        let begins_ms = match from {
            Start::Reset(ResetTo::Time(time_ms)) => time_ms.min(now_ms),
            Start::Reset(_) | Start::Fresh | Start::After(_) => now_ms,
        };
        let kept_ms = same.and_then(|same| same.anchor_ms);
        let schedule = schedule(&parameters, &feed, kept_ms, (begins_ms, now_ms));
        let anchor_ms = match schedule.rhythm {
            Rhythm::Every { anchor_ms, .. } => Some(anchor_ms),
            Rhythm::Cron(_) | Rhythm::Once(_) => None,
        };
        let pinned = same.is_some();
        feed.report.running();
        let overlap = parameters.overlap;
        let plan = Plan { schedule: text, anchor_ms, payload: parameters.payload };
        let place = timer.register(schedule, mark, &feed.clock);
        Ok(Self { feed, place, plan, mark, overlap, pinned, yielded: None })
    }

    /// Whether a tick now would fire beside a former one, and must not.
    async fn overlaps(&self) -> Result<bool, SourceError> {
        Ok(self.overlap != Overlap::Allow && self.feed.deliveries.under_way().await?)
    }

    fn batch(&mut self, ticks: &[Tick], mark: Mark) -> Batch {
        let now_ms = self.feed.clock.now_ms();
        self.yielded = Some(mark);
        let Plan { schedule, anchor_ms, .. } = &self.plan;
        let position = Position { schedule: schedule.clone(), anchor_ms: *anchor_ms, mark };
        let position = serde_json::json!(position);
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
        let (scheduled, actual) = (rfc3339(tick.scheduled_ms), rfc3339(now_ms));
        let mut event = Event::new(id, self.feed.source(), TICK_TYPE);
        let mut data = Map::new();
        // OpenWhisk's triggers are fired with what was stored, and nothing else.
        if self.feed.payload == FeedPayload::CloudEvent {
            data.insert("scheduled".to_owned(), scheduled.clone().into());
            data.insert("actual".to_owned(), actual.into());
            if tick.missed > 0 {
                data.insert("missed".to_owned(), tick.missed.into());
            }
        }
        data.extend(self.plan.payload.clone());
        event.time = Some(scheduled);
        event.datacontenttype = Some("application/json".to_owned());
        event.data = Data::Json(Value::Object(data).to_string().into());
        event
    }
}

#[async_trait]
impl Source for Alarm {
    async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        if !self.pinned {
            return Ok(Some(self.batch(&[], self.mark)));
        }
        loop {
            match self.place.due().await {
                Next::Finished => return Ok(None),
                Next::Wait(_) => self.place.keep(self.mark),
                Next::Fire(ticks, mark) => {
                    if ticks.is_empty() || !self.overlaps().await? {
                        return Ok(Some(self.batch(&ticks, mark)));
                    }
                    if self.overlap == Overlap::Skip {
                        let mark = self.mark.missing(&ticks, mark);
                        return Ok(Some(self.batch(&[], mark)));
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                    // What is due by then is asked for anew.
                    self.place.keep(self.mark);
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
                self.place.keep(mark);
                Ok(())
            }
            BatchEnd::Refused(reason) => Err(SourceError::Fatal(reason)),
        }
    }
}

fn read_position(bytes: &Bytes) -> Result<Position, SourceError> {
    serde_json::from_slice(bytes).map_err(|error| {
        SourceError::Fatal(format!(
            "the stored position is unreadable: {error}; reset the feed to `latest`"
        ))
    })
}

/// What a feed without a position has done already: all until now, or until where it is reset to.
/// Ticks that are fired again have the generation in their ids.
fn beginning(
    from: &Start,
    parameters: &Parameters,
    generation: u64,
    now_ms: u64,
) -> Result<Mark, SourceError> {
    let at_ms = match parameters.asked {
        Asked::Once { at_ms } => Some(at_ms),
        Asked::Every { .. } | Asked::Cron(_) => parameters.start_ms,
    };
    let until_ms = match from {
        Start::Fresh if matches!(parameters.asked, Asked::Once { at_ms } if at_ms <= now_ms) => {
            return Err(SourceError::Fatal("`date` must be in the future".to_owned()));
        }
        Start::Fresh | Start::After(_) => {
            return Ok(Mark { until_ms: now_ms, ..Mark::default() });
        }
        Start::Reset(ResetTo::Latest) => now_ms,
        Start::Reset(ResetTo::Earliest) => {
            at_ms.map_or(now_ms, |at_ms| at_ms.saturating_sub(1)).min(now_ms)
        }
        Start::Reset(ResetTo::Time(time_ms)) => time_ms.saturating_sub(1).min(now_ms),
        Start::Reset(ResetTo::Position(_)) => {
            return Err(SourceError::Fatal(
                "an alarm is reset to `earliest`, `latest` or a time".to_owned(),
            ));
        }
    };
    let rewinds = u32::try_from(generation).unwrap_or(u32::MAX);
    Ok(Mark { until_ms, rewinds, ..Mark::default() })
}

/// The schedule that is asked for. A grid's anchor: as it is wanted, else as it was, else new.
fn schedule(
    parameters: &Parameters,
    feed: &FeedContext,
    kept_ms: Option<u64>,
    (begins_ms, now_ms): (u64, u64),
) -> Schedule {
    let rhythm = match &parameters.asked {
        Asked::Every { period_ms, delay_ms } => {
            let anchor_ms = parameters.start_ms.or(kept_ms).unwrap_or_else(|| {
                if begins_ms < now_ms { begins_ms } else { begins_ms.saturating_add(*delay_ms) }
            });
            Rhythm::Every { anchor_ms, period_ms: *period_ms }
        }
        Asked::Cron(pattern) => Rhythm::Cron(pattern.of(feed.name.as_str())),
        Asked::Once { at_ms } => Rhythm::Once(*at_ms),
    };
    Schedule {
        start_ms: parameters.start_ms,
        stop_ms: parameters.stop_ms,
        most: parameters.most,
        misfire: parameters.misfire,
        limit: parameters.limit,
        deadline_ms: parameters.deadline_ms,
        at_once: if parameters.overlap == Overlap::Allow { MAX_TICKS } else { 1 },
        ..Schedule::new(rhythm)
    }
}

fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    time.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}
