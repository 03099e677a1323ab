//! `evoke replay …`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    error::{CliError, Want},
    examples,
    hub::{Hub, delete, get, post},
    name::{number, text},
    output::Output,
    time::{date, moment},
};

/// What to do with replays.
#[derive(Debug, Subcommand)]
pub enum ReplayCommand {
    /// Deliver a range of the log again to one rule.
    #[command(after_help = examples::REPLAY_CREATE)]
    Create(Create),
    /// List replays.
    #[command(after_help = examples::REPLAY_LIST)]
    List,
    /// Show a replay and how far it is.
    #[command(after_help = examples::REPLAY_GET)]
    Get {
        /// Its id.
        id: String,
    },
    /// Stop a replay; what it has parked already is still delivered.
    #[command(after_help = examples::REPLAY_CANCEL)]
    Cancel {
        /// Its id.
        id: String,
    },
}

/// A replay.
#[derive(Debug, Args)]
pub struct Create {
    /// Rule that gets the events again.
    rule: String,
    /// Where to begin: a position, `10m` (ago), RFC 3339 or epoch milliseconds.
    #[arg(long, value_name = "POSITION|TIME", value_parser = place)]
    from: Value,
    /// Where to end; now where not given.
    #[arg(long, value_name = "POSITION|TIME", value_parser = place)]
    to: Option<Value>,
}

/// A position as text, or a time in milliseconds.
fn place(text: &str) -> Result<Value, Want> {
    let is_position = text.split_once(':').is_some_and(|(partition, offset)| {
        partition.parse::<u16>().is_ok() && offset.parse::<u64>().is_ok()
    });
    if is_position { Ok(text.into()) } else { moment(text).map(Value::from) }
}

// === impl ReplayCommand ===

impl ReplayCommand {
    pub(crate) async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Create(create) => create.run(hub, output).await,
            Self::List => list(hub, output).await,
            Self::Get { id } => show(hub, output, &id).await,
            Self::Cancel { id } => {
                let stopped = hub.ask(delete(&["replays", &id])).await?;
                output.value_or_line(&stopped, &format!("ok: cancelled replay {id}"))
            }
        }
    }
}

impl Create {
    async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        let mut body = json!({"rule": self.rule, "from": self.from});
        if let (Some(to), Some(members)) = (self.to, body.as_object_mut()) {
            members.insert("to".to_owned(), to);
        }
        let made = hub.ask(post(&["replays"]).body(body)).await?;
        let line = format!("ok: replay {} delivers to rule {} again", text(&made, "id"), self.rule);
        output.value_or_line(&made, &line)
    }
}

async fn list(hub: &Hub, output: &mut Output) -> Result<(), CliError> {
    let replays = hub.ask(get(&["replays"])).await?;
    if output.is_json() {
        return output.json(&replays);
    }
    let listed = replays.get("replays").unwrap_or(&replays);
    let rows: Vec<_> = listed
        .as_array()
        .into_iter()
        .flatten()
        .map(|replay| {
            vec![
                text(replay, "id").to_owned(),
                text(replay, "rule").to_owned(),
                text(replay, "state").to_owned(),
                number(replay, "parked").map(|count| count.to_string()).unwrap_or_default(),
                number(replay, "created").map(date).unwrap_or_default(),
            ]
        })
        .collect();
    output.table(&["id", "rule", "state", "events", "created"], &rows)
}

async fn show(hub: &Hub, output: &mut Output, id: &str) -> Result<(), CliError> {
    output.json(&hub.ask(get(&["replays", id])).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_position_or_a_time() {
        assert_eq!(place("3:41"), Ok("3:41".into()));
        assert_eq!(place("1970-01-01T00:00:01Z"), Ok(1_000.into()));
        assert!(place("here").is_err());
    }
}
