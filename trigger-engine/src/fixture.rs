//! Entities for tests, short to write.

use std::sync::Arc;

use evoke_schemas::{
    DeliveryPolicy, EntityName, EntityUid, Event, FullName, KeyValues, Namespace, Rule, RuleStatus,
    SemVer, Trigger, trigger::Subscription,
};

use crate::incoming::{Incoming, Origin, Target};

pub(crate) fn namespace(text: &str) -> Namespace {
    Namespace::new(text).unwrap()
}

pub(crate) fn name(text: &str) -> EntityName {
    EntityName::new(text).unwrap()
}

pub(crate) fn uid(byte: u8) -> EntityUid {
    EntityUid([byte; 16])
}

pub(crate) fn trigger(uid_byte: u8, text: &str, r#type: Option<&str>) -> Trigger {
    Trigger {
        namespace: namespace("guest"),
        name: name(text),
        uid: uid(uid_byte),
        parameters: KeyValues::default(),
        annotations: KeyValues::default(),
        subscription: r#type
            .map(|text| Subscription { r#type: Some(text.to_owned()), ..Subscription::default() }),
        webhook: None,
        version: SemVer::FIRST,
        publish: false,
        updated: 0,
        had_rules: false,
    }
}

pub(crate) fn rule(uid_byte: u8, text: &str, trigger: (u8, &str)) -> Rule {
    let guest = namespace("guest");
    Rule {
        name: name(text),
        uid: uid(uid_byte),
        trigger: FullName::new(guest.clone(), name(trigger.1)),
        trigger_uid: uid(trigger.0),
        action: FullName::new(guest.clone(), name("act")),
        namespace: guest,
        status: RuleStatus::Active,
        delivery: DeliveryPolicy::default(),
        annotations: KeyValues::default(),
        version: SemVer::FIRST,
        publish: false,
        updated: 0,
    }
}

#[allow(dead_code, reason = "shared by the tests of several modules")]
pub(crate) fn policy(rule: Rule, change: impl FnOnce(&mut DeliveryPolicy)) -> Arc<Rule> {
    let mut rule = rule;
    change(&mut rule.delivery);
    Arc::new(rule)
}

#[allow(dead_code, reason = "shared by the tests of several modules")]
pub(crate) fn incoming(target: Target, id: &str) -> Incoming {
    Incoming {
        namespace: namespace("guest"),
        target,
        event: Event::new(id, "/s", "t.a"),
        origin: Origin::CloudEvent,
        headers: None,
        subject: "guest".to_owned(),
        dedup: true,
    }
}
