//! Routes that say what they are: who adds one describes it, so that the API's document has every
//! route and no other.
//!
//! [`operation`] is one method of one path, [`parameter`] what stands in path, query and headers,
//! [`document`] the OpenAPI document made of them all.

mod document;
mod operation;
mod parameter;

use std::sync::Arc;

use axum::{Router, routing::MethodRouter};

use self::operation::Described;
pub(super) use self::{
    operation::{Answer, Content, Operation},
    parameter::{Parameter, flag, header, page, query},
};
use crate::hub::Hub;

/// Paths with their handlers and descriptions.
pub(super) struct Routes {
    /// What the paths are about.
    tag: &'static str,
    router: Router<Arc<Hub>>,
    paths: Vec<Path>,
}

/// A path and what may be asked of it.
struct Path {
    template: &'static str,
    tag: &'static str,
    operations: Vec<Described>,
}

impl Routes {
    /// No path yet; those that come are about `tag`.
    pub(super) fn about(tag: &'static str) -> Self {
        Self { tag, router: Router::new(), paths: Vec::new() }
    }

    /// A path; its parts in braces are those that [`parameter`] knows.
    pub(super) fn at<const N: usize>(
        self,
        template: &'static str,
        operations: [Operation; N],
    ) -> Self {
        self.add(template, operations).0
    }

    /// A path that is the same with a slash at its end.
    pub(super) fn collection<const N: usize>(
        self,
        template: &'static str,
        operations: [Operation; N],
    ) -> Self {
        let (mut routes, methods) = self.add(template, operations);
        routes.router = routes.router.route(&format!("{template}/"), methods);
        routes
    }

    fn add<const N: usize>(
        mut self,
        template: &'static str,
        operations: [Operation; N],
    ) -> (Self, MethodRouter<Arc<Hub>>) {
        let mut methods = MethodRouter::new();
        let mut described = Vec::with_capacity(N);
        for operation in operations {
            methods = methods.merge(operation.route);
            described.push(operation.described);
        }
        self.router = self.router.route(template, methods.clone());
        self.paths.push(Path { template, tag: self.tag, operations: described });
        (self, methods)
    }

    /// Both.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.paths.extend(other.paths);
        self
    }

    /// The handlers.
    pub(super) fn into_router(self) -> Router<Arc<Hub>> {
        self.router
    }
}
