//! The moments at which a process can die: every border between two effects.

/// A moment in the life of the process. Power cut or killed at any of them, nothing may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Moment {
    /// While it starts, before the log is open.
    Starting,
    /// With a group chosen and not written.
    BeforeWrite,
    /// With a group written and not synced.
    BeforeSync,
    /// With a group synced and nobody told.
    AfterSync,
    /// With the spare segment about to be named.
    BeforeRoll,
    /// With the new segment named and empty.
    AfterRoll,
    /// With an answer about to be given.
    BeforeAnswer,
    /// Right after an answer.
    AfterAnswer,
    /// While functions run.
    DuringRun,
    /// With an activation record staged and not flushed.
    BeforeFlush,
    /// With an activation record flushed and its outcome not submitted.
    AfterFlush,
    /// With a checkpoint half written.
    DuringCheckpoint,
    /// With a segment about to be removed.
    BeforeDrop,
    /// Right after a segment was removed.
    AfterDrop,
    /// With a feed's batch fetched and not appended.
    BeforeFeedAppend,
    /// With a feed's batch in the log and its task not told.
    AfterFeedAppend,
    /// At any step whatever.
    Anywhere,
}

impl Moment {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Starting,
        Self::BeforeWrite,
        Self::BeforeSync,
        Self::AfterSync,
        Self::BeforeRoll,
        Self::AfterRoll,
        Self::BeforeAnswer,
        Self::AfterAnswer,
        Self::DuringRun,
        Self::BeforeFlush,
        Self::AfterFlush,
        Self::DuringCheckpoint,
        Self::BeforeDrop,
        Self::AfterDrop,
        Self::BeforeFeedAppend,
        Self::AfterFeedAppend,
        Self::Anywhere,
    ];

    /// What a crash then is counted as.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "crash while starting",
            Self::BeforeWrite => "crash before a write",
            Self::BeforeSync => "crash between write and sync",
            Self::AfterSync => "crash after a sync",
            Self::BeforeRoll => "crash before a roll",
            Self::AfterRoll => "crash after a roll",
            Self::BeforeAnswer => "crash before an answer",
            Self::AfterAnswer => "crash after an answer",
            Self::DuringRun => "crash while functions run",
            Self::BeforeFlush => "crash with a record staged",
            Self::AfterFlush => "crash between record and outcome",
            Self::DuringCheckpoint => "crash while a checkpoint is written",
            Self::BeforeDrop => "crash before a segment is removed",
            Self::AfterDrop => "crash after a segment was removed",
            Self::BeforeFeedAppend => "crash between fetch and append",
            Self::AfterFeedAppend => "crash between append and acknowledge",
            Self::Anywhere => "crash anywhere",
        }
    }
}
