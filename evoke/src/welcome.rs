//! What a person sees after the start: where the hub is, what to try, what happens.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
};

/// The address, the credentials and three commands to try.
///
/// # Errors
/// Those of standard output.
pub(crate) fn print(address: SocketAddr, tls: bool, data: &Path, program: &str) -> io::Result<()> {
    let scheme = if tls { "https" } else { "http" };
    let base = format!("{scheme}://{address}");
    let data = data.display();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "
Evoke is ready at {base}
Credentials: {data}/credentials (namespace guest)

Try, in another terminal:

  curl -u \"$(cat {data}/credentials)\" {base}/api/v1/namespaces/_/events \\
    -H 'ce-specversion: 1.0' -H 'ce-id: order-1' -H 'ce-source: /shop' -H 'ce-type: order.placed' \\
    -H 'content-type: application/json' -d '{{\"item\": \"tea\", \"count\": 2}}'

  {program} event list --data {data}
  {program} activation list --data {data}

Activations as they happen (Ctrl-C ends the hub):
"
    )
}
