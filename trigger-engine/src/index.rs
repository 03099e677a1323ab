//! The rule index: which triggers and rules an event gets, found without looking at the others.

use std::sync::Arc;

use bytes::Bytes;
use evoke_schemas::{
    EntityName, EntityUid, Event, KeyValues, Namespace, Rule, RuleStatus, Trigger,
};
use hashbrown::HashMap;

use crate::{
    filter::CompiledSubscription,
    record::{StoredRule, StoredTrigger, Writer, write_trigger},
};

/// Every trigger and rule, by namespace.
///
/// A rule is linked to one life of its trigger: where the trigger was deleted and made again,
/// the rule stays out until it is put with the new uid.
#[derive(Debug, Default)]
pub struct RuleIndex {
    namespaces: HashMap<Namespace, NamespaceIndex>,
}

#[derive(Debug, Default)]
struct NamespaceIndex {
    triggers: HashMap<EntityName, Arc<IndexedTrigger>>,
    rules: HashMap<EntityName, Arc<Rule>>,
    /// Triggers with a subscription to exactly one `type`.
    by_type: HashMap<Box<str>, Vec<Arc<IndexedTrigger>>>,
    /// Triggers with any other subscription.
    by_pattern: Vec<Arc<IndexedTrigger>>,
}

/// A trigger with its rules, ready to match.
#[derive(Debug)]
pub struct IndexedTrigger {
    entity: Arc<Trigger>,
    parameters: Arc<KeyValues>,
    subscription: Option<CompiledSubscription>,
    stored: StoredTrigger,
    encoded: Bytes,
    active: usize,
}

// === impl RuleIndex ===

impl RuleIndex {
    /// Puts a trigger in, in the place of the one of its name.
    pub fn put_trigger(&mut self, trigger: Trigger) {
        let namespace = self.namespaces.entry(trigger.namespace.clone()).or_default();
        namespace.link(Arc::new(trigger));
    }

    /// Takes a trigger out; its rules stay, unlinked.
    pub fn remove_trigger(&mut self, namespace: &Namespace, name: &EntityName) {
        if let Some(index) = self.namespaces.get_mut(namespace) {
            index.unlink(name);
        }
    }

    /// Puts a rule in, in the place of the one of its name.
    pub fn put_rule(&mut self, rule: Arc<Rule>) {
        let index = self.namespaces.entry(rule.namespace.clone()).or_default();
        let trigger = rule.trigger.name.clone();
        let former = index.rules.insert(rule.name.clone(), rule);
        if let Some(former) = former.filter(|former| former.trigger.name != trigger) {
            index.relink(&former.trigger.name);
        }
        index.relink(&trigger);
    }

    /// Takes a rule out.
    pub fn remove_rule(&mut self, namespace: &Namespace, name: &EntityName) -> Option<Arc<Rule>> {
        let index = self.namespaces.get_mut(namespace)?;
        let rule = index.rules.remove(name)?;
        index.relink(&rule.trigger.name);
        Some(rule)
    }

    /// The trigger of that name.
    #[must_use]
    pub fn trigger(&self, ns: &Namespace, name: &EntityName) -> Option<&Arc<IndexedTrigger>> {
        self.namespaces.get(ns)?.triggers.get(name)
    }

    /// Every rule, by uid.
    #[must_use]
    pub fn rules(&self) -> Vec<Arc<Rule>> {
        let all = self.namespaces.values().flat_map(|index| index.rules.values());
        let mut rules: Vec<Arc<Rule>> = all.map(Arc::clone).collect();
        rules.sort_unstable_by_key(|rule| rule.uid);
        rules
    }

    /// The rule of that name.
    #[must_use]
    pub fn rule(&self, namespace: &Namespace, name: &EntityName) -> Option<&Arc<Rule>> {
        self.namespaces.get(namespace)?.rules.get(name)
    }

