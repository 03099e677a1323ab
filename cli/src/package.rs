//! `evoke package …`

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::{
    entity::Entities,
    error::CliError,
    examples,
    hub::{Hub, delete, get},
    name::{number, text},
    output::Output,
    page::Page,
    parameters::{Annotations, Parameters, Secrets, members_with, pairs_line},
    time::date,
};

const PACKAGES: Entities = Entities("packages");

/// What to do with packages.
#[derive(Debug, Subcommand)]
pub enum PackageCommand {
    /// Make a package.
    #[command(after_help = examples::PACKAGE_CREATE)]
    Create(Settings),
    /// Change a package, or make it where it is missing.
    #[command(after_help = examples::PACKAGE_UPDATE)]
    Update(Settings),
    /// Show a package and its actions.
    #[command(after_help = examples::PACKAGE_GET)]
    Get {
        /// Its name.
        name: String,
    },
    /// List packages, the newest first.
    #[command(after_help = examples::PACKAGE_LIST)]
    List(Page),
    /// Delete a package.
    #[command(after_help = examples::PACKAGE_DELETE)]
    Delete {
        /// Its name.
        name: String,
        /// Delete its actions too.
        #[arg(long)]
        force: bool,
    },
}

/// A package as it shall be.
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
}

// === impl PackageCommand ===

impl PackageCommand {
    pub(crate) async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Create(settings) => settings.save(hub, output, false).await,
            Self::Update(settings) => settings.save(hub, output, true).await,
            Self::Get { name } => show(hub, output, &name).await,
            Self::List(page) => PACKAGES.list(hub, output, &page).await,
            Self::Delete { name, force: false } => PACKAGES.delete(hub, output, &name).await,
            Self::Delete { name, force: true } => {
                let gone = hub.ask(delete(&["packages", &name]).query("force", true)).await?;
                output.value_or_line(&gone, &format!("ok: deleted package {name} and its actions"))
            }
        }
    }
}

async fn show(hub: &Hub, output: &mut Output, name: &str) -> Result<(), CliError> {
    let package = hub.ask(get(&["packages", name])).await?;
    if output.is_json() {
        return output.json(&package);
    }
    let actions = package.get("actions").and_then(Value::as_array).into_iter().flatten();
    output.card(&[
        ("package", format!("/{}/{}", text(&package, "namespace"), text(&package, "name"))),
        ("version", text(&package, "version").to_owned()),
        ("updated", number(&package, "updated").map(date).unwrap_or_default()),
        ("actions", actions.map(|action| text(action, "name")).collect::<Vec<_>>().join(" ")),
        ("parameters", pairs_line(package.get("parameters"))),
        ("annotations", pairs_line(package.get("annotations"))),
    ])
}

impl Settings {
    async fn save(self, hub: &Hub, output: &mut Output, overwrite: bool) -> Result<(), CliError> {
        let body = members_with(&self.parameters, &self.secrets, &self.annotations.object())?;
        PACKAGES.save(hub, &self.name, body.into(), overwrite).await?.tell(output, "")
    }
}
