//! Connections that are slow, half open, or carry no HTTP.

use std::{path::PathBuf, time::Duration};

use evoke_tests::e2e::{
    caller::Caller,
    entities::{ECHO, node, trigger},
    place::Place,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{Done, REFUSED_WITHIN, accept, furnished, nothing_lost, still_good};

/// Connections at once that are slow in one way.
const MANY: usize = 250;
/// The hub closes the slowest after a minute.
const CLOSED_WITHIN: Duration = Duration::from_secs(90);

/// The head of a request with credentials.
pub(crate) fn head(caller: &Caller, method: &str, path: &str, headers: &str) -> String {
    let authorization = caller.authorization.clone().unwrap_or_default();
    format!(
        "{method} /api/v1/namespaces/_/{path} HTTP/1.1\r\nHost: hub\r\n\
         Authorization: {authorization}\r\n{headers}\r\n"
    )
}

#[tokio::test]
async fn slow_and_half_open_connections_keep_nobody_else_waiting() -> Done {
    let (place, hub, caller) = furnished().await?;
    let length = "Content-Type: application/json\r\nContent-Length: 100\r\n";
    let whole_head = head(&caller, "POST", "triggers/good", length);
    let half_head = whole_head.get(..40).unwrap_or_default().to_owned();
    let half_body = format!("{whole_head}{{\"a\": 1");
    let mut slow = JoinSet::new();
    for (what, sent) in
        [("nothing", String::new()), ("half a head", half_head), ("half a body", half_body)]
    {
        for _ in 0..MANY {
            let (address, sent) = (caller.address, sent.clone());
            slow.spawn(async move {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(sent.as_bytes()).await?;
                let (mut answer, start) = (Vec::new(), Instant::now());
                // A hub that closes with unread bytes resets the connection: an end as well.
                let end = timeout(CLOSED_WITHIN, stream.read_to_end(&mut answer)).await;
                let answer = String::from_utf8_lossy(&answer).into_owned();
                std::io::Result::Ok((what, end.is_ok(), answer, start.elapsed()))
            });
        }
    }
    let mut accepted = Vec::new();
    for _ in 0..10 {
        still_good(&caller, "slow connections").await?;
        accept(&caller, &mut accepted).await?;
    }
    let mut ends = 0;
    while let Some(ended) = slow.join_next().await {
        let (what, is_closed, answer, after) = ended.map_err(std::io::Error::from)??;
        assert!(is_closed, "{what}: still open after {after:?}; {answer}");
        if what == "half a body" {
            assert!(answer.starts_with("HTTP/1.1 408 "), "{what}: {answer} after {after:?}");
            assert!(answer.contains("The request content did not arrive in time."), "{answer}");
        }
        ends += 1;
    }
    assert_eq!(ends, 3 * MANY);
    still_good(&caller, "their end").await?;
    nothing_lost(&caller, &accepted).await?;
    place.end(hub).await
}

/// Soft limit of open files that the hub is started with; an ordinary one is 1,024.
const FILES: usize = 256;

#[tokio::test]
async fn idle_connections_take_no_file_from_the_hub() -> Done {
    let mut place = Place::new()?;
    let limit = format!("ulimit -Sn {FILES}; exec \"$0\" \"$@\"");
    place.launch.program.splice(0..0, ["sh", "-c", &limit].map(PathBuf::from));
    let (hub, caller) = place.start().await?;
    let mut idle = Vec::new();
    for _ in 0..FILES + 100 {
        idle.push(TcpStream::connect(caller.address).await?);
    }
    node(&caller, "echo", ECHO).await?;
    trigger(&caller, "good", &json!({}), &["echo"], &Value::Null).await?;
    let mut accepted = Vec::new();
    for round in 0..5 {
        // Each time another sandbox: files are needed for it.
        node(&caller, "echo", &format!("{ECHO} // {round}")).await?;
        still_good(&caller, "more connections than files").await?;
        accept(&caller, &mut accepted).await?;
    }
    nothing_lost(&caller, &accepted).await?;
    assert!(!place.log().contains("Too many open files"), "{}", place.log());
    drop(idle);
    place.end(hub).await
}

#[tokio::test]
async fn what_is_not_http_is_answered_and_cut_off() -> Done {
    let (place, hub, caller) = furnished().await?;
    let long_header = format!("GET /ping HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(200_000));
    let many_headers = format!("GET /ping HTTP/1.1\r\n{}\r\n", "X-A: 1\r\n".repeat(500));
    let lengths = "Content-Length: 2\r\nContent-Length: 3\r\n";
    for (what, sent, status) in [
        ("rubbish", "\u{16}\u{3}\u{1}rubbish\r\n\r\n".to_owned(), "400"),
        ("a long header", long_header, "431"),
        ("many headers", many_headers, "431"),
        ("two lengths", head(&caller, "POST", "triggers/good", lengths), "400"),
    ] {
        let mut stream = TcpStream::connect(caller.address).await?;
        // The hub may close before all is sent.
        drop(stream.write_all(sent.as_bytes()).await);
        let mut answer = Vec::new();
        let read = timeout(REFUSED_WITHIN, stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let Ok(read) = read else { panic!("{what}: still open; {answer}") };
        let is_reset = answer.is_empty() && read.is_err();
        assert!(is_reset || answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        still_good(&caller, what).await?;
    }
    place.end(hub).await
}
