//! The feed room's suite, with records that are produced when it asks for events.

use std::sync::Arc;

use async_trait::async_trait;
use evoke_feeds::{
    Clock, Registry, ResetTo, SystemClock,
    conformance::{self, Bench},
};
use evoke_providers::registry;
use serde_json::{Map, Value};

use super::rig::{Rig, plain};

struct KafkaBench(Rig);

#[async_trait]
impl Bench for KafkaBench {
    fn provider(&self) -> &'static str {
        "kafka"
    }

    fn registry(&self) -> Arc<Registry> {
        Arc::new(registry())
    }

    fn parameters(&self) -> Map<String, Value> {
        self.0.parameters(&plain())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    async fn produce(&self, events: usize) {
        self.0.produce(events, 1).await;
    }

    fn back(&self) -> Option<ResetTo> {
        Some(ResetTo::Earliest)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_provider_conforms() {
    conformance::all(|| async { KafkaBench(Rig::new(1).await) }).await;
}
