//! Attempts on their way: asked for, granted a sandbox by the pool core, run by the world, ended.

use std::collections::BTreeMap;

use evoke_invoker::pool::{Fate, SandboxId, Ticket, WarmKey};
use evoke_schemas::{ActivationId, EntityUid};
use evoke_trigger_engine::Verdict;
use evoke_trigger_engine::record::DeliveryId;

use super::env::{Env, Happening, Inner};
use super::functions;
use super::oracle::Start;
use super::sandboxes::{Fact, Sandboxes, Told};
use super::tally::Group;
use super::witness::Token;

/// Attempts under way in one life.
#[derive(Debug)]
pub struct Runs {
    life: u32,
    next: u64,
    sandboxes: Sandboxes,
    under_way: BTreeMap<u64, Run>,
}

/// An attempt to make.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which delivery.
    pub id: DeliveryId,
    /// Id that its activation record is to have.
    pub activation: ActivationId,
    /// The event that the function is given, as its data tells.
    pub token: Option<Token>,
    /// The action's sandboxes.
    pub key: WarmKey,
}

/// An attempt that ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Number of the attempt, never used again.
    pub run: u64,
    /// Which delivery.
    pub id: DeliveryId,
    /// Id of its activation record.
    pub activation: ActivationId,
    /// The event.
    pub token: Token,
    /// How.
    pub verdict: Verdict,
    /// Whether there is an activation record.
    pub ran: bool,
}

#[derive(Clone, Debug)]
struct Run {
    asked: Asked,
    token: Token,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Nothing to run: the action is missing.
    Missing,
    Waiting,
    Running {
        sandbox: SandboxId,
        fate: functions::Fate,
    },
}

// === impl Runs ===

impl Runs {
    /// No attempt yet.
    #[must_use]
    pub fn new(life: u32, env: &mut Env) -> Self {
        let sandboxes = Sandboxes::new(&mut env.chance);
        // No two lives share numbers.
        Self { life, next: u64::from(life) << 32, sandboxes, under_way: BTreeMap::new() }
    }

    /// Attempts under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Makes an attempt; gives what ended by it.
    pub fn begin(&mut self, asked: Asked, env: &mut Env) -> Vec<Ended> {
        let run = self.next;
        self.next += 1;
        let Asked { id, token, .. } = asked;
        let Env { oracle, disk, witness, .. } = env;
        oracle.starts(Start { run, id, token }, disk, witness);
        let token = token.or_else(|| oracle.token_of(&id)).unwrap_or(Token(u32::MAX));
        env.say(format_args!("run {run:x} of {:?} rule {}", id.position, short(id.rule)));
        let missing = env.functions.is_gone(id.rule, env.clock.true_ms());
        let key = asked.key.clone();
        let state = if missing { State::Missing } else { State::Waiting };
        self.under_way.insert(run, Run { asked, token, state });
        if missing {
            env.count(Group::Fault, "action missing");
            env.soon(1, Happening::Within(self.life, Inner::RunEnds(run)));
            return Vec::new();
        }
        let told = self.sandboxes.acquire(Ticket(run), key, self.life, env);
        self.told(told, env)
    }

    /// Something happened to a sandbox; gives the attempts that ended by it.
    pub fn sandbox(&mut self, fact: Fact, env: &mut Env) -> Vec<Ended> {
        let told = self.sandboxes.happens(fact, self.life, env);
        self.told(told, env)
    }

    /// An action has a new revision.
    pub fn retire(&mut self, key: &WarmKey, env: &mut Env) -> Vec<Ended> {
        let told = self.sandboxes.retire(key, self.life, env);
        self.told(told, env)
    }

    /// Everything in the pool goes.
    pub fn close(&mut self, env: &mut Env) {
        let told = self.sandboxes.close(self.life, env);
        if !told.is_empty() {
            env.oracle.accuse(format!("the pool closes on those who wait: {told:?}"));
        }
    }

    /// Whether nothing is left in the pool.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.sandboxes.is_gone()
    }

    fn told(&mut self, mut told: Vec<Told>, env: &mut Env) -> Vec<Ended> {
        let mut ended = Vec::new();
        told.reverse();
        while let Some(next) = told.pop() {
            match next {
                Told::Refused(Ticket(run)) => ended.extend(self.end(run, no_sandbox(), env)),
                Told::Granted(Ticket(run), sandbox) => {
                    if let Some(more) = self.granted(run, sandbox, &mut ended, env) {
                        told.extend(more.into_iter().rev());
                    }
                }
            }
        }
        ended
    }

    /// A run has its sandbox; what others are told where it does not want it.
    fn granted(
        &mut self,
        run: u64,
        sandbox: SandboxId,
        ended: &mut Vec<Ended>,
        env: &mut Env,
    ) -> Option<Vec<Told>> {
        if env.chance.percent(2) {
            ended.extend(self.end(run, no_sandbox(), env));
            let released = (sandbox, Fate::Untouched, 0);
            return Some(self.sandboxes.release(released, self.life, env));
        }
        let run_of = self.under_way.get_mut(&run)?;
        let Env { functions, clock, tally, .. } = env;
        let rule = run_of.asked.id.rule;
        let fate = functions.fate(rule, run_of.token, clock.true_ms(), tally);
        env.soon(fate.takes_ms, Happening::Within(self.life, Inner::RunEnds(run)));
        run_of.state = State::Running { sandbox, fate };
        None
    }

    /// The time of a run is over; gives the attempts that ended by it.
    pub fn run_ends(&mut self, run: u64, env: &mut Env) -> Vec<Ended> {
        let Some(run_of) = self.under_way.get(&run) else { return Vec::new() };
        match run_of.state.clone() {
            State::Waiting => Vec::new(),
            State::Missing => {
                self.end(run, (Verdict::ActionMissing, false), env).into_iter().collect()
            }
            State::Running { sandbox, fate } => {
                let left = match (&fate.verdict, fate.ran) {
                    (Verdict::PlatformFailed { .. }, _) => Fate::Destroy,
                    (Verdict::FunctionFailed { .. }, _) if env.chance.percent(30) => Fate::Destroy,
                    _clean => Fate::Keep,
                };
                let mut ended: Vec<_> =
                    self.end(run, (fate.verdict, fate.ran), env).into_iter().collect();
                let released = (sandbox, left, fate.takes_ms);
                let told = self.sandboxes.release(released, self.life, env);
                ended.extend(self.told(told, env));
                ended
            }
        }
    }

    fn end(&mut self, run: u64, (verdict, ran): (Verdict, bool), env: &mut Env) -> Option<Ended> {
        let Run { asked, token, .. } = self.under_way.remove(&run)?;
        env.say(format_args!("run {run:x} ends: {verdict:?}"));
        env.oracle.ends(run, &verdict);
        Some(Ended { run, id: asked.id, activation: asked.activation, token, verdict, ran })
    }
}

fn no_sandbox() -> (Verdict, bool) {
    let verdict =
        Verdict::PlatformFailed { reason: "no sandbox".to_owned(), retry_after_ms: Some(500) };
    (verdict, false)
}

/// The end of a uid, enough for a reader of a trace.
#[must_use]
pub fn short(uid: EntityUid) -> String {
    uid.to_string().split_off(28)
}
