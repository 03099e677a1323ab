//! A dead letter fires its rule's dead-letter trigger, once: the event's id is derived.

use bytes::Bytes;
use evoke_schemas::{ActivationId, Data, EntityName, Event, Namespace, event::Attribute};
use serde_json::json;

use super::{DeadLetterView, Deliveries, DeliveryEffect, State, turns::RuleKey};
use crate::{
    incoming::{Incoming, Origin, Target},
    record::{DeliveryId, StoredEvent},
};

/// Dead letters of dead letters that fire a trigger in turn; the next one fires none.
pub const MAX_DEPTH: i32 = 3;
/// Extension attribute that counts them.
const DEPTH: &str = "evokedepth";
/// `type` of the event.
pub const ANNOUNCEMENT_TYPE: &str = "org.evoke.deadletter";

impl Deliveries {
    /// The dead-letter trigger of a rule.
    pub(super) fn dead_letter_trigger(&self, key: RuleKey) -> Option<EntityName> {
        self.turns.find_rule(key)?.policy().dead_letter_trigger.clone()
    }

    /// Wants the trigger fired, where there is one and it was not.
    pub(super) fn announce(&self, id: DeliveryId, effects: &mut Vec<DeliveryEffect>) {
        let Some(delivery) = self.table.get(&id) else { return };
        let State::Dead { death, .. } = &delivery.state else { return };
        if death.announced {
            return;
        }
        if let Some(trigger) = self.dead_letter_trigger(delivery.rule) {
            let namespace = self.turns.name(delivery.rule.namespace).clone();
            effects.push(DeliveryEffect::Announce { id, namespace, trigger });
        }
    }
}

/// The event that fires the dead-letter trigger; `None` where the letter is about too many others.
#[must_use]
pub fn announcement(
    namespace: Namespace,
    trigger: EntityName,
    activation_id: ActivationId,
    letter: &DeadLetterView,
    event: Option<&StoredEvent>,
) -> Option<Incoming> {
    let depth = event.and_then(|stored| match stored.event.extensions.get(DEPTH) {
        Some(Attribute::Integer(depth)) => Some(*depth),
        Some(Attribute::Boolean(_) | Attribute::Text(_)) | None => None,
    });
    let depth = depth.unwrap_or(0) + 1;
    if depth > MAX_DEPTH {
        return None;
    }
    let rule = letter.held.rule.as_ref().map_or("", EntityName::as_str);
    let source = format!("/namespaces/{namespace}/rules/{}", rule.replace(' ', "%20"));
    // A letter that was delivered again and died again is another occurrence.
    let id = format!("{activation_id}-{}", letter.held.attempts.made);
    let mut announced = Event::new(id, source, ANNOUNCEMENT_TYPE);
    announced.subject = Some(activation_id.to_string());
    announced.datacontenttype = Some("application/json".to_owned());
    announced.extensions.insert(DEPTH.to_owned(), Attribute::Integer(depth));
    let data = json!({
        "activationId": activation_id,
        "rule": letter.held.rule,
        "reason": letter.held.death.as_ref().map(|death| death.reason),
        "attempts": letter.held.attempts.notes,
        "event": event.map(|stored| &stored.event),
    });
    announced.data = Data::Json(Bytes::from(data.to_string()));
    Some(Incoming {
        target: Target::Trigger(trigger),
        event: announced,
        origin: Origin::Feed,
        headers: None,
        subject: namespace.to_string(),
        dedup: true,
        namespace,
    })
}
