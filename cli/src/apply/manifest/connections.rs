//! Triggers, rules and feeds of a manifest.

use evoke_schemas::{DeliveryPolicy, trigger::Subscription};
use serde_json::{Map, Value, json};

use super::Reading;
use crate::{
    apply::{
        fields::Fields,
        inputs,
        mistakes::{At, Mistakes},
        wanted::{Collection, TriggerFeed, Wanted},
    },
    name::Name,
    yaml::Node,
};

impl Reading<'_> {
    pub(super) fn trigger(&mut self, name: &str, node: &Node, at: &At) {
        self.name(name, at);
        let Some(mut fields) = Fields::of(node, at, &mut self.mistakes) else { return };
        let mut trigger = Wanted::new(Collection::Triggers, Name::parse(name), at, node);
        trigger.annotations = inputs::annotations(&mut fields, &mut self.mistakes);
        let read = |value: &Value| alone::<Subscription>(value);
        let subscription = inputs::settings(&mut fields, "subscription", read, &mut self.mistakes);
        if let Some((subscription, _)) = subscription {
            trigger.annotations.insert("subscription".to_owned(), subscription);
        }
        let webhook = fields.any("webhook");
        let webhook = webhook.and_then(|(node, at)| webhook_of(node, &at, &mut self.mistakes));
        let feed = fields.text("feed", &mut self.mistakes);
        let parameters = match feed {
            None => inputs::of(&mut fields, &mut self.mistakes),
            Some((action, at)) => {
                let action = self.reference(&action, None, &at);
                let given = fields.map("inputs", &mut self.mistakes);
                let parameters = inputs::object(given, &mut self.mistakes);
                trigger.annotations.insert("feed".to_owned(), action.full().into());
                trigger.hidden = Some(("feed", parameters.clone().into()));
                trigger.feed = Some(TriggerFeed { action, parameters });
                json!([])
            }
        };
        fields.finish(&mut self.mistakes);
        trigger.body.insert("parameters".to_owned(), parameters);
        if let Some((webhook, at)) = webhook {
            if trigger.feed.is_some() {
                self.mistakes.add(&at, "a trigger with `feed` is fired by it: it has no webhook");
            }
            trigger.hidden = Some(("webhook", webhook.clone()));
            trigger.body.insert("webhook".to_owned(), webhook);
        }
        self.wanted.push(trigger);
    }

    pub(super) fn rule(&mut self, package: Option<&str>, name: &str, node: &Node, at: &At) {
        self.name(name, at);
        let Some(mut fields) = Fields::of(node, at, &mut self.mistakes) else { return };
        let mut rule = Wanted::new(Collection::Rules, Name::parse(name), at, node);
        let trigger = fields.required("trigger", &mut self.mistakes);
        let action = fields.required("action", &mut self.mistakes);
        rule.annotations = inputs::annotations(&mut fields, &mut self.mistakes);
        let read = |value: &Value| alone::<DeliveryPolicy>(value);
        if let Some((delivery, _)) =
            inputs::settings(&mut fields, "delivery", read, &mut self.mistakes)
        {
            self.check_delivery(&rule, &delivery);
            rule.annotations.insert("delivery".to_owned(), delivery);
        }
        match fields.text("status", &mut self.mistakes) {
            None => {}
            Some((status, _)) if status == "active" => {}
            Some((status, _)) if status == "inactive" => rule.is_inactive = true,
            Some((_, at)) => self.mistakes.add(&at, "must be `active` or `inactive`"),
        }
        fields.finish(&mut self.mistakes);
        if let (Some((trigger, trigger_at)), Some((action, action_at))) = (trigger, action) {
            let trigger = self.reference(&trigger, None, &trigger_at);
            let action = self.reference(&action, package, &action_at);
            rule.body.insert("trigger".to_owned(), trigger.full().into());
            rule.body.insert("action".to_owned(), action.full().into());
        }
        self.wanted.push(rule);
    }

    fn check_delivery(&mut self, rule: &Wanted, delivery: &Value) {
        let policy: Result<DeliveryPolicy, _> = serde_json::from_value(delivery.clone());
        // What cannot be read has been told member by member.
        if let Some(error) = policy.ok().and_then(|policy| policy.check().err()) {
            let at = rule.place(&format!("delivery.{}", error.field));
            self.mistakes.add(&at, format!("must be within {}", error.range));
        }
    }

    pub(super) fn feed(&mut self, name: &str, node: &Node, at: &At) {
        self.name(name, at);
        let Some(mut fields) = Fields::of(node, at, &mut self.mistakes) else { return };
        let mut feed = Wanted::new(Collection::Feeds, Name::parse(name), at, node);
        let provider = fields.required("provider", &mut self.mistakes);
        let trigger = fields.required("trigger", &mut self.mistakes);
        let given = fields.map("parameters", &mut self.mistakes);
        let parameters = inputs::parameters(given, &mut self.mistakes);
        feed.annotations = inputs::annotations(&mut fields, &mut self.mistakes);
        let is_paused = fields.flag("paused", &mut self.mistakes).unwrap_or(false);
        fields.finish(&mut self.mistakes);
        let text = |field: Option<(String, At)>| json!(field.map(|(text, _)| text));
        let trigger =
            trigger.map(|(trigger, at)| (self.reference(&trigger, None, &at).to_string(), at));
        feed.body = Map::from_iter([
            ("provider".to_owned(), text(provider)),
            ("trigger".to_owned(), text(trigger)),
            ("parameters".to_owned(), parameters.clone().into()),
            ("paused".to_owned(), is_paused.into()),
        ]);
        feed.hidden = Some(("parameters", parameters.into()));
        self.wanted.push(feed);
    }
}

/// Whether one member alone is of this form.
fn alone<T: serde::de::DeserializeOwned>(value: &Value) -> Result<(), String> {
    serde_json::from_value::<T>(value.clone()).map(drop).map_err(|error| error.to_string())
}

/// A trigger's own credential; what is wrong with it is told without it.
fn webhook_of(node: &Node, at: &At, mistakes: &mut Mistakes) -> Option<(Value, At)> {
    let mut fields = Fields::of(node, at, mistakes)?;
    let (bearer, hmac) = (fields.any("bearer"), fields.any("hmac"));
    fields.finish(mistakes);
    let webhook = match (bearer, hmac) {
        (Some((node, at)), None) => {
            let mut fields = Fields::of(node, &at, mistakes)?;
            let token = fields.required("token", mistakes);
            fields.finish(mistakes);
            json!({"bearer": {"token": not_empty(token, mistakes)?}})
        }
        (None, Some((node, at))) => {
            let mut fields = Fields::of(node, &at, mistakes)?;
            let secret = fields.required("secret", mistakes);
            let header = fields.text("header", mistakes).map(|(header, _)| header);
            fields.finish(mistakes);
            let header = header.unwrap_or_else(|| crate::trigger::SIGNATURE_HEADER.to_owned());
            let header = header.to_ascii_lowercase();
            json!({"hmac": {"secret": not_empty(secret, mistakes)?, "header": header}})
        }
        _ => {
            mistakes.add(at, "wants either `bearer` with `token` or `hmac` with `secret`");
            return None;
        }
    };
    Some((webhook, at.clone()))
}

fn not_empty(secret: Option<(String, At)>, mistakes: &mut Mistakes) -> Option<String> {
    let (secret, at) = secret?;
    if secret.is_empty() {
        mistakes.add(&at, "may not be empty");
    }
    Some(secret)
}
