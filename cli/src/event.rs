//! `evoke event …`

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::{
    error::{CliError, Want},
    examples,
    hub::{Hub, delete, get, post},
    name::{number, text},
    output::{Output, short},
    page::Page,
    parameters::{json_or_text, text_of},
    time::{date, moment},
};

/// What to do with events.
#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// Send a CloudEvent to the namespace's hub, or to one trigger.
    #[command(after_help = examples::EVENT_SEND)]
    Send(Send),
    /// List accepted events, the newest first.
    #[command(after_help = examples::EVENT_LIST)]
    List(List),
    /// Show an event and what each rule decided about it.
    #[command(after_help = examples::EVENT_SHOW)]
    Show {
        /// Its position, as the list shows it.
        position: String,
    },
    /// Erase an event for ever, with the records of its activations and every other copy.
    #[command(after_help = examples::EVENT_ERASE)]
    Erase {
        /// Its position, as the list shows it.
        position: String,
    },
}

/// A CloudEvent.
#[derive(Debug, Args)]
pub struct Send {
    /// What it carries: JSON, or else text.
    body: Option<String>,
    /// File that holds what it carries (`-` is standard input).
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "body")]
    file: Option<PathBuf>,
    /// Its type.
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    kind: String,
    /// Where it happened.
    #[arg(short = 's', long, value_name = "URI", default_value = "/evoke/cli")]
    source: String,
    /// Its id; sent twice with one id and source, it is accepted once. Else a fresh one.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// What it is about.
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// A further attribute, such as `partitionkey=k`. Repeatable.
    #[arg(short = 'x', long = "extension", value_name = "NAME=VALUE",
          value_parser = extension, action = ArgAction::Append)]
    extensions: Vec<(String, String)>,
    /// The one trigger that shall get it, instead of all that are subscribed.
    #[arg(long, value_name = "NAME")]
    trigger: Option<String>,
}

/// Which events.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    page: Page,
    /// Those of this trigger only.
    #[arg(long, value_name = "NAME")]
    trigger: Option<String>,
    /// Not before: `10m` (ago), RFC 3339 or epoch milliseconds.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<u64>,
    /// Not after.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    upto: Option<u64>,
}

fn extension(text: &str) -> Result<(String, String), Want> {
    let (name, value) = text.split_once('=').ok_or(Want("NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

// === impl EventCommand ===

impl EventCommand {
    pub(crate) async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Send(send) => send.run(hub, output).await,
            Self::List(list) => list.run(hub, output).await,
            Self::Show { position } => show(hub, output, &position).await,
            Self::Erase { position } => erase(hub, output, &position).await,
        }
    }
}

// === impl Send ===

impl Send {
    async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        let event = self.event()?;
        let path = match &self.trigger {
            Some(trigger) => vec!["triggers", trigger],
            None => vec!["events"],
        };
        let request = post(&path).content_type("application/cloudevents+json");
        let answer = hub.ask(request.body(event.clone())).await?;
        output.value_or_line(&answer, &sent_line(text(&event, "id"), &answer))
    }

    fn event(&self) -> Result<Value, CliError> {
        let id = self.id.clone().unwrap_or_else(fresh_id);
        let mut event = Map::new();
        for (name, value) in [
            ("specversion", Some("1.0")),
            ("id", Some(id.as_str())),
            ("source", Some(self.source.as_str())),
            ("type", Some(self.kind.as_str())),
            ("subject", self.subject.as_deref()),
        ] {
            if let Some(value) = value {
                event.insert(name.to_owned(), value.into());
            }
        }
        for (name, value) in &self.extensions {
            event.insert(name.clone(), json!(value));
        }
        let body = match &self.file {
            Some(file) => Some(text_of(file)?),
            None => self.body.clone(),
        };
        if let Some(body) = body {
            let data = json_or_text(&body);
            let media = if data.is_string() && !body.starts_with('"') {
                "text/plain"
            } else {
                "application/json"
            };
            event.insert("datacontenttype".to_owned(), media.into());
            event.insert("data".to_owned(), data);
        }
        Ok(event.into())
    }
}

/// An id that no other event of this machine has.
fn fresh_id() -> String {
    static SENT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = SENT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let nanos = chrono::Utc::now().timestamp_nanos_opt().unwrap_or_default();
    format!("{nanos:x}-{:x}-{count:x}", std::process::id())
}

fn sent_line(id: &str, answer: &Value) -> String {
    let accepted = answer.get("events").and_then(|events| events.get(0)).unwrap_or(answer);
    let position = text(accepted, "position");
    let at = if position.is_empty() { String::new() } else { format!(" at {position}") };
    let known = accepted.get("duplicate") == Some(&Value::Bool(true));
    let remark = if known { " (accepted before: nothing new is delivered)" } else { "" };
    let names = triggers(accepted);
    let to = if names.is_empty() { String::new() } else { format!(" → {names}") };
    format!("ok: sent event {id}{at}{to}{remark}")
}

// === impl List ===

impl List {
    async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        let request = self
            .page
            .ask(get(&["events"]))
            .query_if("trigger", self.trigger.as_deref())
            .query_if("since", self.since)
            .query_if("upto", self.upto);
        let events = hub.ask(request).await?;
        if output.is_json() {
            return output.json(&events);
        }
        let listed = events.get("events").unwrap_or(&events);
        let rows: Vec<_> = listed.as_array().into_iter().flatten().map(row).collect();
        output.table(&["position", "accepted", "type", "source", "id", "triggers"], &rows)
    }
}

fn row(accepted: &Value) -> Vec<String> {
    let event = accepted.get("event").unwrap_or(accepted);
    let time = number(accepted, "time").or(number(accepted, "accepted"));
    vec![
        text(accepted, "position").to_owned(),
        time.map(date).unwrap_or_default(),
        short(text(event, "type"), 40),
        short(text(event, "source"), 40),
        short(text(event, "id"), 48),
        triggers(accepted),
    ]
}

fn triggers(accepted: &Value) -> String {
    let names = accepted.get("triggers").and_then(Value::as_array).into_iter().flatten();
    let names = names.map(|name| name.as_str().unwrap_or_else(|| text(name, "name")));
    names.collect::<Vec<_>>().join(" ")
}

async fn erase(hub: &Hub, output: &mut Output, position: &str) -> Result<(), CliError> {
    let done = hub.ask(delete(&["events", position])).await?;
    let erased = done.get("erased").unwrap_or(&Value::Null);
    let count = |name: &str| number(erased, name).unwrap_or_default();
    let (records, activations) = (count("records"), count("activations"));
    let line = match records {
        0 => format!("ok: event {position} was erased before"),
        _ => format!(
            "ok: erased event {position}: {records} records of the log, {activations} activations"
        ),
    };
    output.value_or_line(&done, &line)
}

async fn show(hub: &Hub, output: &mut Output, position: &str) -> Result<(), CliError> {
    let shown = hub.ask(get(&["events", position])).await?;
    if output.is_json() {
        return output.json(&shown);
    }
    output.json(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_fresh() {
        assert!(fresh_id() != fresh_id());
    }
}
