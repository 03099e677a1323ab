//! The API inside each sandbox: the same API on a listener of the sandbox's own loopback.

use std::{net::TcpListener, sync::OnceLock};

use evoke_sandbox::{ApiGuard, ApiServer};
use tokio_util::sync::CancellationToken;

use crate::server::{Server, Share};

/// Serves sandboxes once the server is there; the driver is made before it.
#[derive(Debug, Default)]
pub(crate) struct SandboxApi {
    server: OnceLock<Server>,
}

impl SandboxApi {
    /// From now on sandboxes are served by `server`.
    pub(crate) fn serve_with(&self, server: Server) {
        if self.server.set(server).is_err() {
            tracing::error!("the sandboxes' API is served already");
        }
    }
}

impl ApiServer for SandboxApi {
    fn serve(&self, sandbox: &str, listener: TcpListener) -> ApiGuard {
        let until = CancellationToken::new();
        match (self.server.get(), tokio::net::TcpListener::from_std(listener)) {
            (Some(server), Ok(listener)) => {
                server.listen(listener, None, Share::Sandbox, until.clone());
            }
            (None, _) => tracing::error!(sandbox, "a sandbox came before the API"),
            (_, Err(error)) => tracing::error!(sandbox, %error, "no API in the sandbox"),
        }
        Box::new(until.drop_guard())
    }
}
