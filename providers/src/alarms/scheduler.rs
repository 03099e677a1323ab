//! One order for every alarm: which of a million is due next. A core without I/O.
//!
//! An alarm is in the order while it waits. Popped, it is out of it until its ticks are kept (or
//! it is removed), so that none is dealt out twice.

use std::collections::BTreeSet;

use super::schedule::{MAX_WAIT_BACK_MS, Mark, Next, Schedule};

/// Alarms by when they are due. The order is that of time, then of the slot: nothing else decides.
#[derive(Debug, Default)]
pub struct Scheduler {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// (due, slot) of each alarm that waits.
    order: BTreeSet<(u64, u32)>,
    /// The latest time that was passed in since the clock stepped back. Unit: epoch milliseconds.
    seen_ms: u64,
}

/// An alarm of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlarmId {
    slot: u32,
    /// Of whoever had the slot before, the ids are dead.
    version: u32,
}

/// An alarm that is due, and what to do about it; never [`Next::Wait`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The alarm.
    pub id: AlarmId,
    /// Its ticks.
    pub next: Next,
}

#[derive(Debug, Default)]
struct Slot {
    version: u32,
    alarm: Option<Alarm>,
}

#[derive(Debug)]
struct Alarm {
    schedule: Schedule,
    mark: Mark,
    /// `None`: popped, until its ticks are kept.
    due_ms: Option<u64>,
}

// === impl Scheduler ===

impl Scheduler {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many alarms it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes an alarm in.
    ///
    /// # Panics
    /// With more than 2³² alarms.
    pub fn insert(&mut self, schedule: Schedule, mark: Mark, now_ms: u64) -> AlarmId {
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        let due_ms = schedule.due_ms(mark, now_ms);
        self.order.insert((due_ms, slot));
        let alarm = Alarm { schedule, mark, due_ms: Some(due_ms) };
        let version = self.slot(slot).map_or(0, |place| {
            place.alarm = Some(alarm);
            place.version
        });
        AlarmId { slot, version }
    }

    #[expect(clippy::expect_used, reason = "2^32 alarms do not fit into any memory")]
    fn grow(&mut self) -> u32 {
        self.slots.push(Slot::default());
        u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 alarms")
    }

    /// Takes an alarm out; nothing of it is popped any more.
    pub fn remove(&mut self, id: AlarmId) -> bool {
        let Some(place) = self.slot(id.slot).filter(|place| place.version == id.version) else {
            return false;
        };
        let Some(alarm) = place.alarm.take() else { return false };
        place.version = place.version.wrapping_add(1);
        if let Some(due_ms) = alarm.due_ms {
            self.order.remove(&(due_ms, id.slot));
        }
        self.free.push(id.slot);
        true
    }

    /// What was popped is kept: the alarm goes on behind this mark.
    pub fn keep(&mut self, id: AlarmId, mark: Mark, now_ms: u64) -> bool {
        let Some(place) = self.slot(id.slot).filter(|place| place.version == id.version) else {
            return false;
        };
        let Some(alarm) = place.alarm.as_mut() else { return false };
        let former = alarm.due_ms;
        let due_ms = alarm.schedule.due_ms(mark, now_ms);
        (alarm.mark, alarm.due_ms) = (mark, Some(due_ms));
        if let Some(former) = former {
            self.order.remove(&(former, id.slot));
        }
        self.order.insert((due_ms, id.slot))
    }

    /// When the next alarm is due. Unit: epoch milliseconds.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        self.order.first().map(|(due_ms, _)| *due_ms)
    }

    /// The alarms that are due, the longest due first, at most this many.
    pub fn pop_due(&mut self, now_ms: u64, most: usize) -> Vec<Due> {
        self.notice_steps(now_ms);
        let mut popped = Vec::new();
        while popped.len() < most
            && let Some(&(due_ms, slot)) = self.order.first()
            && due_ms <= now_ms
        {
            self.order.remove(&(due_ms, slot));
            popped.extend(self.pop(slot, now_ms));
        }
        popped
    }

    fn pop(&mut self, slot: u32, now_ms: u64) -> Option<Due> {
        let place = self.slot(slot)?;
        let version = place.version;
        let alarm = place.alarm.as_mut()?;
        let next = alarm.schedule.next(alarm.mark, now_ms);
        if let Next::Wait(until_ms) = next {
            alarm.due_ms = Some(until_ms);
            self.order.insert((until_ms, slot));
            return None;
        }
        alarm.due_ms = None;
        Some(Due { id: AlarmId { slot, version }, next })
    }

    /// After a step of the clock far back, marks may lie so far ahead that waiting for them makes
    /// no sense: then every alarm is looked at again.
    fn notice_steps(&mut self, now_ms: u64) {
        if self.seen_ms.saturating_sub(now_ms) <= MAX_WAIT_BACK_MS {
            self.seen_ms = self.seen_ms.max(now_ms);
            return;
        }
        self.seen_ms = now_ms;
        self.order.clear();
        for (slot, place) in (0..).zip(&mut self.slots) {
            let Some(alarm) = &mut place.alarm else { continue };
            if alarm.due_ms.is_some() {
                let due_ms = alarm.schedule.due_ms(alarm.mark, now_ms);
                alarm.due_ms = Some(due_ms);
                self.order.insert((due_ms, slot));
            }
        }
    }

    fn slot(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(slot).ok()?)
    }
}

#[cfg(test)]
mod tests;
