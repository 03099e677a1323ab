//! CouchDB for OpenWhisk's clients: the packages `cloudant` and `couchdb` of `/whisk.system`.
//!
//! Source: `spec/feeds-and-cloudevents.md` 4.1 and 4.5.

use std::sync::Arc;

use async_trait::async_trait;
use evoke_feeds::{
    ActionCard, FeedAction, FeedRefusal, NativeAction, ParameterCard, Provider as _,
};
use serde_json::{Map, Value, json};

use super::{
    CouchDb, IAM_URL,
    actions::{Actions, NoClient},
};

/// What the packages are for.
pub const PACKAGE: &str = "Changes of CouchDB and Cloudant as events, and actions on documents.";
/// Names of the package: OpenWhisk's, and the product's.
const PACKAGES: [&str; 2] = ["cloudant", "couchdb"];
/// Parameters that READ does not show.
const SECRET: [&str; 2] = ["password", "iamApiKey"];

/// The feed actions `changes`.
pub fn feed_actions() -> impl Iterator<Item = Arc<dyn FeedAction>> {
    PACKAGES.into_iter().map(|package| Arc::new(ChangesAction { package }) as _)
}

/// The actions on databases, documents, indexes, views and attachments.
///
/// # Errors
/// [`NoClient`].
pub fn native_actions() -> Result<Vec<Arc<dyn NativeAction>>, NoClient> {
    let actions = Actions::new()?;
    let of = |package| {
        let actions = actions.clone();
        Actions::names().map(move |(name, of_database)| {
            let actions = actions.clone();
            Arc::new(DocumentAction { package, name, of_database, actions }) as _
        })
    };
    Ok(PACKAGES.into_iter().flat_map(of).collect())
}

/// `changes`: feeds of the provider `couchdb`, whose parameters are OpenWhisk's already.
#[derive(Debug)]
struct ChangesAction {
    package: &'static str,
}

#[derive(Debug)]
struct DocumentAction {
    package: &'static str,
    name: &'static str,
    of_database: bool,
    actions: Actions,
}

// === impl ChangesAction ===

impl FeedAction for ChangesAction {
    fn card(&self) -> ActionCard {
        let mut parameters = server_parameters(true);
        parameters.extend([
            optional("since", "where the feed begins: `now`, `0` or a sequence"),
            optional("filter", "`design document/filter function`"),
            optional("query_params", "what the filter function is given"),
            optional("maxTriggers", "the feed ends after so many changes"),
        ]);
        let description = "Fires a trigger for each change of a document.";
        ActionCard { package: self.package, name: "changes", description, parameters }
    }

    fn provider(&self) -> &'static str {
        CouchDb::NAME
    }

    fn create(&self, asked: &Map<String, Value>) -> Result<Map<String, Value>, FeedRefusal> {
        let has = |name: &str| asked.get(name).is_some_and(is_given);
        let missing = [("dbname", "dbname"), ("host", "host")]
            .into_iter()
            .filter(|(name, _)| !has(name))
            .map(|(_, words)| words);
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            let all = missing.join(", ");
            return Err(FeedRefusal::bad(format!(
                "cloudant trigger feed: missing {all} parameter"
            )));
        }
        if !(has("iamApiKey") || has("username") && has("password")) {
            return Err(FeedRefusal::bad(
                "cloudant trigger feed: Must specify parameter/s of iamApiKey or username/password",
            ));
        }
        Ok(asked.clone())
    }

    fn update(
        &self,
        present: &Map<String, Value>,
        asked: &Map<String, Value>,
    ) -> Result<Map<String, Value>, FeedRefusal> {
        if asked.is_empty() {
            return Err(FeedRefusal::bad("no updatable parameters were specified"));
        }
        let mut after = present.clone();
        for (name, value) in asked {
            // As in OpenWhisk, what is empty is taken away.
            if is_given(value) {
                after.insert(name.clone(), value.clone());
            } else {
                after.remove(name);
            }
        }
        self.create(&after)
    }

    fn config(&self, present: &Map<String, Value>) -> Map<String, Value> {
        let mut config = Map::from_iter([
            ("protocol".to_owned(), json!("https")),
            ("iamUrl".to_owned(), json!(IAM_URL)),
        ]);
        let shown = present.iter().filter(|(name, _)| !SECRET.contains(&name.as_str()));
        config.extend(shown.map(|(name, value)| (name.clone(), value.clone())));
        config
    }
}

