//! Random work and random crashes on a disk in memory, against a plain list.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::commit::{Answer, Effect, Input};
use crate::limits::Limits;
use crate::read::Item;
use crate::record::{Append, Guard};
use crate::testing::{Rig, record};

/// Something that happens to the log.
#[derive(Clone, Debug)]
enum Step {
    /// A batch of so many records.
    Submit(usize),
    /// A feed's next step, as it believes to be.
    Feed(u128),
    /// The disk does its work.
    Run,
    /// The machine stops. Of each write under way, these bytes reach the disk: everything up to
    /// the first number, then whole sectors by the bits of the second.
    Crash(u16, u64),
    /// A clean stop and a start.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_usize..4).prop_map(Step::Submit),
        3 => (0_u128..2).prop_map(Step::Feed),
        4 => Just(Step::Run),
        1 => (any::<u16>(), any::<u64>()).prop_map(|(cut, sectors)| Step::Crash(cut, sectors)),
        1 => Just(Step::Restart),
    ]
}

/// What callers know.
#[derive(Debug, Default)]
struct Known {
    /// Texts of each batch, by token.
    submitted: BTreeMap<u32, Vec<String>>,
    /// Texts that were acknowledged, by number.
    acknowledged: BTreeMap<u64, String>,
    /// Revision that each feed reached with an acknowledgement.
    feeds: BTreeMap<u128, u64>,
    next_token: u32,
}

fn limits() -> Limits {
    Limits { group_bytes: 700, ..Limits::default() }
}

impl Known {
    fn token(&mut self, texts: Vec<String>) -> u32 {
        self.next_token += 1;
        self.submitted.insert(self.next_token, texts);
        self.next_token
    }

    /// Takes the answers that came.
    fn learn(&mut self, rig: &mut Rig) {
        for (token, answer) in std::mem::take(&mut rig.answers) {
            if let Ok(Answer::Appended(appended)) = answer {
                let texts = self.submitted[&token].iter().cloned();
                let numbers = appended.positions.iter().map(|position| position.offset);
                self.acknowledged.extend(numbers.zip(texts));
            }
        }
    }

    /// Checks a start: everything acknowledged is there, what is there was submitted, batches are
    /// whole, and feeds are at least where they were acknowledged to be.
    fn check(&self, rig: &Rig) {
        let recovered = rig.recover();
        assert_eq!(recovered.damage, [], "a crash damages nothing");
        let texts = rig.texts();
        for (number, text) in &self.acknowledged {
            assert_eq!(texts.get(number), Some(text), "record {number}");
        }
        assert!(rig.items().iter().all(|item| matches!(item, Item::Record(_))));
        assert_eq!(texts.len() as u64, recovered.active.summary.end, "numbers have no hole");
        let mut found = texts.values().peekable();
        while let Some(first) = found.next() {
            let batch = self.submitted.values().find(|batch| batch.first() == Some(first));
            for text in batch.expect("it was submitted").iter().skip(1) {
                assert_eq!(found.next(), Some(text), "a batch is whole");
            }
        }
        for (feed, revision) in &self.feeds {
            let at = recovered.feeds.get(*feed).map_or(0, |feed| feed.at.revision);
            assert!(at >= *revision, "feed {feed} went back from {revision} to {at}");
        }
    }
}

/// Carries out a part of what is pending, as a disk does that loses power.
fn crash(rig: &mut Rig, cut: u16, sectors: u64) {
    for effect in std::mem::take(&mut rig.pending) {
        match effect {
            Effect::Roll { next, .. } => {
                let blank = vec![0; usize::try_from(rig.segment_bytes).unwrap()];
                rig.segments.insert(next, blank);
            }
            Effect::Write { segment, at, bytes } => {
                let file = rig.segments.get_mut(&segment).unwrap();
                let at = usize::try_from(at).unwrap();
                let whole = usize::from(cut) % (bytes.len() + 1);
                for (index, byte) in bytes.iter().enumerate() {
                    let sector = (at + index) / 64 % 64;
                    if index < whole || sectors >> sector & 1 == 1 {
                        file[at + index] = *byte;
                    }
                }
            }
            _ => {}
        }
    }
}

fn apply(mut rig: Rig, known: &mut Known, step: &Step) -> Rig {
    match step {
        Step::Submit(count) => {
            let number = known.next_token;
            let texts: Vec<_> =
                (0..*count).map(|part| format!("batch {number} part {part}")).collect();
            let records = texts.iter().map(|text| record(text)).collect();
            rig.submit(known.token(texts), Append::intake(records));
        }
        Step::Feed(feed) => {
            rig.run();
            known.learn(&mut rig);
            let at = rig.recover().feeds.get(*feed).map_or(0, |feed| feed.at.revision);
            let guard = Guard { feed: *feed, generation: 0, revision: at };
            let text = format!("feed {feed} at {at}, try {}", known.next_token);
            let append = Append::guarded(vec![record(&text)], guard, 1, b"state");
            let position = String::from_utf8_lossy(&append.records[1].data).into_owned();
            let token = known.token(vec![text, position]);
            rig.submit(token, append);
            if rig.pending.is_empty() {
                return rig;
            }
            rig.run();
            if matches!(rig.answers.get(&token), Some(Ok(_))) {
                known.feeds.insert(*feed, at + 1);
            }
        }
        Step::Run => rig.run(),
        Step::Crash(cut, sectors) => {
            known.learn(&mut rig);
            crash(&mut rig, *cut, *sectors);
            known.check(&rig);
            return rig.reopen(limits());
        }
        Step::Restart => {
            known.next_token += 1;
            rig.send(Input::Close { token: known.next_token });
            rig.run();
            known.learn(&mut rig);
            known.check(&rig);
            return rig.reopen(limits());
        }
    }
    known.learn(&mut rig);
    rig
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_crash_takes_what_was_acknowledged(steps in proptest::collection::vec(step(), 1..60)) {
        let mut rig = Rig::new(limits(), 2_000);
        let mut known = Known::default();
        for step in &steps {
            rig = apply(rig, &mut known, step);
        }
        rig.run();
        known.learn(&mut rig);
        known.check(&rig);
    }
}
