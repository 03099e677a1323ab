//! YAML with places: every key and value knows its line.
//!
//! Scalars are read as YAML 1.2's core schema has them, so that `yes` and `on` are text; a number
//! with a leading zero is text too, because it would not be written the same again.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};

/// Deepest nesting.
const MAX_DEPTH: usize = 64;
/// Most values of one document, those that aliases repeat counted each time.
const MAX_NODES: usize = 200_000;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) content: Content,
    /// Whether a variable of the environment is in it.
    pub(crate) is_filled: bool,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Member>),
}

/// A member of a map. Of equal names both are there; whoever reads the map decides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) value: Node,
}

/// Text that is no YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub(crate) struct YamlError {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

/// A list or map whose end has not come.
#[derive(Debug)]
struct Open {
    line: usize,
    anchor: usize,
    content: Inside,
}

#[derive(Debug)]
enum Inside {
    List(Vec<Node>),
    /// The members, and the key whose value has not come.
    Map(Vec<Member>, Option<(String, usize)>),
}

/// Reads the one document of a text; null where there is none.
///
/// # Errors
/// The first place that is no YAML.
pub(crate) fn parse(text: &str) -> Result<Node, YamlError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError {
            line: error.marker().line(),
            text: error.info().to_owned(),
        })?;
        builder.take(event, span.start.line())?;
    }
    Ok(builder.root.unwrap_or_else(|| Node::new(1, Content::Null)))
}

fn wrong(line: usize, text: impl Into<String>) -> YamlError {
    YamlError { line, text: text.into() }
}

// === impl Builder ===

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(wrong(line, "a second document begins here; one is wanted"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                if self.takes_key(&text, line) {
                    return Ok(());
                }
                let content = scalar(&text, style, tag.as_deref(), line)?;
                self.count(1, line)?;
                self.place(Node::new(line, content), anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(wrong(line, "this alias stands within what it names"));
                };
                let size = node.size();
                let node = (self.nodes + size <= MAX_NODES).then(|| node.clone());
                self.count(size, line)?;
                node.map_or(Ok(()), |node| self.place(node, 0))
            }
            Event::SequenceStart(anchor, _) => self.begin(line, anchor, Inside::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.begin(line, anchor, Inside::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => Ok(()),
        }
    }

    /// Aliases of aliases must not fill the memory.
    fn count(&mut self, nodes: usize, line: usize) -> Result<(), YamlError> {
        self.nodes += nodes;
        if self.nodes <= MAX_NODES {
            Ok(())
        } else {
            Err(wrong(line, format!("more than {MAX_NODES} values")))
        }
    }

    /// Whether a scalar is the next key of the map that is open.
    fn takes_key(&mut self, text: &str, line: usize) -> bool {
        match self.open.last_mut() {
            Some(Open { content: Inside::Map(_, key @ None), .. }) => {
                *key = Some((text.to_owned(), line));
                true
            }
            _ => false,
        }
    }

    fn begin(&mut self, line: usize, anchor: usize, content: Inside) -> Result<(), YamlError> {
        if let Some(Open { content: Inside::Map(_, None), .. }) = self.open.last() {
            return Err(wrong(line, "a key must be text"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(wrong(line, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.open.push(Open { line, anchor, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), YamlError> {
        let Some(Open { line, anchor, content }) = self.open.pop() else { return Ok(()) };
        let content = match content {
            Inside::List(items) => Content::List(items),
            Inside::Map(members, _) => Content::Map(merged(members)),
        };
        self.place(Node::new(line, content), anchor)
    }

    fn place(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Map(members, key)) => match key.take() {
                Some((name, line)) => members.push(Member { name, line, value: node }),
                None => return Err(wrong(node.line, "a key must be text")),
            },
        }
        Ok(())
    }
}

/// `<<: *base` gives a map what it does not say itself.
fn merged(members: Vec<Member>) -> Vec<Member> {
    let (bases, mut own): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|member| member.name == "<<");
    for base in bases {
        let sources = match base.value.content {
            Content::Map(members) => vec![members],
            Content::List(items) => items.into_iter().filter_map(Node::into_members).collect(),
            _ => Vec::new(),
        };
        for member in sources.into_iter().flatten() {
            if !own.iter().any(|there| there.name == member.name) {
                own.push(member);
            }
        }
    }
    own
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    line: usize,
) -> Result<Content, YamlError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() && tag.handle != "!" => {
            Err(wrong(line, format!("tag `{tag}` is not known")))
        }
        Some(tag) if tag.suffix == "str" => Ok(Content::Text(text.to_owned())),
        _ if style == ScalarStyle::Plain => Ok(plain(text)),
        _ => Ok(Content::Text(text.to_owned())),
    }
}

/// A scalar without quotes.
pub(crate) fn plain(text: &str) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Content::Null,
        "true" | "True" | "TRUE" => return Content::Bool(true),
        "false" | "False" | "FALSE" => return Content::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Content::Text(text.to_owned()), Content::Number)
}

