//! Commands of operators: dead letters replayed and discarded, ranges replayed and cancelled.

use evoke_schemas::EntityUid;
use evoke_trigger_engine::delivery::{CommandError, DeliveryInput, Ticket};
use evoke_trigger_engine::record::{DeliveryId, ReplayRecord, ReplayStatus};

use super::env::{Env, Lives};
use super::plan::Act;
use super::process::Process;
use super::tally::Group;

/// What was commanded.
#[expect(dead_code, reason = "what a command is about is shown in traces")]
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    /// Deliver a dead letter again.
    Revive(DeliveryId),
    /// Let a dead letter go.
    Discard(DeliveryId),
    /// Deliver a range to a rule.
    Replay(EntityUid),
    /// Stop that.
    Cancel(EntityUid),
}

impl Process {
    /// An operator acts, if the act is one.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub fn operate(&mut self, act: &Act, env: &mut Env) -> Lives {
        match act {
            Act::TendDeadLetters => self.tend_dead_letters(env),
            Act::Replay(rule) => self.replay(*rule, env),
            Act::CancelReplay => {
                let replays: Vec<_> = env.oracle.replays().collect();
                if !replays.is_empty() {
                    let uid = replays[env.chance.index(replays.len())];
                    env.oracle.cancelled(uid);
                    let ticket = self.command(Command::Cancel(uid));
                    self.inputs.push_back(DeliveryInput::CancelReplay { uid, ticket });
                }
            }
            Act::Checkpoint => self.begin_checkpoint(env),
            Act::Retain => self.retain(env),
            _not_an_operators => {}
        }
        self.pump(env)
    }

    fn tend_dead_letters(&mut self, env: &mut Env) {
        let dead: Vec<_> = env.oracle.dead_letters().copied().collect();
        for _ in 0..env.chance.within(1, 4).min(dead.len() as u64) {
            let id = dead[env.chance.index(dead.len())];
            let input = if env.chance.percent(60) {
                env.oracle.revived(id);
                let ticket = self.command(Command::Revive(id));
                DeliveryInput::Revive { id, ticket }
            } else {
                env.oracle.discarded(id);
                let ticket = self.command(Command::Discard(id));
                DeliveryInput::Discard { id, ticket }
            };
            env.say(format_args!("operator: {input:?}"));
            self.inputs.push_back(input);
        }
    }

    fn replay(&mut self, rule: usize, env: &mut Env) {
        let Some(rule) = env.entities.rule(rule).cloned() else { return };
        let uid = env.entities.fresh_uid();
        let (from_ms, to_ms) = match env.chance.percent(50) {
            true => (0, u64::MAX),
            false => (env.wall_ms().saturating_sub(60_000), env.wall_ms()),
        };
        let replay = ReplayRecord {
            uid,
            namespace: rule.namespace.clone(),
            rule: rule.name.clone(),
            rule_uid: rule.uid,
            next: self.log.begin(),
            to: self.log.end(),
            from_ms,
            to_ms,
            parked: 0,
            created_ms: env.wall_ms(),
            status: ReplayStatus::Reading,
        };
        env.say(format_args!("operator: replay {uid} to {}", rule.name));
        env.oracle.replayed(uid);
        let ticket = self.command(Command::Replay(uid));
        self.inputs.push_back(DeliveryInput::CreateReplay { replay: Box::new(replay), ticket });
    }

    fn command(&mut self, command: Command) -> Ticket {
        self.tickets += 1;
        self.commands.insert(self.tickets, command);
        self.tickets
    }

    /// A command has its answer.
    pub(super) fn command_answered(
        &mut self,
        ticket: Ticket,
        answer: Result<(), CommandError>,
        env: &mut Env,
    ) {
        let Some(command) = self.commands.remove(&ticket) else {
            return env.oracle.accuse(format!("command {ticket} is answered twice"));
        };
        env.say(format_args!("answer to {command:?}: {answer:?}"));
        env.count(
            Group::Load,
            match (command, answer) {
                (Command::Revive(_), Ok(())) => "dead letter replayed",
                (Command::Discard(_), Ok(())) => "dead letter discarded",
                (Command::Replay(_), Ok(())) => "range replayed",
                (Command::Cancel(_), Ok(())) => "replay cancelled",
                (_, Err(CommandError::NotFound)) => "command on what is not there",
                (_, Err(CommandError::Conflict)) => "command in conflict",
            },
        );
    }
}
