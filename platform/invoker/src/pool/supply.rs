//! Brings sandboxes to those who wait: stem cells, starts, evictions, and the upkeep of time.

use super::{Effect, Granted, Now, Pool, SandboxId, Shape, WarmKey, slots::State};

/// Most sandboxes paused by one tick: pausing takes a while each.
const PAUSES_PER_TICK: usize = 32;

/// Whether a sandbox of some shape can be started.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    /// Now.
    Free,
    /// Once what is being removed is gone.
    Coming,
    /// Not unless something else goes.
    None,
}

impl Pool {
    /// Grants stem cells to those who wait, starts what is missing and evicts for it.
    pub(super) fn supply(&mut self, now: &mut Now<'_>) {
        if self.closed {
            return;
        }
        if self.queue.len() > 0 {
            self.grant_idle(now);
            self.grant_stems(now);
            self.start_missing(now);
        }
    }

    /// Those that chose to share and wait longer than they thought get an idle one after all.
    fn grant_idle(&mut self, now: &mut Now<'_>) {
        loop {
            let stalled = self.queue.heads().find(|(_, waiting)| {
                let idle = self.keys.get(&waiting.key).is_some_and(super::KeyState::has_idle);
                idle && self.wanted(&waiting.key, now.ms) > 0
            });
            let Some(key) = stalled.map(|(_, waiting)| waiting.key.clone()) else { return };
            let Some(idle) = self.keys.get_mut(&key).and_then(super::KeyState::take_idle) else {
                return;
            };
            let Some(ticket) = self.queue.pop(&key) else { return };
            self.grant(ticket, key, idle, now);
        }
    }

    fn grant_stems(&mut self, now: &mut Now<'_>) {
        while let Some((key, sandbox)) = self.stem_for_head(now.ms) {
            let Some(ticket) = self.queue.pop(&key) else { return };
            self.grant(ticket, key, (sandbox, Granted::Fresh), now);
        }
    }

    fn stem_for_head(&self, now_ms: u64) -> Option<(WarmKey, SandboxId)> {
        self.queue
            .heads()
            .filter(|(_, waiting)| self.wanted(&waiting.key, now_ms) > 0)
            .find_map(|(_, waiting)| Some((waiting.key.clone(), self.stem_of(waiting.shape)?)))
    }

    fn stem_of(&self, shape: Shape) -> Option<SandboxId> {
        let is_stem = |state: &State| matches!(state, State::Stem { .. });
        let mut stems =
            self.slots.iter().filter(|(_, slot)| slot.shape == shape && is_stem(&slot.state));
        stems.next().map(|(id, _)| *id)
    }

    /// How many more sandboxes a key should have, by what waits for it and how long its runs take:
    /// short runs share few sandboxes, long ones get one each. A run under way that takes longer
    /// than those before counts with what it took so far.
    pub(super) fn wanted(&self, key: &WarmKey, now_ms: u64) -> usize {
        let waiting = self.queue.waiting(key);
        let Some(known) = self.keys.get(key) else { return waiting };
        let Some(held_us) = known.held_us else { return waiting };
        let stalled_us = now_ms.saturating_sub(known.progress_ms).saturating_mul(1000);
        let work_us = held_us.max(stalled_us).saturating_mul(waiting as u64);
        let enough = usize::try_from(work_us.div_ceil(self.limits.grow_us.max(1)));
        let missing = enough.unwrap_or(usize::MAX).saturating_sub(known.away);
        missing.clamp(usize::from(known.away == 0).min(waiting), waiting)
    }

    fn start_missing(&mut self, now: &mut Now<'_>) {
        while self.count(|slot| slot.state == State::Warming) < self.limits.starting {
            let Some(shape) = self.missing_shape(now.ms) else { return };
            match self.make_room(shape, now) {
                Room::Free => self.start(shape, now),
                Room::Coming | Room::None => return,
            }
        }
    }

    /// The shape, by turns of those who wait, that more is wanted of than is on its way.
    fn missing_shape(&self, now_ms: u64) -> Option<Shape> {
        let mut wanted: Vec<(Shape, usize)> = Vec::new();
        for (_, waiting) in self.queue.heads() {
            let more = self.wanted(&waiting.key, now_ms);
            match wanted.iter_mut().find(|(shape, _)| *shape == waiting.shape) {
                Some((_, sum)) => *sum += more,
                None => wanted.push((waiting.shape, more)),
            }
        }
        wanted.iter().find(|(shape, sum)| *sum > self.warming(*shape)).map(|(shape, _)| *shape)
    }

    fn warming(&self, shape: Shape) -> usize {
        self.count(|slot| slot.shape == shape && slot.state == State::Warming)
    }

