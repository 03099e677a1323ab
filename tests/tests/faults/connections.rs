//! Connections that take all places: silent, slow to send, and slow to take their answers.

use std::time::Duration;

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        entities::{action, call, node},
        place::Place,
        wait::{SOON, until},
    },
    fault::hub::Hub,
};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use super::{Done, FaultError, NUMBER, accept, furnish, nothing_lost};

/// Places for connections that the hub is started with.
const PLACES: usize = 32;
/// Longest wait of a good call while all places are taken, on a busy machine.
const GOOD_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of an answer that does not fit into what the kernel keeps for a connection.
const LARGE_ANSWER: usize = 24 << 20;

async fn started() -> Result<(Place, Hub, Caller), FaultError> {
    let mut place = Place::new()?;
    place.launch.environment.push(("EVOKE_CONNECTIONS", PLACES.to_string().into()));
    let (hub, caller) = place.start().await?;
    furnish(&caller).await?;
    node(&caller, "echo", NUMBER).await?;
    Ok((place, hub, caller))
}

/// The head of a request with credentials.
fn head(caller: &Caller, method: &str, path: &str, headers: &str) -> String {
    let authorization = caller.authorization.clone().unwrap_or_default();
    format!(
        "{method} /api/v1/namespaces/_/{path} HTTP/1.1\r\nHost: hub\r\n\
         Authorization: {authorization}\r\n{headers}\r\n"
    )
}

/// A connection that has sent that and does no more, not even read.
async fn sends(caller: &Caller, bytes: &str) -> Result<TcpStream, FaultError> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4_096)?;
    let mut stream = socket.connect(caller.address).await?;
    stream.write_all(bytes.as_bytes()).await?;
    Ok(stream)
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "how long it took is for people to read")]
async fn while_slow_connections_take_every_place_others_are_served() -> Done {
    let (place, hub, caller) = started().await?;
    let code = format!("function main(a) {{ return a }} // {}", "x".repeat(LARGE_ANSWER));
    action(&caller, "large", &json!({"exec": {"kind": "nodejs:default", "code": code}})).await?;
    let length = "Content-Type: application/json\r\nContent-Length: 100\r\n";
    let body = head(&caller, "POST", "triggers/t", length);
    let endless = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let mut accepted = 0;
    for (what, sent, many) in [
        ("silent", String::new(), 2 * PLACES),
        ("half a head", body[..40].to_owned(), 2 * PLACES),
        ("half a body", format!("{body}{{\"a\": 1"), PLACES),
        ("half a chunk", head(&caller, "POST", "triggers/t", endless) + "ff\r\n{", PLACES),
        ("no answer taken", head(&caller, "GET", "actions/large", ""), 4),
    ] {
        let mut held = Vec::new();
        for _ in 0..many {
            held.push(sends(&caller, &sent).await?);
        }
        let begun = Instant::now();
        let good = async {
            for _ in 0..3 {
                accept(&caller, &mut accepted, 0).await?;
            }
            call(&caller, "echo", &json!({})).await
        };
        let reply = timeout(GOOD_WITHIN, good).await;
        let Ok(reply) = reply else { panic!("{what}: others are not served") };
        assert_eq!(reply?.status, 200, "{what}");
        println!("{what}: others were served after {:?}", begun.elapsed());
        drop(held);
    }
    nothing_lost(&caller, accepted).await?;
    place.end(hub).await
}

/// How many of the connections the hub has not closed.
fn open(held: &[TcpStream]) -> Result<usize, FaultError> {
    let place = |address: std::io::Result<std::net::SocketAddr>| {
        address.map(|address| format!(":{:04X}", address.port()))
    };
    let all = std::fs::read_to_string("/proc/net/tcp")?;
    let mut open = 0;
    for stream in held {
        let (hub, ours) = (place(stream.peer_addr())?, place(stream.local_addr())?);
        let is_open = all.lines().any(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            matches!(fields.as_slice(), [_, local, remote, "01", ..]
                if local.ends_with(&hub) && remote.ends_with(&ours))
        });
        open += usize::from(is_open);
    }
    Ok(open)
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "how long it took is for people to read")]
async fn who_takes_no_answer_is_cut_off_though_nobody_waits() -> Done {
    let (place, hub, caller) = started().await?;
    let code = format!("function main(a) {{ return a }} // {}", "x".repeat(LARGE_ANSWER));
    action(&caller, "large", &json!({"exec": {"kind": "nodejs:default", "code": code}})).await?;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(sends(&caller, &head(&caller, "GET", "actions/large", "")).await?);
    }
    let begun = Instant::now();
    assert_eq!(open(&held)?, held.len());
    until("the connections to be closed", SOON, async || {
        let open = open(&held)?;
        Ok(if open == 0 { Ok(()) } else { Err(format!("{open} are open")) })
    })
    .await?;
    println!("no answer taken: all are cut off after {:?}", begun.elapsed());
    assert_eq!(caller.send(Ask::new("GET", "actions/echo")).await?.status, 200);
    place.end(hub).await
}
