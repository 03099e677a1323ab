//! The table of all metrics: name, type, unit, labels, help. `/metrics` and its page in the
//! documentation are made from it.

use std::fmt::Write as _;

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Name, with the unit at its end.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What one of it is.
    pub unit: &'static str,
    /// Who sees it.
    pub scope: Scope,
    /// Labels of each line, in order.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up, from 0 at each start.
    Counter,
    /// Up and down.
    Gauge,
    /// Counts by upper bound, with sum and count.
    Histogram,
}

/// Who sees a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each namespace its own, operators those of all.
    Namespace,
    /// Operators only.
    Hub,
}

macro_rules! families {
    ($($(#[doc = $doc:literal])* $id:ident = $name:literal $kind:ident $unit:literal $scope:ident
        [$($label:literal),*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $id: &Family = &Family {
                name: $name,
                kind: Kind::$kind,
                unit: $unit,
                scope: Scope::$scope,
                labels: &[$($label),*],
                help: $help,
            };
        )+
        /// Every metric, in the order in which they are shown.
        pub const FAMILIES: &[&Family] = &[$($id),+];
    };
}

families! {
    EVENTS_ACCEPTED = "evoke_events_accepted_total" Counter "events" Namespace ["namespace", "to"]
        "Events that are durable in the log; `to` is `trigger`, `hub`, `action` (accepted invocations) or `feed`.";
    EVENTS_BYTES = "evoke_events_accepted_bytes_total" Counter "bytes" Namespace ["namespace"]
        "Rough size of accepted events.";
    EVENTS_DUPLICATE = "evoke_events_duplicate_total" Counter "events" Namespace ["namespace"]
        "Events that were in the log before and are taken once.";
    BATCHES_REFUSED = "evoke_batches_refused_total" Counter "requests" Namespace ["namespace", "reason"]
        "Events or batches that were refused whole; `reason` is `invalid`, `full`, `superseded` or `unavailable`.";
    ATTEMPTS = "evoke_delivery_attempts_total" Counter "attempts" Namespace ["namespace", "rule"]
        "Attempts begun; `rule` is a rule, `(invocations)` or `(other)`.";
    DELIVERED = "evoke_deliveries_delivered_total" Counter "deliveries" Namespace ["namespace", "rule"]
        "Deliveries whose function succeeded.";
    RETRIED = "evoke_deliveries_retried_total" Counter "attempts" Namespace ["namespace", "rule"]
        "Attempts that failed and are followed by another.";
    DEAD = "evoke_deliveries_dead_total" Counter "deliveries" Namespace ["namespace", "rule", "reason"]
        "Deliveries that became dead letters; `reason` as `evoke deadletter list` shows it.";
    ENDED = "evoke_deliveries_ended_total" Counter "deliveries" Namespace ["namespace", "rule", "outcome"]
        "Deliveries that ended for good; `outcome` as `evoke event show` tells it.";
    RULE_LAG = "evoke_rule_lag" Gauge "deliveries" Namespace ["namespace", "rule"]
        "Deliveries that are neither done nor dead.";
    RULE_LAG_SECONDS = "evoke_rule_lag_seconds" Gauge "seconds" Namespace ["namespace", "rule"]
        "Age of the oldest delivery that is neither done nor dead; absent where there is none.";
    DEAD_LETTERS = "evoke_dead_letters" Gauge "deliveries" Namespace ["namespace", "rule"]
        "Dead letters that wait for somebody.";
    OWED_BYTES = "evoke_namespace_owed_bytes" Gauge "bytes" Namespace ["namespace"]
        "Size of what is accepted and neither done nor dead; at its bound intake answers 429.";
    RUNNING = "evoke_deliveries_running" Gauge "attempts" Namespace ["namespace"]
        "Attempts under way.";
    INTAKE_CLOSED = "evoke_namespace_intake_closed" Gauge "0 or 1" Namespace ["namespace"]
        "1 while the namespace owes too much and takes no event.";
    ACTIVATIONS = "evoke_activations_total" Counter "activations" Namespace ["namespace", "action", "status"]
        "Runs of actions; `status` is `success`, `application_error`, `developer_error` or `internal_error`.";
    ACTIVATION_SECONDS = "evoke_activation_duration_seconds" Histogram "seconds" Namespace ["namespace", "action"]
        "How long runs of actions took, initialisation included.";
    FEED_STATE = "evoke_feed_state" Gauge "0 or 1" Namespace ["namespace", "feed", "provider", "trigger", "state"]
        "1 for the state that the feed is in, 0 for `connecting`, `running`, `paused`, `waiting`, `failed` and `finished` otherwise.";
    FEED_REASON = "evoke_feed_reason" Gauge "1" Namespace ["namespace", "feed", "provider", "trigger", "reason"]
        "1 while there is a reason for the state; `reason` is its words, up to 200 characters.";
    FEED_GENERATION = "evoke_feed_generation" Gauge "generations" Namespace ["namespace", "feed", "provider", "trigger"]
        "Generation of the configuration at work.";
    FEED_EVENTS = "evoke_feed_events_total" Counter "events" Namespace ["namespace", "feed", "provider", "trigger"]
        "Events taken from the source since its task was started.";
    FEED_LAG = "evoke_feed_lag" Gauge "records" Namespace ["namespace", "feed", "provider", "trigger"]
        "Records, changes or ticks that the source is ahead of what is durable here; absent where the source does not tell.";
    FEED_PARTITION_LAG = "evoke_feed_partition_lag" Gauge "records" Namespace ["namespace", "feed", "provider", "trigger", "partition"]
        "The same of one partition of the source, `topic-number`.";
    FEED_LAST_EVENT = "evoke_feed_last_event_timestamp_seconds" Gauge "seconds since 1970" Namespace ["namespace", "feed", "provider", "trigger"]
        "When the hub last took events of the feed.";
    FEED_NEXT_TRY = "evoke_feed_next_try_timestamp_seconds" Gauge "seconds since 1970" Namespace ["namespace", "feed", "provider", "trigger"]
        "When the source is tried again; absent while it is not waited for.";
    FOLDED = "evoke_metrics_folded" Gauge "series" Hub ["what"]
        "Rules and actions without lines of their own, as there are too many, and feeds that are left out.";
    RUNS = "evoke_runs_total" Counter "runs" Hub ["start"]
        "Runs by the sandbox they got: `cold` (initialised for them), `warm` or `resumed` (had stood still).";
    COLD_START_SECONDS = "evoke_cold_start_seconds" Histogram "seconds" Hub []
        "From the call to an initialised sandbox, where none was warm.";
    SANDBOX_START_SECONDS = "evoke_sandbox_start_seconds" Histogram "seconds" Hub []
        "From nothing to a sandbox whose interpreter stands.";
    SANDBOX_STARTS_FAILED = "evoke_sandbox_starts_failed_total" Counter "sandboxes" Hub []
        "Sandboxes that did not start.";
    SANDBOXES_LOST = "evoke_sandboxes_lost_total" Counter "sandboxes" Hub []
        "Sandboxes that were dead before the function was asked.";
    RUNS_UNPLACED = "evoke_runs_unplaced_total" Counter "runs" Hub []
        "Runs that got no sandbox in time.";
    POOL_SANDBOXES = "evoke_pool_sandboxes" Gauge "sandboxes" Hub ["state"]
        "Sandboxes by state: `busy`, `ready`, `paused`, or `changing` (started or removed).";
    POOL_WAITING = "evoke_pool_waiting" Gauge "runs" Hub []
        "Runs that wait for a sandbox.";
    POOL_MEMORY = "evoke_pool_memory_bytes" Gauge "bytes" Hub []
        "Memory that sandboxes count with.";
    POOL_MEMORY_LIMIT = "evoke_pool_memory_limit_bytes" Gauge "bytes" Hub []
        "Memory that sandboxes may use together.";
    LOG_APPENDS = "evoke_log_appends_total" Counter "batches" Hub ["result"]
        "Batches for the event log; `result` is `durable` or `refused`.";
    LOG_RECORDS = "evoke_log_records_total" Counter "records" Hub []
        "Records that became durable, those of progress included.";
    LOG_WRITTEN = "evoke_log_written_bytes_total" Counter "bytes" Hub []
        "Bytes written to the event log.";
    LOG_SYNC_SECONDS = "evoke_log_sync_seconds" Histogram "seconds" Hub []
        "How long fdatasync took; its count is the number of groups written.";
    LOG_BYTES = "evoke_log_bytes" Gauge "bytes" Hub []
        "Size of the event log.";
    LOG_SEGMENTS = "evoke_log_segments" Gauge "segments" Hub []
        "Segments of the event log.";
    LOG_QUEUED = "evoke_log_queued_bytes" Gauge "bytes" Hub []
        "Bytes that wait to be written.";
    LOG_OLDEST = "evoke_log_oldest_timestamp_seconds" Gauge "seconds since 1970" Hub []
        "Time of the oldest record kept.";
    LOG_FULL = "evoke_log_full" Gauge "0 or 1" Hub []
        "1 while there is no room on disk for new events.";
    LOW_WATER_DISTANCE = "evoke_log_low_water_distance" Gauge "records" Hub []
        "Records between the low-water mark, below which segments may go, and the end of the log.";
    NOT_LOADED = "evoke_dispatch_behind" Gauge "records" Hub []
        "Records that are durable and not seen by dispatch yet.";
    UNSETTLED = "evoke_dispatch_unsettled" Gauge "records" Hub []
        "Records of progress that are not durable yet.";
    DEDUP_ENTRIES = "evoke_dedup_entries" Gauge "events" Hub []
        "Events whose ids are remembered.";
    DISK_FREE = "evoke_disk_free_bytes" Gauge "bytes" Hub []
        "Room on the disk of the data directory.";
    DISK_SIZE = "evoke_disk_size_bytes" Gauge "bytes" Hub []
        "Size of that disk.";
    STORE_BYTES = "evoke_store_bytes" Gauge "bytes" Hub ["store"]
        "Size on disk of `activations`, `entities`, `code` and `log`.";
    HTTP_REQUESTS = "evoke_http_requests_total" Counter "requests" Hub ["route", "method", "status"]
        "Answers of the API; `route` is the collection, `status` the number or `other`.";
    HTTP_SECONDS = "evoke_http_request_duration_seconds" Histogram "seconds" Hub ["route"]
        "How long answers took; a blocking invocation's holds the run.";
    SPANS_EXPORTED = "evoke_spans_exported_total" Counter "spans" Hub []
        "Spans that the collector took.";
    SPANS_DROPPED = "evoke_spans_dropped_total" Counter "spans" Hub ["reason"]
        "Spans that were not exported; `reason` is `queue_full` or `refused`.";
    PROCESS_MEMORY = "process_resident_memory_bytes" Gauge "bytes" Hub []
        "Memory of the hub's process, without sandboxes.";
    PROCESS_CPU = "process_cpu_seconds_total" Counter "seconds" Hub []
        "Processor time of the hub's process, without sandboxes.";
    PROCESS_FDS = "process_open_fds" Gauge "files" Hub []
        "Open files.";
    PROCESS_MAX_FDS = "process_max_fds" Gauge "files" Hub []
        "Open files that there may be.";
    PROCESS_START = "process_start_time_seconds" Gauge "seconds since 1970" Hub []
        "When the process was started.";
}

impl Kind {
    /// The word of Prometheus' format.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The table as the documentation has it, in Markdown: first what namespaces see, then the rest.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    for (scope, title) in [
        (Scope::Namespace, "Of a namespace, shown to its own key and to operators"),
        (Scope::Hub, "Of the hub, shown to operators only"),
    ] {
        let head = "| name | type | unit | labels | what it says |\n|---|---|---|---|---|\n";
        push(&mut text, format_args!("### {title}\n\n{head}"));
        for family in FAMILIES.iter().filter(|family| family.scope == scope) {
            let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let Family { name, kind, unit, help, .. } = family;
            let (kind, labels) = (kind.as_str(), labels.join(", "));
            push(&mut text, format_args!("| `{name}` | {kind} | {unit} | {labels} | {help} |\n"));
        }
        text.push('\n');
    }
    text
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _always = text.write_fmt(more).is_ok();
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn names_follow_the_format_and_are_there_once() {
        let mut names = BTreeSet::new();
        for family in FAMILIES {
            let Family { name, kind, help, .. } = family;
            assert!(names.insert(*name), "{name} is there twice");
            assert!(name.starts_with("evoke_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(help.ends_with('.') && !help.contains(['|', '\n']), "{name}: {help}");
            let whose = family.labels.first() == Some(&"namespace");
            assert_eq!(whose, family.scope == Scope::Namespace, "{name}: whose is it?");
        }
    }

    /// `EVOKE_WRITE=1` writes the page anew.
    #[test]
    fn the_page_has_the_table() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let text = fs::read_to_string(&page).unwrap();
        let (begin, end) = ("<!-- table: begin -->\n", "<!-- table: end -->");
        let (before, rest) = text.split_once(begin).unwrap();
        let (_, after) = rest.split_once(end).unwrap();
        let wanted = format!("{before}{begin}\n{}{end}{after}", markdown());
        if std::env::var_os("EVOKE_WRITE").is_some() {
            fs::write(&page, &wanted).unwrap();
        }
        let is_so = fs::read_to_string(&page).unwrap() == wanted;
        assert!(is_so, "docs/metrics.md is stale: run this test with EVOKE_WRITE=1");
    }
}
