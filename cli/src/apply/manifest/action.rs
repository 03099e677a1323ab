//! Actions of a manifest: their code, kind, limits and settings for the web.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::Reading;
use crate::{
    apply::{
        fields::Fields,
        inputs,
        mistakes::{At, Mistakes},
        wanted::{Collection, Wanted},
    },
    code,
    name::Name,
    yaml::Node,
};

/// Fields of wskdeploy's actions that this version cannot make.
const LATER: [&str; 4] = ["docker", "native", "include", "exclude"];

impl Reading<'_> {
    pub(super) fn action(&mut self, package: Option<&str>, name: &str, node: &Node, at: &At) {
        self.name(name, at);
        let qualified = match package {
            Some(package) => format!("{package}/{name}"),
            None => name.to_owned(),
        };
        let Some(mut fields) = Fields::of(node, at, &mut self.mistakes) else { return };
        let mut action = Wanted::new(Collection::Actions, Name::parse(&qualified), at, node);
        let exec = self.exec(&mut fields);
        let inputs = inputs::of(&mut fields, &mut self.mistakes);
        action.annotations = inputs::annotations(&mut fields, &mut self.mistakes);
        web(&mut fields, &mut action.annotations, &mut self.mistakes);
        let limits = limits(&mut fields, &mut self.mistakes);
        let _version = fields.text("version", &mut self.mistakes);
        fields.later(&LATER, &mut self.mistakes);
        fields.finish(&mut self.mistakes);
        action.body = Map::from_iter([
            ("exec".to_owned(), exec.unwrap_or_default()),
            ("parameters".to_owned(), inputs),
            ("limits".to_owned(), limits.into()),
        ]);
        self.wanted.push(action);
    }

    fn exec(&mut self, fields: &mut Fields<'_>) -> Option<Value> {
        let mistakes = &mut self.mistakes;
        let function = fields.text("function", mistakes);
        let code = fields.text("code", mistakes);
        let kind = fields.text("runtime", mistakes).map(|(kind, _)| kind);
        let main = fields.text("main", mistakes).map(|(main, _)| main);
        match (function, code, kind) {
            (Some((file, at)), None, kind) => {
                let file = self.folder.join(Path::new(&file));
                // Of a folder that cannot be read, packing it tells why.
                self.files.extend(code::archive::files(&file).unwrap_or_default());
                self.files.push(file.clone());
                match code::exec(&file, kind.as_deref(), main.as_deref()) {
                    Ok(exec) => Some(exec),
                    Err(error) => {
                        let text = error.to_string().replace("--kind", "`runtime`");
                        mistakes.add(&at, text);
                        None
                    }
                }
            }
            (None, Some((code, _)), Some(kind)) => {
                let mut exec = Map::from_iter([
                    ("kind".to_owned(), json!(kind)),
                    ("code".to_owned(), json!(code)),
                ]);
                exec.extend(main.map(|main| ("main".to_owned(), main.into())));
                Some(exec.into())
            }
            (None, Some((_, at)), None) => {
                mistakes.add(&at, "wants `runtime` too, such as `nodejs:default`");
                None
            }
            (Some(_), Some((_, at)), _) => {
                mistakes.add(&at, "there is `function` too; want one of them");
                None
            }
            (None, None, _) => {
                mistakes.add(&fields.at, "wants either `function` (a file) or `code`");
                None
            }
        }
    }
}

fn limits(fields: &mut Fields<'_>, mistakes: &mut Mistakes) -> Map<String, Value> {
    let Some((node, at)) = fields.any("limits") else { return Map::new() };
    let Some(mut limits) = Fields::of(node, &at, mistakes) else { return Map::new() };
    let mut given = Map::new();
    for (name, member) in [
        ("timeout", "timeout"),
        ("memorySize", "memory"),
        ("logSize", "logs"),
        ("concurrentActivations", "concurrency"),
    ] {
        if let Some((number, _)) = limits.whole(name, mistakes) {
            given.insert(member.to_owned(), number.into());
        }
    }
    limits.finish(mistakes);
    given
}

/// `web: yes|no|raw` are annotations, as wskdeploy writes them.
fn web(fields: &mut Fields<'_>, annotations: &mut Map<String, Value>, mistakes: &mut Mistakes) {
    for name in ["web", "web-export"] {
        let Some((node, at)) = fields.any(name) else { continue };
        let (is_web, is_raw) = match node.to_json() {
            Value::Bool(is_web) => (is_web, false),
            Value::String(text) if matches!(text.as_str(), "yes" | "true") => (true, false),
            Value::String(text) if matches!(text.as_str(), "no" | "false") => (false, false),
            Value::String(text) if text == "raw" => (true, true),
            _ => {
                mistakes.add(&at, "must be `yes`, `no` or `raw`");
                continue;
            }
        };
        for (name, value) in [("web-export", is_web), ("raw-http", is_raw), ("final", is_web)] {
            annotations.insert(name.to_owned(), value.into());
        }
    }
}
