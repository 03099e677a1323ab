//! The suite itself: it passes a good provider and fails six bad ones, each bad in one way.

use tokio::sync::watch;

use super::*;
use crate::{
    fields::Fields,
    provider::{Provider, SourceError},
};

/// Most numbers of a batch.
const BATCH: u64 = 500;
/// Time between reading and yielding, in which a wait may be given up.
const SLOW: Duration = Duration::from_millis(10);

/// In which way the provider is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vice {
    None,
    PositionBeforeEvent,
    DropsOnCancel,
    IgnoresTheGeneration,
    Unbounded,
    SwallowsAuthenticationErrors,
    DoublesOnReopen,
}

/// What there is at the source.
#[derive(Clone, Copy, Debug, Default)]
struct World {
    numbers: u64,
    revoked: bool,
}

/// A source of numbers, in order.
#[derive(Debug)]
struct Numbers {
    vice: Vice,
    world: watch::Sender<World>,
}

#[derive(Debug)]
struct NumberSource {
    vice: Vice,
    world: watch::Receiver<World>,
    feed: FeedContext,
    next: u64,
    round: u64,
    /// Up to where numbers were read, if not yielded.
    read: u64,
    pinned: bool,
}

struct NumberBench {
    vice: Vice,
    world: watch::Sender<World>,
}

#[async_trait]
impl Provider for Numbers {
    const NAME: &'static str = "numbers";
    type Parameters = ();

    fn parameters(_fields: &mut Fields<'_>) -> Option<()> {
        Some(())
    }

    async fn open(
        &self,
        feed: FeedContext,
        (): (),
        from: Start,
    ) -> Result<Box<dyn Source>, SourceError> {
        let world = self.world.subscribe();
        let pinned = matches!(from, Start::After(_));
        let generation = feed.key.generation;
        let (mut next, mut round) = match from {
            Start::Fresh => (world.borrow().numbers, 0),
            Start::After(position) => serde_json::from_slice(&position).unwrap(),
            Start::Reset(ResetTo::Earliest) => (0, generation),
            Start::Reset(other) => panic!("no reset to {other:?}"),
        };
        if pinned && self.vice == Vice::DoublesOnReopen {
            next = u64::saturating_sub(next, 1);
        }
        if self.vice == Vice::IgnoresTheGeneration {
            round = 0;
        }
        feed.report.running();
        let (vice, read) = (self.vice, 0);
        Ok(Box::new(NumberSource { vice, world, feed, next, round, read, pinned }))
    }
}

#[async_trait]
impl Source for NumberSource {
    async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        if !self.pinned {
            return Ok(Some(self.batch(self.next)));
        }
        let from = self.next;
        let swallows = self.vice == Vice::SwallowsAuthenticationErrors;
        let there = self
            .world
            .wait_for(|world| if world.revoked { !swallows } else { world.numbers > from });
        let World { numbers, revoked } = *there.await.unwrap();
        if revoked {
            return Err(SourceError::Waiting("the credentials are refused".to_owned()));
        }
        let bound = if self.vice == Vice::Unbounded { u64::MAX } else { BATCH };
        let upto = numbers.min(from.saturating_add(bound));
        if self.vice == Vice::DropsOnCancel {
            self.next = upto;
        }
        // Once for each number, so that who gives up and asks again gets it.
        if self.read < upto {
            self.read = upto;
            tokio::time::sleep(SLOW).await;
        }
        self.next = from;
        Ok(Some(self.batch(upto)))
    }

    async fn ended(&mut self, end: BatchEnd) -> Result<(), SourceError> {
        match end {
            BatchEnd::Kept => Ok(()),
            BatchEnd::Refused(reason) => Err(SourceError::Waiting(reason)),
        }
    }
}

impl NumberSource {
    fn batch(&mut self, upto: u64) -> Batch {
        let (uid, round) = (self.feed.key.uid, self.round);
        let event = |n| Event::new(format!("{uid}-{round}-{n}"), self.feed.source(), "number");
        let events = (self.next..upto).map(event).collect();
        self.next = upto;
        self.pinned = true;
        let ahead = u64::from(self.vice == Vice::PositionBeforeEvent);
        let position = serde_json::json!([upto + ahead, round]);
        Batch::new(events, position.to_string().into())
    }
}

impl NumberBench {
    fn new(vice: Vice) -> Self {
        Self { vice, world: watch::Sender::default() }
    }
}

#[async_trait]
impl Bench for NumberBench {
    fn provider(&self) -> &'static str {
        "numbers"
    }

    fn registry(&self) -> Arc<Registry> {
        Arc::new(Registry::new().with(Numbers { vice: self.vice, world: self.world.clone() }))
    }

    fn parameters(&self) -> Map<String, Value> {
        Map::new()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        TestClock::at(1)
    }

    async fn produce(&self, events: usize) {
        self.world.send_modify(|world| world.numbers += events as u64);
    }

    fn back(&self) -> Option<ResetTo> {
        Some(ResetTo::Earliest)
    }

    async fn revoke(&self) -> bool {
        self.world.send_modify(|world| world.revoked = true);
        true
    }

    async fn mend(&self) {
        self.world.send_modify(|world| world.revoked = false);
    }
}

/// What the suite says of a provider with this vice; none where it passes.
async fn verdict(vice: Vice) -> Option<String> {
    let suite = tokio::spawn(async move { all(|| async { NumberBench::new(vice) }).await });
    let error = suite.await.err()?;
    let said = error.into_panic();
    let text = said.downcast_ref::<String>().cloned();
    Some(text.or_else(|| said.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_good_provider_passes() {
    assert_eq!(verdict(Vice::None).await, None);
}

#[tokio::test(start_paused = true)]
async fn each_of_six_bad_providers_fails_by_its_vice() {
    for (vice, words) in [
        // What was passed over never comes.
        (Vice::PositionBeforeEvent, "deadline has elapsed"),
        (Vice::DropsOnCancel, "deadline has elapsed"),
        (Vice::IgnoresTheGeneration, "has its former id"),
        (Vice::Unbounded, "are the most"),
        (Vice::SwallowsAuthenticationErrors, "deadline has elapsed"),
        (Vice::DoublesOnReopen, "left == right"),
    ] {
        let said = verdict(vice).await.unwrap_or_else(|| panic!("{vice:?} passes"));
        assert!(said.contains(words), "{vice:?} fails by: {said}");
    }
}
