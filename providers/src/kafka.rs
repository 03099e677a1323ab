//! Kafka: an event for each record of topics.

mod classic;
mod client;
mod event;
mod face;
mod parameters;
mod position;
mod produce;
mod reach;
mod reader;
mod sink;
mod tokens;
mod topics;

use async_trait::async_trait;
use evoke_feeds::{FeedContext, Fields, Provider, ResetTo, Source, SourceError, Start};

pub use classic::RECORDS_TYPE;
use client::Client;
pub use event::RECORD_TYPE;
pub use face::{PACKAGE, feed_actions};
pub use parameters::Parameters;
use parameters::StartFrom;
use position::Position;
pub use produce::native_actions;
use reader::Reader;

/// The provider `kafka`.
///
/// A feed reads partitions that it is assigned to by itself, from the offsets that stand in the
/// hub's log: Kafka's groups decide nothing, so no rebalance can lose or double a record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kafka;

#[async_trait]
impl Provider for Kafka {
    const NAME: &'static str = "kafka";
    type Parameters = Parameters;

    fn parameters(fields: &mut Fields<'_>) -> Option<Parameters> {
        Parameters::read(fields)
    }

    async fn open(
        &self,
        feed: FeedContext,
        parameters: Parameters,
        from: Start,
    ) -> Result<Box<dyn Source>, SourceError> {
        let generation = feed.key.generation;
        let (from, generation) = match from {
            Start::After(stored) => {
                let stored = serde_json::from_slice(&stored);
                let position: Position = stored.map_err(|error| {
                    SourceError::Fatal(format!("the stored position is unreadable: {error}"))
                })?;
                let client = Client::open(&feed, &parameters).await?;
                return Ok(Box::new(Reader::new(feed, client, parameters, position, true)?));
            }
            Start::Fresh => (parameters.start_from.clone(), 0),
            Start::Reset(ResetTo::Earliest) => (StartFrom::Earliest, generation),
            Start::Reset(ResetTo::Latest) => (StartFrom::Latest, generation),
            Start::Reset(ResetTo::Time(ms)) => (StartFrom::Time(ms), generation),
            Start::Reset(ResetTo::Position(value)) => {
                (parameters::offsets(&value).map_err(SourceError::Fatal)?, generation)
            }
        };
        let client = Client::open(&feed, &parameters).await?;
        let position = client.pin(&parameters.topics, from, generation).await?;
        Ok(Box::new(Reader::new(feed, client, parameters, position, false)?))
    }
}
