//! Policy `home`: the same action of the same namespace goes to the same invoker, where it is warm.
//!
//! From the home invoker it steps on to the next that has room; where none has, to the healthy one
//! with the fewest waiting. Source: OpenWhisk `ShardingContainerPoolBalancer.scala`, without its
//! co-prime steps, which matter only for large fleets.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::{fleet::InvokerState, policy::Placement};

/// See the module.
pub(crate) fn place(asked: &Placement<'_>, fleet: &[InvokerState]) -> Option<usize> {
    if fleet.len() <= 1 {
        return fleet.first().filter(|only| only.healthy).map(|_| 0);
    }
    let home = home(asked, fleet.len());
    let (before, after) = (0..home, home..fleet.len());
    let healthy = || {
        after
            .clone()
            .chain(before.clone())
            .filter_map(|index| Some((index, fleet.get(index)?)))
            .filter(|(_, invoker)| invoker.healthy)
    };
    let has_room = |invoker: &InvokerState| {
        invoker.used_bytes.saturating_add(asked.memory_bytes) <= invoker.memory_bytes
    };
    healthy()
        .find(|(_, invoker)| has_room(invoker))
        .or_else(|| healthy().min_by_key(|(_, invoker)| invoker.waiting))
        .map(|(index, _)| index)
}

/// Not stable over versions of the compiler: a changed home costs a cold start, nothing else.
fn home(asked: &Placement<'_>, size: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    asked.namespace.as_str().hash(&mut hasher);
    asked.action.hash(&mut hasher);
    usize::try_from(hasher.finish() % size.max(1) as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use evoke_schemas::{EntityUid, Namespace};

    use super::*;
    use crate::fleet::InvokerId;

    fn fleet(used: &[u64]) -> Vec<InvokerState> {
        used.iter()
            .enumerate()
            .map(|(index, used)| InvokerState {
                id: InvokerId::new(&index.to_string()),
                healthy: true,
                memory_bytes: 10,
                used_bytes: *used,
                waiting: 9 - index,
            })
            .collect()
    }

    #[test]
    fn home_first_then_the_next_with_room_then_the_shortest_queue() {
        let namespace = Namespace::new("guest").unwrap();
        let asked =
            Placement { namespace: &namespace, action: EntityUid([1; 16]), memory_bytes: 5 };
        let at_home = place(&asked, &fleet(&[0, 0, 0])).unwrap();
        let mut used = [0; 3];
        used[at_home] = 6;
        assert_eq!(place(&asked, &fleet(&used)), Some((at_home + 1) % 3));
        assert_eq!(place(&asked, &fleet(&[6, 6, 6])), Some(2), "the one with fewest waiting");
        assert_eq!(place(&asked, &[]), None);
    }

    #[test]
    fn homes_are_spread() {
        let namespace = Namespace::new("guest").unwrap();
        let fleet = fleet(&[0, 0, 0, 0]);
        let mut hits = [0; 4];
        for uid in 0..200_u8 {
            let asked =
                Placement { namespace: &namespace, action: EntityUid([uid; 16]), memory_bytes: 1 };
            hits[place(&asked, &fleet).unwrap()] += 1;
        }
        assert!(hits.iter().all(|hits| *hits > 20), "{hits:?}");
    }
}
