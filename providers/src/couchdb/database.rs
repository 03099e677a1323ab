//! What a feed asks of its database: about itself, its changes, a revision of a document.

use reqwest::{Method, Response};
use serde_json::{Map, Value, json};

use super::{
    changes::Page,
    client::{Failure, Server},
    parameters::{Filter, Parameters, Shape},
    position::About,
};

/// A database as one feed sees it.
#[derive(Clone, Debug)]
pub(super) struct Database {
    server: Server,
    name: String,
    filter: Filter,
    shape: Shape,
    heartbeat_ms: u128,
}

/// How a document was before a change, and what the change was.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Versions {
    /// The document after the change.
    pub(super) doc: Option<Value>,
    /// The revision before it, where there was one.
    pub(super) previous_rev: Option<String>,
    /// The document before it, where the server still has it.
    pub(super) previous: Option<Value>,
}

impl Database {
    pub(super) fn new(server: Server, parameters: &Parameters) -> Self {
        Self {
            server,
            name: parameters.dbname.clone(),
            filter: parameters.filter.clone(),
            shape: parameters.shape,
            heartbeat_ms: parameters.heartbeat.as_millis(),
        }
    }

    /// The database's address, without credentials.
    pub(super) fn address(&self) -> String {
        self.server.url(&[&self.name]).to_string()
    }

    pub(super) async fn about(&self) -> Result<About, Failure> {
        let request = self.server.request(Method::GET, &[&self.name], &[]).await?;
        self.server.json(request).await
    }

    /// At most `limit` changes after `since` that there are now.
    pub(super) async fn page(
        &self,
        since: &str,
        limit: usize,
        with_docs: bool,
    ) -> Result<Page, Failure> {
        let mut query = self.query(since, with_docs);
        query.push(("limit".to_owned(), limit.to_string()));
        let request = self.changes(&query).await?;
        self.server.json(request).await
    }

    /// The changes after `since`, as they come.
    pub(super) async fn live(&self, since: &str) -> Result<Response, Failure> {
        let mut query = self.query(since, true);
        query.push(("feed".to_owned(), "continuous".to_owned()));
        query.push(("heartbeat".to_owned(), self.heartbeat_ms.to_string()));
        let request = self.changes(&query).await?;
        self.server.send(request).await
    }

    /// The document as it was at `rev` and before.
    pub(super) async fn versions(&self, id: &str, rev: &str) -> Result<Versions, Failure> {
        let Some(mut doc) = self.revision(id, rev, true).await? else {
            return Ok(Versions::default());
        };
        let previous_rev = doc.as_object_mut().and_then(take_parent);
        let previous = match &previous_rev {
            Some(before) => self.revision(id, before, false).await?,
            None => None,
        };
        Ok(Versions { doc: Some(doc), previous_rev, previous })
    }

    /// A revision of a document, if the server has it.
    async fn revision(&self, id: &str, rev: &str, revs: bool) -> Result<Option<Value>, Failure> {
        let mut query = vec![("rev".to_owned(), rev.to_owned())];
        if revs {
            query.push(("revs".to_owned(), "true".to_owned()));
        }
        let mut path = vec![self.name.as_str()];
        // Of these two kinds of documents the slash belongs to the path.
        match id.split_once('/') {
            Some((kind @ ("_design" | "_local"), name)) => path.extend([kind, name]),
            _ => path.push(id),
        }
        let request = self.server.request(Method::GET, &path, &query).await?;
        match self.server.json(request).await {
            Ok(document) => Ok(Some(document)),
            Err(failure) if failure.status() == Some(404) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn query(&self, since: &str, with_docs: bool) -> Vec<(String, String)> {
        let mut query = vec![("since", since.to_owned())];
        if with_docs && self.shape.include_docs {
            query.push(("include_docs", "true".to_owned()));
            for (name, wanted) in [
                ("conflicts", self.shape.conflicts),
                ("att_encoding_info", self.shape.att_encoding_info),
            ] {
                if wanted {
                    query.push((name, "true".to_owned()));
                }
            }
        }
        if self.shape.all_leaves {
            query.push(("style", "all_docs".to_owned()));
        }
        let params = match &self.filter {
            Filter::All => &[][..],
            Filter::Function { name, params } => {
                query.push(("filter", name.clone()));
                params
            }
            Filter::View { name, params } => {
                query.push(("filter", "_view".to_owned()));
                query.push(("view", name.clone()));
                params
            }
            Filter::Selector(_) => {
                query.push(("filter", "_selector".to_owned()));
                &[]
            }
            Filter::DocIds(_) => {
                query.push(("filter", "_doc_ids".to_owned()));
                &[]
            }
        };
        let ours = query.into_iter().map(|(name, value)| (name.to_owned(), value));
        ours.chain(params.iter().cloned()).collect()
    }

    async fn changes(
        &self,
        query: &[(String, String)],
    ) -> Result<reqwest::RequestBuilder, Failure> {
        let body = match &self.filter {
            Filter::Selector(selector) => Some(json!({ "selector": selector })),
            Filter::DocIds(ids) => Some(json!({ "doc_ids": ids })),
            Filter::All | Filter::Function { .. } | Filter::View { .. } => None,
        };
        let path = [self.name.as_str(), "_changes"];
        Ok(match body {
            Some(body) => self.server.request(Method::POST, &path, query).await?.json(&body),
            None => self.server.request(Method::GET, &path, query).await?,
        })
    }
}

/// The revision before a document's own, taken out of it with the list that names it.
fn take_parent(document: &mut Map<String, Value>) -> Option<String> {
    let revisions = document.remove("_revisions")?;
    let start = revisions.get("start")?.as_u64()?.checked_sub(1)?;
    let parent = revisions.get("ids")?.get(1)?.as_str()?;
    Some(format!("{start}-{parent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_the_revision_before() {
        let mut document = json!({"_id": "a", "_revisions": {"start": 3, "ids": ["c", "b", "a"]}});
        let members = document.as_object_mut().unwrap();
        assert_eq!(take_parent(members), Some("2-b".to_owned()));
        assert_eq!(document, json!({"_id": "a"}));
        let mut first = json!({"_revisions": {"start": 1, "ids": ["a"]}});
        assert_eq!(take_parent(first.as_object_mut().unwrap()), None);
    }
}
