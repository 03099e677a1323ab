//! What is measured: one table of names, the numbers behind them, and the page that shows them.

mod activations;
mod gather;
mod host;
mod http;
mod page;
pub mod table;

pub use self::host::{Host, HostFacts, SpanCounts};
pub(crate) use self::{
    activations::{ActionMeasures, ActionRegistry},
    gather::{Reader, gather},
    http::HttpMeasures,
};
