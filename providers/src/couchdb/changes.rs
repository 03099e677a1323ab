//! The changes feed as a value: bytes go in, changes come out; no I/O.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest row that is taken whole. Unit: bytes. CouchDB's own limit of a document is 8 MB.
pub const MAX_ROW_BYTES: usize = 16 * 1024 * 1024;

/// A sequence: text or a number, whose inside is the server's own affair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Seq(Value);

/// Neither text nor a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sequence is text or a number")]
pub struct NoSeq;

/// One row of the feed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Change {
    /// The document.
    pub id: String,
    /// The feed goes on after this; absent where the server leaves it out.
    #[serde(default)]
    pub seq: Option<Seq>,
    /// Its leaf revisions: the winner, or all of them.
    pub changes: Vec<Leaf>,
    /// Whether the winner is a deletion.
    #[serde(default)]
    pub deleted: bool,
    /// The document itself, where it was asked for.
    #[serde(default)]
    pub doc: Option<Value>,
    /// The document was asked for and left out, because it is too long.
    #[serde(skip)]
    pub without_doc: bool,
    /// Length of the row. Unit: bytes.
    #[serde(skip)]
    pub size: usize,
}

/// A leaf of a document's tree of revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// Its revision.
    pub rev: String,
}

/// What a line of a continuous feed says.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A document changed.
    Change(Box<Change>),
    /// The server ends the feed here.
    End(End),
    /// The server cannot go on.
    Trouble(String),
}

/// The end of a feed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct End {
    /// The feed goes on after this.
    pub last_seq: Seq,
    /// Changes after it, where the server counts them.
    #[serde(default)]
    pub pending: Option<u64>,
}

/// A feed that was asked for what there is now.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Page {
    /// Its rows.
    pub results: Vec<Change>,
    /// Where it ends.
    #[serde(flatten)]
    pub end: End,
}

/// Why a continuous feed cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A row is longer than [`MAX_ROW_BYTES`] or another bound that was set.
    #[error("a row is longer than {0} bytes")]
    TooLong(usize),
    /// A line is not what a continuous feed has.
    #[error("not a line of a continuous feed: {0}")]
    Strange(String),
}

/// Bytes of a continuous feed, cut into lines. What has no end of line yet is no line: a feed
/// that is cut off in the middle of one has not told it.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Bytes of the buffer that were given out as lines.
    used: usize,
    /// Bytes of the buffer that are known to hold no further end of line.
    searched: usize,
    max_row: usize,
}

// === impl Seq ===

impl Seq {
    /// Before every change.
    #[must_use]
    pub fn beginning() -> Self {
        Self(0.into())
    }

    /// As a query's value.
    #[must_use]
    pub fn query(&self) -> String {
        match &self.0 {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// The value as the server gave it.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Whether the server, which numbers its changes, is before `other`: it cannot be within one
    /// life of a database. Sequences in text have no order that could be read.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        match (self.0.as_u64(), other.0.as_u64()) {
            (Some(this), Some(other)) => this < other,
            _ => false,
        }
    }
}

impl TryFrom<Value> for Seq {
    type Error = NoSeq;

    fn try_from(value: Value) -> Result<Self, NoSeq> {
        match value {
            Value::String(_) | Value::Number(_) => Ok(Self(value)),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(NoSeq),
        }
    }
}

impl From<Seq> for Value {
    fn from(seq: Seq) -> Self {
        seq.0
    }
}

// === impl Lines ===

impl Lines {
    /// No bytes yet.
    #[must_use]
    pub fn new(max_row: usize) -> Self {
        Self { buffer: Vec::new(), used: 0, searched: 0, max_row }
    }

    /// More bytes came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.used);
        self.searched = self.searched.saturating_sub(self.used);
        self.used = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line that says something; `None` until more bytes came.
    ///
    /// # Errors
    /// [`Unreadable`]; the feed has to be opened anew.
    pub fn next_line(&mut self) -> Result<Option<Line>, Unreadable> {
        while let Some(line) = self.cut() {
            let line = line.trim_ascii();
            if !line.is_empty() {
                return read(line).map(Some);
            }
        }
        if self.buffer.len().saturating_sub(self.used) > self.max_row {
            return Err(Unreadable::TooLong(self.max_row));
        }
        Ok(None)
    }

    fn cut(&mut self) -> Option<&[u8]> {
        let from = self.searched.max(self.used);
        let Some(length) =
            self.buffer.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
        else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.used..from + length;
        self.used = from + length + 1;
        self.searched = self.used;
        self.buffer.get(line)
    }
}

