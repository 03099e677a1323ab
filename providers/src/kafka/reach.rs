//! Whether brokers are there, before a client is made.

use std::time::Duration;

use evoke_feeds::SourceError;
use tokio::net::TcpStream;

/// Longest wait for a connection to a broker.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Returns where any of the brokers can be reached. A client that cannot reach one costs threads and
/// keeps calling, and many feeds may wait for one broker.
pub(super) async fn reach(brokers: &[String]) -> Result<(), SourceError> {
    let mut last = String::new();
    for broker in brokers {
        match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(broker)).await {
            Ok(Ok(_there)) => return Ok(()),
            Ok(Err(error)) => last = format!("{broker}: {error}"),
            Err(_late) => last = format!("{broker} does not answer"),
        }
    }
    Err(SourceError::Retry(format!("no broker can be reached ({last})")))
}
