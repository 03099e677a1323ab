//! What a hub that loses nothing may show after any fault: the assertion, on plain values.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

/// A rule of the test: its action alone tells its records.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Name of its action, which no other rule has.
    pub action: String,
    /// What the action adds to the payload before it hashes: shows that the action ran with its parameters.
    pub salt: String,
}

/// An activation record as far as the assertion needs it.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// 32 hex.
    pub activation: String,
    /// Name of the action.
    pub action: String,
    /// The event that the action says it got.
    pub event: Option<String>,
    /// What the action hashed.
    pub hash: Option<String>,
    /// The process it ran in.
    pub process: Option<u64>,
    /// Shown where something is wrong.
    pub text: String,
}

/// A dead letter as far as the assertion needs it.
#[derive(Clone, Debug, Default)]
pub struct DeadLetter {
    /// Id of its event.
    pub event: String,
    /// Name of its rule.
    pub rule: String,
    /// Why it is dead.
    pub why: Option<String>,
}

/// What was found wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// Acknowledged, and neither a record nor a dead letter.
    Lost {
        /// The event.
        event: String,
        /// The rule.
        rule: String,
    },
    /// More than one record.
    Double {
        /// The event.
        event: String,
        /// The action.
        action: String,
        /// The records.
        activations: Vec<String>,
    },
    /// A record that does not prove that the action ran for an event of ours.
    Unproven {
        /// The record.
        activation: String,
        /// What is wrong.
        why: String,
    },
    /// A record or dead letter for an event that was never sent.
    NeverSent {
        /// The event.
        event: String,
    },
    /// A dead letter that does not say why.
    Unexplained {
        /// The event.
        event: String,
        /// The rule.
        rule: String,
    },
    /// An answer that the API must not give to what was set up and acknowledged before.
    Answered {
        /// Request and answer.
        what: String,
    },
}

/// All that is known at the end.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Ids of events posted, acknowledged or not.
    pub sent: BTreeSet<String>,
    /// Ids of events acknowledged.
    pub acknowledged: BTreeSet<String>,
    /// The rules that match each of them.
    pub rules: Vec<Rule>,
    /// All activation records of their actions.
    pub records: Vec<Record>,
    /// All dead letters.
    pub dead: Vec<DeadLetter>,
    /// Answers that must not be.
    pub answers: Vec<String>,
}

impl Evidence {
    /// Every breach of the promise, sorted.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut found: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for record in &self.records {
            match self.proven(record) {
                Ok(key) => found.entry(key).or_default().push(&record.activation),
                Err(problem) => problems.push(problem),
            }
        }
        for ((event, action), activations) in &found {
            let distinct: BTreeSet<_> = activations.iter().collect();
            if distinct.len() > 1 {
                problems.push(Problem::Double {
                    event: (*event).to_owned(),
                    action: (*action).to_owned(),
                    activations: distinct.into_iter().map(|id| (*id).to_owned()).collect(),
                });
            }
        }
        let mut dead = BTreeSet::new();
        for letter in &self.dead {
            if !self.sent.contains(&letter.event) {
                problems.push(Problem::NeverSent { event: letter.event.clone() });
            }
            if letter.why.as_deref().is_none_or(str::is_empty) {
                problems.push(Problem::Unexplained {
                    event: letter.event.clone(),
                    rule: letter.rule.clone(),
                });
            }
            dead.insert((letter.event.as_str(), letter.rule.as_str()));
        }
        for event in &self.acknowledged {
            for rule in &self.rules {
                let recorded = found.contains_key(&(event.as_str(), rule.action.as_str()));
                if !recorded && !dead.contains(&(event.as_str(), rule.name.as_str())) {
                    problems.push(Problem::Lost { event: event.clone(), rule: rule.name.clone() });
                }
            }
        }
        problems.extend(self.answers.iter().map(|what| Problem::Answered { what: what.clone() }));
        problems.sort();
        problems
    }

    /// The event and action that a record proves.
    fn proven<'a>(&'a self, record: &'a Record) -> Result<(&'a str, &'a str), Problem> {
        let unproven = |why: &str| Problem::Unproven {
            activation: record.activation.clone(),
            why: format!("{why}: {}", record.text),
        };
        let rule = self.rules.iter().find(|rule| rule.action == record.action);
        let rule = rule.ok_or_else(|| unproven("its action has no rule"))?;
        let event = record.event.as_deref().ok_or_else(|| unproven("its result names no event"))?;
        if !self.sent.contains(event) {
            return Err(Problem::NeverSent { event: event.to_owned() });
        }
        if record.hash.as_deref() != Some(expected_hash(event, &rule.salt).as_str()) {
            return Err(unproven("its hash is not that of payload and salt"));
        }
        if record.process.is_none() {
            return Err(unproven("its result names no process"));
        }
        Ok((event, rule.action.as_str()))
    }
}

