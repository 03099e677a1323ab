//! Whose turn it is: namespaces in a ring, in each its rules in a ring, in each its deliveries.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use evoke_schemas::{DeliveryPolicy, EntityName, EntityUid, Namespace, Rule};
use hashbrown::HashMap;

use super::{
    chain::Chains,
    effect::NamespaceBounds,
    tally::{COUNTED_RULES, Counted, DeliveryCounts, NamespaceCounts, RuleCounts, Tally},
};
use crate::record::DeliveryId;

/// A namespace by number, for as long as the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NamespaceKey(usize);

/// A rule's place: a rule's uid alone does not tell accepted invocations of two namespaces apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RuleKey {
    pub(super) namespace: NamespaceKey,
    pub(super) uid: EntityUid,
}

/// Everything that waits for its turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    names: HashMap<Namespace, NamespaceKey>,
    namespaces: Vec<NamespaceTurns>,
    ring: VecDeque<NamespaceKey>,
    /// Rules with numbers of their own.
    counted: usize,
}

/// One namespace.
#[derive(Debug)]
pub(super) struct NamespaceTurns {
    pub(super) name: Namespace,
    rules: HashMap<EntityUid, RuleTurns>,
    ring: VecDeque<EntityUid>,
    in_ring: bool,
    running: usize,
    /// Deliveries that hold the low-water mark and have no record of their own on its way.
    pub(super) unparked: usize,
    /// Bytes of what is neither done nor dead.
    pub(super) owed_bytes: u64,
    pub(super) closed: bool,
    /// Where it has bounds of its own.
    pub(super) bounds: Option<NamespaceBounds>,
    /// Dead letters by time of death.
    pub(super) dead: BTreeSet<(u64, DeliveryId)>,
    /// What rules without numbers of their own came to, and those that are gone.
    others: Tally,
}

/// One rule, or the accepted invocations of a namespace.
#[derive(Debug, Default)]
pub(super) struct RuleTurns {
    /// Name of the rule, last known.
    pub(super) name: Option<EntityName>,
    /// The rule; `None` once it is deleted.
    pub(super) rule: Option<Arc<Rule>>,
    ready: VecDeque<DeliveryId>,
    in_ring: bool,
    running: usize,
    pub(super) chains: Chains,
    /// Deliveries in the table.
    pub(super) deliveries: usize,
    /// Dead letters among them.
    pub(super) dead: usize,
    /// What its deliveries came to, where it has numbers of its own.
    tally: Option<Tally>,
}

static DEFAULT_POLICY: std::sync::LazyLock<DeliveryPolicy> =
    std::sync::LazyLock::new(DeliveryPolicy::default);

// === impl Turns ===

impl Turns {
    pub(super) fn key(&mut self, name: &Namespace) -> NamespaceKey {
        if let Some(key) = self.names.get(name) {
            return *key;
        }
        let key = NamespaceKey(self.namespaces.len());
        self.namespaces.push(NamespaceTurns::new(name.clone()));
        self.names.insert(name.clone(), key);
        key
    }

    pub(super) fn find(&self, name: &Namespace) -> Option<&NamespaceTurns> {
        self.names.get(name).and_then(|key| self.namespaces.get(key.0))
    }

    pub(super) fn namespace(&mut self, key: NamespaceKey) -> &mut NamespaceTurns {
        #[expect(clippy::indexing_slicing, reason = "keys are made by `key`, none is taken back")]
        &mut self.namespaces[key.0]
    }

    pub(super) fn name(&self, key: NamespaceKey) -> &Namespace {
        #[expect(clippy::indexing_slicing, reason = "keys are made by `key`, none is taken back")]
        &self.namespaces[key.0].name
    }

