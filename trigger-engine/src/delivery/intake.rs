//! What a namespace owes closes its intake, and opens it again when enough is settled.

use super::{Deliveries, DeliveryEffect, turns::RuleKey};
use crate::ingest::Cap;

impl Deliveries {
    /// Compares what the rule's namespace owes with the bound.
    pub(super) fn check_intake(&mut self, key: RuleKey, effects: &mut Vec<DeliveryEffect>) {
        let most = self.config.parked_bytes_per_namespace;
        let namespace = self.turns.namespace(key.namespace);
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
