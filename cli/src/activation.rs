//! `evoke activation …`

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use evoke_schemas::limits::MAX_LIST;
use serde_json::Value;

use crate::{
    error::CliError,
    examples,
    follow::{Follow, follow},
    hub::{Hub, get},
    name::{number, text},
    output::{Output, Tone, short},
    page::Page,
    parameters::value_of,
    time::{clock, date, moment},
};

/// What to do with activations.
#[derive(Debug, Subcommand)]
pub enum ActivationCommand {
    /// List activations, the newest first.
    #[command(after_help = examples::ACTIVATION_LIST)]
    List(List),
    /// Show an activation.
    #[command(after_help = examples::ACTIVATION_GET)]
    Get(Which),
    /// Show what a run wrote to its log.
    #[command(after_help = examples::ACTIVATION_LOGS)]
    Logs(Which),
    /// Show the result of a run and nothing else.
    #[command(after_help = examples::ACTIVATION_RESULT)]
    Result(Which),
    /// Print a line for each activation as it happens.
    #[command(after_help = examples::ACTIVATION_POLL)]
    Poll(Poll),
}

/// Which activations.
#[derive(Debug, Args)]
pub struct List {
    /// Those of this action or trigger only: `a` or `package/a`.
    name: Option<String>,
    #[command(flatten)]
    page: Page,
    /// Not before: `10m` (ago), RFC 3339 or epoch milliseconds.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<u64>,
    /// Not after.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    upto: Option<u64>,
}

/// One activation.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["id", "last"]))]
pub struct Which {
    /// Its id.
    id: Option<String>,
    /// The newest one; a trigger's own record, which says only that it fired, where there is no other.
    #[arg(long)]
    last: bool,
}

/// What to follow.
#[derive(Debug, Args)]
pub struct Poll {
    /// Those of this action or trigger only.
    name: Option<String>,
    /// Begin in the past: `10m` (ago), RFC 3339 or epoch milliseconds; else with what is new.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<u64>,
    /// Print each run's log lines too.
    #[arg(long)]
    logs: bool,
    /// Print the records of triggers too, which say only that they fired.
    #[arg(long)]
    triggers: bool,
    /// Stop after this many seconds.
    #[arg(long, value_name = "SECONDS")]
    exit: Option<u64>,
}

// === impl ActivationCommand ===

impl ActivationCommand {
    pub(crate) async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run(hub, output).await,
            Self::Get(which) => {
                let id = which.id(hub).await?;
                output.json(&hub.ask(get(&["activations", &id])).await?)
            }
            Self::Logs(which) => {
                let id = which.id(hub).await?;
                let logs = hub.ask(get(&["activations", &id, "logs"])).await?;
                print_logs(output, &logs)
            }
            Self::Result(which) => {
                let id = which.id(hub).await?;
                let result = hub.ask(get(&["activations", &id, "result"])).await?;
                output.json(result.get("result").unwrap_or(&result))
            }
            Self::Poll(poll) => poll.run(hub, output).await,
        }
    }
}

fn print_logs(output: &mut Output, logs: &Value) -> Result<(), CliError> {
    if output.is_json() {
        return output.json(logs);
    }
    for line in logs.get("logs").and_then(Value::as_array).into_iter().flatten() {
        output.line(line.as_str().unwrap_or_default())?;
    }
    Ok(())
}

// === impl Which ===

impl Which {
    async fn id(self, hub: &Hub) -> Result<String, CliError> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        let newest = hub.ask(get(&["activations"]).query("limit", MAX_LIST)).await?;
        let newest = newest.as_array().map(Vec::as_slice).unwrap_or_default();
        let run = newest.iter().find(|record| !is_trigger(record)).or(newest.first());
        match run.map(|record| text(record, "activationId")) {
            Some(id) if !id.is_empty() => Ok(id.to_owned()),
            _ => Err(CliError::NotFound("there is no activation yet".to_owned())),
        }
    }
}

// === impl List ===

impl List {
    async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        let request = self
            .page
            .ask(get(&["activations"]))
            .query_if("name", self.name.as_deref())
            .query_if("since", self.since)
            .query_if("upto", self.upto);
        let activations = hub.ask(request).await?;
        if output.is_json() {
            return output.json(&activations);
        }
        let rows: Vec<_> = activations.as_array().into_iter().flatten().map(row).collect();
        output.table(&["start", "status", "entity", "duration", "began", "activation"], &rows)
    }
}

