//! What changed between two documents, as a JSON patch (RFC 6902).

use serde_json::{Map, Value, json};

/// The operations that make `after` out of `before`. Members that are equal are left alone;
/// arrays are compared place by place.
#[must_use]
pub(super) fn diff(before: &Value, after: &Value) -> Vec<Value> {
    let mut patch = Vec::new();
    compare(&mut String::new(), before, after, &mut patch);
    patch
}

fn compare(path: &mut String, before: &Value, after: &Value, patch: &mut Vec<Value>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => members(path, before, after, patch),
        (Value::Array(before), Value::Array(after)) => places(path, before, after, patch),
        _ if before == after => {}
        _ => patch.push(json!({"op": "replace", "path": *path, "value": after})),
    }
}

fn members(
    path: &mut String,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    patch: &mut Vec<Value>,
) {
    for (name, was) in before {
        below(path, name, |path| match after.get(name) {
            Some(is) => compare(path, was, is, patch),
            None => patch.push(json!({"op": "remove", "path": *path})),
        });
    }
    for (name, is) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        below(path, name, |path| {
            patch.push(json!({"op": "add", "path": *path, "value": is}));
        });
    }
}

fn places(path: &mut String, before: &[Value], after: &[Value], patch: &mut Vec<Value>) {
    for (place, (was, is)) in before.iter().zip(after).enumerate() {
        below(path, &place.to_string(), |path| compare(path, was, is, patch));
    }
    // From the end, so that no place moves before it is named.
    for place in (after.len()..before.len()).rev() {
        below(path, &place.to_string(), |path| patch.push(json!({"op": "remove", "path": *path})));
    }
    for (place, is) in after.iter().enumerate().skip(before.len()) {
        below(path, &place.to_string(), |path| {
            patch.push(json!({"op": "add", "path": *path, "value": is}));
        });
    }
}

/// Does `act` with the path of a member, escaped as RFC 6901 has it.
fn below(path: &mut String, name: &str, act: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('/');
    path.push_str(&name.replace('~', "~0").replace('/', "~1"));
    act(path);
    path.truncate(length);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Applies a patch of the three operations that [`diff`] makes.
    fn apply(document: &mut Value, patch: &[Value]) {
        for operation in patch {
            let path = operation["path"].as_str().unwrap();
            let Some((parent, name)) = path.rsplit_once('/') else {
                *document = operation["value"].clone();
                continue;
            };
            let name = name.replace("~1", "/").replace("~0", "~");
            let value = operation["value"].clone();
            match (document.pointer_mut(parent).unwrap(), operation["op"].as_str().unwrap()) {
                (Value::Object(members), "remove") => drop(members.remove(&name).unwrap()),
                (Value::Object(members), "replace") => {
                    assert!(members.insert(name, value).is_some());
                }
                (Value::Object(members), "add") => assert!(members.insert(name, value).is_none()),
                (Value::Array(places), "remove") => drop(places.remove(name.parse().unwrap())),
                (Value::Array(places), "add") => places.insert(name.parse().unwrap(), value),
                (Value::Array(places), "replace") => {
                    places[name.parse::<usize>().unwrap()] = value;
                }
                (_, op) => panic!("{op} at {path}"),
            }
        }
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3u8).prop_map(Value::from),
            "[a~/]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c~/]{0,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn a_patch_names_only_what_changed() {
        let before =
            json!({"_rev": "1-a", "keep": [1], "x/y": {"~": 1}, "gone": 1, "list": [1, 2, 3]});
        let after = json!({"_rev": "2-b", "keep": [1], "x/y": {"~": 2}, "new": 1, "list": [1]});
        let patch = diff(&before, &after);
        for operation in [
            json!({"op": "replace", "path": "/_rev", "value": "2-b"}),
            json!({"op": "replace", "path": "/x~1y/~0", "value": 2}),
            json!({"op": "remove", "path": "/gone"}),
            json!({"op": "add", "path": "/new", "value": 1}),
            json!({"op": "remove", "path": "/list/2"}),
            json!({"op": "remove", "path": "/list/1"}),
        ] {
            assert!(patch.contains(&operation), "{operation} is not in {patch:?}");
        }
        assert_eq!(patch.len(), 6);
        assert!(diff(&after, &after).is_empty());
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_one_out_of_the_other(before in documents(), after in documents()) {
            let mut patched = before.clone();
            apply(&mut patched, &diff(&before, &after));
            prop_assert_eq!(patched, after);
        }
    }
}
