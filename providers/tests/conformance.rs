//! Every provider of the table does what the feed room's contract asks.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use evoke_feeds::{
    Clock, Registry, ResetTo,
    conformance::{self, Bench, TestClock},
};
use evoke_providers::registry;
use serde_json::{Map, Value, json};

/// When the tests' time begins. Unit: epoch milliseconds.
const BEGINNING: u64 = 1_700_000_000_000;

/// Ticks are made by letting time pass.
struct AlarmBench {
    clock: Arc<TestClock>,
}

#[async_trait]
impl Bench for AlarmBench {
    fn provider(&self) -> &'static str {
        "alarms"
    }

    fn registry(&self) -> Arc<Registry> {
        Arc::new(registry())
    }

    fn parameters(&self) -> Map<String, Value> {
        json!({"every": "1s", "misfire": "all"}).as_object().cloned().unwrap_or_default()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<dyn Clock>
    }

    fn back(&self) -> Option<ResetTo> {
        Some(ResetTo::Time(BEGINNING))
    }

    async fn produce(&self, events: usize) {
        tokio::time::sleep(Duration::from_secs(events as u64)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_provider_conforms() {
    for name in registry().names() {
        match name {
            "alarms" => {
                conformance::all(|| async {
                    AlarmBench { clock: TestClock::at(BEGINNING.cast_signed()) }
                })
                .await;
            }
            // On a real server, in real time: their own tests.
            "couchdb" | "kafka" => {}
            // Beside the source itself.
            other => {
                let file = format!("{}/src/{other}.rs", env!("CARGO_MANIFEST_DIR"));
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                assert!(text.contains("conformance::all("), "provider `{other}` has no bench");
            }
        }
    }
}
