//! `evoke trigger …`

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::{
    apply::{Lifecycle, call_feed},
    entity::Entities,
    error::{CliError, Want},
    examples,
    hub::{Hub, delete, get, post},
    name::{Name, number, text},
    output::Output,
    page::Page,
    parameters::{Annotations, Parameters, Secrets, members_with, pairs_line, value_of},
    time::date,
};

/// Header of a webhook's signature where none is named.
pub(crate) const SIGNATURE_HEADER: &str = "x-hub-signature-256";

const TRIGGERS: Entities = Entities("triggers");

/// What to do with triggers.
#[derive(Debug, Subcommand)]
pub enum TriggerCommand {
    /// Make a trigger.
    #[command(after_help = examples::TRIGGER_CREATE)]
    Create(Settings),
    /// Change a trigger, or make it where it is missing.
    #[command(after_help = examples::TRIGGER_UPDATE)]
    Update(Settings),
    /// Show a trigger and its rules.
    #[command(after_help = examples::TRIGGER_GET)]
    Get {
        /// Its name.
        name: String,
    },
    /// List triggers, the newest first.
    #[command(after_help = examples::TRIGGER_LIST)]
    List(Page),
    /// Fire a trigger with the parameters as the event's data.
    #[command(after_help = examples::TRIGGER_FIRE)]
    Fire {
        /// Its name.
        name: String,
        #[command(flatten)]
        parameters: Parameters,
    },
    /// Delete a trigger; its rules stay and rest.
    #[command(after_help = examples::TRIGGER_DELETE)]
    Delete {
        /// Its name.
        name: String,
    },
}

/// A trigger as it shall be.
#[derive(Debug, Args)]
pub struct Settings {
    /// Its name.
    name: String,
    #[command(flatten)]
    parameters: Parameters,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    annotations: Annotations,
    /// Feed action that fires it, in OpenWhisk's way; it gets the parameters.
    #[arg(long, value_name = "ACTION", conflicts_with_all = ["webhook_bearer", "webhook_hmac"])]
    feed: Option<String>,
    /// Take events of the namespace's hub: type=, source= or subject=, a value or a prefix
    /// and `*`. Repeatable; all must match.
    #[arg(long, value_name = "ATTRIBUTE=PATTERN", value_parser = subscription)]
    subscribe: Vec<(&'static str, String)>,
    /// Let a service fire it with `Authorization: Bearer TOKEN`.
    #[arg(long, value_name = "TOKEN", conflicts_with = "webhook_hmac")]
    webhook_bearer: Option<String>,
    /// Let a service fire it that signs the body with HMAC-SHA256 and this secret.
    #[arg(long, value_name = "SECRET")]
    webhook_hmac: Option<String>,
    /// Header that holds the signature.
    #[arg(
        long,
        value_name = "NAME",
        default_value = SIGNATURE_HEADER,
        requires = "webhook_hmac"
    )]
    signature_header: String,
}

fn subscription(text: &str) -> Result<(&'static str, String), Want> {
    let (attribute, pattern) = text.split_once('=').unwrap_or((text, ""));
    let known = ["type", "source", "subject"].into_iter().find(|name| *name == attribute);
    match known {
        Some(attribute) if !pattern.is_empty() => Ok((attribute, pattern.to_owned())),
        _ => Err(Want("type=PATTERN, source=PATTERN or subject=PATTERN")),
    }
}

// === impl TriggerCommand ===

impl TriggerCommand {
    pub(crate) async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Create(settings) => settings.save(hub, output, false).await,
            Self::Update(settings) => settings.save(hub, output, true).await,
            Self::Get { name } => show(hub, output, &name).await,
            Self::List(page) => TRIGGERS.list(hub, output, &page).await,
            Self::Fire { name, parameters } => fire(hub, output, &name, &parameters).await,
            Self::Delete { name } => delete_whole(hub, output, &name).await,
        }
    }
}

/// Deletes a trigger, and before that the feed of its feed action.
async fn delete_whole(hub: &Hub, output: &mut Output, name: &str) -> Result<(), CliError> {
    let trigger = hub.ask(get(&["triggers", name])).await?;
    let feed = trigger.get("annotations").and_then(|list| value_of(list, "feed"));
    if let Some(feed) = feed.and_then(Value::as_str) {
        let feed = Name::parse(feed);
        call_feed(hub, Lifecycle::Delete, &feed, &Name::parse(name), None).await?;
    }
    TRIGGERS.delete(hub, output, name).await
}

