//! The feed room's suite, with documents that are written when it asks for events.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use evoke_feeds::{
    Clock, Registry, ResetTo, SystemClock,
    conformance::{self, Bench},
};
use evoke_providers::registry;
use serde_json::{Map, Value, json};

use super::{
    both_ways,
    proxy::Mood,
    rig::{Rig, Via},
};

struct CouchBench {
    rig: Rig,
    written: AtomicUsize,
}

#[async_trait]
impl Bench for CouchBench {
    fn provider(&self) -> &'static str {
        "couchdb"
    }

    fn registry(&self) -> Arc<Registry> {
        Arc::new(registry())
    }

    fn parameters(&self) -> Map<String, Value> {
        self.rig.parameters(json!({}))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    async fn produce(&self, events: usize) {
        for _ in 0..events {
            let number = self.written.fetch_add(1, Ordering::SeqCst);
            self.rig.put(&format!("d{number}"), json!({})).await;
        }
    }

    fn back(&self) -> Option<ResetTo> {
        Some(ResetTo::Earliest)
    }

    async fn revoke(&self) -> bool {
        let unauthorized = json!({"error": "unauthorized", "reason": "wrong password"});
        let proxy = self.rig.proxy.as_ref();
        proxy.inspect(|proxy| proxy.be(Mood::Answers(401, unauthorized))).is_some()
    }

    async fn mend(&self) {
        self.rig.proxy().be(Mood::Well);
    }
}

both_ways! { the_provider_conforms }

async fn the_provider_conforms(via: Via) {
    conformance::all(|| async {
        CouchBench { rig: Rig::new(via).await, written: AtomicUsize::new(0) }
    })
    .await;
}
