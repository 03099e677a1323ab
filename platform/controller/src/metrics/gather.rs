//! Every number, gathered where it is kept and put on a page for who asks.

mod feeds;

use evoke_schemas::Namespace;
use evoke_store::StoreError;
use evoke_trigger_engine::{
    EngineCounts, REFUSALS, WAYS,
    delivery::{Counted, DeliveryCounts, RuleCounts},
    record::Outcome,
};

use super::{
    activations::{self, STATUSES},
    host::HostFacts,
    page::{Page, number},
    table,
};
use crate::hub::Hub;

/// Who asks for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The key of a namespace: sees its own.
    Namespace(Namespace),
    /// An operator: sees all.
    Operator,
}

impl Reader {
    fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Namespace(namespace) => Some(namespace),
            Self::Operator => None,
        }
    }

    fn sees(&self, namespace: &Namespace) -> bool {
        self.namespace().is_none_or(|own| own == namespace)
    }
}

/// The page for a reader.
///
/// # Errors
/// [`StoreError`]: the feeds cannot be read.
pub(crate) async fn gather(hub: &Hub, reader: &Reader) -> Result<String, StoreError> {
    let mut page = Page::new(*reader == Reader::Operator);
    let counts = hub.parts.engine.counts();
    intake(&mut page, reader, &counts);
    deliveries(&mut page, reader, &counts.delivery, hub.parts.clock.now_ms());
    runs(&mut page, reader, hub);
    let left_out = feeds::put(&mut page, reader, hub).await?;
    if *reader == Reader::Operator {
        let folded = number(counts.delivery.folded as u64);
        page.add(table::FOLDED, &["rules"], folded);
        page.count(table::FOLDED, &["actions"], hub.parts.invocations.measured().folded());
        page.count(table::FOLDED, &["feeds"], left_out as u64);
        invokers(&mut page, hub);
        log(&mut page, &counts);
        http(&mut page, hub);
        if let Some(facts) = hub.host_facts().await {
            host(&mut page, &facts);
        }
    }
    Ok(page.text())
}

fn intake(page: &mut Page, reader: &Reader, counts: &EngineCounts) {
    for one in counts.intake.iter().filter(|one| reader.sees(&one.namespace)) {
        let namespace = one.namespace.as_str();
        for (way, count) in WAYS.iter().zip(one.accepted) {
            page.count(table::EVENTS_ACCEPTED, &[namespace, way.as_str()], count);
        }
        page.count(table::EVENTS_BYTES, &[namespace], one.bytes);
        page.count(table::EVENTS_DUPLICATE, &[namespace], one.duplicates);
        for (reason, count) in REFUSALS.iter().zip(one.refused) {
            page.count(table::BATCHES_REFUSED, &[namespace, reason], count);
        }
    }
}

fn deliveries(page: &mut Page, reader: &Reader, counts: &DeliveryCounts, now_ms: u64) {
    for one in counts.rules.iter().filter(|one| reader.sees(&one.namespace)) {
        rule(page, one, now_ms);
    }
    for one in counts.namespaces.iter().filter(|one| reader.sees(&one.namespace)) {
        let labels = [one.namespace.as_str()];
        page.count(table::OWED_BYTES, &labels, one.owed_bytes);
        page.count(table::RUNNING, &labels, one.running as u64);
        page.count(table::INTAKE_CLOSED, &labels, u64::from(one.is_closed));
    }
}

fn rule(page: &mut Page, one: &RuleCounts, now_ms: u64) {
    let (namespace, rule) = (one.namespace.as_str(), rule_label(&one.of));
    let labels = [namespace, rule];
    let tally = &one.tally;
    page.count(table::ATTEMPTS, &labels, tally.attempts);
    let delivered = tally.ended.get(&Outcome::Success).copied().unwrap_or(0);
    page.count(table::DELIVERED, &labels, delivered);
    page.count(table::RETRIED, &labels, tally.retries);
    for (outcome, count) in &tally.ended {
        page.count(table::ENDED, &[namespace, rule, &word(outcome)], *count);
    }
    for (reason, count) in &tally.dead {
        page.count(table::DEAD, &[namespace, rule, &word(reason)], *count);
    }
    page.count(table::RULE_LAG, &labels, one.waiting as u64);
    if let Some(oldest_ms) = one.oldest_ms {
        let age = number(now_ms.saturating_sub(oldest_ms)) / 1_000.0;
        page.add(table::RULE_LAG_SECONDS, &labels, age);
    }
    page.count(table::DEAD_LETTERS, &labels, one.dead as u64);
}

fn rule_label(of: &Counted) -> &str {
    match of {
        Counted::Rule(name) => name.as_str(),
        Counted::Invocations => "(invocations)",
        Counted::Others => activations::OTHERS,
    }
}

