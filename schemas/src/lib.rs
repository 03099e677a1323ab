//! The vocabulary of the hub: names, entities, events, activations, limits, ids and error codes.
