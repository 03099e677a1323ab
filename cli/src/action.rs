//! `evoke action …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use crate::{
    code,
    error::CliError,
    examples,
    hub::{Answer, Hub, delete, get, post, put},
    name::{Name, number, text, with_package},
    output::Output,
    page::Page,
    parameters::{Annotations, Parameters, Secrets, members_with, pairs_line, value_of},
    time::date,
};

/// What to do with actions.
#[derive(Debug, Subcommand)]
pub enum ActionCommand {
    /// Make an action from a file.
    #[command(after_help = examples::ACTION_CREATE)]
    Create(Create),
    /// Change an action, or make it where it is missing.
    #[command(after_help = examples::ACTION_UPDATE)]
    Update(Update),
    /// Show an action.
    #[command(after_help = examples::ACTION_GET)]
    Get {
        /// Its name: `a`, `package/a` or `/namespace/a`.
        name: String,
        /// Print its code and nothing else.
        #[arg(long)]
        code: bool,
    },
    /// List actions, the newest first.
    #[command(after_help = examples::ACTION_LIST)]
    List(Page),
    /// Run an action.
    #[command(after_help = examples::ACTION_INVOKE)]
    Invoke(Invoke),
    /// Delete an action.
    #[command(after_help = examples::ACTION_DELETE)]
    Delete {
        /// Its name.
        name: String,
    },
}

/// A new action.
#[derive(Debug, Args)]
pub struct Create {
    /// Its name: `a` or `package/a`.
    name: String,
    /// Its code: .js, .py, or a folder or an archive with --kind.
    file: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

/// Changes of an action.
#[derive(Debug, Args)]
pub struct Update {
    /// Its name.
    name: String,
    /// New code; the old stays where none is given.
    file: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
struct Settings {
    /// Kind, such as `nodejs:default`; told by .js and .py.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Function to call, `main` where not given.
    #[arg(long, value_name = "FUNCTION")]
    main: Option<String>,
    /// Longest run, in milliseconds.
    #[arg(short = 't', long, value_name = "MS")]
    timeout: Option<u64>,
    /// Memory, in MB.
    #[arg(short = 'm', long, value_name = "MB")]
    memory: Option<u64>,
    /// Longest log, in MB.
    #[arg(short = 'l', long, value_name = "MB")]
    logsize: Option<u64>,
    #[command(flatten)]
    parameters: Parameters,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    annotations: Annotations,
}

/// One run.
#[derive(Debug, Args)]
pub struct Invoke {
    /// Its name.
    name: String,
    /// Wait for the end and print the activation.
    #[arg(short = 'b', long)]
    blocking: bool,
    /// Wait for the end and print the result only.
    #[arg(short = 'r', long)]
    result: bool,
    #[command(flatten)]
    parameters: Parameters,
}

// === impl ActionCommand ===

impl ActionCommand {
    pub(crate) async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Create(create) => {
                let body = create.settings.body(Some(&create.file))?;
                save(hub, output, &create.name, (body, false)).await
            }
            Self::Update(update) => {
                let body = update.settings.body(update.file.as_ref())?;
                save(hub, output, &update.name, (body, true)).await
            }
            Self::Get { name, code } => show(hub, output, &Name::parse(&name), code).await,
            Self::List(page) => list(hub, output, &page).await,
            Self::Invoke(invoke) => invoke.run(hub, output).await,
            Self::Delete { name } => {
                let name = Name::parse(&name);
                let gone = hub.ask(delete(&name.path("actions")).of(&name.namespace)).await?;
                output.value_or_line(&gone, &format!("ok: deleted action {name}"))
            }
        }
    }
}

async fn save(
    hub: &Hub,
    output: &mut Output,
    name: &str,
    (body, overwrite): (Value, bool),
) -> Result<(), CliError> {
    let name = Name::parse(name);
    let request = put(&name.path("actions")).of(&name.namespace).query("overwrite", overwrite);
    let mut saved = hub.ask(request.body(body)).await?;
    if let Some(exec) = saved.get_mut("exec").and_then(Value::as_object_mut) {
        exec.remove("code");
    }
    let verb = if overwrite { "updated" } else { "created" };
    let kind = saved.get("exec").map(|exec| text(exec, "kind")).unwrap_or_default();
    let version = text(&saved, "version");
    let line = format!("ok: {verb} action {name} ({kind}, version {version})");
    output.value_or_line(&saved, &line)
}

