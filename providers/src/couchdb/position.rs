//! Where a feed of changes stands, and in which life of its database.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::changes::Seq;

/// A feed's position, JSON in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Position {
    /// Everything up to here was taken.
    pub(super) seq: Seq,
    /// The database it counts in.
    pub(super) dbname: String,
    /// What the server knows this life of the database by, where it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) instance: Option<String>,
    /// How often the database was seen to be another one under the same name.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) remade: u64,
    /// The database was not there when it was last looked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) gone: bool,
    /// Generation of the feed's last reset: what it reads again gives new events.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) round: u64,
    /// Events so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) events: u64,
}

/// What a database says about itself.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct About {
    #[serde(default)]
    instance_start_time: Option<Value>,
    /// Only CouchDB from 2.0 on has it; others tell by `instance_start_time` when they were started.
    #[serde(default)]
    cluster: Option<Value>,
    #[serde(default)]
    update_seq: Option<Seq>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

// === impl Position ===

impl Position {
    pub(super) fn new(seq: Seq, dbname: &str, round: u64) -> Self {
        let dbname = dbname.to_owned();
        Self { seq, dbname, instance: None, remade: 0, gone: false, round, events: 0 }
    }

    /// Whether the database is another one than that which the position counts in.
    pub(super) fn is_of_another(&self, about: &About) -> bool {
        match (&self.instance, about.instance()) {
            (Some(known), Some(now)) => *known != now,
            _ => {
                let now = about.update_seq.as_ref();
                self.gone || now.is_some_and(|now| now.is_before(&self.seq))
            }
        }
    }

    /// The position in the database as it is now: from its beginning where it was made again.
    pub(super) fn meet(&mut self, about: &About) -> bool {
        let remade = self.is_of_another(about);
        if remade {
            self.remade += 1;
            self.seq = Seq::beginning();
        }
        self.gone = false;
        if let Some(instance) = about.instance() {
            self.instance = Some(instance);
        }
        remade
    }
}

// === impl About ===

impl About {
    pub(super) fn instance(&self) -> Option<String> {
        self.cluster.as_ref()?;
        let text = match self.instance_start_time.as_ref()? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (text != "0").then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seq(value: Value) -> Seq {
        Seq::try_from(value).unwrap()
    }

    fn at(value: Value) -> Position {
        Position::new(seq(value), "db", 0)
    }

    fn about(value: Value) -> About {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_database_with_another_instance_is_another() {
        let mut position = at(json!("9-x"));
        let first =
            about(json!({"instance_start_time": "1700", "cluster": {}, "update_seq": "9-x"}));
        assert!(!position.meet(&first));
        let second =
            about(json!({"instance_start_time": "1800", "cluster": {}, "update_seq": "9-x"}));
        assert!(position.meet(&second) && !position.meet(&second));
        assert_eq!((position.remade, position.seq), (1, Seq::beginning()));
    }

    #[test]
    fn a_restart_of_the_server_makes_no_other_database() {
        let mut position = at(json!(3));
        for started in ["1700", "1800"] {
            let about = about(json!({"instance_start_time": started, "update_seq": 3}));
            assert!(!position.meet(&about), "without `cluster` it is the server's own start");
        }
        assert!(!position.meet(&about(json!({"instance_start_time": "0", "cluster": {}}))));
        assert_eq!(position.instance, None);
    }

    #[test]
    fn numbers_that_go_back_are_of_another_database() {
        let mut position = at(json!(9));
        assert!(!position.meet(&about(json!({"update_seq": 9}))));
        assert!(position.meet(&about(json!({"update_seq": 2}))));
        assert!(!at(json!("9-x")).meet(&about(json!({"update_seq": "2-y"}))));
    }

    #[test]
    fn what_was_gone_and_is_there_is_another() {
        let mut position = Position { gone: true, ..at(json!("9-x")) };
        assert!(position.meet(&about(json!({"update_seq": "9-x"}))));
        assert!(!position.gone);
        let same = about(json!({"instance_start_time": "1700", "cluster": {}}));
        let mut position = Position { gone: true, instance: same.instance(), ..at(json!("9-x")) };
        assert!(!position.meet(&same), "an answer was odd, the database is the same");
    }

    #[test]
    fn stored_positions_stay_readable() {
        let stored = r#"{"seq":"7-a","dbname":"db"}"#;
        let position: Position = serde_json::from_str(stored).unwrap();
        assert_eq!(position, at(json!("7-a")));
        assert_eq!(serde_json::to_string(&position).unwrap(), stored);
    }
}
