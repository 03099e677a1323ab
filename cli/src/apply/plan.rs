//! What applying a manifest would do: each entity compared with the hub's, mistakes that only the
//! hub can tell, and what a managed project no longer has.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::{
    check,
    difference::{FieldChange, difference, project_of},
    fingerprint::Fingerprints,
    manifest::Project,
    mistakes::Mistakes,
    wanted::{Collection, Wanted},
};
use crate::{
    error::CliError,
    hub::{Hub, MAX_LIST, get},
    name::{Name, text, with_package},
    parameters::value_of,
};

/// Requests at once.
pub(super) const AT_ONCE: usize = 8;
/// Most pages of a list that are read: 200 entities each.
const MAX_PAGES: usize = 1_000;

/// What is to be done about one entity.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) collection: Collection,
    pub(super) name: Name,
    pub(super) change: Change,
    /// As it shall be; none where it is to go.
    pub(super) wanted: Option<Wanted>,
    /// As the hub has it.
    pub(super) current: Option<Value>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Update(Vec<FieldChange>),
    Unchanged,
    Delete,
    /// It would go, but holds what is not the project's.
    Keep(String),
}

/// All steps: what is wanted, in the order in which it can be made, then what goes. A rule that got
/// another name is there before the former goes, so that no event comes in between.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) project: Option<String>,
}

/// Compares the manifest with the hub.
///
/// # Errors
/// [`CliError::Manifest`] with every mistake; what the hub answers.
pub(super) async fn plan(
    hub: &Hub,
    project: &Project,
    adopt: bool,
    fingerprints: &mut Fingerprints,
) -> Result<Plan, CliError> {
    let mut mistakes = Mistakes::default();
    let asked = stream::iter(&project.wanted).map(|wanted| current(hub, wanted));
    let found: Vec<Found> = asked.buffered(AT_ONCE).try_collect().await?;
    let packages: Vec<Value> = project
        .wanted
        .iter()
        .zip(&found)
        .filter_map(|(wanted, found)| match found {
            Found::There(one) if wanted.collection == Collection::Packages => Some(one.clone()),
            _ => None,
        })
        .collect();
    let mut steps = Vec::new();
    for (wanted, found) in project.wanted.iter().zip(found) {
        let current = match found {
            Found::There(current) => Some(own_parameters(current, &packages, Some(wanted))),
            Found::Absent => None,
            Found::OfAnotherKind => {
                mistakes.add(&wanted.at, "the name is taken by an entity of another kind");
                None
            }
        };
        let other = current.as_ref().and_then(project_of);
        if let (Some(other), false) =
            (other.filter(|other| Some(*other) != project.name.as_deref()), adopt)
        {
            let text = format!(
                "belongs to project `{other}`: give it another name, or take it over with --adopt"
            );
            mistakes.add(&wanted.at, text);
        }
        let change = match &current {
            None => Change::Create,
            Some(current) => {
                match difference(wanted, current, project.name.as_deref(), fingerprints) {
                    fields if fields.is_empty() => Change::Unchanged,
                    fields => Change::Update(fields),
                }
            }
        };
        let (collection, name) = (wanted.collection, wanted.name.clone());
        steps.push(Step { collection, name, change, wanted: Some(wanted.clone()), current });
    }
    check::check(hub, &steps, &mut mistakes).await?;
    if !mistakes.is_empty() {
        return Err(mistakes.into_error(project.file.clone()));
    }
    if let Some(name) = &project.name {
        steps.append(&mut gone(hub, name, &project.wanted).await?);
    }
    Ok(Plan { steps, project: project.name.clone() })
}

/// An action without the parameters that it only has from its package, as the hub shows it; those
/// that are wanted of it stay.
pub(crate) fn own_parameters(
    mut action: Value,
    packages: &[Value],
    wanted: Option<&Wanted>,
) -> Value {
    let namespace = text(&action, "namespace").split_once('/');
    let package =
        namespace.and_then(|(_, name)| packages.iter().find(|one| text(one, "name") == name));
    let inherited = package.and_then(|package| package.get("parameters")?.as_array()).cloned();
    let wanted = wanted.and_then(|wanted| wanted.body.get("parameters"));
    let parameters = action.get_mut("parameters").and_then(Value::as_array_mut);
    if let (Some(inherited), Some(parameters)) = (inherited, parameters) {
        let is_wanted =
            |one: &Value| wanted.is_some_and(|wanted| value_of(wanted, text(one, "key")).is_some());
        parameters.retain(|one| is_wanted(one) || !inherited.contains(one));
    }
    action
}

