//! `evoke rule …`

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::{
    entity::Entities,
    error::CliError,
    examples,
    hub::{Hub, get, post},
    name::{Name, number, referenced, text},
    output::Output,
    page::Page,
    parameters::{Annotations, key_values, pairs_line},
    time::{date, duration},
};

const RULES: Entities = Entities("rules");

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// Make a rule.
    #[command(after_help = examples::RULE_CREATE)]
    Create(Settings),
    /// Change a rule, or make it where it is missing.
    #[command(after_help = examples::RULE_UPDATE)]
    Update(Settings),
    /// Show a rule.
    #[command(after_help = examples::RULE_GET)]
    Get {
        /// Its name.
        name: String,
    },
    /// List rules, the newest first.
    #[command(after_help = examples::RULE_LIST)]
    List(Page),
    /// Say whether a rule delivers.
    #[command(after_help = examples::RULE_STATUS)]
    Status {
        /// Its name.
        name: String,
    },
    /// Let a rule deliver.
    #[command(after_help = examples::RULE_ENABLE)]
    Enable {
        /// Its name.
        name: String,
    },
    /// Let a rule rest: it gets none of the events accepted from now on.
    #[command(after_help = examples::RULE_DISABLE)]
    Disable {
        /// Its name.
        name: String,
    },
    /// Delete a rule; what it has not delivered yet is not delivered.
    #[command(after_help = examples::RULE_DELETE)]
    Delete {
        /// Its name.
        name: String,
    },
}

/// A rule as it shall be.
#[derive(Debug, Args)]
pub struct Settings {
    /// Its name.
    name: String,
    /// Trigger whose events it delivers.
    trigger: String,
    /// Action that gets them: `a`, `package/a` or `/namespace/a`.
    action: String,
    /// Runs of a delivery whose function fails, the first counted; 1 where not given.
    #[arg(long, value_name = "N")]
    attempts: Option<u32>,
    /// Wait before the second attempt, doubling with each: `1s`.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    backoff: Option<u64>,
    /// One delivery at a time for each `partitionkey`, in the order of the log.
    #[arg(long)]
    ordered: bool,
    /// Deliveries under way at once; 64 where not given.
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// From acceptance until a delivery is given up: `10m`, `24h`.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    deadline: Option<u64>,
    /// Trigger that is fired with each dead letter.
    #[arg(long, value_name = "TRIGGER")]
    dead_letter_trigger: Option<String>,
    #[command(flatten)]
    annotations: Annotations,
}

// === impl RuleCommand ===

impl RuleCommand {
    pub(crate) async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Create(settings) => settings.save(hub, output, false).await,
            Self::Update(settings) => settings.save(hub, output, true).await,
            Self::Get { name } => show(hub, output, &name).await,
            Self::List(page) => list(hub, output, &page).await,
            Self::Status { name } => {
                let rule = hub.ask(get(&["rules", &name])).await?;
                let status = text(&rule, "status");
                let line = format!("ok: rule {name} is {status}");
                output.value_or_line(&json!({ "status": status }), &line)
            }
            Self::Enable { name } => set_status(hub, output, &name, "active").await,
            Self::Disable { name } => set_status(hub, output, &name, "inactive").await,
            Self::Delete { name } => RULES.delete(hub, output, &name).await,
        }
    }
}

async fn set_status(
    hub: &Hub,
    output: &mut Output,
    name: &str,
    status: &str,
) -> Result<(), CliError> {
    let body = json!({ "status": status });
    hub.ask(post(&["rules", name]).body(body.clone())).await?;
    output.value_or_line(&body, &format!("ok: rule {name} is {status}"))
}

async fn show(hub: &Hub, output: &mut Output, name: &str) -> Result<(), CliError> {
    let rule = hub.ask(get(&["rules", name])).await?;
    if output.is_json() {
        return output.json(&rule);
    }
    output.card(&[
        ("rule", format!("/{}/{}", text(&rule, "namespace"), text(&rule, "name"))),
        ("status", text(&rule, "status").to_owned()),
        ("trigger", referenced(rule.get("trigger"))),
        ("action", referenced(rule.get("action"))),
        ("version", text(&rule, "version").to_owned()),
        ("updated", number(&rule, "updated").map(date).unwrap_or_default()),
        ("annotations", pairs_line(rule.get("annotations"))),
    ])
}

/// A list of rules has no statuses, as in OpenWhisk: each is asked for.
async fn list(hub: &Hub, output: &mut Output, page: &Page) -> Result<(), CliError> {
    let rules = hub.ask(page.ask(get(&["rules"]))).await?;
    if output.is_json() {
        return output.json(&rules);
    }
    let mut rows = Vec::new();
    for rule in rules.as_array().into_iter().flatten() {
        let name = text(rule, "name");
        let whole = match hub.ask(get(&["rules", name])).await {
            Ok(whole) => whole,
            Err(CliError::NotFound(_deleted_meanwhile)) => continue,
            Err(error) => return Err(error),
        };
        rows.push(vec![
            name.to_owned(),
            referenced(rule.get("trigger")),
            referenced(rule.get("action")),
            text(&whole, "status").to_owned(),
            number(rule, "updated").map(date).unwrap_or_default(),
        ]);
    }
    output.table(&["name", "trigger", "action", "status", "updated"], &rows)
}

// === impl Settings ===

impl Settings {
    async fn save(self, hub: &Hub, output: &mut Output, overwrite: bool) -> Result<(), CliError> {
        let saved = RULES.save(hub, &self.name, self.body(), overwrite).await?;
        saved.tell(output, &format!(": {} → {}", self.trigger, self.action))
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "trigger": Name::parse(&self.trigger).full(),
            "action": Name::parse(&self.action).full(),
        });
        let mut annotations = self.annotations.object();
        let delivery = self.delivery();
        if !delivery.is_empty() {
            annotations.insert("delivery".to_owned(), delivery.into());
        }
        if let (false, Some(members)) = (annotations.is_empty(), body.as_object_mut()) {
            members.insert("annotations".to_owned(), key_values(&annotations));
        }
        body
    }

    /// The annotation `delivery`: what was given and nothing else.
    fn delivery(&self) -> Map<String, Value> {
        let given = [
            ("attempts", self.attempts.map(Value::from)),
            ("backoffMs", self.backoff.map(Value::from)),
            ("ordered", self.ordered.then_some(Value::Bool(true))),
            ("concurrency", self.concurrency.map(Value::from)),
            ("deadlineMs", self.deadline.map(Value::from)),
            ("deadLetterTrigger", self.dead_letter_trigger.clone().map(Value::from)),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}
