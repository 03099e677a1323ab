//! What people see of deliveries: dead letters, replays, what became of one delivery, what is owed.

use evoke_schemas::{ActivationId, EntityUid, Namespace};

use super::{Deliveries, State, turns::NamespaceTurns};
use crate::record::{Attempts, DeliveryId, HeldRecord, Reason, ReplayRecord};

/// A dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterView {
    /// Id of its activation.
    pub activation_id: ActivationId,
    /// Its history, and where its event is.
    pub held: HeldRecord,
}

/// A delivery that is not done.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryView {
    /// What happened so far.
    pub attempts: Attempts,
    /// What it does.
    pub state: DeliveryState,
}

/// What a delivery does, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It waits for its turn, or runs.
    UnderWay,
    /// It waits for a time, unix milliseconds.
    Waiting(u64),
    /// It is a dead letter.
    Dead(Reason),
}

/// A replay with what of it is not done.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayView {
    /// The replay.
    pub record: ReplayRecord,
    /// Its deliveries that are neither done nor dead.
    pub outstanding: usize,
}

/// What a namespace owes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Bytes of deliveries that are neither done nor dead.
    pub bytes: u64,
    /// Attempts under way.
    pub running: usize,
    /// Dead letters.
    pub dead: usize,
}

impl Deliveries {
    /// Dead letters of a namespace, newest first; of damage those of namespace `_`.
    #[must_use]
    pub fn dead_letters(&self, namespace: &Namespace) -> Vec<DeadLetterView> {
        let dead = self.turns.find(namespace).map(|namespace| &namespace.dead);
        let ids = dead.into_iter().flatten().rev();
        ids.filter_map(|(_, id)| self.dead_letter(*id)).collect()
    }

    /// One dead letter.
    #[must_use]
    pub fn dead_letter(&self, id: DeliveryId) -> Option<DeadLetterView> {
        let delivery = self.table.get(&id)?;
        let State::Dead { died_ms, death } = &delivery.state else { return None };
        let dead = Some((*died_ms, death.clone()));
        let held = self.held_record(id, delivery, delivery.home(), dead);
        Some(DeadLetterView { activation_id: self.activation_id(id), held })
    }

    /// A delivery that is not done; `None` where it is, or never was.
    #[must_use]
    pub fn delivery(&self, id: DeliveryId) -> Option<DeliveryView> {
        let delivery = self.table.get(&id)?;
        let state = match &delivery.state {
            State::Dead { death, .. } => DeliveryState::Dead(death.reason),
            State::Resting => DeliveryState::Waiting(delivery.due_ms),
            State::Dormant | State::Chained | State::Ready | State::Running | State::Settling => {
                DeliveryState::UnderWay
            }
        };
        Some(DeliveryView { attempts: delivery.attempts.clone(), state })
    }

    /// Replays of a namespace, newest first.
    #[must_use]
    pub fn replays(&self, namespace: &Namespace) -> Vec<ReplayView> {
        let of = self.replays.values().filter(|replay| replay.record.namespace == *namespace);
        let mut all: Vec<ReplayView> = of
            .map(|replay| ReplayView {
                record: replay.record.clone(),
                outstanding: replay.outstanding.len(),
            })
            .collect();
        all.sort_by_key(|view| std::cmp::Reverse((view.record.created_ms, view.record.uid)));
        all
    }

    /// What a rule has still to do: deliveries that are neither done nor dead, and dead letters.
    #[must_use]
    pub fn owed_to(&self, namespace: &Namespace, rule: EntityUid) -> (usize, usize) {
        let namespace = self.turns.find(namespace);
        let rule = namespace.and_then(|namespace| namespace.rule(rule));
        rule.map_or((0, 0), |rule| (rule.deliveries.saturating_sub(rule.dead), rule.dead))
    }

    /// What all namespaces owe. Unit: bytes.
    #[must_use]
    pub fn owed_bytes(&self) -> u64 {
        self.turns.owed_bytes()
    }

    /// What a namespace owes.
    #[must_use]
    pub fn backlog(&self, namespace: &Namespace) -> Backlog {
        self.turns.find(namespace).map_or_else(Backlog::default, |namespace| Backlog {
            bytes: namespace.owed_bytes,
            running: NamespaceTurns::running(namespace),
            dead: namespace.dead.len(),
        })
    }
}
