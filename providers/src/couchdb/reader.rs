//! The task that reads one feed of changes, from where it stands, until it cannot go on.
//!
//! ```text
//!  pin ─▶ meet ─▶ follow (continuous) ──silent twice, not a continuous feed──▶ poll
//!          ▲         │
//!          └─────────┘ ended, cut off, silent, another database
//! ```
//! Whatever else goes wrong ends the task: it is opened again at the position that is durable.

use std::time::Duration;

use evoke_feeds::{Batch, FeedContext, SourceError};
use reqwest::Response;
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};

use super::{
    batch::{Building, Maker},
    changes::{Change, End, Line, Lines, MAX_ROW_BYTES, Page, Seq, Unreadable},
    client::Failure,
    database::Database,
    parameters::{Filter, Parameters, Since},
    position::{About, Position},
};

/// Connections that stay silent from the first byte on before the feed is polled instead.
const SILENT_BEFORE_POLLING: u32 = 2;
/// How long the feed rests after a connection that gave nothing, and between two polls.
const REST: Duration = Duration::from_secs(1);
/// Most rows of one poll.
const POLL_ROWS: usize = 100;
/// How often the position follows changes that the filter holds back.
const MOVE_EVERY: Duration = Duration::from_secs(60);

/// What the task gives: a batch, the end of the feed, or why it ended.
pub(super) type Given = Result<Option<Batch>, SourceError>;

/// Where the task begins.
#[derive(Debug)]
pub(super) enum Begin {
    /// At a place that is yet to be pinned.
    Pin(Since),
    /// Where the position says.
    Go,
}

/// Reads one feed.
#[derive(Debug)]
pub(super) struct Reader {
    feed: FeedContext,
    database: Database,
    parameters: Parameters,
    maker: Maker,
    building: Building,
    out: mpsc::Sender<Given>,
    /// Whether a position is already kept.
    pinned: bool,
    silent: u32,
    moved: Instant,
}

/// How a connection ended.
enum Ended {
    /// Open another one.
    Again,
    /// No continuous feed can be had.
    Poll,
    /// No further event may come.
    Finished,
}

/// A continuous feed under way.
struct Live {
    answer: Response,
    lines: Lines,
    heard: bool,
    last_byte: Instant,
    check: Instant,
}

impl Reader {
    pub(super) fn new(
        feed: FeedContext,
        database: Database,
        parameters: Parameters,
        position: Position,
        out: mpsc::Sender<Given>,
    ) -> Self {
        let maker = Maker::new(feed.clone(), database.clone(), &parameters, position);
        let building = Building::new(parameters.batch);
        let (pinned, silent, moved) = (false, 0, Instant::now());
        Self { feed, database, parameters, maker, building, out, pinned, silent, moved }
    }

    /// Reads until the feed ends or cannot go on, and says which.
    pub(super) async fn run(mut self, begin: Begin) {
        let end = self.read(begin).await.map(|()| None);
        // Who does not listen any more has no need of it.
        let _gone = self.out.send(end).await.is_err();
    }

    async fn read(&mut self, begin: Begin) -> Result<(), SourceError> {
        self.feed.report.connecting();
        match begin {
            Begin::Pin(since) => self.pin(since).await?,
            Begin::Go => self.pinned = true,
        }
        loop {
            self.meet().await?;
            match self.follow().await? {
                Ended::Again => {}
                Ended::Finished => return Ok(()),
                Ended::Poll => return self.poll().await,
            }
        }
    }

    /// Finds out where the feed begins and makes it durable.
    async fn pin(&mut self, since: Since) -> Result<(), SourceError> {
        let about = self.about().await?;
        let asked = match &since {
            Since::Now => "now".to_owned(),
            Since::After(seq) => seq.query(),
        };
        // Also for a sequence that was given: whether the server knows it shows now.
        let page = self.page(&asked, 1, false).await?;
        self.maker.position.seq = match since {
            Since::Now => page.end.last_seq,
            Since::After(seq) => seq,
        };
        self.maker.position.instance = about.instance();
        self.pinned = true;
        self.give(self.maker.stand()).await
    }

    /// Looks whether the database is there, and the one that the position counts in.
    async fn meet(&mut self) -> Result<(), SourceError> {
        let about = self.about().await?;
        let was_gone = self.maker.position.gone;
        let remade = self.maker.position.meet(&about);
        if remade {
            let database = self.database.address();
            tracing::warn!(database, "the database was made again, read from its beginning");
        }
        if remade || was_gone {
            self.give(self.maker.stand()).await?;
        }
        Ok(())
    }

    async fn about(&mut self) -> Result<About, SourceError> {
        match self.database.about().await {
            Ok(about) => Ok(about),
            Err(failure) => {
                if self.pinned && failure.is_of_no_database() && !self.maker.position.gone {
                    self.maker.position.gone = true;
                    self.give(self.maker.stand()).await?;
                }
                let name = &self.maker.position.dbname;
                Err(trouble(failure, &format!("database `{name}` does not exist")))
            }
        }
    }

