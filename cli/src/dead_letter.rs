//! `evoke deadletter …`

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    error::CliError,
    examples,
    hub::{Hub, get, post},
    name::{number, text},
    output::{Output, short},
    page::Page,
    time::date,
};

/// What to do with deliveries that were given up.
#[derive(Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// List dead letters, the newest first.
    #[command(after_help = examples::DEAD_LETTER_LIST)]
    List {
        #[command(flatten)]
        page: Page,
        /// Those of this rule only.
        #[arg(long, value_name = "NAME")]
        rule: Option<String>,
    },
    /// Show a dead letter: the event, the rule, every attempt and the reason.
    #[command(after_help = examples::DEAD_LETTER_SHOW)]
    Show {
        /// Activation id of the delivery.
        id: String,
    },
    /// Deliver again; the attempts go on.
    #[command(after_help = examples::DEAD_LETTER_REPLAY)]
    Replay(Which),
    /// Let go for ever.
    #[command(after_help = examples::DEAD_LETTER_DISCARD)]
    Discard(Which),
}

/// One dead letter, or all of a rule.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["id", "rule"]))]
pub struct Which {
    /// Activation id of the delivery.
    id: Option<String>,
    /// All dead letters of this rule.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
}

// === impl DeadLetterCommand ===

impl DeadLetterCommand {
    pub(crate) async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::List { page, rule } => {
                let request = page.ask(get(&["deadletters"])).query_if("rule", rule);
                list(output, &hub.ask(request).await?)
            }
            Self::Show { id } => output.json(&hub.ask(get(&["deadletters", &id])).await?),
            Self::Replay(which) => which.act(hub, output, "replay").await,
            Self::Discard(which) => which.act(hub, output, "discard").await,
        }
    }
}

fn list(output: &mut Output, letters: &Value) -> Result<(), CliError> {
    if output.is_json() {
        return output.json(letters);
    }
    let listed = letters.get("deadletters").unwrap_or(letters);
    let rows: Vec<_> = listed
        .as_array()
        .into_iter()
        .flatten()
        .map(|letter| {
            let attempts = letter.get("attempts");
            let attempts =
                attempts.map(|a| a.as_array().map_or(a.to_string(), |a| a.len().to_string()));
            vec![
                text(letter, "activationId").to_owned(),
                number(letter, "time").or(number(letter, "died")).map(date).unwrap_or_default(),
                text(letter, "rule").to_owned(),
                attempts.unwrap_or_default(),
                short(text(letter, "reason"), 80),
            ]
        })
        .collect();
    output.table(&["activation", "given up", "rule", "attempts", "reason"], &rows)
}

// === impl Which ===

impl Which {
    async fn act(self, hub: &Hub, output: &mut Output, action: &str) -> Result<(), CliError> {
        let (path, body) = match (&self.id, &self.rule) {
            (Some(id), _) => (vec!["deadletters", id], json!({ "action": action })),
            (None, rule) => (vec!["deadletters"], json!({"action": action, "rule": rule})),
        };
        let done = hub.ask(post(&path).body(body)).await?;
        let what = match (&self.id, number(&done, "count").unwrap_or(0)) {
            (Some(id), _) => format!("dead letter {id}"),
            (None, 1) => format!("1 dead letter of rule {}", self.rule.unwrap_or_default()),
            (None, count) => {
                format!("{count} dead letters of rule {}", self.rule.unwrap_or_default())
            }
        };
        let verb = if action == "replay" { "replayed" } else { "discarded" };
        output.value_or_line(&done, &format!("ok: {verb} {what}"))
    }
}
