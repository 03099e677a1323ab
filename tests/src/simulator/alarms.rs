//! An alarm in a world of its own: the schedule as it is, a clock that people set, a hub that dies
//! between looking, appending and hearing of it, and tasks of former lives that wake up late.
//!
//! The log is what it promises to be: ticks and mark are kept together, under the guard of the
//! feed's revision, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use evoke_providers::alarms::schedule::{MAX_LIMIT, Mark, Misfire, Next, Rhythm, Schedule, Tick};

use super::{
    chance::Chance,
    clock::Clock,
    tally::{
        Group::{Fault, Load},
        Tally,
    },
};

/// Steps of a world.
const STEPS: usize = 300;
/// Farthest that the clock is set. Unit: milliseconds.
const SET_MS: u64 = 2 * 3_600_000;
/// Periods of alarms. Unit: milliseconds.
const PERIODS: [u64; 3] = [1_000, 7_000, 60_000];

/// Lives a seed's alarm to its end; gives the promises that were broken.
#[must_use]
pub fn live(seed: u64, tally: &mut Tally) -> Vec<String> {
    let mut chance = Chance::new(seed).fork("alarms");
    let clock = Clock::default();
    let period_ms = PERIODS[chance.index(PERIODS.len())];
    let anchor_ms = clock.wall_ms() + chance.within(0, period_ms);
    let misfire = [Misfire::All, Misfire::Once][chance.index(2)];
    let limit = MAX_LIMIT;
    let schedule =
        Schedule { misfire, limit, ..Schedule::new(Rhythm::Every { anchor_ms, period_ms }) };
    let log = Log { mark: Mark { until_ms: clock.wall_ms(), ..Mark::default() }, ..Log::default() };
    let mut alarm = Alarm { chance, clock, schedule, period_ms, log, task: None, late: None };
    for _ in 0..STEPS {
        alarm.step(tally);
    }
    alarm.heal(tally);
    alarm.judge();
    alarm.log.broken
}

struct Alarm {
    chance: Chance,
    clock: Clock,
    schedule: Schedule,
    period_ms: u64,
    log: Log,
    task: Option<Task>,
    /// A task of a former life that has something to append.
    late: Option<Task>,
}

/// What is durable, and what was seen to be wrong with it.
#[derive(Default)]
struct Log {
    /// Scheduled instants by how often the mark was taken back.
    ticks: BTreeMap<u32, BTreeSet<u64>>,
    kept: u64,
    mark: Mark,
    revision: u64,
    broken: Vec<String>,
}

#[derive(Clone)]
struct Task {
    mark: Mark,
    revision: u64,
    /// What it has looked up and not appended yet.
    batch: Option<(Vec<Tick>, Mark)>,
}

impl Alarm {
    fn step(&mut self, tally: &mut Tally) {
        let on_ms = self.chance.within(0, 2 * self.period_ms);
        self.clock.advance_to(self.clock.true_ms() + on_ms);
        if self.chance.percent(2) {
            let by_ms = i64::try_from(self.chance.within(1, SET_MS)).unwrap_or(0);
            let back = self.chance.percent(50);
            self.clock.step(if back { -by_ms } else { by_ms });
            tally.count(
                Fault,
                if back { "an alarm's clock set back" } else { "an alarm's clock set forward" },
            );
        }
        if self.chance.percent(3) {
            self.crash(tally);
        }
        if self.chance.percent(20) {
            self.late_wakes(tally);
        }
        self.go_on(tally);
    }

    /// The hub ends; what its task was about to append may still come.
    fn crash(&mut self, tally: &mut Tally) {
        let Some(task) = self.task.take() else { return };
        if task.batch.is_some() {
            tally.count(Fault, "crash between an alarm's look and append");
            self.late = Some(task);
        }
    }

    fn late_wakes(&mut self, tally: &mut Tally) {
        let Some(task) = self.late.take() else { return };
        // Where nobody has written since, it is as if it had come before the crash.
        if !self.append(&task, tally) {
            tally.count(Load, "late task of an alarm refused");
        }
    }

    /// The task looks, or appends what it has looked up.
    fn go_on(&mut self, tally: &mut Tally) {
        let (mark, revision) = (self.log.mark, self.log.revision);
        let mut task = self.task.take().unwrap_or(Task { mark, revision, batch: None });
        if task.batch.is_none() {
            match self.schedule.next(task.mark, self.clock.wall_ms()) {
                Next::Wait(_) => {}
                Next::Fire(ticks, mark) => task.batch = Some((ticks, mark)),
                Next::Finished => self.log.broken.push("an alarm without end ended".to_owned()),
            }
            self.task = Some(task);
            return;
        }
        if !self.append(&task, tally) {
            // A task of a former life came first: this one is opened again.
            return;
        }
        if self.chance.percent(5) {
            tally.count(Fault, "crash between an alarm's append and answer");
            return;
        }
        if let Some((_, mark)) = task.batch.take() {
            task.mark = mark;
        }
        task.revision += 1;
        self.task = Some(task);
    }

    /// Whether the log took it.
    fn append(&mut self, task: &Task, tally: &mut Tally) -> bool {
        let Some((ticks, mark)) = &task.batch else { return true };
        if task.revision != self.log.revision {
            return false;
        }
        for tick in ticks {
            tally.count(Load, "tick of an alarm");
            let Tick { scheduled_ms, rewinds, .. } = *tick;
            if !self.log.ticks.entry(rewinds).or_default().insert(scheduled_ms) {
                self.log.broken.push(format!("tick {scheduled_ms}-{rewinds} came twice"));
            }
            if scheduled_ms > mark.until_ms {
                self.log.broken.push(format!("tick {scheduled_ms} is behind its mark {mark:?}"));
            }
        }
        self.log.kept += ticks.len() as u64;
        (self.log.mark, self.log.revision) = (*mark, self.log.revision + 1);
        true
    }

    /// Nothing fails any more, until nothing is due.
    fn heal(&mut self, tally: &mut Tally) {
        self.late = None;
        for _ in 0..10_000 {
            let done = self.task.as_ref().is_some_and(|task| task.batch.is_none());
            let now_ms = self.clock.wall_ms();
            if done && matches!(self.schedule.next(self.log.mark, now_ms), Next::Wait(_)) {
                return;
            }
            self.go_on(tally);
        }
        self.log.broken.push("what is due of an alarm never comes to an end".to_owned());
    }

    /// Of each count of the clock every tick is there, where none may be left out.
    fn judge(&mut self) {
        if self.log.mark.fired != self.log.kept {
            let text =
                format!("{} ticks are kept, the mark says {:?}", self.log.kept, self.log.mark);
            self.log.broken.push(text);
        }
        if self.schedule.misfire != Misfire::All {
            return;
        }
        for (rewinds, ticks) in &self.log.ticks {
            let mut pairs = ticks.iter().zip(ticks.iter().skip(1));
            if let Some((one, next)) = pairs.find(|(one, next)| *next - *one != self.period_ms) {
                let text = format!("no tick of count {rewinds} between {one} and {next}");
                self.log.broken.push(text);
            }
        }
    }
}
