//! The shell of feeds in a world: the lifecycle core's effects, and the steps of its tasks.

use evoke_event_log::{Append, FEED_REMOVED, Guard, Prepared};
use evoke_feeds::lifecycle::{Effect, End, Event};
use evoke_trigger_engine::IngestError;
use evoke_trigger_engine::record::stream;

use super::crash::Moment;
use super::env::{Env, Happening, Inner, Lives};
use super::feed::{Opened, Stage, Task, failed};
use super::intake::Waiter;
use super::process::{Process, Ticket};
use super::sources::Stand;
use super::tally::Group;

/// Wait before a full hub is asked again, at most. Unit: milliseconds.
const FULL_MS: u64 = 30_000;
/// How long a task hangs, at most: longer than the lifecycle lets it drain. Unit: milliseconds.
const HANGS_MS: u64 = 40_000;

/// What happens to a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedStep {
    /// The task of that number goes on.
    Task(u64),
    /// The lifecycle's time has come.
    Due,
    /// A task that was given up wakes up.
    Late,
    /// The position of a deleted feed is let go.
    Forget,
}

/// Who sent a batch of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) life: usize,
    pub(super) task: u64,
    /// Whether it is one that was given up, and must be refused.
    pub(super) late: bool,
    /// Whether another batch was on its way before it.
    pub(super) behind: bool,
}