fn read(line: &[u8]) -> Result<Line, Unreadable> {
    #[derive(Deserialize)]
    struct Said {
        error: String,
        #[serde(default)]
        reason: Value,
    }
    let strange = |error: serde_json::Error| {
        let begin = line.get(..line.len().min(80)).unwrap_or_default();
        Unreadable::Strange(format!("{error} in `{}`", String::from_utf8_lossy(begin)))
    };
    match serde_json::from_slice::<Change>(line) {
        Ok(change) => Ok(Line::Change(Box::new(Change { size: line.len(), ..change }))),
        Err(error) => {
            if let Ok(end) = serde_json::from_slice::<End>(line) {
                return Ok(Line::End(end));
            }
            match serde_json::from_slice::<Said>(line) {
                Ok(Said { error, reason }) => Ok(Line::Trouble(format!("{error} ({reason})"))),
                Err(_nor_an_error) => Err(strange(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn seq(value: Value) -> Seq {
        Seq::try_from(value).unwrap()
    }

    fn all(lines: &mut Lines) -> Result<Vec<Line>, Unreadable> {
        std::iter::from_fn(|| lines.next_line().transpose()).collect()
    }

    fn feed(bytes: &[u8]) -> Result<Vec<Line>, Unreadable> {
        let mut lines = Lines::new(1_000);
        lines.push(bytes);
        all(&mut lines)
    }

    #[test]
    fn rows_of_couchdb_and_pouchdb_are_read() {
        let couch = br#"{"seq":"3-g1AAAB","id":"a","changes":[{"rev":"2-b"},{"rev":"1-c"}],"deleted":true}"#;
        let Line::Change(change) = read(couch).unwrap() else { panic!("a change") };
        assert_eq!(change.seq, Some(seq(json!("3-g1AAAB"))));
        assert_eq!(change.changes.len(), 2);
        assert!(change.deleted && change.doc.is_none());
        let pouch = br#"{"id":"a","changes":[{"rev":"1-x"}],"seq":7,"doc":{"_id":"a"}}"#;
        let Line::Change(change) = read(pouch).unwrap() else { panic!("a change") };
        assert_eq!(change.seq, Some(seq(json!(7))));
        assert_eq!(change.doc, Some(json!({"_id": "a"})));
    }

    #[test]
    fn heartbeats_say_nothing_and_the_end_says_where() {
        let lines = feed(b"\n\r\n{\"last_seq\":\"9-z\",\"pending\":0}\n\n").unwrap();
        assert_eq!(lines, [Line::End(End { last_seq: seq(json!("9-z")), pending: Some(0) })]);
    }

    #[test]
    fn a_line_that_was_cut_off_was_not_told() {
        let whole = br#"{"id":"a","changes":[{"rev":"1-x"}],"seq":7}"#;
        assert_eq!(feed(whole), Ok(vec![]));
    }

    #[test]
    fn an_error_in_the_feed_is_told_and_rubbish_is_not_taken() {
        let lines = feed(b"{\"error\":\"internal\",\"reason\":\"gone\"}\n").unwrap();
        assert_eq!(lines, [Line::Trouble("internal (\"gone\")".to_owned())]);
        assert!(matches!(feed(b"{\"results\":[\n"), Err(Unreadable::Strange(_))));
    }

    #[test]
    fn a_row_without_end_is_noticed() {
        let mut lines = Lines::new(10);
        lines.push(b"{\"id\":\"aaaa");
        assert_eq!(all(&mut lines), Err(Unreadable::TooLong(10)));
    }

    #[test]
    fn only_numbers_have_an_order() {
        assert!(seq(json!(3)).is_before(&seq(json!(4))));
        assert!(!seq(json!(4)).is_before(&seq(json!(4))));
        assert!(!seq(json!("3-a")).is_before(&seq(json!("4-a"))));
        assert!(Seq::try_from(json!(null)).is_err() && Seq::try_from(json!([1])).is_err());
    }

    #[test]
    fn a_page_tells_its_end() {
        let text = r#"{"results":[{"id":"a","changes":[{"rev":"1-x"}],"seq":1}],"last_seq":1,"pending":4}"#;
        let page: Page = serde_json::from_str(text).unwrap();
        assert_eq!((page.results.len(), page.end.pending), (1, Some(4)));
    }

    proptest! {
        /// However the bytes are cut, the same lines come out.
        #[test]
        fn cuts_change_nothing(cuts in prop::collection::vec(1usize..40, 1..30)) {
            let mut text = Vec::new();
            for number in 0..9 {
                let row = json!({"id": format!("ä{number}"), "seq": number, "changes": [{"rev": "1-a"}]});
                text.extend_from_slice(format!("{row}\n\n").as_bytes());
            }
            let whole = feed(&text).unwrap();
            prop_assert_eq!(whole.len(), 9);
            let (mut lines, mut seen, mut rest) = (Lines::new(1_000), Vec::new(), text.as_slice());
            for cut in cuts.iter().cycle() {
                let (piece, later) = rest.split_at((*cut).min(rest.len()));
                lines.push(piece);
                seen.extend(all(&mut lines).unwrap());
                rest = later;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(seen, whole);
        }
    }
}
