//! What every event log must do, run over the trait.
//!
//! Call [`all`] from a test of the implementation, once for each way to build one.

mod appending;
mod reading;
mod retaining;

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use evoke_schemas::Position;

use crate::cursor::Cursor;
use crate::event_log::EventLog;
use crate::read::{Item, ReadLimit, StoredRecord};
use crate::record::{Append, Record, Stream};

/// An empty log under test.
#[derive(Debug)]
pub struct Subject {
    /// One writer.
    pub log: Arc<dyn EventLog>,
    /// A second writer of the same log; the same handle where there is only one.
    pub second: Arc<dyn EventLog>,
    /// Data bytes that surely seal at least one segment, appended in batches of 1 KiB.
    pub seals_after: usize,
}

/// Runs every check, each on a fresh subject from `build`.
///
/// # Panics
/// Where the log does not conform.
pub async fn all<B, F>(build: B)
where
    B: Fn() -> F,
    F: Future<Output = Subject>,
{
    check_appending(&build).await;
    check_reading(&build).await;
    retaining::only_the_oldest_below_the_low_water_mark_goes(&build().await).await;
    retaining::feed_positions_outlive_their_segment(&build().await).await;
}

async fn check_appending<F: Future<Output = Subject>>(build: &impl Fn() -> F) {
    appending::positions_ascend_and_are_unique(&build().await).await;
    appending::a_batch_is_whole_or_absent(&build().await).await;
    appending::guards_let_one_of_two_through(&build().await).await;
    appending::submissions_keep_their_order(&build().await).await;
    appending::shapes_are_refused(&build().await).await;
}

async fn check_reading<F: Future<Output = Subject>>(build: &impl Fn() -> F) {
    reading::pages_give_everything_once_in_one_order(&build().await).await;
    reading::a_cursor_survives_its_text(&build().await).await;
    reading::get_finds_each_position_and_no_other(&build().await).await;
    reading::waiting_ends_with_the_next_append(&build().await).await;
    reading::time_never_skips_a_record(&build().await).await;
    reading::dedup_entries_name_their_records(&build().await).await;
}

const EVENTS: Stream = Stream(100);

fn record(partition: u16, text: &str) -> Record {
    let data = Bytes::copy_from_slice(text.as_bytes());
    Record { stream: EVENTS, partition, dedup: None, data }
}

fn with_dedup(partition: u16, text: &str, hash: u64) -> Record {
    Record { dedup: NonZeroU64::new(hash), ..record(partition, text) }
}

/// Everything from `from` on, in pages of `items`.
async fn read_from(log: &dyn EventLog, from: Cursor, items: usize) -> Vec<StoredRecord> {
    let mut cursor = from;
    let mut records = Vec::new();
    loop {
        let limit = ReadLimit { items, bytes: 1 << 20 };
        let page = log.read(&cursor, limit).await.unwrap_or_else(|error| fail(&error));
        if page.items.is_empty() {
            return records;
        }
        assert!(page.items.len() <= items, "a page holds no more than asked");
        for item in page.items {
            item.pass(&mut cursor);
            match item {
                Item::Record(record) => records.push(record),
                Item::Unreadable(_) | Item::Lost(_) | Item::Erased(_) => {
                    fail(&"an undamaged log reads damaged")
                }
            }
        }
        assert!(cursor.covers(&page.next) && page.next.covers(&cursor), "items lead to next");
        cursor = page.next;
    }
}

async fn append(log: &dyn EventLog, records: Vec<Record>) -> Vec<Position> {
    let answer = log.append(Append::intake(records)).await;
    answer.unwrap_or_else(|error| fail(&error)).positions
}

#[expect(clippy::panic, reason = "a suite speaks by panicking")]
fn fail<T>(what: &dyn std::fmt::Display) -> T {
    panic!("{what}")
}
