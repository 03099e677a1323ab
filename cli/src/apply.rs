//! `evoke apply`: makes what a manifest describes; what is already so is left alone.

mod carry_out;
mod check;
mod difference;
mod feed_action;
mod fields;
mod fingerprint;
mod inputs;
mod manifest;
mod mistakes;
mod plan;
mod variables;
mod wanted;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    error::CliError,
    hub::Hub,
    output::{Output, Tone},
};
use fingerprint::Fingerprints;
use plan::{Change, Plan, Step};

pub(crate) use difference::{MASK, OF_THE_HUB, project_of};
pub(crate) use feed_action::{Lifecycle, call as call_feed};
pub(crate) use inputs::wants_long_form;
pub(crate) use manifest::{DEFAULT_PACKAGE, FILE};
pub use mistakes::WrongManifest;
pub(crate) use plan::{all, own_parameters};
pub(crate) use variables::escaped;
pub(crate) use wanted::{Collection, FINGERPRINTS, MANAGED};

/// For its help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  evoke apply -f manifest.yaml --dry-run    show what would change
  evoke apply -f manifest.yaml              make it so; a second time changes nothing
  KAFKA_PASSWORD=… evoke apply -f shop      the manifest.yaml of folder `shop`, with a variable";

/// A manifest to apply.
#[derive(Debug, Args)]
pub struct Apply {
    /// The manifest, in wskdeploy's form, or a folder with `manifest.yaml`.
    #[arg(short = 'f', long, value_name = "FILE", default_value = ".")]
    pub(crate) file: PathBuf,
    /// Show what would change, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take over entities that belong to another project.
    #[arg(long)]
    pub(crate) adopt: bool,
}

impl Apply {
    /// Of a file, with nothing else said.
    pub(crate) fn of(file: &Path) -> Self {
        Self { file: file.to_owned(), dry_run: false, adopt: false }
    }
}

/// Applies manifests, again and again, remembering what is slow to find out.
#[derive(Debug, Default)]
pub(crate) struct Applier {
    fingerprints: Fingerprints,
    adopt: bool,
    /// Files of code that the manifest named when it was read last.
    files: Vec<PathBuf>,
}

/// What one applying came to.
#[derive(Debug)]
pub(crate) struct Applied {
    plan: Plan,
    /// Steps that were done, in the plan's order.
    done: usize,
}

pub(crate) async fn run(hub: &Hub, apply: &Apply, output: &mut Output) -> Result<(), CliError> {
    let mut applier = Applier::new(apply.adopt);
    output.progress("reading the manifest and comparing it with the hub");
    let plan = applier.plan(hub, &apply.file).await;
    output.progress_over();
    let plan = plan?;
    if apply.dry_run {
        return tell_plan(&plan, output);
    }
    let applied = applier.carry_out(hub, plan, output).await;
    output.progress_over();
    let (applied, error) = applied;
    applied.tell(output)?;
    error.map_or(Ok(()), Err)
}

// === impl Applier ===

impl Applier {
    pub(crate) fn new(adopt: bool) -> Self {
        Self { adopt, ..Self::default() }
    }

    /// The manifest and the code that it names, whether they are there or not.
    pub(crate) fn files(&self, file: &Path) -> Vec<PathBuf> {
        self.files.iter().cloned().chain([manifest::file_of(file)]).collect()
    }

    /// Reads the whole manifest and all code, and compares it with the hub.
    #[expect(clippy::disallowed_methods, reason = "a manifest names variables of the environment")]
    pub(crate) async fn plan(&mut self, hub: &Hub, file: &Path) -> Result<Plan, CliError> {
        let lookup = |name: &str| std::env::var(name).ok();
        let read = manifest::read(&manifest::file_of(file), &lookup, &mut self.files);
        let project = read?;
        plan::plan(hub, &project, self.adopt, &mut self.fingerprints).await
    }

    /// Goes entity by entity, up to the first that the hub refuses.
    pub(crate) async fn carry_out(
        &mut self,
        hub: &Hub,
        plan: Plan,
        output: &mut Output,
    ) -> (Applied, Option<CliError>) {
        for (index, step) in plan.steps.iter().enumerate() {
            if step.change != Change::Unchanged {
                output.progress(&format!("{}/{} {}", index + 1, plan.steps.len(), step.entity()));
            }
            let project = plan.project.as_deref();
            let done = carry_out::carry_out(hub, step, project, &mut self.fingerprints).await;
            if let Err(error) = done {
                return (Applied { plan, done: index }, Some(error));
            }
        }
        let done = plan.steps.len();
        (Applied { plan, done }, None)
    }
}

// === impl Applied ===

impl Applied {
    /// A line for each entity.
    pub(crate) fn tell(&self, output: &mut Output) -> Result<(), CliError> {
        let steps = self.plan.steps.iter().take(self.done);
        if output.is_json() {
            let all = steps.map(|step| step.to_json(step.change.done()));
            return output.json(&all.collect());
        }
        for step in steps {
            tell_step(step, step.change.done(), output)?;
        }
        Ok(())
    }

    /// Those that were changed, such as `action a, rule r`.
    pub(crate) fn changed(&self) -> Vec<String> {
        let steps = self.plan.steps.iter().take(self.done);
        let is_change = |step: &&Step| !matches!(step.change, Change::Unchanged | Change::Keep(_));
        let line = |step: &Step| format!("{} {}", step.change.done(), step.entity());
        steps.filter(is_change).map(line).collect()
    }
}

fn tell_plan(plan: &Plan, output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        let steps: Value = plan.steps.iter().map(|step| step.to_json(step.change.word())).collect();
        return output.json(&json!({"project": plan.project, "changes": steps}));
    }
    for step in &plan.steps {
        tell_step(step, step.change.word(), output)?;
        if let Change::Update(fields) = &step.change {
            for field in fields {
                output.line(&format!("             {field}"))?;
            }
        }
    }
    let count = |word: &str| plan.steps.iter().filter(|step| step.change.word() == word).count();
    let counts = ["create", "update", "delete", "unchanged"].map(|word| {
        format!("{} {}{word}", count(word), if word == "unchanged" { "" } else { "to " })
    });
    output.line(&format!("{}; nothing was changed", counts.join(", ")))
}

fn tell_step(step: &Step, word: &str, output: &mut Output) -> Result<(), CliError> {
    let tone = match step.change {
        Change::Create | Change::Update(_) => Tone::Good,
        Change::Delete => Tone::Bad,
        Change::Unchanged | Change::Keep(_) => Tone::Faint,
    };
    let why = match &step.change {
        Change::Keep(why) => format!(" ({why})"),
        _ => String::new(),
    };
    let word = output.paint(tone, &format!("{word:9}"));
    output.line(&format!("{word}  {}{why}", step.entity()))
}
