//! Places of a namespace's runs: a call without one is refused, a delivery waits for one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use evoke_schemas::Namespace;
use tokio::sync::Notify;

use super::CallRefused;

/// Runs under way, by namespace.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<HashMap<Namespace, Line>>);

#[derive(Debug, Default)]
struct Line {
    taken: u64,
    /// Deliveries that wait.
    waiting: u64,
    freed: Arc<Notify>,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    namespace: Namespace,
}

/// A delivery that waits; it does so no more when dropped.
struct Waiting<'a> {
    places: &'a Places,
    namespace: &'a Namespace,
}

// === impl Places ===

impl Places {
    /// A place among `most`, at once. Deliveries that wait come first.
    pub(super) fn try_take(
        this: &Arc<Self>,
        namespace: &Namespace,
        most: u64,
    ) -> Result<Place, CallRefused> {
        let mut lines = this.lock();
        let line = lines.entry(namespace.clone()).or_default();
        let count = line.taken + line.waiting;
        if count >= most {
            return Err(CallRefused::NoSandbox { count, allowed: most });
        }
        line.taken += 1;
        Ok(Place { places: Arc::clone(this), namespace: namespace.clone() })
    }

    /// A place among `most`, as that is when one is free.
    pub(super) async fn take(
        this: &Arc<Self>,
        namespace: &Namespace,
        most: impl Fn() -> u64 + Send,
    ) -> Place {
        this.lock().entry(namespace.clone()).or_default().waiting += 1;
        let waiting = Waiting { places: this, namespace };
        loop {
            let freed = {
                let mut lines = this.lock();
                let line = lines.entry(namespace.clone()).or_default();
                if line.taken < most() {
                    line.taken += 1;
                    break;
                }
                Arc::clone(&line.freed)
            };
            freed.notified().await;
        }
        drop(waiting);
        Place { places: Arc::clone(this), namespace: namespace.clone() }
    }

    /// How many a namespace has.
    pub(super) fn taken(&self, namespace: &Namespace) -> u64 {
        self.lock().get(namespace).map_or(0, |line| line.taken)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Namespace, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, namespace: &Namespace, change: impl FnOnce(&mut Line)) {
        let mut lines = self.lock();
        let Some(line) = lines.get_mut(namespace) else { return };
        change(line);
        if line.taken == 0 && line.waiting == 0 {
            lines.remove(namespace);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.change(&self.namespace, |line| {
            line.taken -= 1;
            line.freed.notify_one();
        });
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // One that goes away may have been told of a place that another waits for.
        self.places.change(self.namespace, |line| {
            line.waiting -= 1;
            line.freed.notify_one();
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_delivery_waits_for_a_place_and_goes_before_calls() {
        let (places, guest) = (Arc::new(Places::default()), Namespace::new("guest").unwrap());
        let first = Places::try_take(&places, &guest, 1).unwrap();
        let mut delivery = Box::pin(Places::take(&places, &guest, || 1));
        assert!(delivery.as_mut().now_or_never().is_none());
        let refused = Places::try_take(&places, &guest, 1).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Too many concurrent requests in flight (count: 2, allowed: 1)."
        );
        drop(first);
        assert!(Places::try_take(&places, &guest, 1).is_err(), "the delivery is first");
        let place = delivery.as_mut().now_or_never().unwrap();
        assert!(Places::try_take(&places, &Namespace::new("other").unwrap(), 1).is_ok());
        drop((place, delivery));
        assert!(Places::try_take(&places, &guest, 1).is_ok());
        assert!(places.lock().is_empty(), "nothing is kept of who has nothing");
    }

    #[test]
    fn a_delivery_that_gives_up_leaves_its_place_to_the_next() {
        let (places, guest) = (Arc::new(Places::default()), Namespace::new("guest").unwrap());
        let held = Places::try_take(&places, &guest, 1).unwrap();
        let mut one = Box::pin(Places::take(&places, &guest, || 1));
        let mut two = Box::pin(Places::take(&places, &guest, || 1));
        assert!(one.as_mut().now_or_never().is_none() && two.as_mut().now_or_never().is_none());
        drop(held);
        drop(one);
        assert!(two.as_mut().now_or_never().is_some());
    }
}
