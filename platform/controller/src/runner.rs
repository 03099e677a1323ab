//! The port to whoever runs actions, and the choice among several of them.

use std::sync::Arc;

use async_trait::async_trait;
use evoke_invoker::{Outcome, PlatformFailure, Run, RunEnd};
use evoke_placement::{Fleet, InvokerState, Placement, Policy};

/// Runs actions: an invoker, here or elsewhere.
#[async_trait]
pub trait Runner: Send + Sync + std::fmt::Debug {
    /// Runs an action; waits for capacity within the run's bound.
    async fn run(&self, run: Run) -> RunEnd;

    /// What it says of itself.
    fn state(&self) -> InvokerState;
}

/// Several runners, and the policy that chooses among them.
#[derive(Debug)]
pub struct Runners {
    policy: Policy,
    all: Vec<Arc<dyn Runner>>,
}

impl Runners {
    /// Runners in an order that does not change.
    #[must_use]
    pub fn new(policy: Policy, all: Vec<Arc<dyn Runner>>) -> Self {
        Self { policy, all }
    }

    fn choose(&self, run: &Run) -> Option<&Arc<dyn Runner>> {
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
        self.all.iter().map(|runner| runner.state()).collect()
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
