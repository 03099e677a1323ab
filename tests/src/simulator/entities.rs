//! The triggers and rules as the hub's clients know them: what was answered is so.

use std::collections::BTreeMap;

use evoke_schemas::{EntityName, EntityUid, Namespace, Rule, RuleStatus, Trigger};

use super::plan::Plan;

/// The entities there are, durable at once.
#[derive(Clone, Debug)]
pub struct Entities {
    triggers: Vec<Trigger>,
    rules: BTreeMap<usize, Rule>,
    lives: u64,
    revisions: BTreeMap<EntityUid, u64>,
}

// === impl Entities ===

impl Entities {
    /// The entities of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let rules = plan.rules.iter().cloned().enumerate().collect();
        Self { triggers: plan.triggers.clone(), rules, lives: 0, revisions: BTreeMap::new() }
    }

    /// All triggers.
    pub fn triggers(&self) -> impl Iterator<Item = &Trigger> {
        self.triggers.iter()
    }

    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }

    /// The rule of that number in the plan, if it is there now.
    #[must_use]
    pub fn rule(&self, number: usize) -> Option<&Rule> {
        self.rules.get(&number)
    }

    /// The rule of that uid, if it is there now.
    #[must_use]
    pub fn rule_of(&self, uid: EntityUid) -> Option<&Rule> {
        self.rules.values().find(|rule| rule.uid == uid)
    }

    /// Puts a rule.
    pub fn put(&mut self, number: usize, rule: Rule) {
        self.rules.insert(number, rule);
    }

    /// Deletes a rule.
    pub fn delete(&mut self, number: usize) -> Option<Rule> {
        self.rules.remove(&number)
    }

    /// Revision of a rule's action.
    #[must_use]
    pub fn revision(&self, rule: EntityUid) -> u64 {
        self.revisions.get(&rule).copied().unwrap_or_default()
    }

    /// A rule's action is changed; gives its new revision.
    pub fn revise(&mut self, rule: EntityUid) -> u64 {
        let revision = self.revisions.entry(rule).or_default();
        *revision += 1;
        *revision
    }

    /// A uid that no entity had before.
    pub fn fresh_uid(&mut self) -> EntityUid {
        self.lives += 1;
        let mut bytes = [0x20; 16];
        bytes[8..].copy_from_slice(&self.lives.to_be_bytes());
        EntityUid(bytes)
    }

    /// Uids of the rules that an event sent to this trigger now must be delivered to, ascending.
    #[must_use]
    pub fn active(&self, namespace: &Namespace, trigger: &EntityName) -> Vec<EntityUid> {
        let linked = |rule: &&Rule| {
            rule.namespace == *namespace
                && rule.trigger.name == *trigger
                && rule.status == RuleStatus::Active
        };
        let mut uids: Vec<_> = self.rules.values().filter(linked).map(|rule| rule.uid).collect();
        uids.sort_unstable();
        uids
    }
}
