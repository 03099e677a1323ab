//! Which invoker runs an activation.
//!
//! Invariant: no clock, no socket, no lock: a policy is a function of what is asked and of what
//! the fleet is known to have.
//!
//! To add a policy: one file with a `place` function, one line in [`POLICIES`].

mod fleet;
mod home;
mod policy;

pub use fleet::{Fleet, InvokerId, InvokerState};
pub use policy::{POLICIES, Placement, Policy, UnknownPolicy, policy};
