//! What an event gets, before and after each change of an entity.

use super::*;
use crate::fixture::{name, namespace, rule, trigger};

fn fired(index: &RuleIndex, text: &str) -> Option<Vec<(String, bool)>> {
    let trigger = index.trigger(&namespace("guest"), &name(text))?;
    assert_eq!(trigger.stored().rules.iter().filter(|rule| rule.active).count(), trigger.active());
    let rules = &trigger.stored().rules;
    Some(rules.iter().map(|rule| (rule.name.to_string(), rule.active)).collect())
}

fn subscribed(index: &RuleIndex, r#type: &str) -> Vec<String> {
    let event = Event::new("1", "/s", r#type);
    let guest = namespace("guest");
    let mut names: Vec<String> =
        index.subscribed(&guest, &event).map(|t| t.stored().name.to_string()).collect();
    names.sort();
    names
}

#[test]
fn rules_follow_one_life_of_their_trigger() {
    let mut index = RuleIndex::default();
    index.put_rule(Arc::new(rule(1, "r", (9, "t"))));
    assert_eq!(fired(&index, "t"), None);
    index.put_trigger(trigger(9, "t", None));
    assert_eq!(fired(&index, "t"), Some(vec![("r".to_owned(), true)]));
    let mut resting = rule(2, "a", (9, "t"));
    resting.status = RuleStatus::Inactive;
    index.put_rule(Arc::new(resting));
    let both = vec![("a".to_owned(), false), ("r".to_owned(), true)];
    assert_eq!(fired(&index, "t"), Some(both));
    index.remove_trigger(&namespace("guest"), &name("t"));
    assert_eq!(fired(&index, "t"), None);
    index.put_trigger(trigger(8, "t", None));
    assert_eq!(fired(&index, "t"), Some(vec![]), "another life, no rules");
    index.put_rule(Arc::new(rule(1, "r", (8, "t"))));
    assert_eq!(fired(&index, "t"), Some(vec![("r".to_owned(), true)]));
}

#[test]
fn a_rule_that_moves_leaves_its_former_trigger() {
    let mut index = RuleIndex::default();
    index.put_trigger(trigger(9, "t", None));
    index.put_trigger(trigger(8, "u", None));
    index.put_rule(Arc::new(rule(1, "r", (9, "t"))));
    index.put_rule(Arc::new(rule(1, "r", (8, "u"))));
    assert_eq!(fired(&index, "t"), Some(vec![]));
    assert_eq!(fired(&index, "u"), Some(vec![("r".to_owned(), true)]));
    assert!(index.remove_rule(&namespace("guest"), &name("r")).is_some());
    assert_eq!(fired(&index, "u"), Some(vec![]));
    assert!(index.remove_rule(&namespace("guest"), &name("r")).is_none());
}

#[test]
fn the_hub_finds_exact_types_and_patterns_and_forgets_them() {
    let mut index = RuleIndex::default();
    index.put_trigger(trigger(1, "exact", Some("t.a")));
    index.put_trigger(trigger(2, "prefix", Some("t.*")));
    index.put_trigger(trigger(3, "none", None));
    assert_eq!(subscribed(&index, "t.a"), ["exact", "prefix"]);
    assert_eq!(subscribed(&index, "t.b"), ["prefix"]);
    assert_eq!(subscribed(&index, "x"), [""; 0]);
    index.put_trigger(trigger(1, "exact", Some("t.b")));
    assert_eq!(subscribed(&index, "t.a"), ["prefix"]);
    index.remove_trigger(&namespace("guest"), &name("prefix"));
    assert_eq!(subscribed(&index, "t.b"), ["exact"]);
    let other = namespace("other");
    assert_eq!(index.subscribed(&other, &Event::new("1", "/s", "t.b")).count(), 0);
}
