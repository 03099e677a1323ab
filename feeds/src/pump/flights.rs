//! Batches on their way to the sink, in their order.
//!
//! A sink takes what is begun first, first, and each batch names the revision that the one before
//! it makes: where one is not kept, none behind it can be.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::sink::{Ack, EventSink, FeedBatch, SinkError};

type Answer = Result<Ack, SinkError>;

/// The batches, the oldest first.
pub(super) struct Flights {
    sink: Arc<dyn EventSink>,
    queue: VecDeque<Flight>,
}

struct Flight {
    batch: Arc<FeedBatch>,
    append: Pin<Box<dyn Future<Output = Answer> + Send>>,
    answer: Option<Answer>,
}

// === impl Flights ===

impl Flights {
    pub(super) fn new(sink: Arc<dyn EventSink>) -> Self {
        Self { sink, queue: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Sends a batch behind the others. It begins when [`Flights::ended`] is waited for.
    pub(super) fn push(&mut self, batch: FeedBatch) {
        let batch = Arc::new(batch);
        let (sink, sent) = (Arc::clone(&self.sink), Arc::clone(&batch));
        let append = Box::pin(async move { sink.append(&sent).await });
        self.queue.push_back(Flight { batch, append, answer: None });
    }

    /// Waits for the oldest batch's answer, for ever where there is none; may be dropped at any
    /// await.
    pub(super) async fn ended(&mut self) -> (FeedBatch, Answer) {
        let answer = poll_fn(|context| {
            // Those behind begin too, in their order.
            for flight in &mut self.queue {
                flight.poll(context);
            }
            let answer = self.queue.front_mut().and_then(|oldest| oldest.answer.take());
            answer.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        match self.queue.pop_front() {
            Some(Flight { batch, append, .. }) => {
                drop(append);
                (Arc::unwrap_or_clone(batch), answer)
            }
            None => std::future::pending().await,
        }
    }

    /// Waits until every batch has its answer and takes them all back: the one before them was not
    /// kept.
    pub(super) async fn recall(&mut self) -> Vec<FeedBatch> {
        let mut batches = Vec::with_capacity(self.len());
        while self.len() > 0 {
            batches.push(self.ended().await.0);
        }
        batches
    }
}

impl Flight {
    fn poll(&mut self, context: &mut Context<'_>) {
        if self.answer.is_none()
            && let Poll::Ready(answer) = self.append.as_mut().poll(context)
        {
            self.answer = Some(answer);
        }
    }
}
