//! Tickets that wait, in turns between namespaces.

use std::collections::{BTreeMap, VecDeque};

use evoke_schemas::Namespace;

use super::{Shape, Ticket, WarmKey};

/// The tickets that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    tickets: BTreeMap<Ticket, Waiting>,
    keys: BTreeMap<WarmKey, VecDeque<Ticket>>,
    turns: VecDeque<Namespace>,
}

/// One that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) key: WarmKey,
    pub(super) shape: Shape,
    pub(super) since_ms: u64,
}

// === impl Queue ===

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.tickets.len()
    }

    pub(super) fn push(&mut self, ticket: Ticket, key: WarmKey, shape: Shape, now_ms: u64) {
        if !self.turns.contains(&key.namespace) {
            self.turns.push_back(key.namespace.clone());
        }
        self.keys.entry(key.clone()).or_default().push_back(ticket);
        self.tickets.insert(ticket, Waiting { key, shape, since_ms: now_ms });
    }

    /// Takes a ticket out, wherever it stands, and gives its key.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<WarmKey> {
        let waiting = self.tickets.remove(&ticket)?;
        if let Some(line) = self.keys.get_mut(&waiting.key) {
            line.retain(|other| *other != ticket);
            if line.is_empty() {
                self.keys.remove(&waiting.key);
            }
        }
        if !self.has_namespace(&waiting.key.namespace) {
            self.turns.retain(|namespace| *namespace != waiting.key.namespace);
        }
        Some(waiting.key)
    }

    /// Takes the first ticket of a key, and its namespace goes to the end of the turns.
    pub(super) fn pop(&mut self, key: &WarmKey) -> Option<Ticket> {
        let ticket = *self.keys.get(key)?.front()?;
        self.remove(ticket);
        if let Some(at) = self.turns.iter().position(|namespace| *namespace == key.namespace)
            && let Some(namespace) = self.turns.remove(at)
        {
            self.turns.push_back(namespace);
        }
        Some(ticket)
    }

    /// How many wait for a key.
    pub(super) fn waiting(&self, key: &WarmKey) -> usize {
        self.keys.get(key).map_or(0, VecDeque::len)
    }

    /// The first ticket of a key.
    pub(super) fn first(&self, key: &WarmKey) -> Option<Ticket> {
        self.keys.get(key)?.front().copied()
    }

    /// The first ticket of every key: by turns of the namespaces, within one by age.
    pub(super) fn heads(&self) -> impl Iterator<Item = (Ticket, &Waiting)> {
        self.turns.iter().flat_map(|namespace| {
            let mut heads: Vec<_> =
                self.keys_of(namespace).filter_map(|(_, line)| line.front()).collect();
            heads.sort_unstable();
            heads.into_iter().filter_map(|ticket| Some((*ticket, self.tickets.get(ticket)?)))
        })
    }

    /// Namespaces that wait.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.turns.iter()
    }

    /// Takes all out.
    pub(super) fn drain(&mut self) -> Vec<Ticket> {
        self.keys.clear();
        self.turns.clear();
        std::mem::take(&mut self.tickets).into_keys().collect()
    }

    fn has_namespace(&self, namespace: &Namespace) -> bool {
        self.keys_of(namespace).next().is_some()
    }

    fn keys_of<'a>(
        &'a self,
        namespace: &'a Namespace,
    ) -> impl Iterator<Item = (&'a WarmKey, &'a VecDeque<Ticket>)> {
        let first = WarmKey {
            namespace: namespace.clone(),
            action: evoke_schemas::EntityUid([0; 16]),
            revision: 0,
        };
        self.keys.range(first..).take_while(move |(key, _)| key.namespace == *namespace)
    }
}