/// The word that the API shows for it.
fn word(of: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(of).unwrap_or_default();
    value.as_str().map_or_else(String::new, str::to_owned)
}

fn runs(page: &mut Page, reader: &Reader, hub: &Hub) {
    for (namespace, action, measures) in hub.parts.invocations.measured().all(reader.namespace()) {
        let (namespace, action) = (namespace.as_str(), action.as_str());
        for (status, runs) in STATUSES.iter().zip(&measures.runs) {
            page.count(table::ACTIVATIONS, &[namespace, action, status], runs.get());
        }
        let took = measures.took.distribution();
        page.distribution(table::ACTIVATION_SECONDS, &[namespace, action], &took);
    }
}

fn invokers(page: &mut Page, hub: &Hub) {
    let Some(counts) = hub.parts.invocations.invoker_counts() else { return };
    for (start, runs) in
        [("cold", counts.fresh), ("warm", counts.warm), ("resumed", counts.resumed)]
    {
        page.count(table::RUNS, &[start], runs);
    }
    page.distribution(table::COLD_START_SECONDS, &[], &counts.cold_start);
    page.distribution(table::SANDBOX_START_SECONDS, &[], &counts.sandbox_start);
    page.count(table::SANDBOX_STARTS_FAILED, &[], counts.starts_failed);
    page.count(table::SANDBOXES_LOST, &[], counts.lost);
    page.count(table::RUNS_UNPLACED, &[], counts.unplaced);
    let usage = counts.usage;
    for (state, count) in [
        ("busy", usage.busy),
        ("ready", usage.idle.saturating_sub(usage.paused)),
        ("paused", usage.paused),
        ("changing", usage.sandboxes.saturating_sub(usage.busy + usage.idle)),
    ] {
        page.count(table::POOL_SANDBOXES, &[state], count as u64);
    }
    page.count(table::POOL_WAITING, &[], usage.waiting as u64);
    page.count(table::POOL_MEMORY, &[], usage.charge);
    page.count(table::POOL_MEMORY_LIMIT, &[], counts.budget);
}

fn log(page: &mut Page, counts: &EngineCounts) {
    let EngineCounts { log, sizes, delivery, .. } = counts;
    page.count(table::LOG_APPENDS, &["durable"], log.appends);
    page.count(table::LOG_APPENDS, &["refused"], log.refused);
    page.count(table::LOG_RECORDS, &[], log.records);
    page.count(table::LOG_WRITTEN, &[], log.bytes);
    page.distribution(table::LOG_SYNC_SECONDS, &[], &log.syncs);
    page.count(table::LOG_BYTES, &[], sizes.bytes);
    page.count(table::LOG_SEGMENTS, &[], sizes.segments as u64);
    page.count(table::LOG_QUEUED, &[], sizes.queued);
    if let Some(oldest_ms) = sizes.oldest_ms {
        page.add(table::LOG_OLDEST, &[], number(oldest_ms) / 1_000.0);
    }
    page.count(table::LOG_FULL, &[], u64::from(counts.is_full));
    page.count(table::LOW_WATER_DISTANCE, &[], delivery.above_low_water);
    page.count(table::NOT_LOADED, &[], delivery.not_loaded);
    page.count(table::UNSETTLED, &[], delivery.unsettled as u64);
    page.count(table::DEDUP_ENTRIES, &[], counts.remembered as u64);
}

fn http(page: &mut Page, hub: &Hub) {
    for (route, method, status, count) in hub.http.answers() {
        page.count(table::HTTP_REQUESTS, &[route, &method, &status], count);
    }
    for (route, took) in hub.http.took() {
        page.distribution(table::HTTP_SECONDS, &[route], &took);
    }
}

fn host(page: &mut Page, facts: &HostFacts) {
    if let Some((free, size)) = facts.disk {
        page.count(table::DISK_FREE, &[], free);
        page.count(table::DISK_SIZE, &[], size);
    }
    for (store, bytes) in &facts.stores {
        page.count(table::STORE_BYTES, &[store], *bytes);
    }
    if let Some(spans) = facts.spans {
        page.count(table::SPANS_EXPORTED, &[], spans.exported);
        page.count(table::SPANS_DROPPED, &["queue_full"], spans.overflowed);
        page.count(table::SPANS_DROPPED, &["refused"], spans.refused);
    }
    for (family, value) in [
        (table::PROCESS_MEMORY, facts.memory_bytes.map(number)),
        (table::PROCESS_CPU, facts.cpu_seconds),
        (table::PROCESS_FDS, facts.open_files.map(number)),
        (table::PROCESS_MAX_FDS, facts.most_files.map(number)),
        (table::PROCESS_START, facts.started_seconds),
    ] {
        if let Some(value) = value {
            page.add(family, &[], value);
        }
    }
}
