//! Reading a manifest whole: wskdeploy's form, with feeds, delivery, subscriptions and webhooks of
//! ours. Every mistake is told at once, and nothing is asked of the hub.

mod action;
mod connections;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use evoke_schemas::EntityName;

use super::{
    fields::{self, Fields},
    inputs,
    mistakes::{At, Mistakes},
    variables::{self, Lookup},
    wanted::{Collection, Wanted},
};
use crate::{
    error::CliError,
    name::Name,
    yaml::{self, Node},
};

/// wskdeploy's name for "no package".
pub(crate) const DEFAULT_PACKAGE: &str = "default";
/// Name of the manifest in a folder.
pub(crate) const FILE: &str = "manifest.yaml";

/// What a manifest describes.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) file: PathBuf,
    /// Its name, where it has one: then it is managed.
    pub(super) name: Option<String>,
    /// In the order in which they can be made.
    pub(super) wanted: Vec<Wanted>,
}

/// What reading has come to.
struct Reading<'a> {
    folder: &'a Path,
    wanted: Vec<Wanted>,
    /// Code that is named, whether it is there or not.
    files: Vec<PathBuf>,
    mistakes: Mistakes,
}

/// The manifest that is meant: the file, or `manifest.yaml` of a folder.
pub(super) fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(FILE) } else { path.to_owned() }
}

/// Reads a manifest and all code that it names. `files` becomes the code's, unless the manifest is
/// no YAML.
///
/// # Errors
/// A file that cannot be read; [`CliError::Manifest`] with every mistake.
pub(super) fn read(
    file: &Path,
    lookup: Lookup<'_>,
    files: &mut Vec<PathBuf>,
) -> Result<Project, CliError> {
    let text = fs::read_to_string(file).map_err(|error| CliError::read(file, error))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut reading =
        Reading { folder, wanted: Vec::new(), files: Vec::new(), mistakes: Mistakes::default() };
    let top = At { line: 1, path: String::new() };
    let mut root = match yaml::parse(&text) {
        Ok(root) => root,
        Err(error) => {
            let at = At { line: error.line, path: String::new() };
            reading.mistakes.add(&at, format!("no YAML: {}", error.text));
            return Err(reading.mistakes.into_error(file.to_owned()));
        }
    };
    fields::twice(&root, &top, &mut reading.mistakes);
    variables::fill(&mut root, &top, lookup, &mut reading.mistakes);
    let name = reading.whole(&root, &top);
    let Reading { mut wanted, mut mistakes, .. } = reading;
    *files = reading.files;
    same_names(&wanted, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(mistakes.into_error(file.to_owned()));
    }
    wanted.sort_by_key(|entity| entity.collection);
    Ok(Project { file: file.to_owned(), name, wanted })
}

/// Actions without package, packages, triggers and rules share their names; feeds have their own.
fn same_names(wanted: &[Wanted], mistakes: &mut Mistakes) {
    let mut taken: BTreeMap<(bool, String), &Wanted> = BTreeMap::new();
    for entity in wanted {
        let is_feed = entity.collection == Collection::Feeds;
        let key = (is_feed, entity.name.to_string());
        match taken.get(&key) {
            // Of one map: that it is there twice has been told.
            Some(other) if other.at.path == entity.at.path => {}
            Some(other) => {
                let line = other.at.line;
                mistakes.add(&entity.at, format!("the name is taken: {other}, line {line}"));
            }
            None => drop(taken.insert(key, entity)),
        }
    }
}

// === impl Reading ===

impl Reading<'_> {
    /// The name of the project, if it has one.
    fn whole(&mut self, root: &Node, top: &At) -> Option<String> {
        let mut fields = Fields::of(root, top, &mut self.mistakes)?;
        let project = fields.any("project");
        let packages = fields.map("packages", &mut self.mistakes);
        if project.is_none() && packages.is_empty() {
            self.mistakes.add(top, "neither `project` nor `packages` is there");
        }
        fields.finish(&mut self.mistakes);
        let name = project.and_then(|(node, at)| self.project(node, &at));
        for (name, node, at) in packages {
            self.package(name, node, &at);
        }
        name
    }

    fn project(&mut self, node: &Node, at: &At) -> Option<String> {
        let mut fields = Fields::of(node, at, &mut self.mistakes)?;
        let name = fields.text("name", &mut self.mistakes);
        let _version = fields.text("version", &mut self.mistakes);
        for (name, node, at) in fields.map("packages", &mut self.mistakes) {
            self.package(name, node, &at);
        }
        fields.finish(&mut self.mistakes);
        name.map(|(name, _)| name)
    }

    fn package(&mut self, name: &str, node: &Node, at: &At) {
        let Some(mut fields) = Fields::of(node, at, &mut self.mistakes) else { return };
        let is_default = name == DEFAULT_PACKAGE;
        let mut package = Wanted::new(Collection::Packages, Name::parse(name), at, node);
        let inputs = inputs::of(&mut fields, &mut self.mistakes);
        package.annotations = inputs::annotations(&mut fields, &mut self.mistakes);
        let is_public = fields.flag("public", &mut self.mistakes);
        for described in ["version", "license"] {
            let _described = fields.text(described, &mut self.mistakes);
        }
        if is_default {
            for member in ["inputs", "annotations", "public"] {
                if fields.any(member).is_some() {
                    let text = "package `default` stands for no package: it cannot have this";
                    self.mistakes.add(&package.place(member), text);
                }
            }
        } else {
            self.name(name, at);
            package.body.insert("parameters".to_owned(), inputs);
            package.body.insert("publish".to_owned(), is_public.unwrap_or(false).into());
            self.wanted.push(package);
        }
        let package = (!is_default).then_some(name);
        for (name, node, at) in fields.map("actions", &mut self.mistakes) {
            self.action(package, name, node, &at);
        }
        for (name, node, at) in fields.map("triggers", &mut self.mistakes) {
            self.trigger(name, node, &at);
        }
        for (name, node, at) in fields.map("rules", &mut self.mistakes) {
            self.rule(package, name, node, &at);
        }
        for (name, node, at) in fields.map("feeds", &mut self.mistakes) {
            self.feed(name, node, &at);
        }
        fields.later(&["sequences", "dependencies", "apis"], &mut self.mistakes);
        fields.finish(&mut self.mistakes);
    }

    /// Whether an entity may have this name.
    fn name(&mut self, name: &str, at: &At) {
        if let Err(error) = EntityName::new(name) {
            self.mistakes.add(at, format!("`{name}` cannot be a name: {error}"));
        }
    }

    /// A reference such as `a`, `package/a` or `/namespace/package/a`; an action named without
    /// package is of the package that it stands in.
    fn reference(&mut self, text: &str, package: Option<&str>, at: &At) -> Name {
        let name = match package {
            Some(package) if !text.contains('/') => Name::parse(&format!("{package}/{text}")),
            _ => Name::parse(text),
        };
        let path = name.path("");
        let parts = path.get(1..).unwrap_or_default();
        let is_legal = parts.len() <= 2 && parts.iter().all(|part| EntityName::new(part).is_ok());
        if !is_legal {
            self.mistakes.add(at, format!("`{text}` is not a name"));
        }
        name
    }
}

#[cfg(test)]
mod tests;
