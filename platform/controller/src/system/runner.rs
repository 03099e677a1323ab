//! Runs the hub's own actions, without a sandbox.

use std::{sync::Weak, time::Duration};

use async_trait::async_trait;
use evoke_invoker::{Outcome, PlatformFailure, Run, RunEnd};
use evoke_placement::{Fleet, InvokerState};
use evoke_schemas::{EntityUid, activation::error_result};
use serde_json::{Map, Value};

use super::{Does, System, lifecycle};
use crate::runner::Runner;

/// Longest wait for others to end.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[async_trait]
impl Runner for System {
    async fn run(&self, run: Run) -> RunEnd {
        let asked_ms = self.clock.now_ms();
        let wait = run.longest_wait.unwrap_or(LONGEST_WAIT);
        let turn = tokio::time::timeout(wait, self.running.acquire()).await;
        let start_ms = self.clock.now_ms();
        let (outcome, size) = match turn {
            Ok(Ok(_turn)) => self.end_of(&run).await,
            Ok(Err(_)) | Err(_) => {
                let waited = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                (Outcome::Platform { reason: PlatformFailure::NoCapacity(waited) }, None)
            }
        };
        RunEnd {
            outcome,
            logs: Vec::new(),
            start_ms,
            end_ms: self.clock.now_ms(),
            init_ms: None,
            wait_ms: start_ms.saturating_sub(asked_ms),
            size,
        }
    }

    fn retire(&self, _action: EntityUid, _current: Option<u64>) {}
}

impl Fleet for System {
    fn invokers(&self) -> Vec<InvokerState> {
        Vec::new()
    }
}

impl System {
    async fn end_of(&self, run: &Run) -> (Outcome, Option<u64>) {
        let Ok(arguments) = serde_json::from_slice::<Map<String, Value>>(&run.arguments) else {
            return (application_error("arguments of this action are an object"), None);
        };
        let result = match self.does.get(&run.action.name) {
            Some(Does::Work(work)) => {
                let limit = Duration::from_millis(run.action.limits.timeout);
                match tokio::time::timeout(limit, work.run(arguments)).await {
                    Ok(Ok(result)) => result,
                    Ok(Err(error)) => Map::from_iter([("error".to_owned(), error)]),
                    Err(_elapsed) => return (timed_out(run.action.limits.timeout), None),
                }
            }
            // Its steps have bounds of their own, and must not be cut between two of them.
            Some(Does::Feeds(action)) => match self.hub.get().and_then(Weak::upgrade) {
                Some(hub) => lifecycle::run(&hub, &**action, &run.namespace, arguments).await,
                None => {
                    let reason = PlatformFailure::ShuttingDown;
                    return (Outcome::Platform { reason }, None);
                }
            },
            None => return (application_error("the hub has no such action any more"), None),
        };
        let text = Value::Object(result).to_string();
        (Outcome::of_result(text.as_bytes()), Some(text.len() as u64))
    }
}

fn application_error(text: &str) -> Outcome {
    Outcome::ApplicationError { result: error_result(text) }
}

fn timed_out(limit_ms: u64) -> Outcome {
    let text = format!("The action exceeded its time limits of {limit_ms} milliseconds.");
    Outcome::DeveloperError { result: error_result(&text), timeout: true }
}
