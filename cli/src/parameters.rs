//! Parameters and annotations on the command line: `-p key value`, `-P file`, `-a key value`.

use std::{fs, io::Read as _, path::Path, path::PathBuf};

use clap::{ArgAction, Args};
use serde_json::{Map, Value, json};

use crate::error::CliError;

/// Parameters of an entity, an invocation or a firing.
#[derive(Clone, Debug, Default, Args)]
pub struct Parameters {
    /// A parameter; VALUE is JSON, or else text. Repeatable.
    #[arg(
        short = 'p',
        long = "param",
        num_args = 2,
        value_names = ["KEY", "VALUE"],
        action = ArgAction::Append,
        allow_negative_numbers = true
    )]
    param: Vec<String>,
    /// File with a JSON object of parameters (`-` is standard input); -p wins over it.
    #[arg(short = 'P', long = "param-file", value_name = "FILE")]
    param_file: Option<PathBuf>,
}

/// Annotations of an entity.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Annotations {
    /// An annotation; VALUE is JSON, or else text. Repeatable.
    #[arg(
        short = 'a',
        long = "annotation",
        num_args = 2,
        value_names = ["KEY", "VALUE"],
        action = ArgAction::Append,
        allow_negative_numbers = true
    )]
    annotation: Vec<String>,
}

/// Parameters that nobody but the function may see.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Secrets {
    /// A parameter that is sealed and never shown again; VALUE as for -p. Repeatable.
    #[arg(
        long = "secret",
        num_args = 2,
        value_names = ["KEY", "VALUE"],
        action = ArgAction::Append,
        allow_negative_numbers = true
    )]
    secret: Vec<String>,
    /// File with a JSON object of such parameters (`-` is standard input), so that they stand in
    /// no list of commands.
    #[arg(long = "secret-file", value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

// === impl Secrets ===

impl Secrets {
    /// Entries of a list of key and value.
    fn entries(&self) -> Result<Vec<Value>, CliError> {
        let mut all = match &self.secret_file {
            None => Map::new(),
            Some(file) => object_of(file)?,
        };
        all.extend(pairs(&self.secret));
        let entry = |(key, value)| json!({"key": key, "value": value, "secret": true});
        Ok(all.into_iter().map(entry).collect())
    }
}

// === impl Parameters ===

impl Parameters {
    pub(crate) fn object(&self) -> Result<Map<String, Value>, CliError> {
        let mut all = match &self.param_file {
            None => Map::new(),
            Some(file) => object_of(file)?,
        };
        all.extend(pairs(&self.param));
        Ok(all)
    }

    /// As a list of key and value; `None` where no parameters were given.
    pub(crate) fn list(&self) -> Result<Option<Value>, CliError> {
        if self.param.is_empty() && self.param_file.is_none() {
            return Ok(None);
        }
        Ok(Some(key_values(&self.object()?)))
    }
}

// === impl Annotations ===

impl Annotations {
    pub(crate) fn object(&self) -> Map<String, Value> {
        pairs(&self.annotation).collect()
    }
}

/// As [`members`], with parameters that are secret.
pub(crate) fn members_with(
    parameters: &Parameters,
    secrets: &Secrets,
    annotations: &Map<String, Value>,
) -> Result<Map<String, Value>, CliError> {
    let mut body = members(parameters, annotations)?;
    let secrets = secrets.entries()?;
    if !secrets.is_empty() {
        let list = body.entry("parameters").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.extend(secrets);
        }
    }
    Ok(body)
}

/// Members `parameters` and `annotations` of an entity's body, where they were given.
pub(crate) fn members(
    parameters: &Parameters,
    annotations: &Map<String, Value>,
) -> Result<Map<String, Value>, CliError> {
    let mut body = Map::new();
    if let Some(parameters) = parameters.list()? {
        body.insert("parameters".to_owned(), parameters);
    }
    if !annotations.is_empty() {
        body.insert("annotations".to_owned(), key_values(annotations));
    }
    Ok(body)
}

fn pairs(flat: &[String]) -> impl Iterator<Item = (String, Value)> {
    flat.chunks_exact(2).filter_map(|pair| match pair {
        [key, value] => Some((key.clone(), json_or_text(value))),
        _ => None,
    })
}

/// The text as JSON where it is JSON, else as a string.
pub(crate) fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_not_json| Value::from(text))
}

/// An object as OpenWhisk's list of key and value.
pub(crate) fn key_values(object: &Map<String, Value>) -> Value {
    object.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

/// The value under a key of a list of key and value.
pub(crate) fn value_of<'a>(list: &'a Value, key: &str) -> Option<&'a Value> {
    let entry = list.as_array()?.iter().find(|entry| entry.get("key") == Some(&key.into()))?;
    entry.get("value")
}

/// A list of key and value on one line.
pub(crate) fn pairs_line(list: Option<&Value>) -> String {
    let entries = list.and_then(Value::as_array).into_iter().flatten();
    let shown = entries.filter_map(|entry| {
        Some(format!("{}={}", entry.get("key")?.as_str()?, entry.get("value")?))
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// The text of a file, or of standard input for `-`.
pub(crate) fn text_of(file: &Path) -> Result<String, CliError> {
    if file.as_os_str() != "-" {
        return fs::read_to_string(file).map_err(|error| CliError::read(file, error));
    }
    let mut text = String::new();
    match std::io::stdin().read_to_string(&mut text) {
        Ok(_bytes) => Ok(text),
        Err(error) => Err(CliError::read(file, error)),
    }
}

fn object_of(file: &Path) -> Result<Map<String, Value>, CliError> {
    let wrong = |what: &dyn std::fmt::Display| {
        CliError::Usage(format!("`{}` is no JSON object of parameters: {what}", file.display()))
    };
    match serde_json::from_str(&text_of(file)?) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(wrong(&"it is another kind of JSON")),
        Err(error) => Err(wrong(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(param: &[&str], param_file: Option<PathBuf>) -> Parameters {
        Parameters { param: param.iter().map(ToString::to_string).collect(), param_file }
    }

    #[test]
    fn values_are_json_or_text() {
        let all = parameters(&["n", "1", "t", "one", "o", "{\"a\":[1]}", "s", "\"1\""], None);
        let expected = json!({"n": 1, "t": "one", "o": {"a": [1]}, "s": "1"});
        assert_eq!(Value::Object(all.object().unwrap()), expected);
        assert_eq!(parameters(&[], None).list().unwrap(), None);
    }

    #[test]
    fn secrets_are_marked() {
        let words = ["token", "hunter2"].map(str::to_owned).to_vec();
        let secrets = Secrets { secret: words, secret_file: None };
        let body = members_with(&parameters(&["a", "1"], None), &secrets, &Map::new()).unwrap();
        let wanted = json!([
            {"key": "a", "value": 1}, {"key": "token", "value": "hunter2", "secret": true},
        ]);
        assert_eq!(body.get("parameters"), Some(&wanted));
        let none = members_with(&parameters(&[], None), &Secrets::default(), &Map::new());
        assert_eq!(none.unwrap().get("parameters"), None);
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.json");
        fs::write(&file, "{\"a\": 1, \"b\": 2}").unwrap();
        let list = parameters(&["b", "3"], Some(file.clone())).list().unwrap().unwrap();
        assert_eq!(
            (value_of(&list, "a"), value_of(&list, "b")),
            (Some(&1.into()), Some(&3.into()))
        );
        fs::write(&file, "[1]").unwrap();
        let error = parameters(&[], Some(file)).object().unwrap_err();
        assert_eq!(error.code(), 2);
    }
}
