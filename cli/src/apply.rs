//! `evoke apply`: makes what a manifest describes; what is already so is left alone.

mod manifest;
mod plan;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    error::CliError,
    hub::{Hub, get, post, put},
    output::{Output, Tone},
};
use plan::{Collection, Wanted};

/// A manifest to apply.
#[derive(Debug, Args)]
pub struct Apply {
    /// The manifest, in wskdeploy's form.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// What was done about one entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Created,
    Updated,
    Unchanged,
}

/// Reads the whole manifest and all code before anything is changed, then goes entity by entity.
pub(crate) async fn apply(hub: &Hub, file: &Path, output: &mut Output) -> Result<(), CliError> {
    let manifest = manifest::read(file)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let wanted = plan::wanted(&manifest, folder)?;
    let mut all = Vec::new();
    for entity in &wanted {
        let done = make(hub, entity).await?;
        all.push(json!({"entity": entity.to_string(), "done": done.word()}));
        if !output.is_json() {
            let word = output.paint(done.tone(), &format!("{:9}", done.word()));
            output.line(&format!("{word}  {entity}"))?;
        }
    }
    if output.is_json() { output.json(&Value::Array(all)) } else { Ok(()) }
}

async fn make(hub: &Hub, entity: &Wanted) -> Result<Done, CliError> {
    let path = entity.path();
    let current = match hub.ask(get(&path)).await {
        Ok(current) => Some(current),
        Err(CliError::NotFound(_)) => None,
        Err(error) => return Err(error),
    };
    let done = match &current {
        Some(current) if entity.is_so(current) => Done::Unchanged,
        Some(_) => Done::Updated,
        None => Done::Created,
    };
    if done != Done::Unchanged {
        let request = put(&path).body(entity.body.clone());
        let request = match entity.collection {
            Collection::Feeds => request,
            Collection::Packages
            | Collection::Actions
            | Collection::Triggers
            | Collection::Rules => request.query("overwrite", true),
        };
        hub.ask(request).await?;
    }
    let is_off = current.as_ref().and_then(|rule| rule.get("status")) == Some(&"inactive".into());
    if entity.collection == Collection::Rules && is_off {
        hub.ask(post(&path).body(json!({"status": "active"}))).await?;
        return Ok(Done::Updated);
    }
    Ok(done)
}

// === impl Done ===

impl Done {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Created | Self::Updated => Tone::Good,
            Self::Unchanged => Tone::Faint,
        }
    }
}
