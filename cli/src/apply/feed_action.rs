//! OpenWhisk's feeds: an action is told what becomes of a trigger.

use serde_json::{Map, Value, json};

use crate::{
    error::CliError,
    hub::{Hub, post},
    name::{Name, text},
};

/// What a feed action is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Create,
    Update,
    Delete,
}

/// Calls a feed action and waits for its end. At a DELETE an action or feed that is no longer
/// there is as good.
///
/// # Errors
/// What the hub answers, or the action's own refusal.
pub(crate) async fn call(
    hub: &Hub,
    lifecycle: Lifecycle,
    action: &Name,
    trigger: &Name,
    parameters: Option<&Map<String, Value>>,
) -> Result<(), CliError> {
    let mut arguments = parameters.cloned().unwrap_or_default();
    for (name, value) in [
        ("lifecycleEvent", json!(lifecycle.word())),
        ("triggerName", json!(trigger.full())),
        ("authKey", json!(hub.key())),
    ] {
        arguments.insert(name.to_owned(), value);
    }
    let path = action.path("actions");
    let request = post(&path).of(&action.namespace).query("blocking", true).body(arguments.into());
    let answer = hub.answer(request).await?;
    let response = answer.body.get("response").cloned();
    let is_success = response.as_ref().and_then(|response| response.get("success"));
    if answer.status.is_success() && is_success != Some(&Value::Bool(false)) {
        return Ok(());
    }
    let is_deletion = lifecycle == Lifecycle::Delete;
    let Some(response) = response else {
        return match answer.success() {
            Err(CliError::NotFound(_)) if is_deletion => Ok(()),
            done => done.map(drop),
        };
    };
    if is_deletion {
        return Ok(());
    }
    let result = response.get("result").unwrap_or(&Value::Null);
    let said = match result.get("error") {
        Some(Value::String(said)) => said.clone(),
        Some(error) => match text(error, "message") {
            "" => error.to_string(),
            said => said.to_owned(),
        },
        None => result.to_string(),
    };
    let word = lifecycle.word();
    Err(CliError::Invalid(format!("trigger {trigger}: its feed {action} refused {word}: {said}")))
}

// === impl Lifecycle ===

impl Lifecycle {
    fn word(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}
