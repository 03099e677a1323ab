//! What a namespace owes closes its intake, and opens it again when enough is settled.

use evoke_schemas::Namespace;

use super::{
    Deliveries, DeliveryEffect,
    effect::NamespaceBounds,
    turns::{NamespaceKey, RuleKey},
};
use crate::ingest::Cap;

impl Deliveries {
    /// Compares what the rule's namespace owes with the bound.
    pub(super) fn check_intake(&mut self, key: RuleKey, effects: &mut Vec<DeliveryEffect>) {
        self.check_intake_of(key.namespace, effects);
    }

    /// Gives a namespace bounds of its own, or takes them away.
    pub(super) fn set_bounds(
        &mut self,
        namespace: &Namespace,
        bounds: Option<NamespaceBounds>,
        effects: &mut Vec<DeliveryEffect>,
    ) {
        let key = self.turns.key(namespace);
        self.turns.namespace(key).bounds = bounds;
        self.turns.enter_namespace(key);
        self.check_intake_of(key, effects);
    }

    fn check_intake_of(&mut self, key: NamespaceKey, effects: &mut Vec<DeliveryEffect>) {
        let for_all = self.config.parked_bytes_per_namespace;
        let namespace = self.turns.namespace(key);
        let most = namespace.bounds.map_or(for_all, |own| own.undelivered);
        let owed = namespace.owed_bytes;
        if !namespace.closed && owed > most {
            namespace.closed = true;
            let (namespace, cap) = (namespace.name.clone(), Cap::UndeliveredBytes);
            effects.push(DeliveryEffect::CloseIntake { namespace, cap });
        } else if namespace.closed && owed <= most - most / 10 {
            namespace.closed = false;
            effects.push(DeliveryEffect::OpenIntake { namespace: namespace.name.clone() });
        }
    }
}