async fn fire(
    hub: &Hub,
    output: &mut Output,
    name: &str,
    parameters: &Parameters,
) -> Result<(), CliError> {
    let body = Value::Object(parameters.object()?);
    let fired = hub.ask(post(&["triggers", name]).body(body)).await?;
    let line = match text(&fired, "activationId") {
        "" => format!("ok: fired trigger {name}; no active rule took it"),
        id => format!("ok: fired trigger {name} with id {id}"),
    };
    output.value_or_line(&fired, &line)
}

async fn show(hub: &Hub, output: &mut Output, name: &str) -> Result<(), CliError> {
    let trigger = hub.ask(get(&["triggers", name])).await?;
    if output.is_json() {
        return output.json(&trigger);
    }
    let annotations = trigger.get("annotations");
    let subscription = annotations.and_then(|list| value_of(list, "subscription"));
    let others: Value = annotations
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|entry| text(entry, "key") != "subscription")
        .cloned()
        .collect();
    output.card(&[
        ("trigger", format!("/{}/{}", text(&trigger, "namespace"), text(&trigger, "name"))),
        ("version", text(&trigger, "version").to_owned()),
        ("updated", number(&trigger, "updated").map(date).unwrap_or_default()),
        ("webhook", webhook_line(trigger.get("webhook"))),
        ("subscription", subscription.map(Value::to_string).unwrap_or_default()),
        ("parameters", pairs_line(trigger.get("parameters"))),
        ("annotations", pairs_line(Some(&others))),
    ])?;
    let Some(rules) = trigger.get("rules").and_then(Value::as_object) else { return Ok(()) };
    let rows: Vec<_> = rules.iter().map(|(rule, link)| rule_row(rule, link)).collect();
    output.line("")?;
    output.table(&["rule", "action", "status"], &rows)
}

fn rule_row(rule: &str, link: &Value) -> Vec<String> {
    let rule = rule.split_once('/').map_or(rule, |(_, name)| name);
    let action = crate::name::referenced(link.get("action"));
    vec![rule.to_owned(), action, text(link, "status").to_owned()]
}

fn webhook_line(webhook: Option<&Value>) -> String {
    let Some(webhook) = webhook else { return String::new() };
    match (text(webhook, "kind"), text(webhook, "header")) {
        (kind, "") => kind.to_owned(),
        (kind, header) => format!("{kind} in {header}"),
    }
}

// === impl Settings ===

impl Settings {
    async fn save(self, hub: &Hub, output: &mut Output, overwrite: bool) -> Result<(), CliError> {
        let saved = TRIGGERS.save(hub, &self.name, self.body()?, overwrite).await?;
        let Some(feed) = &self.feed else { return saved.tell(output, "") };
        let (name, action) = (Name::parse(&self.name), Name::parse(feed));
        let event = if overwrite { Lifecycle::Update } else { Lifecycle::Create };
        let parameters = self.parameters.object()?;
        let told = call_feed(hub, event, &action, &name, Some(&parameters)).await;
        if let (Err(_), Lifecycle::Create) = (&told, event) {
            // A trigger that nothing fires must not stay.
            hub.ask(delete(&["triggers", &self.name])).await?;
        }
        told?;
        saved.tell(output, &format!(", fired by {action}"))
    }

    fn body(&self) -> Result<Value, CliError> {
        let mut annotations = self.annotations.object();
        if !self.subscribe.is_empty() {
            let patterns = self.subscribe.iter().cloned();
            let subscription: Map<_, _> =
                patterns.map(|(name, pattern)| (name.to_owned(), pattern.into())).collect();
            annotations.insert("subscription".to_owned(), subscription.into());
        }
        if let Some(feed) = &self.feed {
            annotations.insert("feed".to_owned(), Name::parse(feed).full().into());
        }
        let (none, open) = (Parameters::default(), Secrets::default());
        let (parameters, secrets) = match &self.feed {
            Some(_) => (&none, &open),
            None => (&self.parameters, &self.secrets),
        };
        let mut body = members_with(parameters, secrets, &annotations)?;
        if let Some(token) = &self.webhook_bearer {
            body.insert("webhook".to_owned(), json!({"bearer": {"token": token}}));
        }
        if let Some(secret) = &self.webhook_hmac {
            let header = self.signature_header.to_ascii_lowercase();
            let hmac = json!({"hmac": {"secret": secret, "header": header}});
            body.insert("webhook".to_owned(), hmac);
        }
        Ok(body.into())
    }
}
