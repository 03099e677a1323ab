//! `evoke namespace …`

use clap::Subcommand;
use serde_json::Value;

use crate::{
    error::CliError,
    hub::{Hub, get},
    output::Output,
};

/// What to do with the namespace of the key.
#[derive(Debug, Subcommand)]
pub enum NamespaceCommand {
    /// Show its name and its caps, and how much of them is used.
    #[command(after_help = crate::examples::NAMESPACE_GET)]
    Get,
}

// === impl NamespaceCommand ===

impl NamespaceCommand {
    pub(crate) async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Get => show(hub, output).await,
        }
    }
}

async fn show(hub: &Hub, output: &mut Output) -> Result<(), CliError> {
    let limits = hub.ask(get(&["limits"])).await?;
    if output.is_json() {
        return output.json(&limits);
    }
    let caps = limits.get("caps").and_then(Value::as_object);
    let rows: Vec<_> = caps.into_iter().flatten().map(|(cap, one)| row(cap, one)).collect();
    output.table(&["cap", "used", "most"], &rows)
}

fn row(cap: &str, one: &Value) -> Vec<String> {
    let number = |member| one.get(member).map(ToString::to_string).unwrap_or_default();
    vec![cap.to_owned(), number("used"), number("most")]
}