    /// The triggers whose subscription an event of the hub matches.
    pub fn subscribed<'a>(
        &'a self,
        namespace: &Namespace,
        event: &'a Event,
    ) -> impl Iterator<Item = &'a Arc<IndexedTrigger>> {
        let index = self.namespaces.get(namespace);
        let by_type = index.and_then(|index| index.by_type.get(&*event.r#type));
        let by_pattern = index.map(|index| &index.by_pattern);
        by_type
            .into_iter()
            .flatten()
            .chain(by_pattern.into_iter().flatten())
            .filter(|trigger| trigger.subscribes(event))
    }
}

// === impl NamespaceIndex ===

impl NamespaceIndex {
    fn relink(&mut self, trigger: &EntityName) {
        let entity = self.triggers.get(trigger).map(|trigger| Arc::clone(&trigger.entity));
        if let Some(entity) = entity {
            self.link(entity);
        }
    }

    fn link(&mut self, entity: Arc<Trigger>) {
        self.unlink(&entity.name);
        let linked =
            |rule: &&Arc<Rule>| rule.trigger.name == entity.name && rule.trigger_uid == entity.uid;
        let mut rules: Vec<&Arc<Rule>> = self.rules.values().filter(linked).collect();
        rules.sort_by(|one, other| one.name.cmp(&other.name));
        let trigger = Arc::new(IndexedTrigger::new(Arc::clone(&entity), &rules));
        match &trigger.subscription {
            None => {}
            Some(subscription) => match subscription.exact_type() {
                Some(r#type) => {
                    let list = self.by_type.entry(r#type.into()).or_default();
                    list.push(Arc::clone(&trigger));
                }
                None => self.by_pattern.push(Arc::clone(&trigger)),
            },
        }
        self.triggers.insert(entity.name.clone(), trigger);
    }

    fn unlink(&mut self, name: &EntityName) {
        let Some(former) = self.triggers.remove(name) else { return };
        let others = |trigger: &Arc<IndexedTrigger>| !Arc::ptr_eq(trigger, &former);
        self.by_pattern.retain(others);
        let exact = former.subscription.as_ref().and_then(CompiledSubscription::exact_type);
        if let Some(r#type) = exact
            && let Some(list) = self.by_type.get_mut(r#type)
        {
            list.retain(others);
            if list.is_empty() {
                self.by_type.remove(r#type);
            }
        }
    }
}

// === impl IndexedTrigger ===

impl IndexedTrigger {
    fn new(entity: Arc<Trigger>, rules: &[&Arc<Rule>]) -> Self {
        let rules: Vec<StoredRule> = rules
            .iter()
            .map(|rule| StoredRule {
                uid: rule.uid,
                name: rule.name.clone(),
                action: rule.action.clone(),
                active: rule.status == RuleStatus::Active,
            })
            .collect();
        let stored = StoredTrigger {
            name: entity.name.clone(),
            uid: entity.uid,
            version: entity.version,
            rules,
        };
        let mut writer = Writer::default();
        write_trigger(&mut writer, &stored);
        Self {
            parameters: Arc::new(entity.parameters.clone()),
            subscription: entity.subscription.as_ref().map(CompiledSubscription::new),
            active: stored.rules.iter().filter(|rule| rule.active).count(),
            encoded: writer.finish(),
            stored,
            entity,
        }
    }

    /// Whether the trigger's subscription, if it has one, takes this event of the hub.
    #[must_use]
    pub fn subscribes(&self, event: &Event) -> bool {
        self.subscription.as_ref().is_some_and(|subscription| subscription.matches(event))
    }

    /// The trigger as it goes into an event's record.
    #[must_use]
    pub fn stored(&self) -> &StoredTrigger {
        &self.stored
    }

    /// How many of its rules are active.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active
    }

    /// Its parameters.
    #[must_use]
    pub fn parameters(&self) -> &Arc<KeyValues> {
        &self.parameters
    }

    /// Which life of the name this is.
    #[must_use]
    pub fn uid(&self) -> EntityUid {
        self.entity.uid
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

#[cfg(test)]
mod tests;
