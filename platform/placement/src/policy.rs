//! The policies there are, and what each is asked.

use evoke_schemas::{EntityUid, Namespace};

use crate::{fleet::InvokerState, home};

/// Every policy, by name; the first is the default.
pub const POLICIES: &[Policy] = &[Policy {
    name: "home",
    about: "the action's home invoker, or the next that has room",
    place: home::place,
}];

/// A line of [`POLICIES`].
#[derive(Clone, Copy)]
pub struct Policy {
    /// The name in the configuration.
    pub name: &'static str,
    /// What it does, in a phrase.
    pub about: &'static str,
    /// The index of the invoker to take; none when no invoker is healthy.
    pub place: fn(&Placement<'_>, &[InvokerState]) -> Option<usize>,
}

/// What is to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'a> {
    /// Namespace that invokes.
    pub namespace: &'a Namespace,
    /// The action's identity.
    pub action: EntityUid,
    /// Memory limit of the action. Unit: bytes.
    pub memory_bytes: u64,
}

/// No policy has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown placement policy `{name}` (known: {known})")]
pub struct UnknownPolicy {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: String,
}

/// The policy called `name`.
///
/// # Errors
/// [`UnknownPolicy`] lists what there is.
pub fn policy(name: &str) -> Result<Policy, UnknownPolicy> {
    POLICIES.iter().find(|policy| policy.name == name).copied().ok_or_else(|| UnknownPolicy {
        name: name.to_owned(),
        known: POLICIES.iter().map(|policy| policy.name).collect::<Vec<_>>().join(", "),
    })
}

// === impl Policy ===

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fleet::InvokerId;

    #[test]
    fn an_unknown_policy_is_told_what_there_is() {
        assert_eq!(policy("home").unwrap().name, "home");
        assert_eq!(
            policy("hoem").unwrap_err().to_string(),
            "unknown placement policy `hoem` (known: home)"
        );
    }

    prop_compose! {
        fn invoker(index: usize)(
            healthy in any::<bool>(), memory in 0_u64..4, used in 0_u64..5, waiting in 0_usize..3,
        ) -> InvokerState {
            InvokerState {
                id: InvokerId::new(&format!("invoker{index}")),
                healthy,
                memory_bytes: memory << 28,
                used_bytes: used << 28,
                waiting,
            }
        }
    }

    fn fleet() -> impl Strategy<Value = Vec<InvokerState>> {
        (0_usize..6).prop_flat_map(|size| (0..size).map(invoker).collect::<Vec<_>>())
    }

    proptest! {
        /// The contract of every policy.
        #[test]
        fn every_policy_takes_a_healthy_invoker_and_room_where_there_is_room(
            fleet in fleet(), uid in any::<[u8; 16]>(), name in "[a-z]{1,8}",
        ) {
            let namespace = Namespace::new(&name).unwrap();
            let asked = Placement { namespace: &namespace, action: EntityUid(uid), memory_bytes: 1 << 28 };
            let room = |i: &InvokerState| i.healthy && i.used_bytes + asked.memory_bytes <= i.memory_bytes;
            for policy in POLICIES {
                let placed = (policy.place)(&asked, &fleet);
                prop_assert_eq!(placed, (policy.place)(&asked, &fleet), "same question, same answer");
                match placed {
                    None => prop_assert!(!fleet.iter().any(|i| i.healthy)),
                    Some(index) => {
                        prop_assert!(fleet[index].healthy);
                        prop_assert!(room(&fleet[index]) || !fleet.iter().any(room));
                    }
                }
            }
        }
    }
}