    pub(super) fn owed_bytes(&self) -> u64 {
        self.namespaces.iter().map(|namespace| namespace.owed_bytes).sum()
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = NamespaceKey> + use<> {
        (0..self.namespaces.len()).map(NamespaceKey)
    }

    pub(super) fn rule(&mut self, key: RuleKey) -> &mut RuleTurns {
        self.namespace(key.namespace).rules.entry(key.uid).or_default()
    }

    pub(super) fn find_rule(&self, key: RuleKey) -> Option<&RuleTurns> {
        self.namespaces.get(key.namespace.0)?.rules.get(&key.uid)
    }

    /// Drops what is kept of a deleted rule once nothing of it is left; what it came to is counted
    /// with the others from then on. Accepted invocations go on for ever.
    pub(super) fn prune(&mut self, key: RuleKey) {
        let namespace = self.namespace(key.namespace);
        if key.uid != EntityUid::DIRECT
            && namespace.rules.get(&key.uid).is_some_and(RuleTurns::is_idle)
            && let Some(gone) = namespace.rules.remove(&key.uid)
            && let Some(tally) = gone.tally
        {
            namespace.others.add(&tally);
            self.counted = self.counted.saturating_sub(1);
        }
    }

    /// Where what a rule's deliveries come to is counted.
    pub(super) fn tally(&mut self, key: RuleKey) -> &mut Tally {
        let free = self.counted < COUNTED_RULES;
        let fresh = self.rule(key).tally.is_none();
        if fresh && free {
            self.counted += 1;
            self.rule(key).tally = Some(Tally::default());
        }
        #[expect(clippy::indexing_slicing, reason = "keys are made by `key`, none is taken back")]
        let namespace = &mut self.namespaces[key.namespace.0];
        match namespace.rules.get_mut(&key.uid).and_then(|rule| rule.tally.as_mut()) {
            Some(own) => own,
            None => &mut namespace.others,
        }
    }

    /// Rules without numbers of their own.
    pub(super) fn folded(&self) -> usize {
        let all: usize = self.namespaces.iter().map(|namespace| namespace.rules.len()).sum();
        all.saturating_sub(self.counted)
    }

    /// Adds the numbers of one namespace.
    pub(super) fn count(
        &self,
        key: NamespaceKey,
        oldest: &HashMap<RuleKey, u64>,
        counts: &mut DeliveryCounts,
    ) {
        let Some(namespace) = self.namespaces.get(key.0) else { return };
        counts.namespaces.push(NamespaceCounts {
            namespace: namespace.name.clone(),
            owed_bytes: namespace.owed_bytes,
            running: namespace.running,
            is_closed: namespace.closed,
        });
        let mut others = RuleCounts {
            namespace: namespace.name.clone(),
            of: Counted::Others,
            tally: namespace.others.clone(),
            waiting: 0,
            dead: 0,
            oldest_ms: None,
        };
        for (uid, rule) in &namespace.rules {
            let oldest_ms = oldest.get(&RuleKey { namespace: key, uid: *uid }).copied();
            let waiting = rule.deliveries.saturating_sub(rule.dead);
            match (&rule.tally, rule.counted(*uid)) {
                (Some(tally), Some(of)) => counts.rules.push(RuleCounts {
                    namespace: namespace.name.clone(),
                    of,
                    tally: tally.clone(),
                    waiting,
                    dead: rule.dead,
                    oldest_ms,
                }),
                (tally, _) => {
                    others.tally.add(tally.as_ref().unwrap_or(&Tally::default()));
                    others.waiting += waiting;
                    others.dead += rule.dead;
                    others.oldest_ms = others.oldest_ms.into_iter().chain(oldest_ms).min();
                }
            }
        }
        if others.tally != Tally::default() || others.waiting + others.dead > 0 {
            counts.rules.push(others);
        }
    }

    /// A delivery may be started.
    pub(super) fn ready(&mut self, key: RuleKey, id: DeliveryId) {
        self.rule(key).ready.push_back(id);
        self.enter(key);
    }

    /// The next delivery to start, if any namespace and rule has room for one.
    pub(super) fn next(&mut self, per_namespace: usize) -> Option<(RuleKey, DeliveryId)> {
        while let Some(key) = self.ring.pop_front() {
            let namespace = self.namespace(key);
            namespace.in_ring = false;
            let most = namespace.bounds.map_or(per_namespace, |own| own.running);
            let Some((uid, id)) = namespace.next(most) else { continue };
            if namespace.has_turn(most) {
                namespace.in_ring = true;
                self.ring.push_back(key);
            }
            return Some((RuleKey { namespace: key, uid }, id));
        }
        None
    }

    /// An attempt of the rule was begun.
    pub(super) fn begin(&mut self, key: RuleKey) {
        self.namespace(key.namespace).running += 1;
        self.rule(key).running += 1;
    }

    /// An attempt of the rule has ended, its sandbox too.
    pub(super) fn end(&mut self, key: RuleKey) {
        let running = &mut self.namespace(key.namespace).running;
        *running = running.saturating_sub(1);
        let rule = self.rule(key);
        rule.running = rule.running.saturating_sub(1);
        self.enter(key);
    }

    /// Lets a rule with ready deliveries take turns again.
    pub(super) fn enter(&mut self, key: RuleKey) {
        self.namespace(key.namespace).enter(key.uid);
        self.enter_namespace(key.namespace);
    }

    /// Lets a namespace with rules that wait take turns again.
    pub(super) fn enter_namespace(&mut self, key: NamespaceKey) {
        let namespace = self.namespace(key);
        if !namespace.in_ring && !namespace.ring.is_empty() {
            namespace.in_ring = true;
            self.ring.push_back(key);
        }
    }
}

// === impl NamespaceTurns ===

impl NamespaceTurns {
    fn new(name: Namespace) -> Self {
        Self {
            name,
            rules: HashMap::new(),
            ring: VecDeque::new(),
            in_ring: false,
            running: 0,
            unparked: 0,
            owed_bytes: 0,
            closed: false,
            bounds: None,
            dead: BTreeSet::new(),
            others: Tally::default(),
        }
    }

