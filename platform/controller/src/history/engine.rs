//! The engine's answers to what became of events.

use std::sync::Arc;

use async_trait::async_trait;
use evoke_schemas::{ActivationId, EntityName, EntityUid, Namespace, Position};
use evoke_trigger_engine::{
    Engine, EraseEventError, Erasure, EventFilter, QuestionError, Target,
    delivery::{DeadLetterView, DeliveryState},
    record::{DeliveryId, ReplayRecord, StoredEvent},
};

use super::{
    Accounted, DeadLetter, DeadLetterQuery, Decision, Erased, EventQuery, History, HistoryError,
    Place, Settle, Which, Why,
};

#[async_trait]
impl History for Engine {
    async fn events(
        &self,
        namespace: &Namespace,
        query: &EventQuery,
    ) -> Result<Vec<Accounted>, HistoryError> {
        let found = self.events(namespace, &filter(query)).await?;
        let accounted = |(position, accepted_ms, event)| Accounted {
            position,
            accepted_ms,
            event,
            why: Vec::new(),
        };
        Ok(found.into_iter().map(accounted).collect())
    }

    async fn count_events(
        &self,
        namespace: &Namespace,
        query: &EventQuery,
    ) -> Result<usize, HistoryError> {
        Ok(Engine::count_events(self, namespace, &filter(query)).await?)
    }

    async fn event(
        &self,
        namespace: &Namespace,
        position: Position,
    ) -> Result<Option<Accounted>, HistoryError> {
        let found = self.event(position).await?;
        let Some((position, accepted_ms, event)) =
            found.filter(|(_, _, event)| event.namespace == *namespace)
        else {
            return Ok(None);
        };
        let why = explain(self, position, accepted_ms, &event).await?;
        Ok(Some(Accounted { position, accepted_ms, event, why }))
    }

    async fn erase(
        &self,
        namespace: &Namespace,
        position: Position,
        by: &str,
    ) -> Result<Option<Erased>, HistoryError> {
        match Engine::erase(self, namespace, position, by).await {
            Ok(erased) => Ok(Some(Erased {
                at: erased.erasure.time_ms,
                by: erased.erasure.note,
                records: Some(erased.records),
                activations: Some(erased.activations),
            })),
            Err(EraseEventError::NotFound) => Ok(None),
            Err(error @ EraseEventError::Busy) => Err(HistoryError::Busy(error.to_string())),
            Err(error) => {
                tracing::error!(%error, %position, "an event is not erased");
                Err(HistoryError::Unavailable(Box::new(error)))
            }
        }
    }

    async fn erased(
        &self,
        namespace: &Namespace,
        position: Position,
    ) -> Result<Option<Erased>, HistoryError> {
        let found = self.erasure(namespace, position).await;
        let found = found.map_err(|error| HistoryError::Unavailable(Box::new(error)))?;
        let erased = |found: Erasure| Erased {
            at: found.time_ms,
            by: found.note,
            records: None,
            activations: None,
        };
        Ok(found.map(erased))
    }

    async fn dead_letters(
        &self,
        namespace: &Namespace,
        query: &DeadLetterQuery,
    ) -> Result<Vec<DeadLetter>, HistoryError> {
        let all = self.dead_letters(namespace)?;
        let wanted = all.into_iter().filter(|letter| is_of(letter, query.rule.as_ref()));
        let mut letters = Vec::new();
        for view in wanted.skip(query.skip).take(query.limit) {
            letters.push(opened(self, view).await);
        }
        Ok(letters)
    }

    async fn count_dead_letters(
        &self,
        namespace: &Namespace,
        rule: Option<&EntityName>,
    ) -> Result<usize, HistoryError> {
        let all = self.dead_letters(namespace)?;
        Ok(all.iter().filter(|letter| is_of(letter, rule)).count())
    }

    async fn dead_letter(
        &self,
        namespace: &Namespace,
        id: ActivationId,
    ) -> Result<Option<DeadLetter>, HistoryError> {
        let all = self.dead_letters(namespace)?;
        match all.into_iter().find(|letter| letter.activation_id == id) {
            Some(view) => Ok(Some(opened(self, view).await)),
            None => Ok(None),
        }
    }

