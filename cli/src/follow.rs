//! Following activations: asks again and again, prints what was not there before.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use serde_json::Value;

use crate::{
    activation::{is_trigger, line},
    error::CliError,
    hub::{Hub, MAX_LIST, get},
    name::{number, text},
    output::{Output, Tone},
};

/// How often the hub is asked.
const EVERY: Duration = Duration::from_millis(500);
/// How far back an ordinary look goes. Unit: milliseconds.
const NEAR_MS: u64 = 5_000;
/// How far back each [`FAR_TURNS`]th look goes, since a record comes when the run ends and is
/// listed by its start: more than the longest run. Unit: milliseconds.
const FAR_MS: u64 = 320_000;
/// Looks from one far look to the next.
const FAR_TURNS: u64 = 10;
/// Most pages of one look.
const MAX_PAGES: usize = 10;

/// What to follow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Follow {
    pub(crate) name: Option<String>,
    /// What started before is not shown; else what was there at the first look.
    pub(crate) since_ms: Option<u64>,
    /// Each run's log lines too.
    pub(crate) logs: bool,
    /// The records of triggers too, which say only that they fired.
    pub(crate) triggers: bool,
}

/// Which activations have been shown.
#[derive(Debug, Default)]
struct Shown {
    starts: HashMap<String, u64>,
    newest_ms: u64,
    turn: u64,
}

pub(crate) async fn follow(
    hub: &Hub,
    what: Follow,
    output: &mut Output,
    stop: impl Future<Output = ()>,
) -> Result<(), CliError> {
    tokio::select! {
        () = stop => Ok(()),
        ended = watch(hub, &what, output) => match ended {
            Err(CliError::Closed) => Ok(()),
            ended => ended,
        },
    }
}

async fn watch(hub: &Hub, what: &Follow, output: &mut Output) -> Result<(), CliError> {
    let mut shown = Shown::default();
    let mut is_lost = false;
    loop {
        match look(hub, what, &mut shown).await {
            Ok(records) => {
                if std::mem::take(&mut is_lost) {
                    output.remark("the hub is back");
                }
                let is_first = shown.turn == 0;
                let fresh = shown.fresh(records);
                if !is_first || what.since_ms.is_some() {
                    print(output, what, &fresh)?;
                }
                shown.turn += 1;
            }
            Err(error @ (CliError::Unreachable(_) | CliError::Hub { .. })) => {
                if !std::mem::replace(&mut is_lost, true) {
                    output.remark(&format!("waiting: {error}"));
                }
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Everything that may be new, the oldest first.
async fn look(hub: &Hub, what: &Follow, shown: &mut Shown) -> Result<VecDeque<Value>, CliError> {
    if shown.turn == 0 && what.since_ms.is_none() {
        // The hub's time counts, not this machine's: begin at its newest record.
        let newest = hub.ask(get(&["activations"]).query("limit", 1)).await?;
        shown.newest_ms = newest.get(0).and_then(|record| number(record, "start")).unwrap_or(0);
    }
    let since_ms = shown.since(what.since_ms);
    let mut all = VecDeque::new();
    for page in 0..MAX_PAGES {
        let request = get(&["activations"])
            .query("docs", true)
            .query("limit", MAX_LIST)
            .query("skip", page * MAX_LIST)
            .query("since", since_ms)
            .query_if("name", what.name.as_deref());
        let Value::Array(records) = hub.ask(request).await? else { break };
        let is_last = records.len() < MAX_LIST;
        for record in records {
            all.push_front(record);
        }
        if is_last {
            break;
        }
    }
    Ok(all)
}

fn print(output: &mut Output, what: &Follow, records: &[Value]) -> Result<(), CliError> {
    let with_logs = what.logs && !output.is_json();
    let is_wanted = |record: &&Value| what.triggers || !is_trigger(record);
    for record in records.iter().filter(is_wanted) {
        let text = if output.is_json() { record.to_string() } else { line(output, record) };
        output.line(&text)?;
        let logs = record.get("logs").and_then(Value::as_array).into_iter().flatten();
        for log in logs.filter(|_| with_logs) {
            let line = output.paint(Tone::Faint, log_line(log.as_str().unwrap_or_default()));
            output.line(&format!("              {line}"))?;
        }
    }
    Ok(())
}

/// A log line without its time, which the activation's line has.
fn log_line(log: &str) -> &str {
    match log.split_once(' ') {
        Some((time, rest)) if time.ends_with('Z') && time.contains('T') => rest,
        _ => log,
    }
}

// === impl Shown ===

impl Shown {
    /// From when on to look.
    fn since(&self, begin_ms: Option<u64>) -> u64 {
        let is_far = self.turn.is_multiple_of(FAR_TURNS);
        let back = if is_far { FAR_MS } else { NEAR_MS };
        let window = self.newest_ms.saturating_sub(back);
        match begin_ms {
            Some(begin) if self.turn == 0 => begin,
            Some(begin) => begin.max(window),
            None => window,
        }
    }

    /// Those that were not shown before, by start.
    fn fresh(&mut self, records: VecDeque<Value>) -> Vec<Value> {
        let mut fresh: Vec<Value> = Vec::new();
        for record in records {
            let (id, start) =
                (text(&record, "activationId"), number(&record, "start").unwrap_or(0));
            if self.starts.insert(id.to_owned(), start).is_none() {
                self.newest_ms = self.newest_ms.max(start);
                fresh.push(record);
            }
        }
        fresh.sort_by_key(|record| number(record, "start"));
        let oldest = self.newest_ms.saturating_sub(2 * FAR_MS);
        self.starts.retain(|_, start| *start >= oldest);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(id: &str, start: u64) -> Value {
        json!({"activationId": id, "start": start})
    }

    fn ids(records: &[Value]) -> Vec<&str> {
        records.iter().map(|record| text(record, "activationId")).collect()
    }

    #[test]
    fn each_is_shown_once_in_the_order_of_starts() {
        let mut shown = Shown::default();
        let first = shown.fresh([record("b", 2), record("a", 1)].into());
        assert_eq!(ids(&first), ["a", "b"]);
        let second = shown.fresh([record("a", 1), record("b", 2), record("late", 1)].into());
        assert_eq!(ids(&second), ["late"]);
    }

    #[test]
    fn a_log_line_is_shown_without_its_time() {
        assert_eq!(log_line("2026-01-31T13:45:59.123456789Z stdout: a b"), "stdout: a b");
        assert_eq!(log_line("no time here"), "no time here");
    }

    #[test]
    fn a_far_look_finds_runs_that_were_long() {
        let mut shown = Shown { newest_ms: 1_000_000, ..Shown::default() };
        assert_eq!(shown.since(None), 1_000_000 - FAR_MS);
        shown.turn = 1;
        assert_eq!(shown.since(None), 1_000_000 - NEAR_MS);
        assert_eq!(shown.since(Some(999_000)), 999_000);
        shown.turn = FAR_TURNS;
        assert_eq!(shown.since(None), 1_000_000 - FAR_MS);
    }

    #[test]
    fn what_is_shown_is_not_kept_for_ever() {
        let mut shown = Shown::default();
        shown.fresh([record("old", 1)].into());
        shown.fresh([record("new", 1 + 3 * FAR_MS)].into());
        assert_eq!(shown.starts.len(), 1);
    }
}
