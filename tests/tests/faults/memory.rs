//! Requests without end: heads and bodies of a gigabyte are refused early, and cost no memory.

use evoke_tests::{
    e2e::{caller::Caller, place::Place},
    fault::hub::Hub,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{Done, FaultError, accept, furnish, nothing_lost};

/// What is sent where nobody stops it.
const GIGABYTE: u64 = 1 << 30;
/// What is sent before the refusal is out, with all that kernels keep between.
const SOON_REFUSED: u64 = 64 << 20;
/// Memory that all of them together may take.
const MEMORY: u64 = 192 << 20;
/// Such requests at once.
const AT_ONCE: usize = 16;

/// A request that begins so and goes on so for a gigabyte: how much of it was sent, and the answer.
async fn endless(caller: &Caller, head: &str, more: &[u8]) -> Result<(u64, String), FaultError> {
    let (mut reader, mut writer) = TcpStream::connect(caller.address).await?.into_split();
    writer.write_all(head.as_bytes()).await?;
    let answer = tokio::spawn(async move {
        let mut answer = Vec::new();
        // A hub that closes with unread bytes resets the connection: an end as well.
        drop(reader.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    });
    let mut sent = head.len() as u64;
    while sent < GIGABYTE && !answer.is_finished() {
        if writer.write_all(more).await.is_err() {
            break;
        }
        sent += more.len() as u64;
    }
    let answer = answer.await.map_err(std::io::Error::from)?;
    Ok((sent, answer))
}

async fn many(hub: &Hub, caller: &Caller, head: &str, more: &[u8], status: &str) -> Done {
    let before = hub.memory()?.0;
    let mut all = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (caller, head, more) = (caller.clone(), head.to_owned(), more.to_vec());
        all.spawn(async move { endless(&caller, &head, &more).await });
    }
    while let Some(one) = all.join_next().await {
        let (sent, answer) = one.map_err(std::io::Error::from)??;
        assert!(
            sent < SOON_REFUSED,
            "{sent} bytes are taken of `{}`",
            head.get(..30).unwrap_or_default()
        );
        assert!(
            answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    let most = hub.memory()?.1;
    assert!(most < before + MEMORY, "{before} bytes before, {most} at most");
    Ok(())
}

#[tokio::test]
async fn heads_and_bodies_of_a_gigabyte_are_refused_early_and_cost_no_memory() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    furnish(&caller).await?;
    let mut accepted = 0;
    let authorization = caller.authorization.clone().unwrap_or_default();
    let line = "POST /api/v1/namespaces/_/triggers/t HTTP/1.1\r\nHost: hub\r\n";
    let known =
        format!("{line}Authorization: {authorization}\r\nContent-Type: application/json\r\n");
    let long_header = format!("{line}X-Long: ");
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16));
    let length = format!("{known}Content-Length: {GIGABYTE}\r\n\r\n");
    let chunked = format!("{known}Transfer-Encoding: chunked\r\n\r\n");
    let block = vec![b'x'; 1 << 16];
    for (head, more, status) in [
        (&long_header, block.as_slice(), "431"),
        (&line.to_owned(), b"X-Many: 1\r\n".repeat(1_000).as_slice(), "431"),
        (&length, block.as_slice(), "413"),
        (&chunked, chunk.as_bytes(), "413"),
    ] {
        many(&hub, &caller, head, more, status).await?;
        accept(&caller, &mut accepted, 0).await?;
    }
    nothing_lost(&caller, accepted).await?;
    place.end(hub).await
}
