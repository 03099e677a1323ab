//! What the invoker does with sandboxes.