fn number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Number::from);
    }
    let mut bytes = unsigned.bytes();
    let begins = bytes.next()?;
    let starts_well = begins.is_ascii_digit() || begins == b'.';
    let has_leading_zero = begins == b'0' && bytes.next().is_some_and(|byte| byte.is_ascii_digit());
    let is_made_of =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    if !starts_well || has_leading_zero || !unsigned.bytes().all(is_made_of) {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

// === impl Node ===

impl Node {
    pub(crate) fn new(line: usize, content: Content) -> Self {
        Self { line, content, is_filled: false }
    }

    /// As JSON; of equal keys the last counts.
    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => (*value).into(),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => text.clone().into(),
            Content::List(items) => items.iter().map(Self::to_json).collect(),
            Content::Map(members) => Value::Object(
                members
                    .iter()
                    .map(|one| (one.name.clone(), one.value.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// What it is, for a sentence.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "true or false",
            Content::Number(_) => "a number",
            Content::Text(_) => "text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }

    fn into_members(self) -> Option<Vec<Member>> {
        match self.content {
            Content::Map(members) => Some(members),
            _ => None,
        }
    }

    fn size(&self) -> usize {
        match &self.content {
            Content::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Content::Map(members) => 1 + members.iter().map(|one| one.value.size()).sum::<usize>(),
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_those_of_the_core_schema() {
        let text = "{a: 1, b: 0x1f, c: 1.5, d: yes, e: '1', f: ~, g: true, h: 007, i: -3, j: 1e3, \
                    k: 1.2.3, l: .5, m: !!str 5, n: -x, o: 2026-01-31}";
        assert_eq!(
            parse(text).unwrap().to_json(),
            json!({"a": 1, "b": 31, "c": 1.5, "d": "yes", "e": "1", "f": null, "g": true,
                   "h": "007", "i": -3, "j": 1000.0, "k": "1.2.3", "l": 0.5, "m": "5", "n": "-x",
                   "o": "2026-01-31"})
        );
    }

    #[test]
    fn every_value_knows_its_line() {
        let Content::Map(members) = parse("a: 1\nb:\n  - x\n  - y\n").unwrap().content else {
            panic!("a map")
        };
        let Content::List(items) = &members[1].value.content else { panic!("a list") };
        assert_eq!((members[1].line, items[1].line), (2, 4));
    }

    #[test]
    fn aliases_and_merges_are_followed() {
        let text = "base: &b {x: 1, y: 2}\nown:\n  <<: *b\n  y: 3\nsame: *b\n";
        let base = json!({"x": 1, "y": 2});
        assert_eq!(
            parse(text).unwrap().to_json(),
            json!({"base": base, "own": {"x": 1, "y": 3}, "same": base})
        );
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_line() {
        let line = |text: &str| parse(text).unwrap_err().line;
        assert_eq!(line("a: 1\nb: [1, 2\n"), 3);
        assert_eq!(line("a: 1\n? [x]\n: 2\n"), 2);
        assert_eq!(line("a: 1\n---\nb: 2\n"), 2);
        assert!(parse(&"[".repeat(1000)).is_err());
        let bomb = (1..40).fold("a0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
            let last = n - 1;
            format!("{text}a{n}: &a{n} [*a{last},*a{last},*a{last},*a{last},*a{last}]\n")
        });
        assert!(parse(&bomb).is_err());
    }
}
