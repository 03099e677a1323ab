//! A batch as it is submitted: what can be computed before the core is asked.

use std::num::NonZeroU64;

use bytes::Bytes;
use evoke_event_log::Guard;
use evoke_schemas::{Event, Namespace, event::PARTITION_KEY};

use super::error::IngestError;
use crate::{
    config::IngestConfig,
    incoming::{Incoming, Target},
    record::{StoredEvent, stream::EVENT_PARTITIONS},
};

/// Events to accept together: all of them or none.
#[derive(Debug)]
pub struct Batch {
    /// In the order of the log.
    pub events: Vec<Prepared>,
    /// Where they are a feed's, what the feed appends with them.
    pub feed: Option<FeedMark>,
}

/// The position that a feed appends with its events.
#[derive(Clone, Debug)]
pub struct FeedMark {
    /// What the feed believes its position to be.
    pub guard: Guard,
    /// The position after these events, opaque.
    pub state: Bytes,
}

/// An event with its hash, its partition and its size.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) incoming: Incoming,
    pub(crate) headers: Option<Vec<u8>>,
    pub(crate) hash: Option<NonZeroU64>,
    pub(crate) partition: u16,
    pub(crate) bytes: usize,
}

impl Batch {
    pub(crate) fn check(&self, config: &IngestConfig) -> Result<(), IngestError> {
        let count = self.events.len();
        if count > config.batch_events {
            return Err(IngestError::TooManyEvents { count, limit: config.batch_events });
        }
        for (index, event) in self.events.iter().enumerate() {
            let (bytes, limit) = (event.bytes, config.event_bytes);
            if bytes > limit.saturating_add(MAX_ENVELOPE_BYTES) {
                return Err(IngestError::EventTooLarge { index, bytes, limit });
            }
        }
        let bytes: usize = self.events.iter().map(|event| event.bytes).sum();
        let limit = config.batch_bytes;
        if bytes > limit.saturating_add(MAX_ENVELOPE_BYTES) {
            return Err(IngestError::BatchTooLarge { bytes, limit });
        }
        Ok(())
    }
}

/// Attributes and headers beyond the bound on the body, which the caller has checked.
const MAX_ENVELOPE_BYTES: usize = 256 << 10;

impl Prepared {
    /// Computes what does not depend on any state.
    #[must_use]
    pub fn new(incoming: Incoming) -> Self {
        let headers = incoming
            .headers
            .as_ref()
            .map(|headers| serde_json::to_vec(headers).unwrap_or_default());
        let bytes = incoming.event.size() + headers.as_ref().map_or(0, Vec::len);
        Self {
            hash: incoming.dedup.then(|| dedup_hash(&incoming)),
            partition: partition_of(&incoming.namespace, &incoming.event),
            headers,
            bytes,
            incoming,
        }
    }

    /// Whether this is the event that stands in the log.
    pub(crate) fn is_same_as(&self, stored: &StoredEvent) -> bool {
        let own = &self.incoming;
        own.namespace == stored.namespace
            && own.target == stored.target
            && own.event.source == stored.event.source
            && own.event.id == stored.event.id
    }

    pub(crate) fn is_same_as_pending(&self, other: &Self) -> bool {
        let (own, other) = (&self.incoming, &other.incoming);
        own.namespace == other.namespace
            && own.target == other.target
            && own.event.source == other.event.source
            && own.event.id == other.event.id
    }
}

/// Hash of (namespace, target, source, id). Do not change: the log holds it.
fn dedup_hash(incoming: &Incoming) -> NonZeroU64 {
    let mut hasher = blake3::Hasher::new();
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    part(incoming.namespace.as_str());
    match &incoming.target {
        Target::Trigger(name) => {
            part("t");
            part(name.as_str());
        }
        Target::Hub => part("h"),
        Target::Action(name) => {
            part("a");
            part(&name.to_string());
        }
    }
    part(&incoming.event.source);
    part(&incoming.event.id);
    let hash = hasher.finalize();
    let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    NonZeroU64::new(u64::from_le_bytes(first)).unwrap_or(NonZeroU64::MIN)
}

/// The partition of an event: by its `partitionkey`, else by its source.
fn partition_of(namespace: &Namespace, event: &Event) -> u16 {
    let key = event.attribute(PARTITION_KEY);
    let key = key.as_deref().unwrap_or(&event.source);
    let hash = crc32c::crc32c_append(crc32c::crc32c(namespace.as_str().as_bytes()), key.as_bytes());
    u16::try_from(hash % u32::from(EVENT_PARTITIONS)).unwrap_or(0)
}
