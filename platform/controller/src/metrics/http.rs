//! Answers of the API, counted by collection, method and status.

use std::time::Duration;

use evoke_schemas::measure::{Counter, Distribution, Histogram, RUNS_US};
use http::Method;

use crate::rest::BASE;

/// Collections that are counted apart; every other path is `other`.
pub(super) const ROUTES: [&str; 13] = [
    "actions",
    "activations",
    "packages",
    "triggers",
    "rules",
    "events",
    "feeds",
    "deadletters",
    "replays",
    "namespaces",
    "metrics",
    "health",
    "other",
];
const METHODS: [Method; 5] =
    [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::OPTIONS];
/// Statuses that are counted apart.
const STATUSES: [u16; 19] =
    [200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 429, 431, 500, 502, 503, 504];
/// Of methods and statuses, those that have no place of their own.
const OTHER: usize = 1;

/// Numbers that each answer adds to.
#[derive(Debug)]
pub(crate) struct HttpMeasures {
    answers: Box<[Counter]>,
    took: Vec<Histogram>,
}

/// A number of answers: collection, method, status.
pub(super) type Answers = (&'static str, String, String, u64);

impl Default for HttpMeasures {
    fn default() -> Self {
        let places = ROUTES.len() * (METHODS.len() + OTHER) * (STATUSES.len() + OTHER);
        Self {
            answers: (0..places).map(|_| Counter::default()).collect(),
            took: ROUTES.iter().map(|_| Histogram::new(RUNS_US)).collect(),
        }
    }
}

impl HttpMeasures {
    /// Place of the collection that a path is of.
    pub(crate) fn route(path: &str) -> usize {
        let word = match path.strip_prefix(BASE).map(|rest| rest.trim_start_matches('/')) {
            Some(rest) => {
                // namespaces/{ns}/{collection}/…
                let mut parts = rest.split('/');
                match (parts.next(), parts.next(), parts.next()) {
                    (Some("namespaces"), _, Some(collection)) if !collection.is_empty() => {
                        collection
                    }
                    (Some("namespaces"), ..) => "namespaces",
                    _ => "other",
                }
            }
            None => match path {
                "/metrics" => "metrics",
                "/ping" | "/healthz" | "/readyz" => "health",
                _ => "other",
            },
        };
        ROUTES.iter().position(|route| *route == word).unwrap_or(ROUTES.len() - 1)
    }

    /// An answer was given.
    pub(crate) fn answered(&self, route: usize, method: &Method, status: u16, took: Duration) {
        let method = METHODS.iter().position(|known| known == method).unwrap_or(METHODS.len());
        let status = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len());
        if let Some(counter) = self.answers.get(place(route, method, status)) {
            counter.one();
        }
        if let Some(histogram) = self.took.get(route) {
            histogram.observe(took);
        }
    }

    /// Numbers of answers that are not 0.
    pub(super) fn answers(&self) -> Vec<Answers> {
        let mut all = Vec::new();
        for (route, word) in ROUTES.iter().enumerate() {
            for method in 0..=METHODS.len() {
                for status in 0..=STATUSES.len() {
                    let counter = self.answers.get(place(route, method, status));
                    let count = counter.map_or(0, Counter::get);
                    if count > 0 {
                        let method = METHODS.get(method).map_or("other", Method::as_str);
                        let status = STATUSES.get(status).map(u16::to_string);
                        let status = status.unwrap_or_else(|| "other".to_owned());
                        all.push((*word, method.to_owned(), status, count));
                    }
                }
            }
        }
        all
    }

    /// How long answers took, by collection; those without any are left out.
    pub(super) fn took(&self) -> impl Iterator<Item = (&'static str, Distribution)> {
        let all = ROUTES.iter().zip(&self.took).map(|(route, took)| (*route, took.distribution()));
        all.filter(|(_, took)| took.count() > 0)
    }
}

fn place(route: usize, method: usize, status: usize) -> usize {
    (route * (METHODS.len() + OTHER) + method) * (STATUSES.len() + OTHER) + status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_of_its_collection() {
        for (path, want) in [
            ("/api/v1/namespaces/_/actions/a", "actions"),
            ("/api/v1/namespaces/_/events", "events"),
            ("/api/v1/namespaces", "namespaces"),
            ("/api/v1/namespaces/_/", "namespaces"),
            ("/api/v1/namespaces/_/what-is-this/x", "other"),
            ("/api/v1", "other"),
            ("/metrics", "metrics"),
            ("/healthz", "health"),
            ("/favicon.ico", "other"),
        ] {
            assert_eq!(ROUTES[HttpMeasures::route(path)], want, "{path}");
        }
    }

    #[test]
    fn what_is_not_known_is_counted_as_other() {
        let measures = HttpMeasures::default();
        let took = Duration::from_millis(1);
        measures.answered(0, &Method::GET, 200, took);
        measures.answered(0, &Method::PATCH, 299, took);
        measures.answered(12, &Method::OPTIONS, 504, took);
        let mut answers = measures.answers();
        answers.sort();
        let of =
            |route, method: &str, status: &str| (route, method.to_owned(), status.to_owned(), 1);
        assert_eq!(
            answers,
            [
                of("actions", "GET", "200"),
                of("actions", "other", "other"),
                of("other", "OPTIONS", "504")
            ]
        );
        assert_eq!(measures.took().count(), 2);
    }
}
