//! Which invoker runs an activation.
