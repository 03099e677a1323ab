//! The controls: the least server that could do the same, run as a process of its own.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::{Mutex as AsyncMutex, Semaphore, oneshot},
    task::JoinSet,
};

use super::runners::{Runner, place_launcher};

/// Interpreters of the control `runners`: two for each processor.
const RUNNERS: usize = 4;
/// Interpreters of the control `turns`.
const TURNS: usize = 100;

/// Runs the control of that name until the process is ended.
///
/// # Errors
/// An unknown name, and those of files, processes and sockets.
pub async fn run(name: &str, folder: &Path) -> io::Result<()> {
    match name {
        "append" => {
            let writer = BareWriter::start(&folder.join("bare"))?;
            serve(move |body| {
                let writer = Arc::clone(&writer);
                async move {
                    writer.append(body).await;
                    Ok(Bytes::new())
                }
            })
            .await
        }
        "runners" => {
            let launcher = place_launcher(folder)?;
            let mut free = Vec::new();
            for _ in 0..RUNNERS {
                free.push(Runner::start(&launcher).await?);
            }
            let pool = Arc::new((Semaphore::new(RUNNERS), AsyncMutex::new(free)));
            serve(move |_| warm(Arc::clone(&pool))).await
        }
        "turns" => {
            let launcher = place_launcher(folder)?;
            let mut runners = Vec::new();
            for _ in 0..TURNS {
                runners.push(Mutex::new(Some(Runner::start(&launcher).await?)));
            }
            let runners = Arc::new(runners);
            serve(move |body| one_of(Arc::clone(&runners), body)).await
        }
        "cold" => {
            let launcher = place_launcher(folder)?;
            serve(move |_| {
                let launcher = launcher.clone();
                async move { Runner::start(&launcher).await?.run().await.map(Bytes::from) }
            })
            .await
        }
        _ => Err(io::Error::other(format!(
            "unknown control `{name}` (known: append, runners, turns, cold)"
        ))),
    }
}

/// Runs the one whose number the body is.
async fn one_of(runners: Arc<Vec<Mutex<Option<Runner>>>>, body: Bytes) -> io::Result<Bytes> {
    let number = std::str::from_utf8(&body).ok().and_then(|text| text.parse::<usize>().ok());
    let place = number.and_then(|number| runners.get(number));
    let place = place.ok_or_else(|| io::Error::other("no such runner"))?;
    let runner = place.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut runner = runner.ok_or_else(|| io::Error::other("the runner is busy"))?;
    let answer = runner.run().await?;
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(runner);
    Ok(Bytes::from(answer))
}

async fn warm(pool: Arc<(Semaphore, AsyncMutex<Vec<Runner>>)>) -> io::Result<Bytes> {
    let _permit = pool.0.acquire().await.map_err(io::Error::other)?;
    let runner = pool.1.lock().await.pop();
    let mut runner = runner.ok_or_else(|| io::Error::other("a permit without a runner"))?;
    let answer = runner.run().await?;
    pool.1.lock().await.push(runner);
    Ok(Bytes::from(answer))
}

/// A bare append + fdatasync writer: whatever waits is written and synced together.
#[derive(Debug)]
pub struct BareWriter {
    waiting: Mutex<Vec<(Bytes, oneshot::Sender<()>)>>,
    ready: Condvar,
}

impl BareWriter {
    /// Starts the writer's thread on a new file.
    ///
    /// # Errors
    /// Those of the file.
    pub fn start(path: &Path) -> io::Result<Arc<Self>> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        let writer = Arc::new(Self { waiting: Mutex::default(), ready: Condvar::new() });
        let own = Arc::clone(&writer);
        thread::Builder::new().name("writer".to_owned()).spawn(move || own.run(file))?;
        Ok(writer)
    }

    fn run(&self, mut file: File) -> io::Result<()> {
        loop {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            while waiting.is_empty() {
                waiting = self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let group = std::mem::take(&mut *waiting);
            drop(waiting);
            let bytes: Vec<u8> =
                group.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
            file.write_all(&bytes)?;
            file.sync_data()?;
            for (_, done) in group {
                let _gone = done.send(());
            }
        }
    }

    /// Returns when the bytes are on the disk.
    pub async fn append(&self, bytes: Bytes) {
        let (sender, done) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((bytes, sender));
        self.ready.notify_one();
        let _writer_ended = done.await;
    }
}

/// Serves bare hyper until the process is ended: each body is answered with `answer(body)`.
///
/// Prints the address it listens on as its first line.
///
/// # Errors
/// Those of the listener.
pub async fn serve<F, A>(answer: F) -> io::Result<()>
where
    F: Fn(Bytes) -> A + Send + Sync + 'static,
    A: Future<Output = io::Result<Bytes>> + Send + 'static,
{
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    let answer = Arc::new(answer);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = Arc::clone(&answer);
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = Arc::clone(&answer);
                async move {
                    let body = request.into_body().collect().await.map(|b| b.to_bytes());
                    match answer(body.unwrap_or_default()).await {
                        Ok(body) => Ok(Response::new(Full::new(body))),
                        Err(error) => Err(error),
                    }
                }
            });
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        });
    }
}
