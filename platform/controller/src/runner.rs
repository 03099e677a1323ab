//! The port to whoever runs actions, and the choice among several of them.

use std::sync::Arc;

use async_trait::async_trait;
use evoke_invoker::{Invoker, InvokerCounts, Outcome, PlatformFailure, Run, RunEnd};
use evoke_placement::{Fleet, InvokerState, Placement, Policy};
use evoke_schemas::{EntityUid, action::NATIVE_KIND};

/// Runs actions: one invoker, here or elsewhere. As a [`Fleet`] it is a fleet of itself.
#[async_trait]
pub trait Runner: Fleet + std::fmt::Debug {
    /// Runs an action; waits for capacity within the run's bound.
    async fn run(&self, run: Run) -> RunEnd;

    /// Only `current` of the action's revisions is still wanted, or none.
    fn retire(&self, action: EntityUid, current: Option<u64>);

    /// How it stands and what it did; none where it does not count.
    fn counts(&self) -> Option<InvokerCounts> {
        None
    }
}

/// Several runners, and the policy that chooses among them.
#[derive(Debug)]
pub struct Runners {
    policy: Policy,
    all: Vec<Arc<dyn Runner>>,
    /// Runs what needs no sandbox.
    native: Arc<dyn Runner>,
}

impl Runners {
    /// Runners in an order that does not change.
    #[must_use]
    pub fn new(policy: Policy, all: Vec<Arc<dyn Runner>>, native: Arc<dyn Runner>) -> Self {
        Self { policy, all, native }
    }

    fn choose(&self, run: &Run) -> Option<&Arc<dyn Runner>> {
        if run.action.kind == NATIVE_KIND {
            return Some(&self.native);
        }
        // One needs no choice, and no look at its state.
        if let [only] = self.all.as_slice() {
            return Some(only);
        }
        let asked = Placement {
            namespace: &run.namespace,
            action: run.action.uid,
            memory_bytes: run.action.limits.memory << 20,
        };
        (self.policy.place)(&asked, &self.invokers()).and_then(|index| self.all.get(index))
    }

    /// Tells every runner what is no longer wanted of an action.
    pub fn retire(&self, action: EntityUid, current: Option<u64>) {
        for runner in &self.all {
            runner.retire(action, current);
        }
    }

    /// How the first of them that counts stands: here there is one.
    #[must_use]
    pub fn counts(&self) -> Option<InvokerCounts> {
        self.all.iter().find_map(|runner| runner.counts())
    }

    /// Places the run and runs it.
    pub async fn run(&self, run: Run) -> RunEnd {
        match self.choose(&run) {
            Some(runner) => runner.run(run).await,
            None => nowhere(),
        }
    }
}

impl Fleet for Runners {
    fn invokers(&self) -> Vec<InvokerState> {
        self.all.iter().flat_map(|runner| runner.invokers()).collect()
    }
}

#[async_trait]
impl Runner for Invoker {
    async fn run(&self, run: Run) -> RunEnd {
        Self::run(self, run).await
    }

    fn retire(&self, action: EntityUid, current: Option<u64>) {
        Self::retire(self, action, current);
    }

    fn counts(&self) -> Option<InvokerCounts> {
        Some(Self::counts(self))
    }
}

/// The end of a run that no invoker takes.
fn nowhere() -> RunEnd {
    RunEnd {
        outcome: Outcome::Platform { reason: PlatformFailure::NoCapacity(0) },
        logs: Vec::new(),
        start_ms: 0,
        end_ms: 0,
        init_ms: None,
        wait_ms: 0,
        size: None,
    }
}
