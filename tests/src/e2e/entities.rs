//! What most tests set up and look at: actions, triggers, rules, records.

use serde_json::{Value, json};

use super::{
    caller::{Ask, Caller, Reply},
    wait::{SOON, until},
};
use crate::fault::error::FaultError;

/// Returns all that it got.
pub const ECHO: &str = "function main(args) {
  return { args, event: process.env.__OW_EVENT_ID, activation: process.env.__OW_ACTIVATION_ID };
}";

/// A Node.js action.
///
/// # Errors
/// It was not made.
pub async fn node(caller: &Caller, name: &str, code: &str) -> Result<(), FaultError> {
    action(caller, name, &json!({"exec": {"kind": "nodejs:default", "code": code}})).await
}

/// An action of this body.
///
/// # Errors
/// It was not made.
pub async fn action(caller: &Caller, name: &str, body: &Value) -> Result<(), FaultError> {
    caller.put(&format!("actions/{name}"), body).await.map(drop)
}

/// A trigger of this body, with a rule to each action, named `trigger-action`, of this policy.
///
/// # Errors
/// They were not made.
pub async fn trigger(
    caller: &Caller,
    name: &str,
    body: &Value,
    actions: &[&str],
    policy: &Value,
) -> Result<(), FaultError> {
    caller.put(&format!("triggers/{name}"), body).await?;
    for action in actions {
        let mut rule = json!({"trigger": format!("/_/{name}"), "action": format!("/_/{action}")});
        if let (false, Some(members)) = (policy.is_null(), rule.as_object_mut()) {
            members.insert("annotations".into(), json!([{"key": "delivery", "value": policy}]));
        }
        caller.put(&format!("rules/{name}-{action}"), &rule).await?;
    }
    Ok(())
}

/// Calls an action and waits for its end.
///
/// # Errors
/// No answer.
pub async fn call(caller: &Caller, name: &str, arguments: &Value) -> Result<Reply, FaultError> {
    let path = format!("actions/{name}?blocking=true");
    caller.send(Ask::new("POST", &path).json(arguments)).await
}

/// The newest records of an action or trigger, whole, the oldest first.
///
/// # Errors
/// No answer.
pub async fn records(caller: &Caller, name: &str) -> Result<Vec<Value>, FaultError> {
    let path = format!("activations?docs=true&limit=200&name={name}");
    let Value::Array(mut all) = caller.get(&path).await? else { return Ok(Vec::new()) };
    all.reverse();
    Ok(all)
}

/// As `records`, once there are at least so many.
///
/// # Errors
/// `TimedOut` says how many there were.
pub async fn records_when(
    caller: &Caller,
    name: &str,
    count: usize,
) -> Result<Vec<Value>, FaultError> {
    until("the records", SOON, async || {
        let all = records(caller, name).await?;
        Ok(if all.len() >= count {
            Ok(all)
        } else {
            Err(format!("{} of {count} of `{name}`", all.len()))
        })
    })
    .await
}

/// One record, once it is there.
///
/// # Errors
/// `TimedOut`.
pub async fn record(caller: &Caller, id: &str) -> Result<Value, FaultError> {
    let path = format!("activations/{id}");
    until("the record", SOON, async || {
        let reply = caller.send(Ask::new("GET", &path)).await?;
        Ok(if reply.status == 200 {
            Ok(reply.json())
        } else {
            Err(format!("{id}: {}", reply.text()))
        })
    })
    .await
}

/// A member deep inside, as text; empty where it is not there or no text.
#[must_use]
pub fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