/// The payload of an event: what only who has the event can know.
#[must_use]
pub fn payload(event: &str) -> String {
    hex(&Sha256::digest(format!("payload of {event}"))).repeat(4)
}

/// What an action with this salt must answer.
#[must_use]
pub fn expected_hash(event: &str, salt: &str) -> String {
    hex(&Sha256::digest(format!("{}{salt}", payload(event))))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> Evidence {
        let rules = ["one", "two"].map(|name| Rule {
            name: name.into(),
            action: format!("{name}-action"),
            salt: format!("salt of {name}"),
        });
        let events = ["e1", "e2"];
        let records =
            events.iter().flat_map(|event| rules.iter().map(|rule| record(event, rule))).collect();
        let acknowledged: BTreeSet<_> = events.map(String::from).into();
        let mut sent = acknowledged.clone();
        sent.insert("unacknowledged".into());
        Evidence { sent, acknowledged, rules: rules.into(), records, ..Evidence::default() }
    }

    fn record(event: &str, rule: &Rule) -> Record {
        Record {
            activation: format!("{event}/{}", rule.name),
            action: rule.action.clone(),
            event: Some(event.into()),
            hash: Some(expected_hash(event, &rule.salt)),
            process: Some(1),
            text: String::new(),
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Evidence), expect: &[&str]) {
        let mut evidence = evidence();
        change(&mut evidence);
        let problems: Vec<_> =
            evidence.problems().iter().map(|problem| format!("{problem:?}")).collect();
        assert_eq!(problems.len(), expect.len(), "{problems:?}");
        for (problem, expect) in problems.iter().zip(expect) {
            assert!(problem.contains(expect), "{problem} is not `{expect}`");
        }
    }

    #[test]
    fn a_whole_run_has_no_problem() {
        check(|_| {}, &[]);
        check(|all| all.records.push(record("unacknowledged", &all.rules[0])), &[]);
    }

    #[test]
    fn each_breach_is_found() {
        check(|all| drop(all.records.remove(1)), &["Lost { event: \"e1\", rule: \"two\" }"]);
        check(
            |all| {
                all.records
                    .push(Record { activation: "again".into(), ..record("e2", &all.rules[0]) })
            },
            &["Double { event: \"e2\", action: \"one-action\""],
        );
        check(|all| all.records.push(record("stranger", &all.rules[0])), &["NeverSent"]);
        check(|all| all.records[0].hash = Some("0".into()), &["Lost", "its hash"]);
        check(|all| all.records[0].process = None, &["Lost", "no process"]);
        check(|all| all.records[0].event = None, &["Lost", "no event"]);
        check(|all| all.records[0].action = "other".into(), &["Lost", "no rule"]);
        check(|all| all.records[0].hash = all.records[1].hash.clone(), &["Lost", "its hash"]);
        check(|all| all.answers.push("404".into()), &["Answered"]);
    }

    #[test]
    fn a_record_listed_twice_is_one() {
        check(|all| all.records.push(all.records[0].clone()), &[]);
    }

    #[test]
    fn a_dead_letter_accounts_for_its_rule_only_and_says_why() {
        let dead = |rule: &str, why: Option<&str>| DeadLetter {
            event: "e1".into(),
            rule: rule.into(),
            why: why.map(Into::into),
        };
        let lose = |all: &mut Evidence| drop(all.records.remove(1));
        check(|all| (lose(all), all.dead.push(dead("two", Some("worn out")))).1, &[]);
        check(|all| (lose(all), all.dead.push(dead("one", Some("worn out")))).1, &["Lost"]);
        check(|all| (lose(all), all.dead.push(dead("two", None))).1, &["Unexplained"]);
        check(|all| (lose(all), all.dead.push(dead("two", Some("")))).1, &["Unexplained"]);
        check(
            |all| all.dead.push(DeadLetter { event: "e9".into(), ..dead("two", Some("x")) }),
            &["NeverSent"],
        );
    }
}
