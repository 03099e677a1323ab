//! What is answered for an accepted event.

use evoke_schemas::{ActivationId, EntityName, EntityUid, FullName, LogUid, Position};

use crate::{
    incoming::Target,
    record::{DeliveryId, StoredEvent, StoredTrigger},
};

/// An event that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Where it stands.
    pub position: Position,
    /// Its id.
    pub event_id: String,
    /// Whether it was there before, and is answered as it was then.
    pub duplicate: bool,
    /// Triggers that it fired.
    pub triggers: Vec<FiredTrigger>,
    /// Of an accepted invocation, the id of its activation.
    pub activation_id: Option<ActivationId>,
}

/// A trigger that an event fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiredTrigger {
    /// Name.
    pub name: EntityName,
    /// Id of the trigger's own activation; `None` where no rule is active, then there is no record.
    pub activation_id: Option<ActivationId>,
    /// Its rules.
    pub rules: Vec<MatchedRule>,
}

/// A rule of a fired trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedRule {
    /// Name.
    pub rule: EntityName,
    /// The action it points to.
    pub action: FullName,
    /// Id of the activation that the delivery will have; `None` where the rule is inactive.
    pub activation_id: Option<ActivationId>,
}

/// The id of a trigger's own activation for the event at `position`.
#[must_use]
pub fn trigger_activation_id(log: LogUid, position: Position, trigger: EntityUid) -> ActivationId {
    DeliveryId::live(position, trigger).activation_id(log)
}

impl FiredTrigger {
    /// The answer for `trigger`, fired by the event at `position`.
    #[must_use]
    pub fn of(log: LogUid, position: Position, trigger: &StoredTrigger) -> Self {
        let id = |rule| DeliveryId::live(position, rule).activation_id(log);
        let fired = trigger.rules.iter().any(|rule| rule.active);
        Self {
            name: trigger.name.clone(),
            activation_id: fired.then(|| trigger_activation_id(log, position, trigger.uid)),
            rules: trigger
                .rules
                .iter()
                .map(|rule| MatchedRule {
                    rule: rule.name.clone(),
                    action: rule.action.clone(),
                    activation_id: rule.active.then(|| id(rule.uid)),
                })
                .collect(),
        }
    }
}

impl Accepted {
    /// The answer for a duplicate of the event stored at `position`.
    #[must_use]
    pub fn again(log: LogUid, position: Position, stored: &StoredEvent) -> Self {
        let fired = |trigger| FiredTrigger::of(log, position, trigger);
        Self {
            position,
            event_id: stored.event.id.clone(),
            duplicate: true,
            triggers: stored.triggers.iter().map(fired).collect(),
            activation_id: direct_activation_id(log, position, &stored.target),
        }
    }
}

/// The id of the activation of an accepted invocation.
pub(crate) fn direct_activation_id(
    log: LogUid,
    position: Position,
    target: &Target,
) -> Option<ActivationId> {
    matches!(target, Target::Action(_))
        .then(|| DeliveryId::live(position, EntityUid::DIRECT).activation_id(log))
}
