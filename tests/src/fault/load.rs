//! A load at a given rate over connections that stay, and what was answered to it.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    client::{Call, Client},
    error::FaultError,
};

/// What was answered, and when.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Of each good answer: when it came, counted from the load's begin, and how long it took.
    pub good: Vec<(Duration, Duration)>,
    /// Of all others: how many of each status and cap.
    pub others: BTreeMap<(u16, String), usize>,
    /// Requests that nobody answered.
    pub unanswered: usize,
}

/// Sends `call` at `per_second` for so long, over so many connections; a connection whose answer
/// is late leaves its turns to none.
///
/// # Errors
/// A task of the load failed.
pub async fn load(
    client: impl Fn() -> Client,
    call: &Call,
    connections: u32,
    per_second: f64,
    lasts: Duration,
) -> Result<Answers, FaultError> {
    let period = Duration::from_secs_f64(f64::from(connections) / per_second);
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for number in 0..connections {
        let (mut client, call) = (client(), call.clone());
        let first = begun + period.mul_f64(f64::from(number) / f64::from(connections));
        workers.spawn(async move {
            let mut answers = Answers::default();
            let mut turns = interval_at(first, period);
            turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                let sent = turns.tick().await;
                if begun.elapsed() >= lasts {
                    return answers;
                }
                // From when it was sent: a turn may come late on a busy machine.
                let sent = sent.max(Instant::now());
                match client.once(&call).await {
                    Ok(answer) if (200..300).contains(&answer.status) => {
                        answers.good.push((begun.elapsed(), sent.elapsed()));
                    }
                    Ok(answer) => {
                        let cap = answer
                            .json()
                            .get("cap")
                            .and_then(|cap| cap.as_str())
                            .map(str::to_owned);
                        *answers
                            .others
                            .entry((answer.status, cap.unwrap_or_default()))
                            .or_default() += 1;
                    }
                    Err(_no_answer) => answers.unanswered += 1,
                }
            }
        });
    }
    let mut all = Answers::default();
    while let Some(answers) = workers.join_next().await {
        let answers = answers.map_err(std::io::Error::from)?;
        all.good.extend(answers.good);
        all.unanswered += answers.unanswered;
        for (what, count) in answers.others {
            *all.others.entry(what).or_default() += count;
        }
    }
    all.good.sort_unstable();
    Ok(all)
}

impl Answers {
    /// The quantile of how long good answers took, in each stretch of that length.
    #[must_use]
    pub fn quantiles(&self, quantile: f64, stretch: Duration) -> Vec<Duration> {
        let mut stretches: BTreeMap<u128, Vec<Duration>> = BTreeMap::new();
        for (at, took) in &self.good {
            stretches.entry(at.as_nanos() / stretch.as_nanos().max(1)).or_default().push(*took);
        }
        stretches.into_values().filter_map(|took| at_quantile(took, quantile)).collect()
    }

    /// The quantile over all of them.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        let took = self.good.iter().map(|(_, took)| *took).collect();
        at_quantile(took, quantile).unwrap_or_default()
    }

    /// Good answers a second that came within `[from, to)`.
    #[must_use]
    pub fn rate(&self, from: Duration, to: Duration) -> f64 {
        let within = self.good.iter().filter(|(at, _)| (from..to).contains(at)).count();
        let count = u32::try_from(within).unwrap_or(u32::MAX);
        f64::from(count) / (to.saturating_sub(from)).as_secs_f64().max(1e-9)
    }
}

/// The value below which that part of them is.
fn at_quantile(mut took: Vec<Duration>, quantile: f64) -> Option<Duration> {
    took.sort_unstable();
    let last = took.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list of thousands"
    )]
    let at = (last as f64 * quantile).round() as usize;
    took.get(at.min(last)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_quantiles_are_of_the_stretch_that_they_are_asked_of() {
        let ms = Duration::from_millis;
        let good = (0..200).map(|n| (ms(n * 10), ms(if n < 100 { n } else { 7 }))).collect();
        let answers = Answers { good, ..Answers::default() };
        assert_eq!(answers.quantiles(0.99, ms(1_000)), [ms(98), ms(7)]);
        assert_eq!(answers.quantile(1.0), ms(99));
        assert!((answers.rate(ms(500), ms(1_500)) - 100.0).abs() < 1e-9);
        assert_eq!(Answers::default().quantile(0.5), ms(0));
    }
}
