//! The actions of OpenWhisk's `cloudant` package: one request each, by a table.
//!
//! Results are what CouchDB says, where nothing else is noted in the table's functions.

mod arguments;
mod table;

use reqwest::Method;
use serde_json::{Value, json};

use self::{arguments::Arguments, table::ACTIONS};
use super::client::{self, Failure, Server};

/// Longest attachment that an action gives back. Unit: bytes. It is a JSON array there.
const MAX_ATTACHMENT_BYTES: usize = 1024 * 1024;

/// Runs the actions; its connections are shared.
#[derive(Clone, Debug)]
pub struct Actions {
    http: reqwest::Client,
}

/// No client could be made.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client could be made")]
pub struct NoClient(#[source] reqwest::Error);

/// What an action asks of the server.
#[derive(Debug)]
struct Ask {
    method: Method,
    path: Vec<String>,
    query: Vec<(String, String)>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Empty,
    Json(Value),
    Attachment { bytes: Vec<u8>, media: String },
}

/// How an action comes from its arguments to its result.
#[derive(Clone, Copy)]
enum Work {
    /// One request whose answer is the result.
    Ask(fn(&Arguments<'_>) -> Result<Ask, String>),
    /// The same, the answer under this name.
    Named(&'static str, fn(&Arguments<'_>) -> Result<Ask, String>),
    /// The same, the answer being bytes.
    Bytes(fn(&Arguments<'_>) -> Result<Ask, String>),
    /// Reads the newest revision, then writes over it.
    Overwrite,
    /// Takes a view out of its design document.
    DeleteView,
}

/// An action of the table.
struct Action {
    name: &'static str,
    /// Whether it is of one database.
    of_database: bool,
    work: Work,
}

// === impl Actions ===

impl Actions {
    /// # Errors
    /// [`NoClient`].
    pub fn new() -> Result<Self, NoClient> {
        client::http().map(|http| Self { http }).map_err(NoClient)
    }

    /// The names of the actions, and whether each is of one database.
    pub fn names() -> impl Iterator<Item = (&'static str, bool)> {
        ACTIONS.iter().map(|action| (action.name, action.of_database))
    }

    /// Runs the action with OpenWhisk's parameters.
    ///
    /// # Errors
    /// `{"error": text}` for wrong parameters and where the server was not reached,
    /// `{"error": {"statusCode", "error", "reason", "message"}}` where it said no.
    pub async fn call(&self, name: &str, parameters: &Value) -> Result<Value, Value> {
        let Some(action) = ACTIONS.iter().find(|action| action.name == name) else {
            let known = Self::names().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
            return Err(wrong(&format!("unknown action `{name}` (known: {known})")));
        };
        let arguments = Arguments::read(parameters).map_err(|error| wrong(&error))?;
        let server = arguments.server(&self.http).map_err(|error| wrong(&error))?;
        if action.of_database {
            arguments.text("dbname").map_err(|error| wrong(&error))?;
        }
        run(action, &arguments, &server).await.map_err(|error| match error {
            Trouble::Wrong(text) => wrong(&text),
            Trouble::Failed(failure) => failed(failure),
        })
    }
}

enum Trouble {
    Wrong(String),
    Failed(Failure),
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self::Wrong(text)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

async fn run(
    action: &Action,
    arguments: &Arguments<'_>,
    server: &Server,
) -> Result<Value, Trouble> {
    match action.work {
        Work::Ask(ask) => Ok(json_of(server, ask(arguments)?).await?),
        Work::Named(name, ask) => {
            let answer = json_of(server, ask(arguments)?).await?;
            Ok(json!({ (name): answer }))
        }
        Work::Bytes(ask) => bytes_of(server, ask(arguments)?).await,
        Work::Overwrite => overwrite(arguments, server).await,
        Work::DeleteView => delete_view(arguments, server).await,
    }
}

/// `write`: with `overwrite` a document that is there is replaced, whatever its revision.
async fn overwrite(arguments: &Arguments<'_>, server: &Server) -> Result<Value, Trouble> {
    let mut doc = arguments.object("doc")?;
    let dbname = arguments.text("dbname")?.to_owned();
    let id = doc.get("_id").and_then(Value::as_str).map(str::to_owned);
    if let (true, Some(id)) = (arguments.flag("overwrite"), id) {
        let newest = Ask::new(Method::GET, &[&dbname, &id]);
        match json_of(server, newest).await {
            Ok(newest) => {
                let rev = newest.get("_rev").cloned().unwrap_or_default();
                if let Some(members) = doc.as_object_mut() {
                    members.insert("_rev".to_owned(), rev);
                }
            }
            Err(failure) if failure.status() == Some(404) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    let write = Ask { body: Body::Json(doc), ..Ask::new(Method::POST, &[&dbname]) };
    Ok(json_of(server, write).await?)
}

async fn delete_view(arguments: &Arguments<'_>, server: &Server) -> Result<Value, Trouble> {
    let dbname = arguments.text("dbname")?;
    let design = arguments::plain_design(arguments.text("docid")?).to_owned();
    let view = arguments.text("viewname")?;
    let path = [dbname, "_design", &design];
    let mut doc = json_of(server, Ask::new(Method::GET, &path)).await?;
    let views = doc.get_mut("views").and_then(Value::as_object_mut);
    if views.and_then(|views| views.remove(view)).is_none() {
        return Err(Trouble::Wrong(format!("the view {view} is not in {design}")));
    }
    let write = Ask { body: Body::Json(doc), ..Ask::new(Method::PUT, &path) };
    Ok(json_of(server, write).await?)
}

async fn request(server: &Server, ask: Ask) -> Result<reqwest::RequestBuilder, Failure> {
    let path: Vec<_> = ask.path.iter().map(String::as_str).collect();
    let request = server.request(ask.method, &path, &ask.query).await?;
    Ok(match ask.body {
        Body::Empty => request,
        Body::Json(value) => request.json(&value),
        Body::Attachment { bytes, media } => request.header("content-type", media).body(bytes),
    })
}

async fn json_of(server: &Server, ask: Ask) -> Result<Value, Failure> {
    server.json(request(server, ask).await?).await
}

/// Bytes as a function in Node.js gives them: `{"type": "Buffer", "data": [...]}`.
async fn bytes_of(server: &Server, ask: Ask) -> Result<Value, Trouble> {
    let answer = server.send(request(server, ask).await?).await?;
    match server.body(answer, MAX_ATTACHMENT_BYTES).await {
        Ok(bytes) => Ok(json!({"type": "Buffer", "data": bytes})),
        Err(Failure::TooLong) => Err(Trouble::Wrong(format!(
            "the attachment is longer than {MAX_ATTACHMENT_BYTES} bytes"
        ))),
        Err(failure) => Err(failure.into()),
    }
}

fn wrong(text: &str) -> Value {
    json!({ "error": text })
}

fn failed(failure: Failure) -> Value {
    match failure {
        Failure::Refused { status, error, reason } => json!({"error":
            {"statusCode": status, "error": error, "message": reason, "reason": reason}}),
        other @ (Failure::Away { .. } | Failure::Strange(_) | Failure::TooLong) => {
            wrong(&other.to_string())
        }
    }
}

// === impl Ask ===

impl Ask {
    fn new(method: Method, path: &[&str]) -> Self {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        Self { method, path, query: Vec::new(), body: Body::Empty }
    }
}