    pub(super) fn rule(&self, uid: EntityUid) -> Option<&RuleTurns> {
        self.rules.get(&uid)
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    fn has_turn(&self, most: usize) -> bool {
        self.running < most && !self.ring.is_empty()
    }

    fn enter(&mut self, uid: EntityUid) {
        let Some(rule) = self.rules.get_mut(&uid) else { return };
        if !rule.in_ring && rule.has_turn(uid) {
            rule.in_ring = true;
            self.ring.push_back(uid);
        }
    }

    fn next(&mut self, most: usize) -> Option<(EntityUid, DeliveryId)> {
        if self.running >= most {
            return None;
        }
        while let Some(uid) = self.ring.pop_front() {
            let Some(rule) = self.rules.get_mut(&uid) else { continue };
            rule.in_ring = false;
            if !rule.has_turn(uid) {
                continue;
            }
            let id = rule.ready.pop_front();
            // The one that is given counts as running only later; leave room for it.
            if !rule.ready.is_empty() && rule.running + 1 < rule.concurrency(uid) {
                rule.in_ring = true;
                self.ring.push_back(uid);
            }
            if let Some(id) = id {
                return Some((uid, id));
            }
        }
        None
    }
}

// === impl RuleTurns ===

impl RuleTurns {
    /// How deliveries of the rule are made.
    pub(super) fn policy(&self) -> &DeliveryPolicy {
        self.rule.as_ref().map_or(&*DEFAULT_POLICY, |rule| &rule.delivery)
    }

    fn concurrency(&self, uid: EntityUid) -> usize {
        if uid == EntityUid::DIRECT || self.rule.is_none() {
            return usize::MAX;
        }
        usize::try_from(self.policy().concurrency).unwrap_or(usize::MAX)
    }

    /// What its numbers are about; none where its name is not known.
    fn counted(&self, uid: EntityUid) -> Option<Counted> {
        if uid == EntityUid::DIRECT {
            return Some(Counted::Invocations);
        }
        self.name.clone().map(Counted::Rule)
    }

    fn has_turn(&self, uid: EntityUid) -> bool {
        !self.ready.is_empty() && self.running < self.concurrency(uid)
    }

    fn is_idle(&self) -> bool {
        self.rule.is_none() && self.deliveries == 0 && self.running == 0 && self.ready.is_empty()
    }
}
