//! A load generator as small as it can be: keep-alive HTTP/1.1 over plain sockets.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// Longest answer taken. Unit: bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// One keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer: its status and body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

/// What a load did.
#[derive(Debug, Default)]
pub struct Load {
    /// Answers with the status that was wanted.
    pub good: usize,
    /// Other answers.
    pub bad: usize,
    /// The first other answer.
    pub first_bad: Option<String>,
    /// Time of each good answer.
    pub times: Vec<Duration>,
    /// Length of the load.
    pub took: Duration,
}

/// Makes the `n`th request of connection `c`.
pub type MakeRequest = Arc<dyn Fn(usize, usize) -> Vec<u8> + Send + Sync>;

/// A request as bytes.
#[must_use]
pub fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends one request and takes its answer.
    ///
    /// # Errors
    /// Those of the socket, and an answer that is no HTTP with a length.
    pub async fn send(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        loop {
            if let Some((answer, used)) = parse(&self.buffer)? {
                self.buffer.drain(..used);
                return Ok(answer);
            }
            if self.buffer.len() > MAX_ANSWER {
                return Err(io::Error::other("answer too long"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn parse(buffer: &[u8]) -> io::Result<Option<(Answer, usize)>> {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(buffer.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("no status"))?;
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(Ok(0), |length| length.trim().parse())
        .map_err(io::Error::other)?;
    let used = end + 4 + length;
    Ok(buffer.get(end + 4..used).map(|body| (Answer { status, body: body.to_vec() }, used)))
}

/// Sends requests over `connections` connections for `length`, each after the former's answer.
///
/// # Errors
/// Those of a socket: a load that breaks off is no measurement.
pub async fn load(
    address: SocketAddr,
    connections: usize,
    length: Duration,
    want: u16,
    make: MakeRequest,
) -> io::Result<Load> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for c in 0..connections {
        let make = Arc::clone(&make);
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut load = Load::default();
            let mut n = 0;
            while start.elapsed() < length {
                let request = make(c, n);
                let sent = Instant::now();
                let answer = connection.send(&request).await?;
                if answer.status == want {
                    load.good += 1;
                    load.times.push(sent.elapsed());
                } else {
                    load.bad += 1;
                    load.first_bad.get_or_insert_with(|| {
                        format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
                    });
                }
                n += 1;
            }
            io::Result::Ok(load)
        });
    }
    let mut all = Load::default();
    while let Some(done) = tasks.join_next().await {
        let one = done.map_err(io::Error::other)??;
        all.good += one.good;
        all.bad += one.bad;
        all.first_bad = all.first_bad.or(one.first_bad);
        all.times.extend(one.times);
    }
    all.took = start.elapsed();
    Ok(all)
}

impl Load {
    /// Good answers a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    pub fn rate(&self) -> f64 {
        self.good as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}
