//! The port to what only the program knows: its process, its disk, its exporter of traces.

/// What the program knows of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostFacts {
    /// Memory of the process. Unit: bytes.
    pub memory_bytes: Option<u64>,
    /// Processor time of the process. Unit: seconds.
    pub cpu_seconds: Option<f64>,
    /// Open files.
    pub open_files: Option<u64>,
    /// Open files that there may be.
    pub most_files: Option<u64>,
    /// When the process was started. Unit: seconds since 1970.
    pub started_seconds: Option<f64>,
    /// Room on the disk of the data directory, and its size. Unit: bytes.
    pub disk: Option<(u64, u64)>,
    /// Size on disk of what is kept, by its name. Unit: bytes.
    pub stores: Vec<(&'static str, u64)>,
    /// What became of spans, where traces are exported.
    pub spans: Option<SpanCounts>,
}

/// What became of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// The collector took them.
    pub exported: u64,
    /// There was no room for them.
    pub overflowed: u64,
    /// The collector did not take them.
    pub refused: u64,
}

/// Tells what the program knows of itself.
pub trait Host: Send + Sync + std::fmt::Debug {
    /// What it knows now; may read a few files.
    fn facts(&self) -> HostFacts;
}
