//! `evoke runtimes`

use clap::Args;
use serde_json::Value;

use crate::{error::CliError, hub::Hub, name::text, output::Output};

/// Kinds of functions that the hub can run.
#[derive(Debug, Args)]
pub struct Runtimes {}

pub(crate) async fn list(hub: &Hub, output: &mut Output) -> Result<(), CliError> {
    let about = hub.about().await?;
    let runtimes = about.get("runtimes").cloned().unwrap_or_default();
    if output.is_json() {
        return output.json(&runtimes);
    }
    let families = runtimes.as_object().into_iter().flatten();
    let rows: Vec<_> = families
        .flat_map(|(family, kinds)| {
            kinds.as_array().into_iter().flatten().map(move |kind| row(family, kind))
        })
        .collect();
    output.table(&["kind", "family", "default"], &rows)
}

fn row(family: &str, kind: &Value) -> Vec<String> {
    let is = |member: &str| kind.get(member) == Some(&Value::Bool(true));
    let mark = if is("default") { "yes" } else { "" };
    let mark = if is("deprecated") { "deprecated" } else { mark };
    vec![text(kind, "kind").to_owned(), family.to_owned(), mark.to_owned()]
}
