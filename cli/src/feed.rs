//! `evoke feed …`

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::{
    entity::Entities,
    error::CliError,
    examples,
    hub::{Hub, get, post, put},
    name::{number, text},
    output::{Output, short},
    parameters::Parameters,
    time::date,
};

/// What to do with feeds.
#[derive(Debug, Subcommand)]
pub enum FeedCommand {
    /// Make a feed, or change the one of this name.
    #[command(after_help = examples::FEED_CREATE)]
    Create(Create),
    /// List feeds.
    #[command(after_help = examples::FEED_LIST)]
    List,
    /// Show a feed and what it is doing.
    #[command(after_help = examples::FEED_GET)]
    Get {
        /// Its name.
        name: String,
    },
    /// Let a feed rest; what comes at its source meanwhile is read afterwards.
    #[command(after_help = examples::FEED_PAUSE)]
    Pause {
        /// Its name.
        name: String,
    },
    /// Let a feed go on.
    #[command(after_help = examples::FEED_RESUME)]
    Resume {
        /// Its name.
        name: String,
    },
    /// Read a feed's source from another place: what was read before comes again, as new events.
    #[command(after_help = examples::FEED_RESET)]
    Reset(ResetArgs),
    /// Delete a feed; nothing comes of it afterwards.
    #[command(after_help = examples::FEED_DELETE)]
    Delete {
        /// Its name.
        name: String,
    },
}

/// Where to read a feed's source from.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Its name.
    name: String,
    /// `earliest`, `latest`, a time (RFC 3339), or a position of the source as JSON.
    #[arg(long, value_name = "PLACE")]
    to: String,
}

/// A feed as it shall be.
#[derive(Debug, Args)]
pub struct Create {
    /// Its name.
    name: String,
    /// Kind of source, such as `alarms`.
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// Trigger that gets its events.
    #[arg(long, value_name = "TRIGGER")]
    trigger: String,
    #[command(flatten)]
    parameters: Parameters,
}

// === impl FeedCommand ===

impl FeedCommand {
    pub(crate) async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Create(create) => {
                let name = &create.name;
                let body = body(&create.provider, &create.trigger, &create.parameters.object()?);
                let saved = hub.ask(put(&["feeds", name]).body(body)).await?;
                let (provider, trigger) = (&create.provider, &create.trigger);
                let line = format!("ok: feed {name}: {provider} → trigger {trigger}");
                output.value_or_line(&saved, &line)
            }
            Self::List => list(hub, output).await,
            Self::Get { name } => show(hub, output, &name).await,
            Self::Pause { name } => ask(hub, output, &name, &json!({"action": "pause"})).await,
            Self::Resume { name } => ask(hub, output, &name, &json!({"action": "resume"})).await,
            Self::Reset(reset) => {
                let to = place(&reset.to);
                ask(hub, output, &reset.name, &json!({"action": "reset", "to": to})).await
            }
            Self::Delete { name } => Entities("feeds").delete(hub, output, &name).await,
        }
    }
}

/// Asks something of a feed, and says how it is then.
async fn ask(hub: &Hub, output: &mut Output, name: &str, body: &Value) -> Result<(), CliError> {
    let feed = hub.ask(post(&["feeds", name]).body(body.clone())).await?;
    let status = feed.get("status").unwrap_or(&Value::Null);
    let (state, reason) = (text(status, "state"), text(status, "reason"));
    let because = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    output.value_or_line(&feed, &format!("ok: feed {name} is {state}{because}"))
}

/// A place to read from as the API has it.
fn place(said: &str) -> Value {
    if matches!(said, "earliest" | "latest") {
        return said.into();
    }
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(said) {
        return json!({"time": time.timestamp_millis().max(0)});
    }
    let position: Value = serde_json::from_str(said).unwrap_or_else(|_no_json| said.into());
    json!({ "position": position })
}

/// Body of the PUT of a feed.
pub(crate) fn body(provider: &str, trigger: &str, parameters: &Map<String, Value>) -> Value {
    json!({"provider": provider, "trigger": trigger, "parameters": parameters})
}

async fn list(hub: &Hub, output: &mut Output) -> Result<(), CliError> {
    let feeds = hub.ask(get(&["feeds"])).await?;
    if output.is_json() {
        return output.json(&feeds);
    }
    let rows: Vec<_> = feeds
        .as_array()
        .into_iter()
        .flatten()
        .map(|feed| {
            let status = feed.get("status").unwrap_or(&Value::Null);
            vec![
                text(feed, "name").to_owned(),
                text(feed, "provider").to_owned(),
                text(feed, "trigger").to_owned(),
                text(status, "state").to_owned(),
                number(status, "lastEvent").map(date).unwrap_or_default(),
                short(text(status, "reason"), 60),
            ]
        })
        .collect();
    output.table(&["name", "provider", "trigger", "state", "last event", "reason"], &rows)
}

async fn show(hub: &Hub, output: &mut Output, name: &str) -> Result<(), CliError> {
    let feed = hub.ask(get(&["feeds", name])).await?;
    if output.is_json() {
        return output.json(&feed);
    }
    let status = feed.get("status").unwrap_or(&Value::Null);
    let json = |value: Option<&Value>| value.map(Value::to_string).unwrap_or_default();
    output.card(&[
        ("feed", format!("/{}/{}", text(&feed, "namespace"), text(&feed, "name"))),
        ("provider", text(&feed, "provider").to_owned()),
        ("trigger", text(&feed, "trigger").to_owned()),
        ("parameters", json(feed.get("parameters"))),
        ("updated", number(&feed, "updated").map(date).unwrap_or_default()),
        ("state", text(status, "state").to_owned()),
        ("reason", text(status, "reason").to_owned()),
        ("last event", number(status, "lastEvent").map(date).unwrap_or_default()),
        ("position", json(status.get("position"))),
        ("lag", json(status.get("lag"))),
        ("last error", text(status, "lastError").to_owned()),
        ("next try", number(status, "nextTry").map(date).unwrap_or_default()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart_by_their_form() {
        let check = |said, expected: Value| assert_eq!(place(said), expected, "{said}");
        check("earliest", json!("earliest"));
        check("latest", json!("latest"));
        check("1970-01-01T00:00:02Z", json!({"time": 2_000}));
        check("12-abc", json!({"position": "12-abc"}));
        check("12", json!({"position": 12}));
        check(r#"{"t-0": 7}"#, json!({"position": {"t-0": 7}}));
    }
}
