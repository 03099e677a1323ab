//! The activation records of the triggers that an event fired (spec 4.1).

use evoke_schemas::{
    Activation, ActivationResponse, ActivationStatus, Data, KeyValues, LogUid, Position,
};
use serde_json::{json, value::RawValue};

use crate::{
    accepted::trigger_activation_id,
    record::{DeliveryId, StoredEvent, StoredRule, StoredTrigger},
};

/// One record for each trigger with an active rule.
pub(super) fn records(
    log: LogUid,
    position: Position,
    event: &StoredEvent,
    accepted_ms: u64,
) -> Vec<Activation> {
    let fired = event.triggers.iter().filter(|trigger| trigger.rules.iter().any(|r| r.active));
    fired.map(|trigger| record(log, position, event, trigger, accepted_ms)).collect()
}

fn record(
    log: LogUid,
    position: Position,
    event: &StoredEvent,
    trigger: &StoredTrigger,
    accepted_ms: u64,
) -> Activation {
    let logs = trigger.rules.iter().map(|rule| line(log, position, event, rule)).collect();
    Activation {
        namespace: event.namespace.clone(),
        name: trigger.name.clone(),
        version: trigger.version,
        subject: event.subject.clone(),
        activation_id: trigger_activation_id(log, position, trigger.uid),
        start: accepted_ms,
        end: None,
        duration: None,
        cause: None,
        response: ActivationResponse::new(ActivationStatus::Success, payload(event), None),
        logs,
        annotations: KeyValues::default(),
        publish: false,
    }
}

fn line(log: LogUid, position: Position, event: &StoredEvent, rule: &StoredRule) -> String {
    let name = format!("{}/{}", event.namespace, rule.name);
    let action = rule.action.to_string();
    if rule.active {
        let id = DeliveryId::live(position, rule.uid).activation_id(log);
        json!({"statusCode": 0, "success": true, "activationId": id, "rule": name, "action": action})
            .to_string()
    } else {
        let error = format!("Rule '{name}' is inactive, action '{action}' was not activated.");
        json!({"statusCode": 1, "success": false, "error": error, "rule": name, "action": action})
            .to_string()
    }
}

/// The payload as it came; an empty object where there is none.
fn payload(event: &StoredEvent) -> Box<RawValue> {
    let text = match &event.event.data {
        Data::Json(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        Data::Text(_) | Data::Binary(_) => serde_json::to_string(&event.event.arguments()).ok(),
        Data::None => None,
    };
    let raw = text.and_then(|text| RawValue::from_string(text).ok());
    raw.or_else(|| RawValue::from_string("{}".to_owned()).ok()).unwrap_or_default()
}
