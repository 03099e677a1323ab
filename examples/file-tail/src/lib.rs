//! The lines of a growing file as events: a complete provider, to start your own from.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::{io::SeekFrom, time::Duration};

use evoke_feeds::{Batch, BatchEnd, FeedContext, Fields, Provider};
use evoke_feeds::{ResetTo, Source, SourceError, Start};
use evoke_schemas::{Data, Event};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

/// Most that is read at once, and the longest line that comes in one piece. Unit: bytes.
const MAX_BYTES: usize = 256 * 1024;
/// Most events of one batch.
const MAX_EVENTS: usize = 1_000;
/// Wait before the file is looked at again when it has nothing new.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The provider. It reads only below its root: feeds are made by users, files are the operator's.
#[derive(Debug)]
pub struct FileTail {
    /// Folder that `path` is below.
    pub root: PathBuf,
}

/// Where a feed stands: in which reading of which file, after how many of its bytes.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
struct Position {
    generation: u64,
    round: u64,
    inode: u64,
    offset: u64,
}

#[derive(Debug)]
struct Tail {
    feed: FeedContext,
    path: PathBuf,
    position: Position,
    pinned: bool,
    yielded: Position,
}

#[async_trait::async_trait]
impl Provider for FileTail {
    const NAME: &'static str = "file-tail";
    /// The file's path below the root.
    type Parameters = PathBuf;

    fn parameters(fields: &mut Fields<'_>) -> Option<PathBuf> {
        let path: PathBuf = fields.required("path", "a path below the root, like `app/a.log`")?;
        if path.components().any(|part| !matches!(part, Component::Normal(_))) {
            fields.mistake("`path` must be relative and without `..`");
        }
        Some(path)
    }

    async fn open(
        &self,
        feed: FeedContext,
        path: PathBuf,
        from: Start,
    ) -> Result<Box<dyn Source>, SourceError> {
        let path = self.root.join(path);
        let file = tokio::fs::metadata(&path).await.map_err(|error| missing(&path, &error))?;
        let (generation, inode) = (feed.key.generation, file.ino());
        let at = |offset| Position { generation, round: 0, inode, offset };
        let (position, pinned) = match from {
            Start::After(kept) => (serde_json::from_slice(&kept).map_err(fatal)?, true),
            Start::Reset(ResetTo::Earliest) => (at(0), false),
            Start::Fresh | Start::Reset(ResetTo::Latest) => (at(file.len()), false),
            Start::Reset(_) => return Err(fatal("a file resets to earliest or latest")),
        };
        feed.report.running();
        Ok(Box::new(Tail { feed, path, position, pinned, yielded: position }))
    }
}

#[async_trait::async_trait]
impl Source for Tail {
    async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        if !self.pinned {
            return Ok(Some(self.batch(Vec::new(), self.position)));
        }
        loop {
            let (events, after) = self.read().await.map_err(|e| missing(&self.path, &e))?;
            if !events.is_empty() {
                return Ok(Some(self.batch(events, after)));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn ended(&mut self, end: BatchEnd) -> Result<(), SourceError> {
        if let BatchEnd::Refused(reason) = end {
            return Err(SourceError::Waiting(reason));
        }
        (self.position, self.pinned) = (self.yielded, true);
        Ok(())
    }
}

impl Tail {
    /// The whole lines after the position; a file that was replaced or cut is read from its top.
    async fn read(&self) -> std::io::Result<(Vec<Event>, Position)> {
        let mut file = tokio::fs::File::open(&self.path).await?;
        let now = file.metadata().await?;
        let mut start = self.position;
        if now.ino() != start.inode || now.len() < start.offset {
            start = Position { round: start.round + 1, inode: now.ino(), offset: 0, ..start };
        }
        self.feed.report.lag(serde_json::json!({ "total": now.len() - start.offset }));
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start.offset)).await?;
        file.take(MAX_BYTES as u64).read_to_end(&mut bytes).await?;
        let (mut events, mut at) = (Vec::new(), start);
        for line in bytes.split_inclusive(|byte| *byte == b'\n').take(MAX_EVENTS) {
            if line.ends_with(b"\n") || line.len() == MAX_BYTES {
                events.push(self.event(at, line.strip_suffix(b"\n").unwrap_or(line)));
                at.offset += line.len() as u64;
            }
        }
        Ok((events, at))
    }

    /// Its id is of the feed, the reading and the place: the same whenever it is read again.
    fn event(&self, at: Position, line: &[u8]) -> Event {
        let uid = self.feed.key.uid;
        let id = format!("{uid}-{}-{}-{}", at.generation, at.round, at.offset);
        let mut event = Event::new(id, self.feed.source(), "org.example.file.line");
        let text = String::from_utf8(line.to_vec());
        event.data = text.map_or_else(|odd| Data::Binary(odd.into_bytes().into()), Data::Text);
        event
    }

    fn batch(&mut self, events: Vec<Event>, after: Position) -> Batch {
        self.yielded = after;
        Batch::new(events, serde_json::json!(after).to_string().into())
    }
}

fn fatal(why: impl ToString) -> SourceError {
    SourceError::Fatal(why.to_string())
}

/// Somebody must bring the file; until then it is looked for.
fn missing(path: &Path, error: &std::io::Error) -> SourceError {
    SourceError::Waiting(format!("{}: {error}", path.display()))
}
