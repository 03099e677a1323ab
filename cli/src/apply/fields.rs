//! Reading the members of a map so that every mistake is told, a member nobody asked for too.

use serde_json::{Number, Value};

use super::mistakes::{At, Mistakes};
use crate::yaml::{Content, Member, Node, plain};

/// The members of one map, taken one by one.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    members: &'a [Member],
    known: Vec<&'static str>,
    /// Where the map stands.
    pub(super) at: At,
}

impl<'a> Fields<'a> {
    /// A node that must be a map; nothing counts as an empty one. `None` where it is another thing.
    pub(super) fn of(node: &'a Node, at: &At, mistakes: &mut Mistakes) -> Option<Self> {
        let members: &[Member] = match &node.content {
            Content::Map(members) => members,
            Content::Null => &[],
            _ => {
                mistakes.add(at, format!("must be a map, not {}", node.kind()));
                return None;
            }
        };
        Some(Self { members, known: Vec::new(), at: at.clone() })
    }

    /// The member, whatever it is; none where it is empty.
    pub(super) fn any(&mut self, name: &'static str) -> Option<(&'a Node, At)> {
        self.known.push(name);
        // Of a name that is there twice the last counts; that it is, is told elsewhere.
        let member = self.members.iter().rfind(|member| member.name == name)?;
        let is_empty = member.value.content == Content::Null;
        (!is_empty).then(|| (&member.value, self.at.member(name, member.line)))
    }

    /// The member as a map, with every member of it.
    pub(super) fn map(
        &mut self,
        name: &'static str,
        mistakes: &mut Mistakes,
    ) -> Vec<(&'a str, &'a Node, At)> {
        let Some((node, at)) = self.any(name) else { return Vec::new() };
        members(node, &at, mistakes)
    }

    pub(super) fn text(
        &mut self,
        name: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<(String, At)> {
        let (node, at) = self.any(name)?;
        match &node.content {
            Content::Text(text) => Some((text.clone(), at)),
            // A version or a name that looks like a number is meant as it is written.
            Content::Number(number) => Some((number.to_string(), at)),
            _ => {
                mistakes.add(&at, format!("must be text, not {}", node.kind()));
                None
            }
        }
    }

    /// As [`Fields::text`], its absence being a mistake.
    pub(super) fn required(
        &mut self,
        name: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<(String, At)> {
        if self.any(name).is_none() {
            mistakes.add(&self.at, format!("`{name}` is missing"));
            return None;
        }
        self.text(name, mistakes)
    }

    pub(super) fn whole(
        &mut self,
        name: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<(u64, At)> {
        let (node, at) = self.any(name)?;
        let number = match written(node) {
            Content::Number(number) => number.as_u64(),
            _ => None,
        };
        if number.is_none() {
            mistakes.add(&at, format!("must be a whole number, not {}", shown(node)));
        }
        Some((number?, at))
    }

    pub(super) fn flag(&mut self, name: &'static str, mistakes: &mut Mistakes) -> Option<bool> {
        let (node, at) = self.any(name)?;
        match written(node) {
            Content::Bool(value) => Some(value),
            _ => {
                mistakes.add(&at, format!("must be true or false, not {}", shown(node)));
                None
            }
        }
    }

    /// Members that OpenWhisk's form has and this version cannot make.
    pub(super) fn later(&mut self, names: &[&'static str], mistakes: &mut Mistakes) {
        for member in self.members {
            if let Some(name) = names.iter().find(|name| **name == member.name) {
                self.known.push(name);
                let at = self.at.member(name, member.line);
                mistakes.add(&at, "is not in this version of Evoke");
            }
        }
    }

    /// Tells every member that nobody asked for.
    pub(super) fn finish(self, mistakes: &mut Mistakes) {
        for member in self.members {
            if !self.known.contains(&member.name.as_str()) {
                let at = self.at.member(&member.name, member.line);
                let known = self.known.join("`, `");
                mistakes.add(&at, format!("unknown field (known: `{known}`)"));
            }
        }
    }
}

/// Every member of a node that must be a map.
pub(super) fn members<'a>(
    node: &'a Node,
    at: &At,
    mistakes: &mut Mistakes,
) -> Vec<(&'a str, &'a Node, At)> {
    match &node.content {
        Content::Map(members) => members
            .iter()
            .map(|one| (one.name.as_str(), &one.value, at.member(&one.name, one.line)))
            .collect(),
        Content::Null => Vec::new(),
        _ => {
            mistakes.add(at, format!("must be a map, not {}", node.kind()));
            Vec::new()
        }
    }
}

/// Names that are there twice, anywhere below.
pub(super) fn twice(node: &Node, at: &At, mistakes: &mut Mistakes) {
    match &node.content {
        Content::Map(members) => {
            for (index, member) in members.iter().enumerate() {
                let at = at.member(&member.name, member.line);
                let earlier = members.iter().take(index).find(|there| there.name == member.name);
                if let Some(earlier) = earlier {
                    mistakes.add(&at, format!("is there twice, first in line {}", earlier.line));
                }
                twice(&member.value, &at, mistakes);
            }
        }
        Content::List(items) => {
            for (index, item) in items.iter().enumerate() {
                twice(item, &at.member(&index.to_string(), item.line), mistakes);
            }
        }
        _ => {}
    }
}

/// What a scalar is; text that came out of the environment is read as if it stood there bare.
pub(super) fn written(node: &Node) -> Content {
    match &node.content {
        Content::Text(text) if node.is_filled => plain(text),
        content => content.clone(),
    }
}

/// A wrong scalar for a sentence; what the environment gave is not shown.
fn shown(node: &Node) -> String {
    match &node.content {
        Content::Number(number) => number_shown(number),
        Content::Text(text) if !node.is_filled => format!("`{text}`"),
        _ => node.kind().to_owned(),
    }
}

fn number_shown(number: &Number) -> String {
    format!("`{}`", Value::Number(number.clone()))
}
