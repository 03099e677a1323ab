//! Everything around the process: what outlives it, and what happens to it.

use std::fmt;
use std::rc::Rc;

use evoke_schemas::LogUid;
use evoke_trigger_engine::record::DeliveryId;

use super::chance::Chance;
use super::clients::Clients;
use super::clock::Clock;
use super::crash::Moment;
use super::disk::Disk;
use super::entities::Entities;
use super::feeding::FeedStep;
use super::functions::Functions;
use super::oracle::Oracle;
use super::plan::{Act, Death, Plan};
use super::queue::Queue;
use super::sandboxes::Fact;
use super::sources::Sources;
use super::store::{Flush, Store};
use super::tally::{Group, Tally};
use super::trace::Trace;
use super::witness::Witness;

/// The log's identity in every world.
pub const LOG: LogUid = LogUid(*b"simulated log id");

/// The process came to the moment at which it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Died;

/// What a piece of the process's work returns: it may not live to its end.
pub type Lives = Result<(), Died>;

/// What is to happen.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A client sends a post.
    Post(usize),
    /// Something of the plan.
    Act(Act),
    /// The process starts.
    Start,
    /// Something that only the process of this life is concerned with.
    Within(u32, Inner),
}

/// What happens to a running process.
#[derive(Clone, Copy, Debug)]
pub enum Inner {
    /// The disk does the log's next effect.
    Disk,
    /// The timer that was set for this true time ends.
    Wake(u64),
    /// A batch's read for confirmation is done.
    Confirmed(u64, evoke_schemas::Position),
    /// A run ends.
    RunEnds(u64),
    /// A flush of the store of activations is done.
    Flushed(Flush),
    /// An event that was asked for is read.
    Fetched(u64),
    /// The next step of a checkpoint.
    Checkpoint(u8),
    /// A dead letter is told of once more, as it could not be before.
    Announce(DeliveryId),
    /// The dispatcher reads on.
    ReadOn,
    /// Something happens to a sandbox.
    Sandbox(Fact),
    /// Something happens to a feed.
    Feed(usize, FeedStep),
}

/// What the disk refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// A write, or the naming of a segment.
    Write,
    /// A sync.
    Sync,
}

/// The surroundings.
#[derive(Debug)]
pub struct Env {
    /// What the seed asks for.
    pub plan: Rc<Plan>,
    /// Time.
    pub clock: Clock,
    /// Chance of all that the plan leaves open.
    pub chance: Chance,
    /// The disk.
    pub disk: Disk,
    /// Who saw which event written.
    pub witness: Witness,
    /// Activation records.
    pub store: Store,
    /// The functions.
    pub functions: Functions,
    /// Triggers and rules.
    pub entities: Entities,
    /// The clients.
    pub clients: Clients,
    /// Who judges.
    pub oracle: Oracle,
    /// What happened.
    pub trace: Trace,
    /// How often.
    pub tally: Tally,
    /// What is to happen.
    pub queue: Queue<Happening>,
    /// Crashes whose moment has not come.
    pub armed: Vec<(Moment, Death)>,
    /// How the process dies, once it does.
    pub death: Option<Death>,
    /// What fails the next time that the log asks the disk for it.
    pub fails: Option<Failing>,
    /// What feeds read, and what is wanted of them.
    pub sources: Sources,
    /// Whether nothing goes wrong any more.
    pub healed: bool,
}

// === impl Env ===

impl Env {
    /// Says what happens.
    pub fn say(&mut self, what: fmt::Arguments<'_>) {
        self.trace.say(self.clock.true_ms(), what);
    }

    /// Counts what happens.
    pub fn count(&mut self, group: Group, name: &'static str) {
        self.tally.count(group, name);
    }

    /// Lets something happen `in_ms` from now.
    pub fn soon(&mut self, in_ms: u64, what: Happening) {
        self.queue.at(self.clock.true_ms() + in_ms, what);
    }

    /// The process comes to `moment`, and may die there.
    ///
    /// # Errors
    /// [`Died`].
    pub fn comes_to(&mut self, moment: Moment) -> Lives {
        let due = |(armed, _): &(Moment, Death)| *armed == moment;
        let mut found = self.armed.iter().position(due);
        if found.is_none() && !self.armed.is_empty() && self.chance.one_in(40) {
            found = self.armed.iter().position(|(armed, _)| *armed == Moment::Anywhere);
        }
        let Some(index) = found else { return Ok(()) };
        let (armed, death) = self.armed.remove(index);
        self.count(Group::Fault, armed.name());
        self.say(format_args!("CRASH {armed:?} at {moment:?}: {death:?}"));
        self.death = Some(death);
        Err(Died)
    }

    /// The wall clock.
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }
}