    /// Reads the continuous feed while it lasts.
    async fn follow(&mut self) -> Result<Ended, SourceError> {
        if self.maker.is_finished() {
            return Ok(Ended::Finished);
        }
        self.probe().await?;
        let since = self.maker.position.seq.clone();
        let answer = match self.database.live(&since.query()).await {
            Ok(answer) => answer,
            Err(failure) => return Err(self.changes_trouble(failure).await),
        };
        self.feed.report.running();
        let now = Instant::now();
        let mut live = Live {
            answer,
            lines: Lines::new(MAX_ROW_BYTES),
            heard: false,
            last_byte: now,
            check: now + self.check_every(),
        };
        let ended = self.attend(&mut live).await?;
        // What is built and not given stays for the next connection's beginning to repeat.
        self.building = Building::new(self.parameters.batch);
        if live.heard {
            self.silent = 0;
        }
        let in_vain = self.maker.position.seq == since && now.elapsed() < REST;
        if in_vain && matches!(ended, Ended::Again) {
            tokio::time::sleep(REST).await;
        }
        Ok(ended)
    }

    async fn attend(&mut self, live: &mut Live) -> Result<Ended, SourceError> {
        loop {
            let dead = live.last_byte + self.parameters.heartbeat * 5 / 2;
            let due = self.building.due().unwrap_or(dead);
            tokio::select! {
                bytes = live.answer.chunk() => match bytes {
                    Ok(Some(bytes)) => {
                        live.lines.push(&bytes);
                        if let Some(ended) = self.take(&mut live.lines).await? {
                            return Ok(ended);
                        }
                        // After the batch was taken: the wait for that is not the server's.
                        live.last_byte = Instant::now();
                        live.heard = true;
                    }
                    Ok(None) => return Ok(Ended::Again),
                    Err(error) => {
                        tracing::debug!(%error, "a feed of changes was cut off");
                        return Ok(Ended::Again);
                    }
                },
                () = tokio::time::sleep_until(due.min(dead).min(live.check)) => {
                    let now = Instant::now();
                    if now >= dead {
                        return Ok(self.silence(live.heard));
                    }
                    if self.building.due().is_some_and(|due| now >= due) {
                        self.flush().await?;
                        live.last_byte = Instant::now();
                    }
                    if now >= live.check {
                        if self.is_of_another().await? {
                            return Ok(Ended::Again);
                        }
                        self.probe().await?;
                        live.check = Instant::now() + self.check_every();
                    }
                }
            }
            if self.maker.is_finished() {
                return Ok(Ended::Finished);
            }
        }
    }

    /// Takes the lines that are there.
    async fn take(&mut self, lines: &mut Lines) -> Result<Option<Ended>, SourceError> {
        loop {
            match lines.next_line() {
                Ok(Some(Line::Change(change))) => {
                    if self.went_back(&change) {
                        self.maker.position.gone = true;
                        return Ok(Some(Ended::Again));
                    }
                    self.building.push(*change);
                    if self.building.is_full() {
                        self.flush().await?;
                    }
                }
                Ok(Some(Line::End(_))) => {
                    self.flush().await?;
                    return Ok(Some(Ended::Again));
                }
                Ok(Some(Line::Trouble(said))) => {
                    self.flush().await?;
                    return Err(SourceError::Retry(format!("the server ended the feed: {said}")));
                }
                Ok(None) => break,
                Err(Unreadable::TooLong(_)) => {
                    self.flush().await?;
                    self.take_without_document().await?;
                    return Ok(Some(Ended::Again));
                }
                Err(Unreadable::Strange(said)) => {
                    tracing::warn!(said, "no continuous feed, polled instead");
                    self.flush().await?;
                    return Ok(Some(Ended::Poll));
                }
            }
            if self.maker.is_finished() {
                return Ok(Some(Ended::Finished));
            }
        }
        if self.building.due().is_some_and(|due| Instant::now() >= due) {
            self.flush().await?;
        }
        Ok(None)
    }

    /// The next change, whose document is too long to be taken with it.
    async fn take_without_document(&mut self) -> Result<(), SourceError> {
        let since = self.maker.position.seq.query();
        let page = self.page(&since, 1, false).await?;
        for change in page.results {
            self.building.push(Change { without_doc: true, ..change });
        }
        self.flush().await
    }

    /// Asks again and again, where no continuous feed can be had.
    async fn poll(&mut self) -> Result<(), SourceError> {
        self.feed.report.running();
        let mut check = Instant::now() + self.check_every();
        while !self.maker.is_finished() {
            let since = self.maker.position.seq.query();
            let rows = self.parameters.batch.max_messages.min(POLL_ROWS);
            let page = match self.database.page(&since, rows, true).await {
                Ok(page) => page,
                Err(Failure::TooLong) => {
                    self.take_without_document().await?;
                    continue;
                }
                Err(failure) => return Err(self.changes_trouble(failure).await),
            };
            self.lag(&page.end, 0);
            let rest = page.results.is_empty();
            for change in page.results {
                self.building.push(change);
                if self.building.is_full() {
                    self.flush().await?;
                }
            }
            self.flush().await?;
            if rest {
                self.follow_filter(page.end.last_seq).await?;
                tokio::time::sleep(REST).await;
            }
            if Instant::now() >= check {
                self.meet().await?;
                check = Instant::now() + self.check_every();
            }
        }
        Ok(())
    }

