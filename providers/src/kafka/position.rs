//! Where a feed stands: the next offset of each partition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Partition of a topic and the offset that comes next there.
pub(super) type Partitions = BTreeMap<i32, i64>;

/// A position. A partition that is not in it is read from its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Id of the cluster, which the events' source tells.
    pub(super) cluster: String,
    /// Generation of the reset that began this reading; 0 for a new feed's first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) reading: u64,
    /// Next offsets by topic.
    pub(super) topics: BTreeMap<String, Partitions>,
    /// How often offsets of a topic began anew, as it was deleted and made again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) lives: BTreeMap<String, u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

// === impl Position ===

impl Position {
    /// The offset that comes next, if the partition is known.
    pub(super) fn next(&self, topic: &str, partition: i32) -> Option<i64> {
        self.topics.get(topic)?.get(&partition).copied()
    }

    /// A record was read: the one after it comes next. Where offsets have gone back the topic is
    /// another one by now.
    pub(super) fn read(&mut self, topic: &str, partition: i32, offset: i64) {
        if self.next(topic, partition).is_some_and(|next| offset < next) {
            *self.lives.entry(topic.to_owned()).or_default() += 1;
        }
        match self.topics.get_mut(topic) {
            Some(partitions) => partitions.insert(partition, offset + 1),
            None => {
                let first = Partitions::from([(partition, offset + 1)]);
                self.topics.insert(topic.to_owned(), first);
                None
            }
        };
    }

    /// The id of a record's event: the same whenever it is read again, another one where it is
    /// read again on purpose or is of another topic of the same name.
    pub(super) fn id(&self, topic: &str, partition: i32, offset: i64) -> String {
        let life = self.lives.get(topic).map_or_else(String::new, |life| format!(".{life}"));
        let reading = match self.reading {
            0 => String::new(),
            reading => format!("@{reading}"),
        };
        format!("{topic}/{partition}/{offset}{life}{reading}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_was_made_again_has_other_ids() {
        let mut position = Position::default();
        position.read("t", 0, 7);
        assert_eq!((position.next("t", 0), position.id("t", 0, 7)), (Some(8), "t/0/7".to_owned()));
        position.read("t", 0, 9);
        position.read("t", 1, 0);
        assert_eq!((position.next("t", 0), position.next("t", 1)), (Some(10), Some(1)));
        position.read("t", 0, 3);
        assert_eq!(position.id("t", 0, 3), "t/0/3.1");
        position.reading = 4;
        assert_eq!(position.id("t", 0, 3), "t/0/3.1@4");
    }

    #[test]
    fn it_is_the_same_after_the_log() {
        let mut position = Position { cluster: "c".to_owned(), ..Position::default() };
        position.read("t", 3, 41);
        let text = serde_json::to_string(&position).unwrap();
        assert_eq!(text, r#"{"cluster":"c","topics":{"t":{"3":42}}}"#);
        assert_eq!(serde_json::from_str::<Position>(&text).unwrap(), position);
    }
}
