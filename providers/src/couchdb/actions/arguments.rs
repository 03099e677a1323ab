//! Parameters of the `cloudant` package's actions, read as OpenWhisk reads them.

use evoke_schemas::Secret;
use reqwest::{Client, Url};
use serde_json::{Map, Value};

use super::super::{
    client::Server,
    parameters::{Auth, IAM_URL},
};

/// Members of a query whose values are JSON, text too.
const JSON_VALUES: [&str; 6] = ["key", "keys", "startkey", "endkey", "start_key", "end_key"];

/// The parameters of one call.
#[derive(Debug)]
pub(super) struct Arguments<'a>(&'a Map<String, Value>);

/// The name of a design document without its prefix.
pub(super) fn plain_design(id: &str) -> &str {
    id.strip_prefix("_design/").unwrap_or(id)
}

impl<'a> Arguments<'a> {
    pub(super) fn read(parameters: &'a Value) -> Result<Self, String> {
        parameters.as_object().map(Self).ok_or_else(|| "parameters are an object".to_owned())
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Text that must be there.
    pub(super) fn text(&self, name: &str) -> Result<&'a str, String> {
        match self.get(name).and_then(Value::as_str) {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) | None => Err(format!("{name} is required.")),
        }
    }

    /// Text that may be there.
    pub(super) fn optional(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A value that must be there; text is JSON.
    pub(super) fn object(&self, name: &str) -> Result<Value, String> {
        let value = self.get(name).ok_or_else(|| format!("{name} is required."))?;
        match value {
            Value::String(text) => match serde_json::from_str(text) {
                Ok(parsed @ (Value::Object(_) | Value::Array(_))) => Ok(parsed),
                Ok(_) => Err(format!("{name} is not an object.")),
                Err(error) => Err(format!("{name} is not JSON: {error}")),
            },
            Value::Object(_) | Value::Array(_) => Ok(value.clone()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                Err(format!("{name} is not an object."))
            }
        }
    }

    /// `true`, or its text.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| {
            value == &Value::Bool(true) || value.as_str().map(str::trim) == Some("true")
        })
    }

    /// An attachment's bytes: text as it is, anything else as JSON.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        match self.get(name) {
            Some(Value::String(text)) => Ok(text.clone().into_bytes()),
            Some(other) => Ok(other.to_string().into_bytes()),
            None => Err(format!("{name} is required.")),
        }
    }

    /// `params` as a query.
    pub(super) fn query(&self) -> Result<Vec<(String, String)>, String> {
        if self.get("params").is_none() {
            return Ok(Vec::new());
        }
        let Value::Object(members) = self.object("params")? else {
            return Err("params is not an object.".to_owned());
        };
        let text = |(name, value): (String, Value)| match value {
            Value::String(text) if !JSON_VALUES.contains(&name.as_str()) => (name, text),
            other => (name, other.to_string()),
        };
        Ok(members.into_iter().map(text).collect())
    }

    /// The server: `url` with everything in it, or `host` with who asks.
    pub(super) fn server(&self, http: &Client) -> Result<Server, String> {
        let Some(address) = self.optional("url") else { return self.server_of_host(http) };
        let mut url =
            Url::parse(address).map_err(|error| format!("url is not an address: {error}"))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err("url is of http or https.".to_owned());
        }
        let auth = match (url.username().to_owned(), url.password().map(str::to_owned)) {
            (username, _) if username.is_empty() => Auth::Nobody,
            (username, password) => Auth::Basic {
                username: decoded(&username),
                password: Secret::new(decoded(&password.unwrap_or_default())),
            },
        };
        url.set_query(None);
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| "url has no host.".to_owned())?;
        Ok(Server::new(http.clone(), url, auth))
    }

    fn server_of_host(&self, http: &Client) -> Result<Server, String> {
        let host = self.text("host")?;
        let protocol = self.optional("protocol").unwrap_or("https");
        let port = match self.get("port") {
            None => String::new(),
            Some(Value::String(port)) => format!(":{port}"),
            Some(port) => format!(":{port}"),
        };
        let auth = match self.optional("iamApiKey") {
            Some(key) => Auth::Iam {
                url: Url::parse(self.optional("iamUrl").unwrap_or(IAM_URL))
                    .map_err(|error| format!("iamUrl is not an address: {error}"))?,
                key: Secret::new(key),
            },
            None => Auth::Basic {
                username: self.text("username")?.to_owned(),
                password: Secret::new(self.text("password")?),
            },
        };
        let address = format!("{protocol}://{host}{port}");
        match Url::parse(&address) {
            Ok(url) if ["http", "https"].contains(&url.scheme()) && url.has_host() => {
                Ok(Server::new(http.clone(), url, auth))
            }
            Ok(_) | Err(_) => Err("host is not a host's name.".to_owned()),
        }
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_query_is_written_as_couchdb_wants_it() {
        let parameters = json!({"params": {"key": "a", "limit": 3, "stale": "ok", "keys": ["x"]}});
        let mut query = Arguments::read(&parameters).unwrap().query().unwrap();
        query.sort();
        let wanted = [("key", "\"a\""), ("keys", "[\"x\"]"), ("limit", "3"), ("stale", "ok")];
        assert_eq!(query, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn objects_may_be_text_and_what_is_missing_is_named() {
        let parameters = json!({"doc": "{\"a\": 1}", "bad": "{", "no": 3, "overwrite": "true"});
        let arguments = Arguments::read(&parameters).unwrap();
        assert_eq!(arguments.object("doc"), Ok(json!({"a": 1})));
        assert_eq!(arguments.object("nothing"), Err("nothing is required.".to_owned()));
        assert!(arguments.object("bad").is_err() && arguments.object("no").is_err());
        assert!(arguments.flag("overwrite") && !arguments.flag("doc"));
    }
}