    fn room(&self, shape: Shape) -> Room {
        let removing: Vec<_> =
            self.slots.values().filter(|slot| slot.state == State::Removing).collect();
        let going = removing.iter().map(|slot| slot.charge).sum::<u64>();
        let fits = |sandboxes: usize, charge: u64| {
            sandboxes < self.limits.sandboxes
                && charge + self.expected(shape) + self.limits.reserve <= self.limits.budget
        };
        let machine = self.available.unwrap_or(u64::MAX);
        let needed = self.expected(shape) + self.limits.machine_floor;
        if fits(self.slots.len(), self.charge) && machine >= needed {
            Room::Free
        } else if fits(self.slots.len() - removing.len(), self.charge - going)
            && machine.saturating_add(going) >= needed
        {
            Room::Coming
        } else {
            Room::None
        }
    }

    fn make_room(&mut self, shape: Shape, now: &mut Now<'_>) -> Room {
        loop {
            match self.room(shape) {
                Room::None => match self.longest_idle() {
                    Some(sandbox) => self.kill(sandbox, now),
                    None => return Room::None,
                },
                found @ (Room::Free | Room::Coming) => return found,
            }
        }
    }

    /// Whether a ticket of this shape can only be helped by a run that ends.
    pub(super) fn is_stuck(&self, shape: Shape) -> bool {
        self.room(shape) == Room::None && self.longest_idle().is_none() && self.warming(shape) == 0
    }

    /// Starts stem cells where nobody waits and there is room without evicting anybody.
    fn fill_stems(&mut self, now: &mut Now<'_>) {
        if self.closed || self.queue.len() > 0 || now.ms < self.stems_from_ms {
            return;
        }
        for (shape, target) in self.limits.stems.clone() {
            let standing = |slot: &super::Slot| {
                slot.shape == shape && matches!(slot.state, State::Stem { .. } | State::Warming)
            };
            let mut missing = target.saturating_sub(self.count(standing));
            while missing > 0
                && self.count(|slot| slot.state == State::Warming) < self.limits.starting
                && self.room(shape) == Room::Free
            {
                self.start(shape, now);
                missing -= 1;
            }
        }
    }

    pub(super) fn measured(&mut self, sandbox: SandboxId, bytes: u64, now: &mut Now<'_>) {
        let Some(slot) = self.slots.get_mut(&sandbox) else { return };
        self.charge = self.charge - slot.charge + bytes;
        slot.charge = bytes;
        self.evict_above_budget(now);
    }

    /// Idle sandboxes go until all that is left fits, or all that is left is busy.
    pub(super) fn evict_above_budget(&mut self, now: &mut Now<'_>) {
        if self.charge <= self.limits.budget {
            return;
        }
        let removing = |slot: &&super::Slot| slot.state == State::Removing;
        let going: u64 = self.slots.values().filter(removing).map(|slot| slot.charge).sum();
        let mut staying = self.charge - going;
        while staying > self.limits.budget
            && let Some(sandbox) = self.longest_idle()
        {
            staying -= self.slots.get(&sandbox).map_or(0, |slot| slot.charge);
            self.kill(sandbox, now);
        }
    }

    pub(super) fn tick(&mut self, available: Option<u64>, now: &mut Now<'_>) {
        self.available = available;
        self.relieve_machine(now);
        self.remove_old(now);
        self.pause_idle(now);
        self.supply(now);
        self.fill_stems(now);
    }

    fn relieve_machine(&mut self, now: &mut Now<'_>) {
        let Some(available) = self.available else { return };
        let mut missing = self.limits.machine_floor.saturating_sub(available);
        while missing > 0
            && let Some(sandbox) = self.longest_idle()
        {
            missing = missing.saturating_sub(self.slots.get(&sandbox).map_or(0, |s| s.charge));
            self.kill(sandbox, now);
        }
    }

    fn remove_old(&mut self, now: &mut Now<'_>) {
        let Some(oldest) = now.ms.checked_sub(self.limits.remove_ms) else { return };
        let mut kept = self.limits.stems.clone();
        let mut old = Vec::new();
        for (id, slot) in &self.slots {
            let stem = matches!(slot.state, State::Stem { .. });
            if let Some((_, left)) = kept.iter_mut().find(|(shape, _)| stem && *shape == slot.shape)
                && let Some(less) = left.checked_sub(1)
            {
                *left = less;
            } else if slot.state.idle_since().is_some_and(|since_ms| since_ms <= oldest) {
                old.push(*id);
            }
        }
        for sandbox in old {
            self.kill(sandbox, now);
        }
    }

    fn pause_idle(&mut self, now: &mut Now<'_>) {
        let rested: Vec<_> = self
            .slots
            .iter()
            .filter_map(|(id, slot)| match &slot.state {
                State::Ready { since_ms, .. }
                    if now.ms.saturating_sub(*since_ms) >= self.limits.pause_ms =>
                {
                    Some(*id)
                }
                _other => None,
            })
            .take(PAUSES_PER_TICK)
            .collect();
        for sandbox in rested {
            if let Some(State::Ready { key, since_ms }) =
                self.take_state(sandbox, |state| matches!(state, State::Ready { .. }))
            {
                if let Some(known) = self.keys.get_mut(&key) {
                    known.ready.retain(|other| *other != sandbox);
                    known.away += 1;
                }
                self.set(sandbox, State::Pausing { key, since_ms });
                now.effects.push(Effect::Pause { sandbox });
            }
        }
    }
}
