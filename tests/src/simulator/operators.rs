//! What people and misfortune do to a world besides posting events.

use evoke_invoker::pool::WarmKey;
use evoke_schemas::RuleStatus;
use evoke_trigger_engine::delivery::DeliveryInput;

use super::env::{Env, Happening, Lives};
use super::plan::{self, Act};
use super::process::Process;
use super::tally::Group;

/// A change of a rule that the process has to know of.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is as its entity says now.
    Put(Box<evoke_schemas::Rule>),
    /// It is no more.
    Deleted(Box<evoke_schemas::Rule>),
}

impl Env {
    /// Something that does not need the process.
    pub fn suffers(&mut self, act: &Act) {
        let now_ms = self.clock.true_ms();
        self.say(format_args!("act: {act:?}"));
        match act {
            Act::Crash(moment, death) => self.armed.push((*moment, *death)),
            Act::ClockStep(by_ms) => {
                let way = if *by_ms < 0 { "clock set back" } else { "clock set forward" };
                self.count(Group::Fault, way);
                self.clock.step(*by_ms);
            }
            Act::DiskFails(what) => self.fails = Some(*what),
            Act::DiskFull(while_ms) => {
                self.count(Group::Fault, "disk full");
                let used = self.disk.used();
                self.disk.set_capacity(used);
                self.soon(*while_ms, Happening::Act(Act::DiskFreed));
            }
            Act::DiskFreed => self.disk.set_capacity(usize::MAX),
            Act::ActionGone(rule, while_ms) => {
                if let Some(rule) = self.entities.rule(*rule) {
                    let uid = rule.uid;
                    self.functions.gone(uid, now_ms + while_ms);
                }
            }
            Act::InvokerDead(while_ms) => self.functions.dead(now_ms + while_ms),
            _needs_the_process => {}
        }
    }

    /// A rule is changed, if the act changes one; the caller tells the process.
    pub fn changes(&mut self, act: &Act) -> Option<Change> {
        match act {
            Act::ChangeRule(number) => {
                let mut rule = self.entities.rule(*number)?.clone();
                let kept = rule.delivery.clone();
                rule.delivery = plan::policy(&mut self.chance);
                // Whether it is ordered stays: what is under way would have both kinds of promise.
                rule.delivery.ordered = kept.ordered;
                rule.delivery.dead_letter_trigger = kept.dead_letter_trigger;
                self.count(Group::Load, "rule changed");
                Some(self.put(*number, rule))
            }
            Act::ToggleRule(number) => {
                let mut rule = self.entities.rule(*number)?.clone();
                rule.status = match rule.status {
                    RuleStatus::Active => RuleStatus::Inactive,
                    RuleStatus::Inactive => RuleStatus::Active,
                };
                self.count(Group::Load, "rule toggled");
                Some(self.put(*number, rule))
            }
            Act::DeleteRule(number) => {
                let rule = self.entities.delete(*number)?;
                self.count(Group::Load, "rule deleted");
                self.oracle.rule_deleted(rule.uid);
                let in_ms = self.chance.within(1, 30_000);
                self.soon(in_ms, Happening::Act(Act::MakeRule(*number)));
                Some(Change::Deleted(Box::new(rule)))
            }
            Act::MakeRule(number) => {
                let mut rule = self.plan.rules[*number].clone();
                rule.uid = self.entities.fresh_uid();
                Some(self.put(*number, rule))
            }
            _other => None,
        }
    }

    fn put(&mut self, number: usize, rule: evoke_schemas::Rule) -> Change {
        self.oracle.rule_put(&rule);
        self.entities.put(number, rule.clone());
        Change::Put(Box::new(rule))
    }
}

impl Process {
    /// A rule was changed: the index has it before the change is answered.
    ///
    /// # Errors
    /// [`super::env::Died`].
    pub fn changed(&mut self, change: &Change, env: &mut Env) -> Lives {
        match change {
            Change::Put(rule) => {
                self.index().put_rule(plan::shared(rule));
                self.inputs.push_back(DeliveryInput::RuleChanged(plan::shared(rule)));
                if env.chance.percent(50) {
                    // Its action changes with it.
                    let (namespace, action) = (rule.namespace.clone(), rule.uid);
                    let revision = env.entities.revise(action);
                    let ended = self.runs.retire(&WarmKey { namespace, action, revision }, env);
                    self.ended(ended, env);
                }
            }
            Change::Deleted(rule) => {
                self.index().remove_rule(&rule.namespace, &rule.name);
                let (namespace, uid) = (rule.namespace.clone(), rule.uid);
                self.inputs.push_back(DeliveryInput::RuleRemoved { namespace, uid });
            }
        }
        self.pump(env)
    }
}
