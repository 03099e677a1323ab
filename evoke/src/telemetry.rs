//! What the hub tells of itself while it runs: its log on standard error, its traces to a collector.

mod log;
mod otlp;
mod spans;

pub(crate) use self::{
    log::start,
    spans::{Exporter, ExporterSettings},
};
