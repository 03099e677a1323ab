//! Serving the API: listeners, TLS, bounds on connections, and their end.

mod guest_body;
mod guests;
mod unstalled;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use evoke_controller::Api;
use futures::{StreamExt as _, stream::FuturesUnordered};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    guest_body::GuestBody,
    guests::{Guests, Seat},
    unstalled::Unstalled,
};

/// Connections the kernel keeps until they are accepted. Past it a burst of newcomers is turned
/// into half-open connections, which wait for an answer from nobody; the kernel's own bound
/// (`net.core.somaxconn`) holds as well.
const MAX_WAITING_CONNECTIONS: u32 = 4_096;
/// Connections of one sandbox to the API at once.
const MAX_SANDBOX_CONNECTIONS: usize = 64;
/// Connections to the operators' metrics at once.
const MAX_OPERATOR_CONNECTIONS: usize = 16;
/// Longest time from the first byte of a request's head to its last, and of an idle connection.
/// Where others wait for room, who keeps the hub waiting goes sooner (`guests`).
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Longest TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most headers of a request.
const MAX_HEADERS: usize = 128;
/// Wait after a refused accept, when the process has no more file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves one API on many listeners.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    api: Api,
    connections: TaskTracker,
    /// Connections of the API at once; more wait to be accepted.
    most: usize,
    stop: CancellationToken,
}

/// How many connections a listener takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Share {
    /// The API's own listener.
    Api,
    /// The listener inside one sandbox.
    Sandbox,
    /// The listener of the operators' metrics.
    Operators,
}

/// The API's own listener, ready to be served.
///
/// # Errors
/// The address is taken, not this machine's, or not allowed.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    // A hub that starts again takes its address while connections of the last one linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(MAX_WAITING_CONNECTIONS)
}

impl Server {
    /// A server of at most so many connections, that ends with `stop`.
    #[must_use]
    pub(crate) fn new(api: Api, most: usize, stop: CancellationToken) -> Self {
        Self { api, connections: TaskTracker::new(), most, stop }
    }

    /// A server of another API, with which it ends.
    #[must_use]
    pub(crate) fn with(&self, api: Api) -> Self {
        Self { api, ..self.clone() }
    }

    /// Accepts until `until` or the whole server ends; requests under way are finished.
    pub(crate) fn listen(
        &self,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        share: Share,
        until: CancellationToken,
    ) {
        let own = self.clone();
        self.connections.spawn(async move { own.accept(listener, tls, share, until).await });
    }

    /// Returns when every connection has ended, at most after `within`.
    pub(crate) async fn drained(&self, within: Duration) -> bool {
        self.connections.close();
        tokio::time::timeout(within, self.connections.wait()).await.is_ok()
    }

    async fn accept(
        self,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        share: Share,
        until: CancellationToken,
    ) {
        let guests = Guests::new(self.connections_of(share));
        loop {
            let next = async {
                let permit = guests.room().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((listener.accept().await?.0, permit))
            };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                () = until.cancelled() => return,
                accepted = next => accepted,
            };
            match accepted {
                Ok((stream, permit)) => {
                    self.connect(stream, tls.clone(), guests.seat(permit), until.clone());
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    fn connect(
        &self,
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
        seat: Seat,
        until: CancellationToken,
    ) {
        let own = self.clone();
        self.connections.spawn(async move {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY");
            }
            let Some(tls) = tls else { return own.serve(stream, seat, until).await };
            match tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
                Ok(Ok(stream)) => own.serve(stream, seat, until).await,
                Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                Err(_elapsed) => tracing::debug!("TLS handshake took too long"),
            }
        });
    }

    fn connections_of(&self, share: Share) -> usize {
        match share {
            Share::Api => self.most,
            Share::Sandbox => MAX_SANDBOX_CONNECTIONS,
            Share::Operators => MAX_OPERATOR_CONNECTIONS,
        }
    }

    async fn serve<S>(&self, stream: S, seat: Seat, until: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .half_close(false);
        let guest = &seat.guest;
        let service = hyper::service::service_fn(async |request: hyper::Request<_>| {
            let request = request.map(|body| GuestBody::new(body, Arc::clone(guest)));
            let answer = self.api.answer(request).await;
            guest.answered();
            Ok::<_, Infallible>(answer)
        });
        let connection = http.serve_connection(TokioIo::new(Unstalled::new(stream)), service);
        tokio::pin!(connection);
        // Looked at when one of them happens, not at each turn of each request.
        let ends = [self.stop.cancelled(), until.cancelled(), guest.leave.cancelled()];
        let mut ends: FuturesUnordered<_> = ends.into_iter().map(Box::pin).collect();
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            Some(()) = ends.next() => {
                // A stop ends a listener too; requests under way are finished all the same.
                if !self.stop.is_cancelled() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke off");
        }
    }
}
