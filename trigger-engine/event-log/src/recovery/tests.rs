//! Every cut and every flipped bit of a small log.

use std::collections::BTreeMap;

use crate::commit::Input;
use crate::limits::Limits;
use crate::read::{Lost, SegmentId};
use crate::record::Append;
use crate::recovery::{Damage, recover};
use crate::testing::{MARKER, Rig, record};

/// Six batches of two records, acknowledged in five steps.
fn written(close: bool) -> (Rig, BTreeMap<u64, String>, Vec<(u64, usize)>) {
    let mut rig = Rig::new(Limits::default(), 4_096);
    let (mut texts, mut groups) = (BTreeMap::new(), Vec::new());
    let mut number = 0;
    for group in 0..5 {
        for _ in 0..if group == 2 { 2 } else { 1 } {
            let pair = [format!("record {number}"), format!("record {}", number + 1)];
            let batch = Append::intake(vec![record(&pair[0]), record(&pair[1])]);
            rig.submit(u32::try_from(number).unwrap(), batch);
            texts.extend([(number, pair[0].clone()), (number + 1, pair[1].clone())]);
            number += 2;
        }
        rig.run();
        let end = usize::try_from(rig.recover().active.summary.bytes).unwrap();
        groups.push((number, end));
    }
    if close {
        rig.send(Input::Close { token: 1_000 });
        rig.run();
    }
    (rig, texts, groups)
}

fn bytes(rig: &mut Rig) -> &mut Vec<u8> {
    rig.segments.get_mut(&SegmentId(0)).unwrap()
}

#[test]
fn every_cut_keeps_what_is_whole_before_it_and_goes_on() {
    let (mut rig, texts, groups) = written(false);
    let whole = bytes(&mut rig).clone();
    let used = groups.last().unwrap().1;
    for cut in 0..=used {
        let blank = bytes(&mut rig);
        blank.copy_from_slice(&whole);
        blank[cut..].fill(0);
        let recovered = rig.recover();
        assert_eq!(recovered.damage, [], "cut at {cut}: a torn tail is no damage");
        let kept = rig.texts();
        let acknowledged = groups.iter().filter(|(_, end)| *end <= cut).map(|(number, _)| *number);
        let acknowledged = acknowledged.max().unwrap_or(0);
        assert!(kept.len() as u64 >= acknowledged, "cut at {cut} keeps what was acknowledged");
        assert!(kept.iter().all(|(number, text)| texts[number] == *text), "cut at {cut}");
        assert_eq!(kept.len() % 2, 0, "cut at {cut}: a batch is whole or absent");
        assert_eq!(recovered.active.summary.end, kept.len() as u64);
        let dirty = blank_end(bytes(&mut rig));
        let clean_from = recovered.torn.map_or(recovered.active.summary.bytes, |torn| torn.to);
        assert!(clean_from >= dirty, "cut at {cut}: nothing is left behind");
    }
}

