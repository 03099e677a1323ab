//! Alarms: an event at each tick of a schedule.
//!
//! Where ticks are is `cron` and `schedule`, which of all alarms is next is `scheduler`: values,
//! the time passed in. `timer` is the one task of all open alarms, `source` one of them.

pub mod cron;
mod face;
mod parameters;
pub mod schedule;
pub mod scheduler;
mod source;
mod timer;

use std::sync::Arc;

use async_trait::async_trait;
use evoke_feeds::{FeedContext, Fields, Provider, Source, SourceError, Start, WhenEnded};

pub use face::{PACKAGE, feed_actions};
pub use parameters::{Asked, MAX_PERIOD_MS, MIN_PERIOD_MS, Parameters};

/// Kind of the events.
pub const TICK_TYPE: &str = "org.evoke.alarm.tick";

/// The provider `alarms`. Its parameters: `docs/alarms.md`.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    timer: Arc<timer::Timer>,
}

// === impl Alarms ===

#[async_trait]
impl Provider for Alarms {
    const NAME: &'static str = "alarms";
    type Parameters = Parameters;

    fn parameters(fields: &mut Fields<'_>) -> Option<Parameters> {
        Parameters::read(fields)
    }

    fn when_ended(parameters: &Parameters) -> WhenEnded {
        parameters.when_ended
    }

    async fn open(
        &self,
        feed: FeedContext,
        parameters: Parameters,
        from: Start,
    ) -> Result<Box<dyn Source>, SourceError> {
        let alarm = source::Alarm::open(feed, parameters, from, &self.timer)?;
        Ok(Box::new(alarm))
    }
}

#[cfg(test)]
mod tests;
