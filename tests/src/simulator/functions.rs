//! The world of functions: how long a run takes and how it ends.

use std::collections::BTreeMap;

use evoke_schemas::EntityUid;
use evoke_trigger_engine::Verdict;

use super::chance::Chance;
use super::tally::{Group, Tally};
use super::witness::Token;

/// The functions and what keeps them from running.
#[derive(Debug)]
pub struct Functions {
    chance: Chance,
    poison: u64,
    gone_until: BTreeMap<EntityUid, u64>,
    dead_until: u64,
    healed: bool,
}

/// How one run will end, decided when it starts.
#[derive(Clone, Debug)]
pub struct Fate {
    /// How long it takes. Unit: milliseconds.
    pub takes_ms: u64,
    /// How it ends.
    pub verdict: Verdict,
    /// Whether the function itself ran, so that there is a record.
    pub ran: bool,
}

// === impl Functions ===

impl Functions {
    /// The functions of a seed.
    #[must_use]
    pub fn new(chance: Chance) -> Self {
        let poison = chance.clone().bits();
        Self { chance, poison, gone_until: BTreeMap::new(), dead_until: 0, healed: false }
    }

    /// The action of a rule is missing until `true_ms`.
    pub fn gone(&mut self, rule: EntityUid, true_ms: u64) {
        self.gone_until.insert(rule, true_ms);
    }

    /// No sandbox can be had until `true_ms`.
    pub fn dead(&mut self, true_ms: u64) {
        self.dead_until = true_ms;
    }

    /// From now on nothing is slow, missing or dead; functions still fail as they like.
    pub fn heal(&mut self) {
        self.gone_until.clear();
        self.dead_until = 0;
        self.healed = true;
    }

    /// What becomes of a run that starts now.
    pub fn fate(&mut self, rule: EntityUid, token: Token, now_ms: u64, tally: &mut Tally) -> Fate {
        let fate = self.draw(rule, token, now_ms);
        tally.count(
            Group::Fault,
            match (&fate.verdict, fate.ran) {
                (Verdict::Success, _) if fate.takes_ms > 2_000 => "function slow",
                (Verdict::Success, _) => "function succeeds",
                (Verdict::FunctionFailed { .. }, _) => "function fails",
                (Verdict::PlatformFailed { .. }, true) => "sandbox dies in a run",
                (Verdict::PlatformFailed { .. }, false) => "no sandbox to be had",
                (Verdict::ActionMissing, _) => "function vanishes",
            },
        );
        fate
    }

    /// Whether the action of a rule is missing now.
    #[must_use]
    pub fn is_gone(&self, rule: EntityUid, now_ms: u64) -> bool {
        self.gone_until.get(&rule).is_some_and(|until| now_ms < *until)
    }

    fn draw(&mut self, rule: EntityUid, token: Token, now_ms: u64) -> Fate {
        let platform = |retry_after_ms| Verdict::PlatformFailed {
            reason: "the sandbox is gone".to_owned(),
            retry_after_ms,
        };
        if now_ms < self.dead_until {
            let retry = self.chance.percent(30).then(|| self.chance.within(100, 20_000));
            return Fate { takes_ms: 1, verdict: platform(retry), ran: false };
        }
        let failed = || Verdict::FunctionFailed { reason: "error".to_owned() };
        let takes_ms = self.chance.within(1, 25);
        if self.is_poison(rule, token) {
            return Fate { takes_ms, verdict: failed(), ran: true };
        }
        let slow_ms = self.chance.within(2_001, 100_000);
        let die = u64::from(!self.healed) * 5;
        match self.chance.weighted(&[(75, 0), (10, 1), (die, 2), (die, 3)]) {
            0 => Fate { takes_ms, verdict: Verdict::Success, ran: true },
            1 => Fate { takes_ms, verdict: failed(), ran: true },
            2 => Fate { takes_ms, verdict: platform(None), ran: true },
            _ => Fate { takes_ms: slow_ms, verdict: Verdict::Success, ran: true },
        }
    }

    /// Some events are never digested by some functions.
    fn is_poison(&self, rule: EntityUid, token: Token) -> bool {
        let rule = u64::from_be_bytes(std::array::from_fn(|index| rule.0[index + 8]));
        let mixed =
            (self.poison ^ u64::from(token.0) ^ (rule << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32).is_multiple_of(20)
    }
}
