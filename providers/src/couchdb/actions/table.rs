//! The table of actions. To add one: a line, and the request that it makes.

use reqwest::Method;
use serde_json::Value;

use super::{
    Action, Ask, Body, Work,
    arguments::{Arguments, plain_design},
};

/// What a request is made of, or why it cannot be.
type Made = Result<Ask, String>;

const fn server(name: &'static str, work: Work) -> Action {
    Action { name, of_database: false, work }
}

const fn database(name: &'static str, work: Work) -> Action {
    Action { name, of_database: true, work }
}

/// Every action there is. Source: spec, section 4.5.
pub(super) const ACTIONS: [Action; 26] = [
    server("list-all-databases", Work::Named("all_databases", |_| Ok(get(&["_all_dbs"])))),
    server("read-updates-feed", Work::Ask(|a| once(a, get(&["_db_updates"])))),
    database("create-database", Work::Ask(|a| of(a, Method::PUT, &[]))),
    database("read-database", Work::Ask(|a| of(a, Method::GET, &[]))),
    database("delete-database", Work::Ask(|a| of(a, Method::DELETE, &[]))),
    database("create-document", Work::Ask(|a| with_params(a, post(a, &[], a.object("doc")?)?))),
    database("read", Work::Ask(read_document)),
    database("read-document", Work::Ask(read_document)),
    database("write", Work::Overwrite),
    database("update-document", Work::Ask(update_document)),
    database("delete-document", Work::Ask(delete_document)),
    database("list-documents", Work::Ask(|a| with_params(a, of(a, Method::GET, &["_all_docs"])?))),
    database("list-design-documents", Work::Ask(list_design_documents)),
    database("create-query-index", Work::Ask(|a| post(a, &["_index"], a.object("index")?))),
    database("list-query-indexes", Work::Ask(|a| of(a, Method::GET, &["_index"]))),
    database("delete-query-index", Work::Ask(delete_query_index)),
    database("exec-query-find", Work::Ask(|a| post(a, &["_find"], a.object("query")?))),
    database("exec-query-search", Work::Ask(search)),
    database("exec-query-view", Work::Ask(view)),
    database("manage-bulk-documents", Work::Ask(bulk)),
    database("delete-view", Work::DeleteView),
    database("read-changes-feed", Work::Ask(|a| once(a, of(a, Method::GET, &["_changes"])?))),
    database("create-attachment", Work::Ask(write_attachment)),
    database("update-attachment", Work::Ask(write_attachment)),
    database("read-attachment", Work::Bytes(|a| attachment(a, Method::GET))),
    database("delete-attachment", Work::Ask(delete_attachment)),
];

fn get(path: &[&str]) -> Ask {
    Ask::new(Method::GET, path)
}

fn of(a: &Arguments<'_>, method: Method, path: &[&str]) -> Made {
    let mut whole = vec![a.text("dbname")?];
    whole.extend(path);
    Ok(Ask::new(method, &whole))
}

fn post(a: &Arguments<'_>, path: &[&str], body: Value) -> Made {
    Ok(Ask { body: Body::Json(body), ..of(a, Method::POST, path)? })
}

fn with_params(a: &Arguments<'_>, mut ask: Ask) -> Made {
    ask.query.extend(a.query()?);
    Ok(ask)
}

/// A feed that is asked once: one that never ends is no result.
fn once(a: &Arguments<'_>, ask: Ask) -> Made {
    let ask = with_params(a, ask)?;
    match ask.query.iter().find(|(name, _)| name == "feed") {
        Some((_, feed)) if feed != "normal" && feed != "longpoll" => {
            Err(format!("feed {feed} does not end."))
        }
        Some(_) | None => Ok(ask),
    }
}

/// The path of a document: of a design document the slash belongs to it.
fn document(a: &Arguments<'_>, method: Method, id: &str) -> Made {
    match id.split_once('/') {
        Some((kind @ ("_design" | "_local"), name)) => of(a, method, &[kind, name]),
        Some(_) | None => of(a, method, &[id]),
    }
}

fn read_document(a: &Arguments<'_>) -> Made {
    let id = match a.optional("docid").or(a.optional("id")) {
        Some(id) => id,
        None => a.text("docid")?,
    };
    with_params(a, document(a, Method::GET, id)?)
}

fn update_document(a: &Arguments<'_>) -> Made {
    let doc = a.object("doc")?;
    if doc.get("_rev").is_none() {
        return Err("doc and doc._rev are required.".to_owned());
    }
    with_params(a, post(a, &[], doc)?)
}

fn delete_document(a: &Arguments<'_>) -> Made {
    let mut ask = document(a, Method::DELETE, a.text("docid")?)?;
    ask.query.push(("rev".to_owned(), a.text("docrev")?.to_owned()));
    Ok(ask)
}

fn list_design_documents(a: &Arguments<'_>) -> Made {
    let mut ask = of(a, Method::GET, &["_all_docs"])?;
    for (name, value) in [("startkey", "\"_design/\""), ("endkey", "\"_design0\"")] {
        ask.query.push((name.to_owned(), value.to_owned()));
    }
    if a.flag("includedocs") {
        ask.query.push(("include_docs".to_owned(), "true".to_owned()));
    }
    Ok(ask)
}

fn delete_query_index(a: &Arguments<'_>) -> Made {
    let design = plain_design(a.text("docid")?);
    let (kind, name) = (a.text("indextype")?, a.text("indexname")?);
    of(a, Method::DELETE, &["_index", &format!("_design/{design}"), kind, name])
}

fn search(a: &Arguments<'_>) -> Made {
    let design = plain_design(a.text("docid")?);
    post(a, &["_design", design, "_search", a.text("indexname")?], a.object("search")?)
}

fn view(a: &Arguments<'_>) -> Made {
    let design = plain_design(a.text("docid")?);
    let path = ["_design", design, "_view", a.text("viewname")?];
    with_params(a, of(a, Method::GET, &path)?)
}

/// `docs` is `{"docs": [...]}`, or the array alone.
fn bulk(a: &Arguments<'_>) -> Made {
    let docs = match a.object("docs")? {
        array @ Value::Array(_) => serde_json::json!({ "docs": array }),
        other => other,
    };
    with_params(a, post(a, &["_bulk_docs"], docs)?)
}

fn attachment(a: &Arguments<'_>, method: Method) -> Made {
    let mut ask = document(a, method, a.text("docid")?)?;
    ask.path.push(a.text("attachmentname")?.to_owned());
    let mut ask = with_params(a, ask)?;
    if let Some(rev) = a.optional("docrev")
        && !ask.query.iter().any(|(name, _)| name == "rev")
    {
        ask.query.push(("rev".to_owned(), rev.to_owned()));
    }
    Ok(ask)
}

fn write_attachment(a: &Arguments<'_>) -> Made {
    let bytes = a.bytes("attachment")?;
    let media = a.text("contenttype")?.to_owned();
    Ok(Ask { body: Body::Attachment { bytes, media }, ..attachment(a, Method::PUT)? })
}

fn delete_attachment(a: &Arguments<'_>) -> Made {
    a.text("docrev")?;
    attachment(a, Method::DELETE)
}
