//! Parameters of a feed of changes: OpenWhisk's, by their names, and ours.

use std::time::Duration;

use evoke_feeds::Fields;
use evoke_schemas::Secret;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::changes::Seq;

/// Where IBM's tokens come from unless a feed says otherwise.
pub const IAM_URL: &str = "https://iam.cloud.ibm.com/identity/token";
/// Longest heartbeat: a peer that is dead is noticed after two and a half of them.
const MAX_HEARTBEAT_MS: u64 = 10_000;
const MIN_HEARTBEAT_MS: u64 = 100;
const DEFAULT_HEARTBEAT_MS: u64 = 6_000;
/// Most document ids of one feed.
const MAX_DOC_IDS: usize = 10_000;
/// What a query of ours says itself.
const OURS: [&str; 16] = [
    "feed",
    "since",
    "limit",
    "heartbeat",
    "timeout",
    "filter",
    "view",
    "doc_ids",
    "include_docs",
    "conflicts",
    "style",
    "descending",
    "attachments",
    "att_encoding_info",
    "last-event-id",
    "seq_interval",
];

/// Parameters of a feed of changes, checked.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Address of the server.
    pub(super) server: Url,
    pub(super) dbname: String,
    pub(super) auth: Auth,
    /// Where a new feed begins.
    pub(super) since: Since,
    pub(super) filter: Filter,
    pub(super) shape: Shape,
    /// The feed ends after this many events.
    pub(super) max_events: Option<u64>,
    pub(super) heartbeat: Duration,
    pub(super) batch: Bounds,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Auth {
    Nobody,
    Basic { username: String, password: Secret },
    Iam { url: Url, key: Secret },
}

/// Where a new feed begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Since {
    Now,
    After(Seq),
}

/// Which changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filter {
    All,
    Function { name: String, params: Vec<(String, String)> },
    View { name: String, params: Vec<(String, String)> },
    Selector(Value),
    DocIds(Vec<String>),
}

/// What a change has with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) include_docs: bool,
    pub(super) conflicts: bool,
    pub(super) att_encoding_info: bool,
    pub(super) all_leaves: bool,
    pub(super) diff: bool,
}

/// Bounds of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Bounds {
    pub(super) max_messages: usize,
    pub(super) max_bytes: usize,
    pub(super) max_wait_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_messages: 500, max_bytes: 1024 * 1024, max_wait_ms: 0 }
    }
}

// === impl Parameters ===

impl Parameters {
    /// Reads all of them; every mistake is noted.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let server = read_server(fields);
        let dbname = fields
            .required::<String>("dbname", "the name of a database")
            .filter(|name| !name.is_empty());
        let auth = read_auth(fields);
        let since = fields
            .optional_with("since", "`now`, a sequence, or `0` for the beginning", read_since)
            .unwrap_or(Since::Now);
        let filter = read_filter(fields);
        let shape = read_shape(fields);
        let want = "a whole number; -1 or 0 is without limit";
        let max_events = fields.optional_with("maxTriggers", want, read_max).flatten();
        let heartbeat = read_heartbeat(fields);
        let batch = read_bounds(fields);
        Some(Self {
            server: server?,
            dbname: dbname?,
            auth: auth?,
            since,
            filter: filter?,
            shape,
            max_events,
            heartbeat,
            batch,
        })
    }
}

fn read_server(fields: &mut Fields<'_>) -> Option<Url> {
    let host = fields.required::<String>("host", "the server's name or address");
    let port = fields.optional_with("port", "a port's number", read_port);
    let want = "`http` or `https`";
    let protocol = fields.optional_with("protocol", want, |value| {
        value.as_str().filter(|protocol| ["http", "https"].contains(protocol))
    });
    let host = host?;
    let url = Url::parse(&format!("{}://{host}", protocol.unwrap_or("https"))).ok();
    let good = url.filter(|url| {
        url.username().is_empty() && url.password().is_none() && url.query().is_none()
    });
    let Some(mut url) = good else {
        fields.mistake("`host` must be a host's name or address, without protocol and credentials");
        return None;
    };
    if let Some(port) = port {
        url.set_port(Some(port)).ok()?;
    }
    Some(url)
}

fn read_auth(fields: &mut Fields<'_>) -> Option<Auth> {
    let username = fields.optional::<String>("username", "text");
    let password = fields.secret("password", "text");
    let key = fields.secret("iamApiKey", "text");
    let want = "the address that gives tokens";
    let url = fields.optional_with("iamUrl", want, |value| Url::parse(value.as_str()?).ok());
    match (username, password, key) {
        (None, None, None) => Some(Auth::Nobody),
        (Some(username), Some(password), None) => Some(Auth::Basic { username, password }),
        (None, None, Some(key)) => {
            Some(Auth::Iam { url: url.or_else(|| Url::parse(IAM_URL).ok())?, key })
        }
        (_, _, Some(_)) => {
            fields.mistake("`iamApiKey` and `username` with `password` exclude each other");
            None
        }
        (_, _, None) => {
            fields.mistake("`username` and `password` go together");
            None
        }
    }
}

