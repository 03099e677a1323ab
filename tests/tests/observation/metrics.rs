//! Metrics: what a namespace sees, what operators see, and that the numbers are right.

use std::{collections::BTreeMap, net::SocketAddr};

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::{ECHO, node, records_when, trigger},
        place::Place,
        wait::{SOON, until},
    },
    fault::{error::FaultError, ports::free_port},
};
use serde_json::{Value, json};

use super::Done;

/// Lines by name and labels.
type Lines = BTreeMap<String, f64>;

/// A page in Prometheus' text format, each line checked.
fn read(text: &str) -> Lines {
    let mut lines = Lines::new();
    let mut family = ("", "");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split_once(' ').expect("a name and a type");
            assert!(["counter", "gauge", "histogram"].contains(&family.1), "{line}");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let name = series.split('{').next().unwrap_or_default();
        let ending =
            name.strip_prefix(family.0).unwrap_or_else(|| panic!("{line} below {family:?}"));
        let endings: &[&str] =
            if family.1 == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(endings.contains(&ending), "{line}");
        let value: f64 = value.parse().expect("a number");
        assert!(value >= 0.0, "{line}");
        assert_eq!(lines.insert(series.to_owned(), value), None, "{line} is there twice");
    }
    lines
}

async fn scrape(caller: &Caller) -> Result<(Lines, String), FaultError> {
    let reply = caller.good(Ask::new("GET", "/metrics")).await?;
    assert!(reply.header("content-type").starts_with("text/plain; version=0.0.4"));
    Ok((read(&reply.text()), reply.text()))
}

fn value(lines: &Lines, series: &str) -> f64 {
    lines.get(series).copied().unwrap_or_else(|| panic!("no `{series}` in {lines:#?}"))
}

fn sum(lines: &Lines, begin: &str) -> f64 {
    lines.iter().filter(|(series, _)| series.starts_with(begin)).map(|(_, value)| value).sum()
}

/// Four events of which one is dead in the end, one that comes twice, and a run.
async fn happen(caller: &Caller) -> Done {
    node(caller, "echo", ECHO).await?;
    node(caller, "fails", "function main() { return { error: 'no' } }").await?;
    trigger(caller, "t", &json!({}), &["echo"], &Value::Null).await?;
    let policy = json!({"attempts": 2, "backoffMs": 10});
    trigger(caller, "u", &json!({}), &["fails"], &policy).await?;
    for number in 0..3 {
        caller.post("triggers/t", &json!({ "n": number })).await?;
    }
    caller.post("triggers/u", &json!({})).await?;
    caller.post("actions/echo", &json!({})).await?;
    let keyed = || Ask::new("POST", "triggers/t").json(&json!({})).header("idempotency-key", "k");
    caller.good(keyed()).await?;
    caller.good(keyed()).await?;
    records_when(caller, "echo", 5).await.map(drop)
}

async fn operators_see_all(operator: &Caller, lines: &Lines) -> Done {
    let (all, text) = scrape(operator).await?;
    for (series, value) in lines {
        if !series.contains("_seconds") && !series.contains("evoke_rule_lag") {
            assert_eq!(all.get(series), Some(value), "{series}: an operator sees all\n{text}");
        }
    }
    assert_eq!(sum(&all, "evoke_runs_total{"), 7.0);
    assert!(value(&all, "evoke_runs_total{start=\"cold\"}") >= 2.0);
    let cold = value(&all, "evoke_runs_total{start=\"cold\"}");
    assert_eq!(value(&all, "evoke_cold_start_seconds_count"), cold);
    for series in [
        "evoke_log_appends_total{result=\"durable\"}",
        "evoke_log_records_total",
        "evoke_log_written_bytes_total",
        "evoke_log_sync_seconds_count",
        "evoke_log_segments",
        "evoke_log_bytes",
        "evoke_pool_memory_limit_bytes",
        "evoke_disk_free_bytes",
        "evoke_store_bytes{store=\"log\"}",
        "evoke_http_requests_total{route=\"triggers\",method=\"POST\",status=\"202\"}",
        "evoke_http_request_duration_seconds_count{route=\"triggers\"}",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(value(&all, series) > 0.0, "{series}\n{text}");
    }
    Ok(())
}

#[tokio::test]
async fn events_are_counted_from_acceptance_to_their_end() -> Done {
    let mut place = Place::new()?;
    let address: SocketAddr = ([127, 0, 0, 1], free_port()?).into();
    place.launch.environment.push(("EVOKE_METRICS_LISTEN", address.to_string().into()));
    let (hub, caller) = place.start().await?;
    let other = place.run(&["key", "add", "other", "--data", "DATA"]).await?;
    let other = place.caller_with(&String::from_utf8_lossy(&other.stdout));
    let operator = Caller { address, authorization: None };

    happen(&caller).await?;
    let guest = "namespace=\"guest\"";
    let lines = until("the dead letter's number", SOON, async || {
        let (lines, text) = scrape(&caller).await?;
        let dead = format!("evoke_dead_letters{{{guest},rule=\"u-fails\"}}");
        let idle = sum(&lines, "evoke_rule_lag{") == 0.0;
        Ok(if lines.get(&dead) == Some(&1.0) && idle { Ok(lines) } else { Err(text) })
    })
    .await?;
    for (series, want) in [
        (format!("evoke_events_accepted_total{{{guest},to=\"trigger\"}}"), 5.0),
        (format!("evoke_events_accepted_total{{{guest},to=\"action\"}}"), 1.0),
        (format!("evoke_events_duplicate_total{{{guest}}}"), 1.0),
        (format!("evoke_delivery_attempts_total{{{guest},rule=\"t-echo\"}}"), 4.0),
        (format!("evoke_deliveries_delivered_total{{{guest},rule=\"t-echo\"}}"), 4.0),
        (format!("evoke_deliveries_delivered_total{{{guest},rule=\"(invocations)\"}}"), 1.0),
        (format!("evoke_deliveries_retried_total{{{guest},rule=\"u-fails\"}}"), 1.0),
        (
            format!("evoke_deliveries_dead_total{{{guest},rule=\"u-fails\",reason=\"exhausted\"}}"),
            1.0,
        ),
        (format!("evoke_activations_total{{{guest},action=\"echo\",status=\"success\"}}"), 5.0),
        (
            format!(
                "evoke_activations_total{{{guest},action=\"fails\",status=\"application_error\"}}"
            ),
            2.0,
        ),
        (format!("evoke_activation_duration_seconds_count{{{guest},action=\"echo\"}}"), 5.0),
        (format!("evoke_namespace_intake_closed{{{guest}}}"), 0.0),
    ] {
        assert_eq!(value(&lines, &series), want, "{series}");
    }
    let (theirs, text) = scrape(&other).await?;
    assert!(!text.contains("guest") && !text.contains("evoke_log_"), "{text}");
    assert!(theirs.len() < lines.len());

    operators_see_all(&operator, &lines).await?;
    let refused = operator.send(Ask::new("GET", "/api/v1/namespaces/_/actions")).await?;
    assert_eq!(refused.status, 404, "operators are shown metrics and nothing else");
    assert_eq!(caller.nobody().send(Ask::new("GET", "/metrics")).await?.status, 401);
    place.end(hub).await
}

#[tokio::test]
async fn metrics_without_credentials_stay_on_loopback() -> Done {
    let mut place = Place::new()?;
    let ended = place.run(&["up", "--data", "DATA", "--metrics-listen", "0.0.0.0:1"]).await?;
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("--metrics-listen 0.0.0.0:1 can be reached from outside"), "{said}");
    place.done();
    Ok(())
}
