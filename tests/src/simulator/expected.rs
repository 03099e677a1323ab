//! What must occur in a campaign: a fault that no seed has, or a transition that no seed takes, is
//! one that nobody tests.

use super::tally::Group::{self, Check, Fault, Load, Log, Pool};

/// Everything that must be counted at least once.
pub const EXPECTED: &[(Group, &str)] = &[
    (Fault, "crash while starting"),
    (Fault, "crash before a write"),
    (Fault, "crash between write and sync"),
    (Fault, "crash after a sync"),
    (Fault, "crash before a roll"),
    (Fault, "crash after a roll"),
    (Fault, "crash before an answer"),
    (Fault, "crash after an answer"),
    (Fault, "crash anywhere"),
    (Fault, "power cut"),
    (Fault, "process killed"),
    (Fault, "power cut leaves holes in a write"),
    (Fault, "power cut loses a write"),
    (Fault, "power cut spares a write not synced"),
    (Fault, "power cut tears a write"),
    (Fault, "power cut loses a new name"),
    (Fault, "a write fails"),
    (Fault, "a sync fails"),
    (Fault, "clock set back"),
    (Fault, "clock set forward"),
    (Load, "acknowledged"),
    (Load, "duplicate"),
    (Load, "duplicate looked up"),
    (Load, "refused"),
    (Log, "answer: appended"),
    (Log, "answer: failed"),
    (Log, "durable"),
    (Log, "make spare"),
    (Log, "roll"),
    (Log, "sync"),
    (Log, "torn tail zeroed"),
    (Log, "write"),
    (Pool, "grant fresh"),
    (Check, "steps"),
];