impl Process {
    /// What is wanted of a feed is wanted now.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub fn feed_wanted(&mut self, life: usize, env: &mut Env) {
        let wanted = env.sources.life(life);
        let event = match wanted.deleted {
            true => Event::Remove,
            false => Event::Want { generation: wanted.feed.generation, paused: wanted.feed.paused },
        };
        self.feeds.entry(life).or_default();
        self.step_feed(life, event, env);
    }

    /// Something happens to a feed.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn feed_on(&mut self, life: usize, step: FeedStep, env: &mut Env) -> Lives {
        let Some(fed) = self.feeds.get_mut(&life) else { return Ok(()) };
        match step {
            FeedStep::Due => {
                if fed.state.due_ms().is_some_and(|due| due <= env.clock.true_ms()) {
                    self.step_feed(life, Event::Due, env);
                }
                Ok(())
            }
            FeedStep::Task(number) => {
                let Some(task) = fed.task.take_if(|task| task.number == number) else {
                    return Ok(());
                };
                self.step_task(life, task, env)
            }
            FeedStep::Late => self.late_wakes(life, env),
            FeedStep::Forget => {
                self.forget_feed(life, env);
                Ok(())
            }
        }
    }

    fn step_feed(&mut self, life: usize, event: Event, env: &mut Env) {
        let now_ms = env.clock.true_ms();
        let Some(fed) = self.feeds.get_mut(&life) else { return };
        let Some((state, effects)) = fed.state.step(event.clone(), now_ms) else {
            let state = &fed.state;
            return env
                .oracle
                .accuse(format!("impossible for feed {life}: {event:?} in {state:?}"));
        };
        fed.state = state;
        for effect in effects {
            self.feed_effect(life, effect, env);
        }
        let Some(fed) = self.feeds.get(&life) else { return };
        if let Some(due_ms) = fed.state.due_ms() {
            env.queue.at(due_ms, self.within(life, FeedStep::Due));
        }
        // As whoever paused it is told, whatever the lifecycle believes.
        let settled = !fed.state.is_draining() && !self.has_in_flight(life);
        let rests = settled && env.sources.life(life).feed.paused;
        env.oracle.feed_rests(life, rests);
    }

    fn feed_effect(&mut self, life: usize, effect: Effect, env: &mut Env) {
        let Some(fed) = self.feeds.get_mut(&life) else { return };
        match effect {
            Effect::Start(generation) => {
                self.tasks += 1;
                let task = Task::new(self.tasks, generation);
                self.go_on(life, task, 20, env);
            }
            Effect::Cancel => {
                if let Some(task) = &mut fed.task {
                    task.cancelled = true;
                    let number = task.number;
                    env.soon(0, self.within(life, FeedStep::Task(number)));
                }
            }
            Effect::Abort => {
                env.count(Group::Load, "feed task aborted");
                fed.late = fed.task.take().filter(|task| task.stage == Stage::Hang);
                self.step_feed(life, Event::Ended(failed("aborted", false)), env);
            }
            Effect::Forget => self.forget_feed(life, env),
        }
    }

    /// The task goes on within so many milliseconds.
    fn go_on(&mut self, life: usize, task: Task, most_ms: u64, env: &mut Env) {
        let number = task.number;
        if let Some(fed) = self.feeds.get_mut(&life) {
            fed.task = Some(task);
        }
        let in_ms = env.chance.within(0, most_ms);
        env.soon(in_ms, self.within(life, FeedStep::Task(number)));
    }

    fn within(&self, life: usize, step: FeedStep) -> Happening {
        Happening::Within(self.life, Inner::Feed(life, step))
    }

    fn ended_task(&mut self, life: usize, end: End, env: &mut Env) {
        env.say(format_args!("task of feed {life} ends: {end:?}"));
        self.step_feed(life, Event::Ended(end), env);
    }

    fn step_task(&mut self, life: usize, mut task: Task, env: &mut Env) -> Lives {
        let now_ms = env.clock.true_ms();
        let is_away = now_ms < env.sources.life(life).away_until_ms;
        let deaf = matches!(task.stage, Stage::Hear(_) | Stage::Recall(_) | Stage::Hang);
        if task.cancelled && !deaf {
            self.ended_task(life, End::Drained, env);
            return Ok(());
        }
        match task.stage {
            Stage::Hear(_) | Stage::Recall(_) => self.put_back(life, task),
            // Where it was told to end, it hangs on until it is aborted.
            Stage::Hang if task.cancelled => self.put_back(life, task),
            Stage::Hang => {
                task.stage = Stage::Fetch;
                self.go_on(life, task, 0, env);
            }
            Stage::Open | Stage::Fetch if is_away => {
                env.count(Group::Fault, "a source is away");
                self.ended_task(life, failed("away", task.progressed), env);
            }
            Stage::Open if self.has_in_flight(life) => self.go_on(life, task, 5, env),
            Stage::Open => self.open_source(life, task, env),
            Stage::Fetch if env.chance.percent(2) && !env.healed => {
                task.stage = Stage::Hang;
                self.go_on(life, task, HANGS_MS, env);
            }
            Stage::Fetch => {
                let after = task.fetch(&env.sources, now_ms, &mut env.chance);
                let most_ms = if after.is_some() { 20 } else { env.plan.load_ms / 20 };
                task.stage = after.map_or(Stage::Fetch, Stage::Append);
                self.go_on(life, task, most_ms, env);
            }
            Stage::Append(after) => return self.append_batch(life, task, after, env),
            Stage::Acknowledge => {
                task.stage = Stage::Fetch;
                let most_ms = env.plan.load_ms / 100;
                self.go_on(life, task, most_ms, env);
            }
        }
        Ok(())
    }

    fn put_back(&mut self, life: usize, task: Task) {
        if let Some(fed) = self.feeds.get_mut(&life) {
            fed.task = Some(task);
        }
    }

    fn open_source(&mut self, life: usize, mut task: Task, env: &mut Env) {
        let uid = u128::from_be_bytes(env.sources.life(life).feed.uid.0);
        let now_ms = env.clock.true_ms();
        match task.open(life, self.log.feed(uid), &mut env.sources, now_ms) {
            Opened::After(stand, revision) => {
                env.oracle.feed_stands(life, stand);
                (task.stand, task.revision, task.stage) = (Some(stand), revision, Stage::Fetch);
                self.go_on(life, task, 20, env);
            }
            Opened::Pins(stand, revision) => {
                env.count(Group::Load, "feed pinned");
                (task.revision, task.stage) = (revision, Stage::Append(stand));
                self.go_on(life, task, 20, env);
            }
            Opened::Ends(end) => self.ended_task(life, end, env),
        }
    }

    fn append_batch(&mut self, life: usize, mut task: Task, after: Stand, env: &mut Env) -> Lives {
        env.comes_to(Moment::BeforeFeedAppend)?;
        if task.stand.is_some() && !env.healed && env.chance.percent(5) {
            // There is no room for it, and there is for the one behind it.
            task.stage = Stage::Recall(after);
            return self.append_behind(life, task, after, env);
        }
        let (events, mark) = task.batch(env.sources.life(life), &after);
        env.say(format_args!("feed {life} sends {} events: {mark:?}", events.len()));
        task.stage = Stage::Hear(after);
        let number = task.number;
        let sender = Sender { life, task: number, late: false, behind: false };
        self.put_back(life, task);
        self.submit(Waiter::Feed(sender), events, Some(mark), env)?;
        let is_pinned = |task: &Task| task.stand.is_some() && task.stage == Stage::Hear(after);
        let fed = self.feeds.get_mut(&life);
        match fed.and_then(|fed| fed.task.take_if(|task| task.number == number && is_pinned(task)))
        {
            Some(task) => self.append_behind(life, task, after, env),
            None => Ok(()),
        }
    }

    /// Sends the next batch too, as a task may that has not heard of the one before.
    fn append_behind(&mut self, life: usize, mut task: Task, first: Stand, env: &mut Env) -> Lives {
        let ahead = task.ahead(first);
        let wants = env.chance.percent(40);
        let after = ahead.fetch(&env.sources, env.clock.true_ms(), &mut env.chance);
        let Some(after) = after.filter(|_| wants) else {
            match task.stage {
                Stage::Recall(first) => {
                    task.stage = Stage::Append(first);
                    self.go_on(life, task, FULL_MS, env);
                }
                _ => self.put_back(life, task),
            }
            return Ok(());
        };
        let (events, mark) = ahead.batch(env.sources.life(life), &after);
        env.say(format_args!("feed {life} sends {} events behind: {mark:?}", events.len()));
        env.count(Group::Load, "feed ahead of its answer");
        task.behind = Some(after);
        let sender = Sender { life, task: task.number, late: false, behind: true };
        self.put_back(life, task);
        self.submit(Waiter::Feed(sender), events, Some(mark), env)
    }

    /// The hub has answered a batch whose task has not heard of the one before it yet, or has
    /// heard that it was refused. `true` where it is the task's next.
    fn is_next(&mut self, task: &mut Task, is_kept: bool, env: &mut Env) -> bool {
        match (task.stage, task.behind.take()) {
            (Stage::Hear(_), None) => return true,
            (Stage::Recall(first), Some(_)) => task.stage = Stage::Append(first),
            _ => {}
        }
        if is_kept {
            env.oracle.accuse(format!("a batch is let in before the one before it: {task:?}"));
        }
        env.count(Group::Load, "feed refused behind another");
        false
    }

    /// A task that was given up sends what it has once its successor has written.
    fn late_wakes(&mut self, life: usize, env: &mut Env) -> Lives {
        let late = self.feeds.get_mut(&life).and_then(|fed| fed.late.take());
        let Some((task, stand)) = late.and_then(|task| task.stand.map(|stand| (task, stand)))
        else {
            return Ok(());
        };
        let after = Stand { next: stand.next.map(|next| next + 1), ..stand };
        let (events, mark) = task.batch(env.sources.life(life), &after);
        env.say(format_args!("a late task of feed {life} sends: {mark:?}"));
        let sender = Sender { life, task: task.number, late: true, behind: false };
        self.submit(Waiter::Feed(sender), events, Some(mark), env)
    }

    fn has_in_flight(&self, life: usize) -> bool {
        let of_it = |waiter: &Waiter| matches!(waiter, Waiter::Feed(sender) if sender.life == life);
        self.waiters.values().any(of_it)
    }

    /// The hub has answered a batch of a feed.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub(super) fn fed(
        &mut self,
        sender: Sender,
        refused: Option<&IngestError>,
        env: &mut Env,
    ) -> Lives {
        let Sender { life, task: number, late, behind } = sender;
        if late {
            late_answered(life, refused, env);
            return Ok(());
        }
        let fed = self.feeds.get_mut(&life);
        let task = fed.and_then(|fed| fed.task.take_if(|task| task.number == number));
        // Its task was aborted: nobody hears the answer.
        let Some(mut task) = task else { return Ok(()) };
        if behind && !self.is_next(&mut task, refused.is_none(), env) {
            match task.stage {
                Stage::Append(_) => self.go_on(life, task, FULL_MS, env),
                _ => self.put_back(life, task),
            }
            return Ok(());
        }
        let Stage::Hear(after) = task.stage else {
            self.put_back(life, task);
            return Ok(());
        };
        match refused {
            None => {
                env.count(Group::Load, "fed");
                // The one behind it may be in the log too.
                if task.behind.is_none() {
                    env.oracle.feed_stands(life, after);
                }
                env.comes_to(Moment::AfterFeedAppend)?;
                (task.stand, task.stage) = (Some(after), Stage::Acknowledge);
                (task.revision, task.progressed) = (task.revision + 1, true);
                self.wake_late(life, task.generation, env);
                if let Some(next) = task.behind.take() {
                    task.stage = Stage::Hear(next);
                    self.put_back(life, task);
                } else {
                    self.go_on(life, task, 20, env);
                }
            }
            Some(IngestError::Superseded { .. }) => {
                env.oracle.accuse(format!("feed {life} is superseded by nobody"));
                self.ended_task(life, End::Superseded, env);
            }
            Some(IngestError::Unavailable(reason)) => {
                self.ended_task(life, failed(reason, task.progressed), env);
            }
            Some(_full) => {
                env.count(Group::Load, "feed refused");
                if task.behind.is_some() {
                    task.stage = Stage::Recall(after);
                    self.put_back(life, task);
                } else {
                    task.stage = Stage::Append(after);
                    self.go_on(life, task, FULL_MS, env);
                }
            }
        }
        Ok(())
    }

    fn wake_late(&mut self, life: usize, generation: u64, env: &mut Env) {
        let late = self.feeds.get(&life).and_then(|fed| fed.late.as_ref());
        if late.is_some_and(|late| late.generation < generation) {
            env.soon(1, self.within(life, FeedStep::Late));
        }
    }

    /// Lets the position of a deleted feed go.
    fn forget_feed(&mut self, life: usize, env: &mut Env) {
        let feed = u128::from_be_bytes(env.sources.life(life).feed.uid.0);
        let guard = Guard { feed, generation: FEED_REMOVED, revision: 0 };
        let append = Append::guarded(Vec::new(), guard, stream::PROGRESS_PARTITION, &[]);
        match Prepared::new(append, &self.limits) {
            Ok(batch) => self.log.submit(Ticket::Forget(life), batch, env.wall_ms()),
            Err(error) => env.oracle.accuse(format!("a removal is malformed: {error}")),
        }
    }

    /// The log has answered a removal.
    pub(super) fn forgotten(&mut self, life: usize, done: bool, env: &mut Env) {
        if !done {
            let in_ms = env.chance.within(200, 10_000);
            return env.soon(in_ms, self.within(life, FeedStep::Forget));
        }
        env.count(Group::Load, "feed position let go");
        env.oracle.feed_gone(life);
        env.soon(1, self.within(life, FeedStep::Late));
    }
}

/// The hub has answered a task that was given up.
fn late_answered(life: usize, refused: Option<&IngestError>, env: &mut Env) {
    match refused {
        Some(IngestError::Superseded { .. }) => env.count(Group::Load, "late feed task refused"),
        None => env.oracle.accuse(format!("a late task of feed {life} is let in")),
        Some(_busy) => {}
    }
}