    /// Asks how much there is to come, and whether the feed can be had at all.
    async fn probe(&mut self) -> Result<(), SourceError> {
        if !self.building.is_empty() {
            return Ok(());
        }
        let since = self.maker.position.seq.query();
        match self.database.page(&since, 1, false).await {
            Ok(Page { results, end }) => {
                self.lag(&end, results.len() as u64);
                if results.is_empty() {
                    self.follow_filter(end.last_seq).await?;
                }
                Ok(())
            }
            // A filter that passes nothing for long is slow to answer; the feed's heartbeats
            // tell whether the server is there.
            Err(Failure::Away { .. } | Failure::TooLong) => Ok(()),
            Err(failure) => Err(self.changes_trouble(failure).await),
        }
    }

    /// Moves the position over changes that the filter held back, now and then.
    async fn follow_filter(&mut self, seq: Seq) -> Result<(), SourceError> {
        let held_back = self.parameters.filter != Filter::All && self.maker.position.seq != seq;
        if held_back && self.moved.elapsed() >= MOVE_EVERY {
            self.moved = Instant::now();
            self.maker.position.seq = seq;
            self.give(self.maker.stand()).await?;
        }
        Ok(())
    }

    fn lag(&self, end: &End, before: u64) {
        if let Some(pending) = end.pending {
            self.feed.report.lag(json!({"total": pending.saturating_add(before)}));
        }
    }

    async fn is_of_another(&mut self) -> Result<bool, SourceError> {
        let about = self.about().await?;
        Ok(self.maker.position.is_of_another(&about))
    }

    /// Whether a numbered row is before where the feed stands: then it is another database's.
    fn went_back(&self, change: &Change) -> bool {
        change.seq.as_ref().is_some_and(|seq| seq.is_before(&self.maker.position.seq))
    }

    fn silence(&mut self, was_heard: bool) -> Ended {
        self.feed.report.connecting();
        tracing::debug!("a feed of changes is silent");
        if was_heard {
            return Ended::Again;
        }
        self.silent += 1;
        if self.silent >= SILENT_BEFORE_POLLING { Ended::Poll } else { Ended::Again }
    }

    async fn page(
        &mut self,
        since: &str,
        limit: usize,
        with_docs: bool,
    ) -> Result<Page, SourceError> {
        match self.database.page(since, limit, with_docs).await {
            Ok(page) => Ok(page),
            Err(failure) => Err(self.changes_trouble(failure).await),
        }
    }

    /// Why the changes cannot be had: of the database, where that is gone, else of its filter.
    async fn changes_trouble(&mut self, failure: Failure) -> SourceError {
        if failure.status() == Some(404)
            && let Err(error) = self.about().await
        {
            return error;
        }
        let missing = match &self.parameters.filter {
            Filter::Function { name, .. } => format!("filter `{name}` does not exist"),
            Filter::View { name, .. } => format!("view `{name}` does not exist"),
            Filter::Selector(_) => "the server knows no selectors of changes".to_owned(),
            Filter::All | Filter::DocIds(_) => "the changes are not there".to_owned(),
        };
        trouble(failure, &missing)
    }

    async fn flush(&mut self) -> Result<(), SourceError> {
        while !self.building.is_empty() {
            match self.maker.make(&mut self.building).await {
                Ok(batch) => self.give(batch).await?,
                Err(failure) => {
                    return Err(trouble(failure, "a document's versions are not there"));
                }
            }
        }
        Ok(())
    }

    /// Waits until the batch is asked for: what is read ahead is at most this one and the next.
    async fn give(&self, batch: Batch) -> Result<(), SourceError> {
        let given = self.out.send(Ok(Some(batch))).await;
        given.map_err(|_closed| SourceError::Retry("the feed was let go".to_owned()))
    }

    fn check_every(&self) -> Duration {
        self.parameters.heartbeat * 2
    }
}

/// What a failure means to the feed.
fn trouble(failure: Failure, missing: &str) -> SourceError {
    match failure.status() {
        Some(401) => SourceError::Waiting(format!("the credentials are refused ({failure})")),
        Some(403) => SourceError::Waiting(format!("the credentials do not suffice ({failure})")),
        Some(404) => SourceError::Waiting(format!("{missing} ({failure})")),
        Some(429 | 500..) => SourceError::Retry(failure.to_string()),
        Some(_) | None => SourceError::Waiting(failure.to_string()),
    }
}
