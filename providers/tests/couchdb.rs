//! The CouchDB provider on a real server, asked directly and through a proxy that looks like a
//! cluster and breaks.

#![cfg(feature = "couchdb")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::cognitive_complexity, reason = "a test tells its story in one piece")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "couchdb/actions.rs"]
mod actions;
#[path = "couchdb/conforms.rs"]
mod conforms;
#[path = "couchdb/contents.rs"]
mod contents;
#[path = "couchdb/crashes.rs"]
mod crashes;
#[path = "couchdb/faults.rs"]
mod faults;
#[path = "couchdb/parameters.rs"]
mod parameters;
#[path = "couchdb/positions.rs"]
mod positions;
#[path = "couchdb/proxy.rs"]
mod proxy;
#[path = "couchdb/rig.rs"]
mod rig;
#[path = "couchdb/server.rs"]
mod server;

/// Makes each test twice: asked directly, and through the proxy.
macro_rules! both_ways {
    ($($test:ident),* $(,)?) => {
        mod direct {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::rig::Via::Direct).await;
            })*
        }
        mod proxied {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::rig::Via::Proxy).await;
            })*
        }
    };
}
pub(crate) use both_ways;