async fn show(hub: &Hub, output: &mut Output, name: &Name, code: bool) -> Result<(), CliError> {
    let request = get(&name.path("actions")).of(&name.namespace).query("code", code);
    let action = hub.ask(request).await?;
    if output.is_json() {
        return output.json(&action);
    }
    let exec = action.get("exec").cloned().unwrap_or_default();
    if code {
        return output.line(text(&exec, "code"));
    }
    let limit = |name: &str| {
        let limit = action.get("limits").and_then(|limits| number(limits, name));
        limit.map(|limit| limit.to_string()).unwrap_or_default()
    };
    let limits = format!(
        "{} ms, {} MB memory, {} MB logs",
        limit("timeout"),
        limit("memory"),
        limit("logs")
    );
    let rows = [
        ("action", format!("/{}/{}", text(&action, "namespace"), text(&action, "name"))),
        ("kind", text(&exec, "kind").to_owned()),
        ("version", text(&action, "version").to_owned()),
        ("updated", number(&action, "updated").map(date).unwrap_or_default()),
        ("limits", limits),
        ("parameters", pairs_line(action.get("parameters"))),
        ("annotations", pairs_line(action.get("annotations"))),
    ];
    output.card(&rows)
}

async fn list(hub: &Hub, output: &mut Output, page: &Page) -> Result<(), CliError> {
    let actions = hub.ask(page.ask(get(&["actions"]))).await?;
    if output.is_json() {
        return output.json(&actions);
    }
    let kind = |action: &Value| {
        let kind = action.get("annotations").and_then(|list| value_of(list, "exec"));
        kind.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let rows: Vec<_> = actions
        .as_array()
        .into_iter()
        .flatten()
        .map(|action| {
            let updated = number(action, "updated").map(date).unwrap_or_default();
            vec![with_package(action), kind(action), text(action, "version").to_owned(), updated]
        })
        .collect();
    output.table(&["name", "kind", "version", "updated"], &rows)
}

// === impl Settings ===

impl Settings {
    fn body(&self, file: Option<&PathBuf>) -> Result<Value, CliError> {
        let mut body = members_with(&self.parameters, &self.secrets, &self.annotations.object())?;
        if let Some(file) = file {
            let exec = code::exec(file, self.kind.as_deref(), self.main.as_deref())?;
            body.insert("exec".to_owned(), exec);
        } else if self.kind.is_some() || self.main.is_some() {
            let text = "--kind and --main go with code: name the file too";
            return Err(CliError::Usage(text.to_owned()));
        }
        let limits = [("timeout", self.timeout), ("memory", self.memory), ("logs", self.logsize)];
        let limits: Map<_, _> = limits
            .into_iter()
            .filter_map(|(name, limit)| Some((name.to_owned(), limit?.into())))
            .collect();
        if !limits.is_empty() {
            body.insert("limits".to_owned(), limits.into());
        }
        Ok(body.into())
    }
}

// === impl Invoke ===

impl Invoke {
    async fn run(self, hub: &Hub, output: &mut Output) -> Result<(), CliError> {
        let name = Name::parse(&self.name);
        let blocking = self.blocking || self.result;
        let request = post(&name.path("actions"))
            .of(&name.namespace)
            .query("blocking", blocking)
            .body(self.parameters.object()?.into());
        let answer = hub.answer(request).await?;
        let id = text(&answer.body, "activationId").to_owned();
        if answer.status.as_u16() == 202 {
            if blocking {
                output.remark("the function still runs after the wait");
            }
            let line = format!("ok: invoked {name} with id {id}");
            return output.value_or_line(&answer.body, &line);
        }
        if !is_the_functions(&answer) {
            return answer.success().map(|_| ());
        }
        let response = answer.body.get("response");
        let shown = match response.and_then(|response| response.get("result")) {
            Some(result) if self.result => result,
            _ => &answer.body,
        };
        output.json(shown)?;
        match response.map(|response| (response.get("success"), text(response, "status"))) {
            Some((Some(Value::Bool(false)), status)) => Err(failed(status, &id)),
            _ if answer.status.is_success() => Ok(()),
            _ => Err(failed("an error", &id)),
        }
    }
}

/// Whether the answer is the function's and not the hub's own error.
fn is_the_functions(answer: &Answer) -> bool {
    answer.status.is_success() || answer.body.get("response").is_some()
}

fn failed(status: &str, id: &str) -> CliError {
    CliError::Function(format!(
        "the function ended with {status}; its logs: `evoke activation logs {id}`"
    ))
}
