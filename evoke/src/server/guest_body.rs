//! A request's body that tells when all of it has come.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::guests::Guest;

/// The body.
#[derive(Debug)]
pub(super) struct GuestBody {
    body: Incoming,
    guest: Arc<Guest>,
}

impl GuestBody {
    pub(super) fn new(body: Incoming, guest: Arc<Guest>) -> Self {
        if body.is_end_stream() {
            guest.served();
        } else {
            guest.begins_body();
        }
        Self { body, guest }
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let poll = Pin::new(&mut self.body).poll_frame(context);
        if poll.is_ready() && (matches!(poll, Poll::Ready(None)) || self.body.is_end_stream()) {
            self.guest.served();
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