    async fn settle(
        &self,
        namespace: &Namespace,
        which: &Which,
        how: Settle,
    ) -> Result<usize, HistoryError> {
        let meant = |letter: &DeadLetterView| match which {
            Which::One(id) => letter.activation_id == *id,
            Which::Rule(rule) => is_of(letter, Some(rule)),
        };
        let letters = self.dead_letters(namespace)?;
        let mut settled = 0;
        for letter in letters.into_iter().filter(meant) {
            let done = match how {
                Settle::Replay => self.revive(letter.held.id).await,
                Settle::Discard => self.discard(letter.held.id).await,
            };
            match done {
                Ok(()) => settled += 1,
                // Somebody else settled it meanwhile.
                Err(QuestionError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(settled)
    }

    async fn replay(
        &self,
        namespace: &Namespace,
        rule: &EntityName,
        from: Place,
        to: Option<Place>,
    ) -> Result<ReplayRecord, HistoryError> {
        let found = self.rule(namespace, rule);
        let found = found.ok_or_else(|| HistoryError::NoRule(rule.clone()))?;
        let from_ms = time_of(self, from).await?;
        let to_ms = match to {
            Some(Place::Position(position)) => {
                time_of(self, Place::Position(position)).await?.saturating_add(1)
            }
            Some(Place::Time(time_ms)) => time_ms,
            None => u64::MAX,
        };
        if from_ms >= to_ms {
            return Err(HistoryError::Range("`from` must be before `to`".to_owned()));
        }
        Ok(Engine::replay(self, &found, from_ms, to_ms).await?)
    }

    async fn replays(&self, namespace: &Namespace) -> Result<Vec<ReplayRecord>, HistoryError> {
        Ok(self.replays(namespace)?.into_iter().map(|view| view.record).collect())
    }

    async fn cancel(
        &self,
        namespace: &Namespace,
        replay: EntityUid,
    ) -> Result<Option<ReplayRecord>, HistoryError> {
        let of = |all: Vec<ReplayRecord>| all.into_iter().find(|record| record.uid == replay);
        if of(History::replays(self, namespace).await?).is_none() {
            return Ok(None);
        }
        match self.cancel_replay(replay).await {
            // Stopped before is stopped.
            Ok(()) | Err(QuestionError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(of(History::replays(self, namespace).await?))
    }
}

impl From<QuestionError> for HistoryError {
    fn from(error: QuestionError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

fn filter(query: &EventQuery) -> EventFilter {
    EventFilter {
        trigger: query.trigger.clone(),
        since_ms: query.since.unwrap_or(0),
        upto_ms: query.upto.unwrap_or(u64::MAX),
        skip: query.skip,
        limit: query.limit,
    }
}

fn is_of(letter: &DeadLetterView, rule: Option<&EntityName>) -> bool {
    rule.is_none_or(|rule| letter.held.rule.as_ref() == Some(rule))
}

async fn opened(engine: &Engine, view: DeadLetterView) -> DeadLetter {
    let event = engine.event_of(&view).await;
    DeadLetter { activation_id: view.activation_id, held: view.held, event }
}

async fn time_of(engine: &Engine, place: Place) -> Result<u64, HistoryError> {
    match place {
        Place::Time(time_ms) => Ok(time_ms),
        Place::Position(position) => {
            let found = engine.event(position).await?;
            let time_ms = found.map(|(_, accepted_ms, _)| accepted_ms);
            time_ms.ok_or_else(|| HistoryError::Range(format!("there is no event at {position}")))
        }
    }
}

/// What each rule decided about an event, and what became of it.
async fn explain(
    engine: &Engine,
    position: Position,
    accepted_ms: u64,
    event: &Arc<StoredEvent>,
) -> Result<Vec<Why>, HistoryError> {
    let mut all = Vec::new();
    for trigger in &event.triggers {
        for rule in &trigger.rules {
            let id = DeliveryId::live(position, rule.uid);
            all.push(Why {
                trigger: Some(trigger.name.clone()),
                rule: Some(rule.name.clone()),
                action: rule.action.clone(),
                activation_id: rule.active.then(|| id.activation_id(engine.log_uid(position))),
                decision: if rule.active { Decision::UnderWay } else { Decision::Inactive },
                attempts: None,
            });
        }
    }
    if let Target::Action(action) = &event.target {
        let id = DeliveryId::live(position, EntityUid::DIRECT);
        all.push(Why {
            trigger: None,
            rule: None,
            action: action.clone(),
            activation_id: Some(id.activation_id(engine.log_uid(position))),
            decision: Decision::UnderWay,
            attempts: None,
        });
    }
    let ids = event.triggers.iter().flat_map(|trigger| &trigger.rules).map(|rule| rule.uid);
    let ids: Vec<DeliveryId> = ids
        .chain(matches!(event.target, Target::Action(_)).then_some(EntityUid::DIRECT))
        .map(|rule| DeliveryId::live(position, rule))
        .collect();
    let mut open = Vec::new();
    for (why, id) in all.iter_mut().zip(&ids).filter(|(why, _)| why.activation_id.is_some()) {
        match engine.delivery(*id) {
            Some(view) => {
                why.decision = match view.state {
                    DeliveryState::UnderWay => Decision::UnderWay,
                    DeliveryState::Waiting(_) => Decision::Parked,
                    DeliveryState::Dead(reason) => Decision::Dead(reason),
                };
                why.attempts = Some(view.attempts);
            }
            None => open.push(*id),
        }
    }
    for (id, outcome) in engine.outcomes(position, accepted_ms, open).await? {
        if let Some((why, _)) = all.iter_mut().zip(&ids).find(|(_, own)| **own == id) {
            why.decision = Decision::Ended(outcome);
        }
    }
    Ok(all)
}
