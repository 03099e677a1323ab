//! Forwards a sandbox's questions for names to the host's resolver, bounded.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::timeout,
};

use super::maker::NameSockets;

/// Questions under way by UDP; beyond them one is dropped, and asked again by its asker.
const MAX_QUESTIONS: usize = 64;
/// Connections; beyond them one waits to be accepted.
const MAX_CONNECTIONS: usize = 8;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection may be used again for this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest message by UDP with extensions.
const MAX_DATAGRAM: usize = 4096;
/// After a failed `accept`, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;

/// Runs until dropped.
#[derive(Debug)]
pub(super) struct Forwarder {
    _tasks: JoinSet<()>,
}

/// Begins to forward to `upstream`, by default the host's first name server.
pub(super) fn serve(sockets: NameSockets, upstream: Option<SocketAddr>) -> io::Result<Forwarder> {
    let upstream = match upstream {
        Some(upstream) => upstream,
        None => name_server(&fs::read_to_string(RESOLV_CONF)?)
            .ok_or_else(|| io::Error::other("no name server in /etc/resolv.conf"))?,
    };
    sockets.udp.set_nonblocking(true)?;
    sockets.tcp.set_nonblocking(true)?;
    let udp = Arc::new(UdpSocket::from_std(sockets.udp)?);
    let tcp = TcpListener::from_std(sockets.tcp)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(forward_datagrams(udp, upstream));
    tasks.spawn(forward_connections(tcp, upstream));
    Ok(Forwarder { _tasks: tasks })
}

fn name_server(resolv_conf: &str) -> Option<SocketAddr> {
    resolv_conf.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        Some(SocketAddr::new(address.parse().ok()?, PORT))
    })
}

async fn forward_datagrams(udp: Arc<UdpSocket>, upstream: SocketAddr) {
    let mut questions = JoinSet::new();
    let mut buf = vec![0; MAX_DATAGRAM];
    loop {
        let received = udp.recv_from(&mut buf).await;
        while questions.try_join_next().is_some() {}
        // An error here is an old answer's: its asker had closed its socket.
        let Ok((length, asker)) = received else { continue };
        if questions.len() >= MAX_QUESTIONS {
            continue;
        }
        let question = buf.get(..length).unwrap_or_default().to_vec();
        let udp = Arc::clone(&udp);
        questions.spawn(async move {
            let answer = timeout(ANSWER_TIMEOUT, ask(&question, upstream)).await;
            if let Ok(Ok(answer)) = answer
                && let Err(error) = udp.send_to(&answer, asker).await
            {
                tracing::debug!(%error, "an answer did not reach the sandbox");
            }
        });
    }
}

/// Asks from a port of its own, and takes only the answer with the question's id.
async fn ask(question: &[u8], upstream: SocketAddr) -> io::Result<Vec<u8>> {
    let any = match upstream {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(question).await?;
    let mut answer = vec![0; MAX_DATAGRAM];
    loop {
        let length = socket.recv(&mut answer).await?;
        if length >= 2 && answer.get(..2) == question.get(..2) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn forward_connections(listener: TcpListener, upstream: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(forward_connection(stream, upstream))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn forward_connection(mut asker: TcpStream, upstream: SocketAddr) {
    let relay = async {
        let mut server = timeout(ANSWER_TIMEOUT, TcpStream::connect(upstream)).await??;
        loop {
            let question = timeout(IDLE_TIMEOUT, read_message(&mut asker)).await??;
            write_message(&mut server, &question).await?;
            let answer = timeout(ANSWER_TIMEOUT, read_message(&mut server)).await??;
            timeout(IDLE_TIMEOUT, write_message(&mut asker, &answer)).await??;
        }
    };
    let ended: io::Result<()> = relay.await;
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection for names ended");
    }
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_server_is_taken() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(name_server(text), expected.map(|it| it.parse().unwrap()));
        };
        check("# none\nsearch example.org\n", None);
        check("nameserver 10.0.0.1\nnameserver 10.0.0.2\n", Some("10.0.0.1:53"));
        check("nameserver fe80::1%eth0\nnameserver ::1\n", Some("[::1]:53"));
        check("nameserver\nnameservers 1.2.3.4\n", None);
    }
}