// === impl DocumentAction ===

#[async_trait]
impl NativeAction for DocumentAction {
    fn card(&self) -> ActionCard {
        ActionCard {
            package: self.package,
            name: self.name,
            description: "An action on CouchDB; its result is what the server says.",
            parameters: server_parameters(self.of_database),
        }
    }

    async fn run(&self, arguments: Map<String, Value>) -> Result<Map<String, Value>, Value> {
        match self.actions.call(self.name, &arguments.into()).await {
            Ok(Value::Object(result)) => Ok(result),
            // A result is an object.
            Ok(other) => Ok(Map::from_iter([("result".to_owned(), other)])),
            Err(mut error) => Err(error.get_mut("error").map(Value::take).unwrap_or(error)),
        }
    }
}

fn is_given(value: &Value) -> bool {
    !value.is_null() && value != ""
}

fn server_parameters(of_database: bool) -> Vec<ParameterCard> {
    let mut parameters = vec![
        ParameterCard { name: "host", required: true, description: "name of the server" },
        optional("protocol", "`https` or `http`"),
        optional("port", "the server's port"),
        optional("username", "who asks"),
        optional("password", "the password of who asks"),
        optional("iamApiKey", "IBM's key instead of a password"),
        optional("iamUrl", "where IBM's tokens come from"),
    ];
    if of_database {
        let description = "name of the database";
        parameters.push(ParameterCard { name: "dbname", required: true, description });
    }
    parameters
}

fn optional(name: &'static str, description: &'static str) -> ParameterCard {
    ParameterCard { name, required: false, description }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    const ACTION: ChangesAction = ChangesAction { package: "cloudant" };

    #[test]
    fn c2_what_is_missing_is_said() {
        for (asked, words) in [
            (json!({"host": "h", "username": "u", "password": "p"}), "missing dbname"),
            (json!({"dbname": "d", "username": "u", "password": "p"}), "missing host"),
            (json!({"dbname": "", "host": null}), "missing dbname, host"),
            (json!({"dbname": "d", "host": "h"}), "iamApiKey or username/password"),
            (
                json!({"dbname": "d", "host": "h", "username": "u"}),
                "iamApiKey or username/password",
            ),
        ] {
            let refusal = ACTION.create(&members(asked.clone())).unwrap_err();
            assert_eq!(refusal.status, 400);
            assert!(refusal.message.contains(words), "{asked}: {refusal}");
        }
    }

    #[test]
    fn an_update_changes_what_it_names_and_read_shows_no_secrets() {
        let before =
            members(json!({"dbname": "d", "host": "h", "username": "u", "password": "hunter2",
            "filter": "d/f", "query_params": {"a": "b"}}));
        let asked = members(json!({"filter": "d/g", "query_params": null, "port": "5984"}));
        let after = ACTION.update(&before, &asked).unwrap();
        assert_eq!(
            Value::Object(ACTION.config(&after)),
            json!({"dbname": "d", "host": "h", "username": "u", "filter": "d/g", "port": "5984",
                "protocol": "https", "iamUrl": IAM_URL})
        );
        assert_eq!(after["password"], "hunter2");
        assert!(ACTION.update(&before, &Map::new()).is_err());
    }

    #[tokio::test]
    async fn an_action_refuses_as_the_table_does() {
        let all = native_actions().unwrap();
        assert_eq!(all.len(), 52);
        let read = all.iter().find(|it| it.card().name == "read-document").unwrap();
        let error = read.run(members(json!({"host": "h"}))).await.unwrap_err();
        assert!(error.is_string() || error.is_object(), "{error}");
    }
}