fn row(summary: &Value) -> Vec<String> {
    let annotations = summary.get("annotations").unwrap_or(&Value::Null);
    let began = match (is_trigger(summary), value_of(annotations, "initTime")) {
        (true, _) => "",
        (false, Some(_)) => "cold",
        (false, None) => "warm",
    };
    vec![
        number(summary, "start").map(date).unwrap_or_default(),
        status(summary).0.to_owned(),
        entity(summary),
        duration(summary),
        began.to_owned(),
        text(summary, "activationId").to_owned(),
    ]
}

/// Records of triggers have no end.
pub(crate) fn is_trigger(record: &Value) -> bool {
    record.get("end").is_none()
}

/// The word for how it ended, from a whole record or a summary.
fn status(record: &Value) -> (&'static str, Tone) {
    let words = record.get("response").map(|response| text(response, "status"));
    match (words, number(record, "statusCode")) {
        _ if is_trigger(record) => ("fired", Tone::Faint),
        (Some("success"), _) | (None, Some(0)) => ("ok", Tone::Good),
        (Some("application error"), _) | (None, Some(1)) => ("app error", Tone::Bad),
        (Some("action developer error"), _) | (None, Some(2)) => ("dev error", Tone::Bad),
        (Some("whisk internal error"), _) | (None, Some(3)) => ("hub error", Tone::Bad),
        _ => ("", Tone::Plain),
    }
}

/// `package/action` or `trigger name`.
fn entity(record: &Value) -> String {
    let name = text(record, "name");
    if is_trigger(record) {
        return format!("trigger {name}");
    }
    let path = record.get("annotations").and_then(|list| value_of(list, "path"));
    let path = path.and_then(Value::as_str).and_then(|path| path.split_once('/'));
    path.map_or(name, |(_, path)| path).to_owned()
}

fn duration(record: &Value) -> String {
    number(record, "duration").map(|ms| format!("{ms} ms")).unwrap_or_default()
}

/// One line for a whole record: time, status, entity, duration, id, result.
pub(crate) fn line(output: &Output, record: &Value) -> String {
    let (word, tone) = status(record);
    let result = record.get("response").and_then(|response| response.get("result"));
    // What went wrong reads better than the JSON around it.
    let error = result.and_then(|result| result.get("error")).and_then(Value::as_str);
    let said = error.map(str::to_owned).or_else(|| result.map(Value::to_string));
    format!(
        "{}  {}  {:22}  {:>8}  {}  {}",
        output.paint(Tone::Faint, &number(record, "start").map(clock).unwrap_or_default()),
        output.paint(tone, &format!("{word:9}")),
        entity(record),
        duration(record),
        output.paint(Tone::Faint, text(record, "activationId")),
        short(&said.unwrap_or_default(), 100),
    )
}

// === impl Poll ===

impl Poll {
    async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        let Self { name, since, logs, triggers, exit } = self;
        let what = Follow { name, since_ms: since, logs, triggers };
        let exit = exit.map(Duration::from_secs);
        let stop = async {
            match exit {
                Some(after) => tokio::time::sleep(after).await,
                // Without the signal nothing but the process's end stops it.
                None => match tokio::signal::ctrl_c().await {
                    Ok(()) => {}
                    Err(_no_signals) => std::future::pending().await,
                },
            }
        };
        if !output.is_json() {
            output.remark("following activations; Ctrl-C ends it");
        }
        follow(hub, what, output, stop).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_one_readable_line() {
        let (output, _) = Output::captured(false);
        let record = json!({
            "name": "hello", "start": 0, "end": 12, "duration": 12, "activationId": "ab",
            "annotations": [{"key": "path", "value": "guest/p/hello"}],
            "response": {"status": "application error", "result": {"error": "no\nway"}},
        });
        let line = line(&output, &record);
        let (_, rest) = line.split_once("  ").unwrap();
        assert_eq!(rest, "app error  p/hello                    12 ms  ab  no way");
    }

    #[test]
    fn a_trigger_is_told_from_an_action() {
        let record = json!({"name": "t", "start": 0, "activationId": "ab", "statusCode": 0});
        assert_eq!((entity(&record), status(&record).0), ("trigger t".to_owned(), "fired"));
    }
}
