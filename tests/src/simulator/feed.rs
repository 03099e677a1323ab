//! A feed: appends its position with its events and goes on from there after whatever happened.

use evoke_event_log::{FeedPosition, Guard};
use evoke_schemas::{Data, Event};
use evoke_trigger_engine::ingest::FeedMark;
use evoke_trigger_engine::{Incoming, Origin, Target};

use super::chance::Chance;
use super::clients::FEED_SOURCE;
use super::plan::Plan;
use super::witness::Token;

/// Identity of the feed.
pub const FEED: u128 = 7;
/// First token of its events.
const FIRST: u32 = 5_000_000;

/// The feed's task in one life of the process.
#[derive(Clone, Debug)]
pub struct Feed {
    guard: Guard,
    next: u32,
    sent: u32,
    /// What an earlier task, waking up late, believes its position to be.
    late: Option<(Guard, u32)>,
}

// === impl Feed ===

impl Feed {
    /// A new task goes on where the log says.
    #[must_use]
    pub fn from(position: Option<&FeedPosition>) -> Self {
        let Some(known) = position else {
            let guard = Guard { feed: FEED, generation: 1, revision: 0 };
            return Self { guard, next: 0, sent: 0, late: None };
        };
        let next = known.state.first_chunk().copied().map_or(0, u32::from_le_bytes);
        let (generation, revision) = (known.at.generation, known.at.revision);
        let late = Guard { feed: FEED, generation, revision };
        let guard = Guard { feed: FEED, generation: generation + 1, revision: 0 };
        Self { guard, next, sent: 0, late: Some((late, next)) }
    }

    /// Whether all its events are in the log.
    #[must_use]
    pub fn is_done(&self, plan: &Plan) -> bool {
        self.next >= plan.feed_events
    }

    /// Its next batch.
    pub fn batch(&mut self, plan: &Plan, chance: &mut Chance) -> (Vec<Incoming>, FeedMark) {
        let left = plan.feed_events - self.next;
        self.sent = (chance.within(1, 6) as u32).min(left);
        batch(plan, self.guard, self.next..self.next + self.sent)
    }

    /// What the earlier task sends once the new one has written; it must be refused.
    pub fn late_batch(&mut self, plan: &Plan) -> Option<(Vec<Incoming>, FeedMark)> {
        let moved = self.guard.revision > 0;
        let (guard, next) = self.late.take_if(|_| moved)?;
        Some(batch(plan, guard, next..next + 1))
    }

    /// Its batch is in the log.
    pub fn acknowledged(&mut self) {
        self.guard.revision += 1;
        self.next += std::mem::take(&mut self.sent);
    }
}

fn batch(plan: &Plan, guard: Guard, range: std::ops::Range<u32>) -> (Vec<Incoming>, FeedMark) {
    let end = range.end;
    let events = range.map(|number| incoming(plan, Token(FIRST + number))).collect();
    (events, FeedMark { guard, state: end.to_le_bytes().to_vec().into() })
}

fn incoming(plan: &Plan, token: Token) -> Incoming {
    let trigger = &plan.triggers[0];
    let text = token.text();
    let mut event = Event::new(text.clone(), FEED_SOURCE, "fed");
    event.data = Data::Json(format!("{{\"t\":\"{text}\"}}").into());
    Incoming {
        namespace: trigger.namespace.clone(),
        target: Target::Trigger(trigger.name.clone()),
        event,
        origin: Origin::Feed,
        headers: None,
        subject: "simulator".to_owned(),
        dedup: false,
    }
}
