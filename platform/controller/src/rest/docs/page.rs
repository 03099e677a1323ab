//! The OpenAPI document as one page of HTML: without scripts, without anything from elsewhere.

use std::fmt::Write as _;

use serde_json::Value;

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Evoke: API</title><style>\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
summary{cursor:pointer;padding:.2rem 0}code,pre{font-family:ui-monospace,monospace;font-size:.9em}\
pre{background:#f4f4f4;padding:.6rem;overflow:auto}b{display:inline-block;min-width:5rem}\
table{border-collapse:collapse}td{padding:.1rem .8rem .1rem 0;vertical-align:top}\
</style></head><body><h1>Evoke: API</h1>";

/// Methods in the order in which they are shown.
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "options"];

/// The page of a document.
pub(super) fn of(document: &Value) -> String {
    let mut page = String::from(HEAD);
    push(&mut page, format_args!("<p>{}</p>", text(document, "/info/description")));
    page.push_str("<p>For programs: <a href=\"/openapi.json\">OpenAPI</a>.</p>");
    for tag in array(document, "/tags") {
        let (name, about) = (text(tag, "/name"), text(tag, "/description"));
        push(&mut page, format_args!("<h2 id=\"{name}\">{name}</h2><p>{about}</p>"));
        let paths = document.get("paths").and_then(Value::as_object);
        for (path, item) in paths.into_iter().flatten() {
            let operations = METHODS.iter().filter_map(|method| Some((*method, item.get(method)?)));
            for (method, operation) in operations {
                if operation.pointer("/tags/0") == tag.get("name") {
                    describe(&mut page, (method, path), item, operation);
                }
            }
        }
    }
    page.push_str("</body></html>");
    page
}

fn describe(page: &mut String, (method, path): (&str, &str), item: &Value, operation: &Value) {
    push(
        page,
        format_args!(
            "<details><summary><b><code>{}</code></b><code>{}</code> {}</summary><p>{}</p><table>",
            method.to_uppercase(),
            escaped(path),
            text(operation, "/summary"),
            text(operation, "/description"),
        ),
    );
    let parameters = array(item, "/parameters").chain(array(operation, "/parameters"));
    for parameter in parameters {
        push(
            page,
            format_args!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                text(parameter, "/name"),
                text(parameter, "/in"),
                text(parameter, "/description"),
            ),
        );
    }
    page.push_str("</table>");
    let contents = operation.pointer("/requestBody/content").and_then(Value::as_object);
    for (media, content) in contents.into_iter().flatten() {
        let example = content.get("example").map(|example| format!("{example:#}"));
        let example = escaped(&example.unwrap_or_default());
        push(page, format_args!("<p><code>{}</code></p><pre>{example}</pre>", escaped(media)));
    }
    let answers = operation.get("responses").and_then(Value::as_object);
    let statuses: Vec<&str> =
        answers.into_iter().flatten().map(|(code, _)| code.as_str()).collect();
    push(page, format_args!("<p>Answers: {}</p></details>", statuses.join(", ")));
}

fn array<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, pointer: &str) -> String {
    escaped(value.pointer(pointer).and_then(Value::as_str).unwrap_or_default())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn push(page: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _always = page.write_fmt(more).is_ok();
}
