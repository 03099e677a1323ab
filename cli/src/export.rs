//! `evoke export`: a namespace as a manifest and files of code, which apply elsewhere.

mod describe;
mod document;
mod placeholders;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::{
    apply::{Collection, DEFAULT_PACKAGE, FILE, all, own_parameters, project_of},
    error::CliError,
    hub::{Hub, get},
    name::{Name, text, with_package},
    output::Output,
};
use describe::{Code, Described};
use document::Document;
use placeholders::Placeholders;

/// Requests at once.
const AT_ONCE: usize = 8;
/// For its help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  evoke export backup                       the whole namespace, into folder `backup`
  evoke export shop --project shop          what belongs to one project
  evoke apply -f backup --host https://hub.example:3233 --key UUID:KEY";

/// Where to write, and what.
#[derive(Debug, Args)]
pub struct Export {
    /// Folder for `manifest.yaml` and the code; it is made where it is missing.
    folder: PathBuf,
    /// Only what belongs to this project.
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Write over a manifest that is there.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(hub: &Hub, export: &Export, output: &mut Output) -> Result<(), CliError> {
    let file = export.folder.join(FILE);
    if file.exists() && !export.force {
        let text = format!("`{}` is there: name another folder, or give --force", file.display());
        return Err(CliError::Usage(text));
    }
    let entities = entities(hub, export.project.as_deref(), output).await?;
    output.progress_over();
    let mut remarks = Vec::new();
    let project = match &export.project {
        Some(project) => Some(project.clone()),
        None => common_project(&entities, &mut remarks),
    };
    let mut placeholders = Placeholders::default();
    let described = describe::describe(hub, &entities, &mut placeholders, &mut remarks).await?;
    let codes = described.codes.len();
    write(&export.folder, &file, project.as_deref(), described)?;
    tell(&file, (entities.len(), codes), &placeholders.variables(), &remarks, output)
}

/// Every entity, whole, each with its collection.
async fn entities(
    hub: &Hub,
    project: Option<&str>,
    output: &mut Output,
) -> Result<Vec<(Collection, Value)>, CliError> {
    let (mut found, mut packages) = (Vec::new(), Vec::new());
    for collection in Collection::ALL {
        output.progress(&format!("reading {}", collection.word()));
        let listed = all(hub, collection).await?;
        let is_meant = |entity: &Value| project.is_none() || project_of(entity) == project;
        // A feed that an action made belongs to its trigger, which names the action.
        let is_own = |entity: &Value| entity.get("feedAction").is_none();
        let is_exported = |entity: &Value| is_meant(entity) && is_own(entity);
        let listed: Vec<Value> = listed.into_iter().filter(is_exported).collect();
        let whole = stream::iter(listed).map(|entity| whole(hub, collection, entity));
        let mut whole: Vec<Value> = whole.buffered(AT_ONCE).try_collect().await?;
        whole.sort_by_key(with_package);
        if collection == Collection::Packages {
            packages.clone_from(&whole);
        }
        let own = whole.into_iter().map(|entity| own_parameters(entity, &packages, None));
        found.extend(own.map(|entity| (collection, entity)));
    }
    Ok(found)
}

async fn whole(hub: &Hub, collection: Collection, listed: Value) -> Result<Value, CliError> {
    let name = Name::parse(&with_package(&listed));
    hub.ask(get(&name.path(collection.word()))).await
}

/// The project that all belong to, if there is one.
fn common_project(entities: &[(Collection, Value)], remarks: &mut Vec<String>) -> Option<String> {
    let mut projects: Vec<_> = entities.iter().map(|(_, entity)| project_of(entity)).collect();
    projects.sort_unstable();
    projects.dedup();
    match projects.as_slice() {
        [project] => project.map(str::to_owned),
        _ if projects.iter().any(Option::is_some) => {
            let names: Vec<_> = projects.iter().flatten().copied().collect();
            remarks.push(format!(
                "not all belongs to one project ({}), so the manifest names none; --project \
                 exports one",
                names.join(", ")
            ));
            None
        }
        _ => None,
    }
}

fn write(
    folder: &Path,
    file: &Path,
    project: Option<&str>,
    described: Described,
) -> Result<(), CliError> {
    let failed = |path: &Path| {
        let what = format!("write `{}`", path.display());
        move |source| CliError::Local { what, source }
    };
    let Described { packages, codes } = described;
    let packages = Document::Map(
        packages.into_iter().map(|(name, package)| (name, package.document())).collect(),
    );
    let top = match project {
        None => vec![("packages".to_owned(), packages)],
        Some(name) => {
            let inside = vec![
                ("name".to_owned(), Document::Value(name.into())),
                ("packages".to_owned(), packages),
            ];
            vec![("project".to_owned(), Document::Map(inside))]
        }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for Code { path, bytes } in codes {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        fs::write(&path, bytes).map_err(failed(&path))?;
    }
    fs::write(file, Document::Map(top).to_yaml()).map_err(failed(file))
}

fn tell(
    file: &Path,
    (entities, codes): (usize, usize),
    variables: &[(String, String)],
    remarks: &[String],
    output: &mut Output,
) -> Result<(), CliError> {
    let file = file.display();
    if output.is_json() {
        let variables: Value =
            variables.iter().map(|(name, of)| json!({"name": name, "of": of})).collect();
        return output.json(&json!({
            "file": file.to_string(), "entities": entities, "codes": codes,
            "variables": variables, "remarks": remarks,
        }));
    }
    let entities = match entities {
        1 => "1 entity".to_owned(),
        many => format!("{many} entities"),
    };
    let codes = match codes {
        1 => "1 file".to_owned(),
        many => format!("{many} files"),
    };
    output.line(&format!("ok: exported {entities} to {file}, with {codes} of code"))?;
    if !variables.is_empty() {
        output.line("secrets are not exported; set these variables where you apply it:")?;
        let width = variables.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, of) in variables {
            output.line(&format!("  {name:width$}  {of}"))?;
        }
    }
    for remark in remarks {
        output.line(&format!("note: {remark}"))?;
    }
    Ok(())
}

/// The package that an entity is described in: its own, or the one that stands for none.
fn package_of(entity: &Value) -> String {
    let package = text(entity, "namespace").split_once('/').map(|(_, package)| package.to_owned());
    package.unwrap_or_else(|| DEFAULT_PACKAGE.to_owned())
}
