//! The member `exec` of an action's PUT.

use bytes::Bytes;
use evoke_invoker::Manifest;
use evoke_schemas::action::{Exec, is_binary_code};
use evoke_store::CodeStore;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::ApiError;

/// Kinds that OpenWhisk has and this version has not.
const LATER: [(&str, &str); 2] = [("sequence", "a sequence"), ("blackbox", "kind `blackbox`")];

/// The member as it is written. Values are read one by one, with OpenWhisk's sentences.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ExecPut")]
pub(super) struct Asked {
    /// A kind of the runtimes that `GET /` shows; `family:default` is the family's default.
    #[schemars(required, with = "String", example = "nodejs:default")]
    kind: Option<Value>,
    /// Source text, or base64 of a zip file.
    #[schemars(with = "Option<String>")]
    code: Option<Value>,
    /// Another name for `code`.
    #[schemars(with = "Option<String>")]
    jar: Option<Value>,
    /// Name of the function, `main` where it is absent.
    #[schemars(with = "Option<String>")]
    main: Option<Value>,
}

/// What an action shall run, read and checked, not yet kept.
#[derive(Debug)]
pub(super) struct NewExec {
    kind: String,
    code: String,
    main: Option<String>,
}

impl NewExec {
    /// Reads the member of a body.
    pub(super) fn of(exec: Value, manifest: &Manifest) -> Result<Self, ApiError> {
        if !exec.is_object() {
            return Err(malformed("Object expected for `exec`"));
        }
        let exec: Asked =
            serde_json::from_value(exec).map_err(|error| malformed(&error.to_string()))?;
        let Some(Value::String(asked)) = exec.kind else {
            return Err(malformed("'kind' must be a string defined in 'exec'"));
        };
        let asked = asked.trim().to_lowercase();
        if let Some((_, what)) = LATER.iter().find(|(kind, _)| *kind == asked) {
            return Err(ApiError::NotInThisVersion((*what).to_owned()));
        }
        let Some(kind) = manifest.resolve(&asked) else { return Err(unknown(&asked, manifest)) };
        if kind.deprecated {
            return Err(no_longer(&kind.kind));
        }
        let code = code(exec.code.or(exec.jar), &asked)?;
        let main = main(exec.main, &asked)?;
        if main.is_none() && kind.require_main {
            return Err(malformed(&format!(
                "'main' must be a string defined in 'exec' for '{}' actions",
                kind.kind
            )));
        }
        Ok(Self { kind: kind.kind.clone(), code, main })
    }

    /// The kind, as the manifest names it.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// Whether the code is small enough.
    pub(super) fn check_size(&self, most: u64) -> Result<(), ApiError> {
        let bytes = self.code.len();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if bytes <= most {
            return Ok(());
        }
        Err(ApiError::FieldTooLarge { field: "exec", bytes, most })
    }

    /// Keeps the code.
    pub(super) async fn keep(self, store: &dyn CodeStore) -> Result<Exec, ApiError> {
        let binary = is_binary_code(&self.code);
        let code = store.put(Bytes::from(self.code)).await?;
        Ok(Exec { kind: self.kind, code, main: self.main, binary })
    }
}

/// The former `exec` where its kind may still be run: an action of another may be read and deleted
/// only.
///
/// # Errors
/// That its kind is not served any more.
pub(super) fn still_served(former: &Exec, manifest: &Manifest) -> Result<Exec, ApiError> {
    match manifest.kind(&former.kind) {
        Some((_, kind)) if kind.deprecated => Err(no_longer(&kind.kind)),
        _ => Ok(former.clone()),
    }
}

/// The answer for a kind that may not be run any more.
pub(super) fn no_longer(kind: &str) -> ApiError {
    ApiError::Bad(format!(
        "The '{kind}' runtime is no longer supported. You may read and delete but not update or \
         invoke this action."
    ))
}

fn code(code: Option<Value>, kind: &str) -> Result<String, ApiError> {
    match code {
        Some(Value::String(code)) => Ok(code),
        None | Some(Value::Null) => Err(malformed(&format!(
            "'code' must be a string or attachment object defined in 'exec' for '{kind}' actions"
        ))),
        Some(other) => {
            Err(malformed(&format!("Could not deserialize as attachment record: {other}")))
        }
    }
}

fn main(main: Option<Value>, kind: &str) -> Result<Option<String>, ApiError> {
    match main {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(main)) => Ok(Some(main)),
        Some(_) => Err(malformed(&format!(
            "if defined, 'main' be a string in 'exec' for '{kind}' actions"
        ))),
    }
}

fn unknown(kind: &str, manifest: &Manifest) -> ApiError {
    let known: Vec<String> = manifest.kinds().map(|(_, kind)| format!("'{}'", kind.kind)).collect();
    malformed(&format!(
        "The specified runtime '{kind}' is not supported by this platform. Valid values are: {}.",
        known.join(", ")
    ))
}

fn malformed(text: &str) -> ApiError {
    ApiError::Malformed(text.to_owned())
}