fn read_filter(fields: &mut Fields<'_>) -> Option<Filter> {
    let chosen: Vec<_> = ["filter", "view", "selector", "doc_ids"]
        .into_iter()
        .filter(|name| fields.has(name))
        .collect();
    if chosen.len() > 1 {
        fields.mistake(format!("`{}` exclude each other", chosen.join("` and `")));
    }
    let params = fields
        .optional_with("query_params", "an object, or one as JSON text", read_params)
        .unwrap_or_default();
    for name in params.iter().map(|(name, _)| name).filter(|name| OURS.contains(&name.as_str())) {
        fields.mistake(format!("`query_params` may not have `{name}`"));
    }
    let of_design = |value: &Value| {
        let (design, name) = value.as_str()?.split_once('/')?;
        (!design.is_empty() && !name.is_empty()).then(|| format!("{design}/{name}"))
    };
    let name = fields.optional_with("filter", "`design document/filter` or `_design`", |value| {
        if value == "_design" { Some("_design".to_owned()) } else { of_design(value) }
    });
    let view = fields.optional_with("view", "`design document/view`", of_design);
    let selector = fields.optional::<Map<String, Value>>("selector", "a selector as an object");
    let want = "an array of 1 to 10000 document ids";
    let ids = fields.optional_with("doc_ids", want, read_ids);
    if !params.is_empty() && !fields.has("filter") && !fields.has("view") {
        fields.mistake("`query_params` need a `filter` or a `view`");
    }
    match (name, view, selector, ids) {
        (Some(name), ..) => Some(Filter::Function { name, params }),
        (_, Some(name), ..) => Some(Filter::View { name, params }),
        (_, _, Some(selector), _) => Some(Filter::Selector(selector.into())),
        (_, _, _, Some(ids)) => Some(Filter::DocIds(ids)),
        (None, None, None, None) => Some(Filter::All),
    }
}

fn read_shape(fields: &mut Fields<'_>) -> Shape {
    let mut flag = |name| fields.optional(name, "true or false").unwrap_or_default();
    let shape = Shape {
        include_docs: flag("include_docs"),
        conflicts: flag("conflicts"),
        att_encoding_info: flag("att_encoding_info"),
        diff: flag("diff"),
        all_leaves: false,
    };
    if (shape.conflicts || shape.att_encoding_info) && !shape.include_docs {
        fields.mistake("`conflicts` and `att_encoding_info` need `include_docs`");
    }
    let want = "`main_only` or `all_docs`";
    let all_leaves = fields.optional_with("style", want, |value| match value.as_str()? {
        "main_only" => Some(false),
        "all_docs" => Some(true),
        _ => None,
    });
    Shape { all_leaves: all_leaves.unwrap_or_default(), ..shape }
}

fn read_heartbeat(fields: &mut Fields<'_>) -> Duration {
    let want = "a whole number of milliseconds, 100 to 10000";
    let heartbeat = fields.optional_with("heartbeat", want, |value| {
        value.as_u64().filter(|ms| (MIN_HEARTBEAT_MS..=MAX_HEARTBEAT_MS).contains(ms))
    });
    Duration::from_millis(heartbeat.unwrap_or(DEFAULT_HEARTBEAT_MS))
}

fn read_bounds(fields: &mut Fields<'_>) -> Bounds {
    let want = "an object of `maxMessages` (1 to 10000), `maxBytes` (1 to 8388608) and `maxWaitMs` (up to 60000)";
    let read = |value: &Value| {
        let bounds = Bounds::deserialize(value).ok()?;
        let good = (1..=10_000).contains(&bounds.max_messages)
            && (1..=8 * 1024 * 1024).contains(&bounds.max_bytes)
            && bounds.max_wait_ms <= 60_000;
        good.then_some(bounds)
    };
    fields.optional_with("batch", want, read).unwrap_or_default()
}

/// A number, or the text of one, as OpenWhisk takes it.
fn read_port(value: &Value) -> Option<u16> {
    let port = match value {
        Value::String(text) => text.trim().parse().ok()?,
        other => u16::try_from(other.as_u64()?).ok()?,
    };
    (port != 0).then_some(port)
}

fn read_since(value: &Value) -> Option<Since> {
    match value.as_str() {
        Some("now") => Some(Since::Now),
        Some("") => None,
        _ => Seq::try_from(value.clone()).ok().map(Since::After),
    }
}

fn read_max(value: &Value) -> Option<Option<u64>> {
    let count = match value {
        Value::String(text) => text.trim().parse::<i64>().ok()?,
        other => other.as_i64()?,
    };
    match count {
        -1 | 0 => Some(None),
        count => u64::try_from(count).ok().map(Some),
    }
}

fn read_params(value: &Value) -> Option<Vec<(String, String)>> {
    let members = match value {
        Value::String(text) => serde_json::from_str(text).ok()?,
        other => other.as_object()?.clone(),
    };
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Some(members.into_iter().map(|(name, value)| (name, text(value))).collect())
}

fn read_ids(value: &Value) -> Option<Vec<String>> {
    let ids = Vec::<String>::deserialize(value).ok()?;
    (1..=MAX_DOC_IDS).contains(&ids.len()).then_some(ids)
}
