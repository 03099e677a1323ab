//! What the core wants read: stretches of replays, events to be carried, dead letters to announce.

use std::sync::Arc;

use bytes::Bytes;
use evoke_event_log::{EventLog, Item, ReadLimit};
use evoke_schemas::{EntityName, Namespace, Position};

use super::Shared;
use crate::{
    delivery::{DeliveryInput, RangeMatch, RangeRead, announcement, key_of, qualifies},
    engine::intake::read_event,
    ingest::IngestError,
    record::{DeliveryId, HeldRecord, Home, ReplayRecord, StoredEvent, stream},
};

/// Most items and bytes read of a replay's range at once.
const STRETCH: ReadLimit = ReadLimit { items: 2_048, bytes: 4 << 20 };
/// Wait before a dead-letter trigger that could not be fired is tried again.
const ANNOUNCE_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Reads on in a replay's range.
pub(super) async fn range(
    shared: Arc<Shared>,
    replay: ReplayRecord,
    limit: usize,
) -> Result<DeliveryInput, super::Cause> {
    let trigger = shared.intake.with(|ingest| {
        let rule = ingest.index.rule(&replay.namespace, &replay.rule);
        rule.filter(|rule| rule.uid == replay.rule_uid).map(|rule| rule.trigger.name.clone())
    });
    let mut read = RangeRead {
        replay: replay.uid,
        matches: Vec::new(),
        next: replay.next.clone(),
        ended: trigger.is_none() || replay.next.covers(&replay.to),
    };
    let Some(trigger) = trigger.filter(|_| !read.ended) else {
        return Ok(DeliveryInput::RangeRead(read));
    };
    let page = shared.log.read(&replay.next, STRETCH).await?;
    if page.items.is_empty() {
        read.ended = true;
        return Ok(DeliveryInput::RangeRead(read));
    }
    for item in page.items {
        if read.matches.len() >= limit {
            return Ok(DeliveryInput::RangeRead(read));
        }
        if let Some(found) = matching(&item, &replay, &trigger) {
            read.matches.push(found);
        }
        item.pass(&mut read.next);
    }
    read.next = page.next;
    read.ended = read.next.covers(&replay.to);
    Ok(DeliveryInput::RangeRead(read))
}

fn matching(item: &Item, replay: &ReplayRecord, trigger: &EntityName) -> Option<RangeMatch> {
    let record = item.record().filter(|record| record.stream == stream::EVENT)?;
    let within = replay.to.is_past(record.position)
        && (replay.from_ms..replay.to_ms).contains(&record.time_ms);
    if !within {
        return None;
    }
    let event = StoredEvent::decode(record.data.clone()).ok()?;
    qualifies(&event, replay, trigger).then(|| RangeMatch {
        position: record.position,
        accepted_ms: record.time_ms,
        size: u32::try_from(record.data.len()).unwrap_or(u32::MAX),
        key: key_of(&event.event),
    })
}

/// Reads the event's record at `home`, as bytes.
pub(super) async fn home(
    log: Arc<dyn EventLog>,
    id: DeliveryId,
    home: Position,
) -> Result<DeliveryInput, super::Cause> {
    let data = match log.get(home).await? {
        Some(Item::Record(record)) => event_bytes(record.stream, record.data),
        Some(Item::Unreadable(_) | Item::Lost(_) | Item::Erased(_)) | None => None,
    };
    Ok(DeliveryInput::CarryRead { id, data })
}

fn event_bytes(of: evoke_event_log::Stream, data: Bytes) -> Option<Bytes> {
    match of {
        stream::EVENT | stream::INVOCATION => Some(data),
        stream::PARKED | stream::DEAD => match HeldRecord::decode(data).ok()?.home {
            Home::Copy(data) => Some(data),
            Home::At(_) => None,
        },
        _ => None,
    }
}

/// Fires a rule's dead-letter trigger, however long that takes.
pub(super) async fn announce(
    shared: Arc<Shared>,
    id: DeliveryId,
    namespace: Namespace,
    trigger: EntityName,
) -> Result<DeliveryInput, super::Cause> {
    let Ok(_room) = shared.announcing.acquire().await else {
        return Ok(DeliveryInput::Announced { id });
    };
    let letter = shared.core().dead_letter(id);
    let Some(letter) = letter else { return Ok(DeliveryInput::Announced { id }) };
    let event = match letter.held.home {
        Home::At(position) => read_event(Arc::clone(&shared.log), position).await,
        Home::Copy(_) => None,
    };
    let activation_id = letter.activation_id;
    let incoming = announcement(namespace, trigger, activation_id, &letter, event.as_deref());
    let Some(incoming) = incoming else { return Ok(DeliveryInput::Announced { id }) };
    loop {
        match shared.intake.ingest(vec![incoming.clone()], None).await {
            Ok(_accepted) => return Ok(DeliveryInput::Announced { id }),
            Err(IngestError::Unavailable(cause)) => {
                tracing::warn!(cause, "a dead letter is announced at the next start");
                std::future::pending::<()>().await;
            }
            Err(IngestError::Closed { .. }) => tokio::time::sleep(ANNOUNCE_AGAIN).await,
            Err(error) => {
                tracing::warn!(%error, "a dead letter cannot be announced");
                return Ok(DeliveryInput::Announced { id });
            }
        }
    }
}
