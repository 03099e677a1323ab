//! What a listener serves: the routes, with the frame around them.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use http::Request;
use tower::Service as _;

use super::{frame, metrics, served};
use crate::{hub::Hub, metrics::HttpMeasures};

/// Answers requests; serve it on as many listeners as there are.
#[derive(Clone, Debug)]
pub struct Api {
    routes: Router,
    /// Where answers are counted; those to operators are in no frame.
    framed: Option<Arc<HttpMeasures>>,
}

impl Api {
    /// OpenWhisk's paths and ours.
    #[must_use]
    pub fn new(hub: Arc<Hub>) -> Self {
        let framed = Some(Arc::clone(&hub.http));
        Self { routes: served(hub), framed }
    }

    /// What operators are shown on a listener of their own: it asks for no credentials.
    #[must_use]
    pub fn operators(hub: Arc<Hub>) -> Self {
        Self { routes: metrics::operators(hub), framed: None }
    }

    /// Answers one request.
    ///
    /// The frame is a function around the router, no layer of it: so it has the last word on the
    /// headers, and no request pays for the copies and boxes of a layer.
    pub async fn answer<B>(&self, request: Request<B>) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let request = request.map(Body::new);
        match &self.framed {
            Some(measures) => frame::measured(measures, request, |it| self.routed(it)).await,
            None => self.routed(request).await,
        }
    }

    async fn routed(&self, request: Request<Body>) -> Response {
        let Ok(answer): Result<_, Infallible> = self.routes.clone().call(request).await;
        answer
    }
}
