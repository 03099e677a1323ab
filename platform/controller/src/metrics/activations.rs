//! Runs of actions, counted by who runs what; an action that is kept ready holds its numbers.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use evoke_schemas::{
    ActivationStatus, FullName, Namespace,
    measure::{Counter, Histogram, RUNS_US},
};

/// Actions with numbers of their own; those of all others of a namespace are counted together.
pub(super) const COUNTED_ACTIONS: usize = 500;
/// What the others are called.
pub(super) const OTHERS: &str = "(other)";
/// Statuses in the order of their numbers.
pub(super) const STATUSES: [&str; 4] =
    ["success", "application_error", "developer_error", "internal_error"];

/// Numbers of one action in one namespace.
#[derive(Debug)]
pub(crate) struct ActionMeasures {
    pub(super) runs: [Counter; STATUSES.len()],
    pub(super) took: Histogram,
}

/// Numbers of all actions, by the namespace that runs them and their name.
#[derive(Debug, Default)]
pub(crate) struct ActionRegistry(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    actions: BTreeMap<(Namespace, String), Arc<ActionMeasures>>,
    /// Actions that are counted with the others.
    folded: u64,
}

/// One action with its numbers.
pub(super) type Counted = (Namespace, String, Arc<ActionMeasures>);

impl Default for ActionMeasures {
    fn default() -> Self {
        Self { runs: std::array::from_fn(|_| Counter::default()), took: Histogram::new(RUNS_US) }
    }
}

impl ActionMeasures {
    /// A run ended.
    pub(crate) fn ended(&self, status: ActivationStatus, took: Duration) {
        if let Some(counter) = self.runs.get(usize::from(status.code())) {
            counter.one();
        }
        self.took.observe(took);
    }
}

impl ActionRegistry {
    /// Where runs of the action in that namespace are counted. Takes a lock: to be asked once and
    /// kept.
    pub(crate) fn of(&self, namespace: &Namespace, action: &FullName) -> Arc<ActionMeasures> {
        let key = (namespace.clone(), shown(namespace, action));
        let known =
            self.0.read().unwrap_or_else(PoisonError::into_inner).actions.get(&key).cloned();
        if let Some(known) = known {
            return known;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let full = known.actions.len() >= COUNTED_ACTIONS && !known.actions.contains_key(&key);
        if full {
            known.folded += 1;
        }
        let key = if full { (namespace.clone(), OTHERS.to_owned()) } else { key };
        Arc::clone(known.actions.entry(key).or_default())
    }

    /// Every action that ran, of one namespace or of all.
    pub(super) fn all(&self, of: Option<&Namespace>) -> Vec<Counted> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let of_one = known
            .actions
            .iter()
            .filter(|((namespace, _), _)| of.is_none_or(|wanted| wanted == namespace));
        let counted = |((namespace, action), measures): (&(Namespace, String), _)| {
            (namespace.clone(), action.clone(), Arc::clone(measures))
        };
        of_one.map(counted).collect()
    }

    /// How often an action was counted with the others.
    pub(super) fn folded(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).folded
    }
}

/// `package/name` in its own namespace, the full name in another.
fn shown(namespace: &Namespace, action: &FullName) -> String {
    let full = action.to_string();
    match full.split_once('/') {
        Some((owner, path)) if owner == namespace.as_str() => path.to_owned(),
        _ => full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_actions_are_counted_together() {
        let registry = ActionRegistry::default();
        let guest = Namespace::new("guest").unwrap();
        for number in 0..COUNTED_ACTIONS + 3 {
            let name = FullName::parse(&format!("/guest/p/a{number}"), &guest).unwrap();
            registry.of(&guest, &name).ended(ActivationStatus::Success, Duration::ZERO);
            registry.of(&guest, &name).ended(ActivationStatus::DeveloperError, Duration::ZERO);
        }
        let all = registry.all(Some(&guest));
        assert_eq!(all.len(), COUNTED_ACTIONS + 1);
        let others = all.iter().find(|(_, action, _)| action == OTHERS).unwrap();
        assert_eq!(others.2.runs[0].get(), 3);
        assert!(registry.folded() >= 3);
        assert!(all.iter().any(|(_, action, _)| action == "p/a7"));
        let other = Namespace::new("other").unwrap();
        let name = FullName::parse("/guest/p/a1", &guest).unwrap();
        let fresh = ActionRegistry::default();
        fresh.of(&other, &name);
        assert_eq!(fresh.all(Some(&other))[0].1, "guest/p/a1");
        assert!(fresh.all(Some(&guest)).is_empty());
    }
}
