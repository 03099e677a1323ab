//! Tests of the API through its router.

mod calls;
mod entities;
mod error_page;
mod errors;
mod events;
mod feeds;
mod history;
mod openapi;