enum Found {
    There(Value),
    Absent,
    OfAnotherKind,
}

async fn current(hub: &Hub, wanted: &Wanted) -> Result<Found, CliError> {
    match hub.ask(get(&wanted.path())).await {
        Ok(current) => Ok(Found::There(current)),
        Err(CliError::NotFound(_)) => Ok(Found::Absent),
        Err(CliError::Conflict(_)) => Ok(Found::OfAnotherKind),
        Err(error) => Err(error),
    }
}

/// What belongs to the project and is not in its manifest any more.
async fn gone(hub: &Hub, project: &str, wanted: &[Wanted]) -> Result<Vec<Step>, CliError> {
    let mut steps = Vec::new();
    for collection in [
        Collection::Feeds,
        Collection::Rules,
        Collection::Triggers,
        Collection::Actions,
        Collection::Packages,
    ] {
        for entity in all(hub, collection).await? {
            let name = Name::parse(&with_package(&entity));
            let is_wanted =
                wanted.iter().any(|one| one.collection == collection && one.name == name);
            if project_of(&entity) != Some(project) || is_wanted {
                continue;
            }
            let change = match collection {
                Collection::Packages => package_goes(hub, &name, &steps).await?,
                _ => Change::Delete,
            };
            steps.push(Step { collection, name, change, wanted: None, current: Some(entity) });
        }
    }
    Ok(steps)
}

/// A package goes once nothing is in it.
async fn package_goes(hub: &Hub, name: &Name, going: &[Step]) -> Result<Change, CliError> {
    let package = hub.ask(get(&name.path("packages"))).await?;
    let inside = package.get("actions").and_then(Value::as_array).into_iter().flatten();
    let left: Vec<String> = inside
        .map(|action| format!("{name}/{}", text(action, "name")))
        .filter(|action| {
            let goes = |step: &Step| {
                step.collection == Collection::Actions && step.name.to_string() == *action
            };
            !going.iter().any(goes)
        })
        .collect();
    if left.is_empty() {
        return Ok(Change::Delete);
    }
    Ok(Change::Keep(format!("not the project's: {}", left.join(", "))))
}

/// Every entity of a collection, as lists show them.
pub(crate) async fn all(hub: &Hub, collection: Collection) -> Result<Vec<Value>, CliError> {
    let mut all = Vec::new();
    for page in 0..MAX_PAGES {
        let request =
            get(&[collection.word()]).query("limit", MAX_LIST).query("skip", page * MAX_LIST);
        let Value::Array(mut listed) = hub.ask(request).await? else { break };
        let is_last = listed.len() < MAX_LIST;
        all.append(&mut listed);
        if is_last {
            break;
        }
    }
    Ok(all)
}

// === impl Change ===

impl Change {
    /// In a plan.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update(_) => "update",
            Self::Unchanged => "unchanged",
            Self::Delete => "delete",
            Self::Keep(_) => "keep",
        }
    }

    /// Once it is done.
    pub(super) fn done(&self) -> &'static str {
        match self {
            Self::Create => "created",
            Self::Update(_) => "updated",
            Self::Unchanged => "unchanged",
            Self::Delete => "deleted",
            Self::Keep(_) => "kept",
        }
    }
}

// === impl Step ===

impl Step {
    pub(super) fn entity(&self) -> String {
        format!("{} {}", self.collection.noun(), self.name)
    }

    /// For programs; `word` says what is, or was, done.
    pub(super) fn to_json(&self, word: &str) -> Value {
        let mut shown = json!({
            "collection": self.collection.word(),
            "name": self.name.to_string(),
            "entity": self.entity(),
            "done": word,
        });
        let fields: Option<Value> = match &self.change {
            Change::Update(fields) => Some(fields.iter().map(field_json).collect()),
            _ => None,
        };
        if let (Some(fields), Some(members)) = (fields, shown.as_object_mut()) {
            members.insert("fields".to_owned(), fields);
        }
        shown
    }
}

fn field_json(change: &FieldChange) -> Value {
    match &change.values {
        Some((from, to)) => json!({"field": change.field, "from": from, "to": to}),
        None => json!({"field": change.field}),
    }
}
