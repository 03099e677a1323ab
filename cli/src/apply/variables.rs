//! Variables of the environment in a manifest: `$NAME` alone, `${NAME}` within text.

use super::mistakes::{At, Mistakes};
use crate::yaml::{Content, Node};

/// Looks up a variable.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Puts variables into every text and name, but for an action's inline code. A variable that is
/// not set is a mistake: an empty password would be worse.
pub(super) fn fill(node: &mut Node, at: &At, lookup: Lookup<'_>, mistakes: &mut Mistakes) {
    match &mut node.content {
        Content::Text(text) => {
            if let Some(filled) = filled(text, at, lookup, mistakes) {
                *text = filled;
                node.is_filled = true;
            }
        }
        Content::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                fill(item, &at.member(&index.to_string(), item.line), lookup, mistakes);
            }
        }
        Content::Map(members) => {
            for member in members {
                let at = at.member(&member.name, member.line);
                if let Some(name) = filled(&member.name, &at, lookup, mistakes) {
                    member.name = name;
                }
                let is_code = member.name == "code" && at.path.contains(".actions.");
                if !is_code {
                    fill(&mut member.value, &at, lookup, mistakes);
                }
            }
        }
        Content::Null | Content::Bool(_) | Content::Number(_) => {}
    }
}

/// The text with its variables; `None` where it has none.
fn filled(text: &str, at: &At, lookup: Lookup<'_>, mistakes: &mut Mistakes) -> Option<String> {
    if !text.contains('$') {
        return None;
    }
    let mut value = |name: &str| {
        lookup(name).unwrap_or_else(|| {
            mistakes.add(at, format!("variable `{name}` of the environment is not set"));
            String::new()
        })
    };
    let name = text.trim_start_matches('$');
    match text.strip_prefix('$') {
        Some(rest) if is_name(rest) => return Some(value(rest)),
        Some(rest) if is_name(name) => return Some(rest.to_owned()),
        _ => {}
    }
    let (mut done, mut rest) = (String::new(), text);
    let mut has_any = false;
    while let Some((before, after)) = rest.split_once("${") {
        let unescaped = before.strip_suffix('$');
        let inside = after.split_once('}').filter(|(name, _)| is_name(name));
        has_any |= inside.is_some();
        match inside {
            Some((name, tail)) => {
                done.push_str(unescaped.unwrap_or(before));
                match unescaped {
                    Some(_) => done.push_str(&format!("${{{name}}}")),
                    None => done.push_str(&value(name)),
                }
                rest = tail;
            }
            None => {
                done.push_str(before);
                done.push_str("${");
                rest = after;
            }
        }
    }
    done.push_str(rest);
    has_any.then_some(done)
}

fn is_name(text: &str) -> bool {
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    begins && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Text as a manifest has to say it, so that nothing in it is taken for a variable.
pub(crate) fn escaped(text: &str) -> String {
    if text.strip_prefix('$').is_some_and(|name| is_name(name.trim_start_matches('$'))) {
        return format!("${text}");
    }
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        done.push_str(before);
        let is_variable = after.split_once('}').is_some_and(|(name, _)| is_name(name));
        done.push_str(if is_variable { "$${" } else { "${" });
        rest = after;
    }
    done + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn check(text: &str, expected: &str) {
        let mut node = Node::new(1, Content::Text(text.to_owned()));
        let lookup = |name: &str| (name == "A").then(|| "x y".to_owned());
        let (at, mut mistakes) = (At { line: 1, path: String::new() }, Mistakes::default());
        fill(&mut node, &at, &lookup, &mut mistakes);
        assert_eq!(node.content, Content::Text(expected.to_owned()), "{text}");
        assert!(mistakes.is_empty());
    }

    #[test]
    fn variables_stand_alone_or_in_braces() {
        check("$A", "x y");
        check("${A}", "x y");
        check("a/${A}/b${A}", "a/x y/bx y");
        check("costs 5$ or $A more", "costs 5$ or $A more");
        check("$${A}", "${A}");
        check("a $${A} ${A}", "a ${A} x y");
        check("$$A", "$A");
        check("${not a name} ${", "${not a name} ${");
        check("$$", "$$");
    }

    #[test]
    fn what_is_escaped_comes_back() {
        for text in ["$A", "${A}", "a ${A} $", "$$A", "plain", "$5", "${a.b}"] {
            check(&escaped(text), text);
        }
    }

    #[test]
    fn a_missing_variable_is_told_with_its_line_and_code_is_left_alone() {
        let text = "p:\n  actions:\n    a:\n      code: '${B}'\n      main: ${B}\n";
        let mut node = parse(text).unwrap();
        let mut mistakes = Mistakes::default();
        fill(&mut node, &At { line: 1, path: String::new() }, &|_| None, &mut mistakes);
        assert_eq!(
            mistakes.into_error("m".into()).to_string(),
            "m:5: p.actions.a.main: variable `B` of the environment is not set"
        );
    }
}
