//! OpenWhisk's own client for Node.js, as its users run it.

use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;

use super::place::Place;
use crate::fault::error::FaultError;

/// One call of the client: the resource, its method, the options.
pub type Step<'a> = (&'a str, &'a str, Value);

/// Makes the calls one after the other with the hub's own credential; of each `{"ok": value}` or
/// `{"failed": {statusCode, error, message}}`.
///
/// # Errors
/// The client could not be installed or run.
pub async fn call(place: &Place, steps: &[Step<'_>]) -> Result<Vec<Value>, FaultError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("services").join("clients.sh");
    let key = std::fs::read_to_string(place.data().join("credentials"))?;
    let ran = Command::new(script)
        .args(["call", &json!(steps).to_string()])
        .env("API_HOST", format!("http://{}", place.caller()?.address))
        .env("API_KEY", key.trim())
        .output()
        .await?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        return Err(std::io::Error::other(format!("the client: {} {said}", ran.status)).into());
    }
    Ok(serde_json::from_slice(&ran.stdout).map_err(std::io::Error::from)?)
}