fn blank_end(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

#[test]
fn after_every_cut_the_log_can_be_written_on() {
    let (mut rig, _, groups) = written(false);
    let whole = bytes(&mut rig).clone();
    for cut in 0..=groups.last().unwrap().1 {
        let (mut again, ..) = written(false);
        bytes(&mut again).copy_from_slice(&whole);
        bytes(&mut again)[cut..].fill(0);
        let kept = again.texts().len();
        let mut again = again.reopen(Limits::default());
        again.submit(1, Append::intake(vec![record("after the cut")]));
        again.run();
        assert!(again.answers[&1].is_ok());
        let texts = again.texts();
        assert_eq!(texts.len(), kept + 1);
        assert_eq!(texts[&(kept as u64)], "after the cut");
        assert_eq!((again.recover().damage, again.recover().torn), (vec![], None));
    }
}

/// Flips each bit of the used bytes and hands the numbers lost to `check`, with the byte.
fn flip_all(close: bool, mut check: impl FnMut(usize, Vec<u64>, &Rig)) {
    let (mut rig, texts, _) = written(close);
    let used = usize::try_from(blank_end(bytes(&mut rig))).unwrap();
    for bit in 0..used * 8 {
        bytes(&mut rig)[bit / 8] ^= 1 << (bit % 8);
        let kept = rig.texts();
        assert!(kept.iter().all(|(number, text)| texts[number] == *text), "bit {bit}: made up");
        let lost = texts.keys().filter(|number| !kept.contains_key(number)).copied().collect();
        check(bit / 8, lost, &rig);
        bytes(&mut rig)[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn after_a_clean_stop_a_flipped_bit_costs_its_batch_at_most_and_is_reported() {
    let (_, _, groups) = written(true);
    let end = groups.last().unwrap().1;
    let mut costs = BTreeMap::new();
    flip_all(true, |byte, lost, rig| {
        let recovered = rig.recover();
        if byte >= end {
            assert!(lost.is_empty(), "the mark holds no record");
            return;
        }
        assert!(lost.len() <= 2, "byte {byte} lost {lost:?}");
        assert!(!recovered.damage.is_empty(), "byte {byte} goes unnoticed");
        assert_eq!(recovered.torn, None, "nothing acknowledged is cut off");
        let reported: Vec<u64> = recovered.damage.iter().flat_map(lost_numbers).collect();
        assert_eq!(reported, lost, "byte {byte}");
        *costs.entry(lost.len()).or_insert(0) += 1;
    });
    assert!(costs.contains_key(&1) && costs.contains_key(&2), "{costs:?}");
}

fn lost_numbers(damage: &Damage) -> Vec<u64> {
    match damage {
        Damage::Unreadable(unreadable) => vec![unreadable.position.offset],
        Damage::Lost(Lost { from, to, .. }) => (*from..*to).collect(),
        Damage::SegmentHeader { .. }
        | Damage::Stray { .. }
        | Damage::Chain { .. }
        | Damage::ErasedUnsaid { .. } => vec![],
    }
}

#[test]
fn after_a_crash_a_flipped_bit_in_the_last_group_looks_torn_and_nothing_else_does() {
    let (_, _, groups) = written(false);
    let before_last = groups[groups.len() - 2];
    flip_all(false, |byte, lost, rig| {
        let torn = rig.recover().torn;
        if byte < before_last.1 {
            assert!(lost.len() <= 2 && torn.is_none(), "byte {byte}: {lost:?}");
        } else {
            assert!(lost.iter().all(|number| *number >= before_last.0), "byte {byte}: {lost:?}");
        }
    });
}

#[test]
fn a_hole_inside_the_last_group_takes_the_rest_of_the_group_with_it() {
    let mut rig = Rig::new(Limits::default(), 4_096);
    rig.submit(0, Append::intake(vec![record("first")]));
    rig.submit(1, Append::intake(vec![record("of the group")]));
    rig.submit(2, Append::intake(vec![record("behind it")]));
    rig.run();
    let first = rig.recover().active.blocks[0].at;
    let frame = |text: &str| 88 + 40 + text.len();
    let hole = usize::try_from(first).unwrap() + frame("first");
    let len = frame("of the group");
    bytes(&mut rig)[hole..hole + len].fill(0);
    let recovered = rig.recover();
    assert_eq!(recovered.active.summary.end, 1, "the disk wrote the second frame only");
    assert_eq!(recovered.damage, []);
    assert_eq!(recovered.torn.map(|torn| torn.at), Some(hole as u64));
}

#[test]
fn a_missing_segment_is_said_and_the_others_count() {
    let mut rig = Rig::new(Limits::default(), 1_000);
    for token in 0..20 {
        rig.submit(token, Append::intake(vec![record(&"x".repeat(100))]));
        rig.run();
    }
    let ids: Vec<_> = rig.segments.keys().copied().collect();
    rig.segments.remove(&ids[1]);
    let recovered = rig.recover();
    let lost: Vec<u64> = recovered.damage.iter().flat_map(lost_numbers).collect();
    assert_eq!(lost, (ids[1].0..ids[2].0).collect::<Vec<_>>());
    assert_eq!(recovered.active.summary.end, 20);
}

#[test]
fn heads_changed_with_their_checksums_break_the_chain() {
    let (mut rig, ..) = written(true);
    let (mut forged, ..) = written(true);
    // The same log, except that the second batch was another one.
    let mut other = Rig::new(Limits::default(), 4_096);
    for (token, text) in ["record 0", "forged 2"].into_iter().enumerate() {
        let second = if token == 0 { "record 1" } else { "record 3" };
        other.submit(
            u32::try_from(token).unwrap(),
            Append::intake(vec![record(text), record(second)]),
        );
        other.run();
    }
    let end = usize::try_from(other.recover().active.summary.bytes).unwrap();
    let start = end - (88 + 80 + 16);
    let patch = bytes(&mut other)[start..end].to_vec();
    bytes(&mut forged)[start..end].copy_from_slice(&patch);
    assert_eq!(rig.recover().damage, []);
    let damage = forged.recover().damage;
    assert!(matches!(damage[..], [Damage::Chain { base: 4, .. }]), "{damage:?}");
    assert_eq!(bytes(&mut rig).len(), bytes(&mut forged).len());
}

#[test]
fn a_segment_never_written_to_is_neither_torn_nor_damaged() {
    let rig = Rig::new(Limits::default(), 4_096);
    let recovered = rig.recover();
    assert_eq!((recovered.torn, recovered.damage), (None, vec![]));
    assert_eq!(recovered.active.summary.bytes, 0, "its header comes with its first frame");
}

#[test]
fn bytes_without_any_segment_are_no_log() {
    assert!(recover(MARKER, &[]).is_none());
}
