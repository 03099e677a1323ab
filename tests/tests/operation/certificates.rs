//! TLS: a certificate that changes on disk is taken up, a bad one is not, connections go on.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use evoke_tests::{
    e2e::{
        place::Place,
        wait::{SOON, until},
    },
    fault::error::FaultError,
};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{net::TcpStream, process::Command};
use tokio_rustls::TlsConnector;

use super::Done;

/// A connection over TLS.
struct Line(http1::SendRequest<Empty<Bytes>>);

impl Line {
    /// Connects, trusting this certificate alone.
    async fn open(address: SocketAddr, trusted: &Path) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(trusted).map_err(|it| it.to_string())?;
        roots.add(certificate).map_err(|it| it.to_string())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|it| it.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.map_err(|it| it.to_string())?;
        let name = ServerName::try_from("localhost").map_err(|it| it.to_string())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = TokioIo::new(stream.map_err(|it| it.to_string())?);
        let (sender, connection) = http1::handshake(stream).await.map_err(|it| it.to_string())?;
        // Its errors are those of the requests.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self(sender))
    }

    /// What `/readyz` says on this connection.
    async fn ask(&mut self) -> Result<String, String> {
        self.0.ready().await.map_err(|it| it.to_string())?;
        let request = Request::get("/readyz").header("host", "localhost").body(Empty::new());
        let answer = self.0.send_request(request.map_err(|it| it.to_string())?).await;
        let body = answer.map_err(|it| it.to_string())?.into_body().collect().await;
        let body = body.map_err(|it| it.to_string())?.to_bytes();
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// A certificate for `localhost` that vouches for itself, and its key.
async fn make(room: &Path, name: &str) -> Result<(PathBuf, PathBuf), FaultError> {
    let (chain, key) = (room.join(format!("{name}.pem")), room.join(format!("{name}.key")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "30", "-subj"])
        .arg(format!("/CN={name}"))
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
        .arg(&chain)
        .arg("-keyout")
        .arg(&key)
        .output()
        .await?;
    assert!(made.status.success(), "{}", super::said(&made));
    Ok((chain, key))
}

/// Waits until a new connection is served with that certificate.
async fn served_with(address: SocketAddr, trusted: &Path) -> Result<Line, FaultError> {
    until("that certificate", SOON, async || Ok(Line::open(address, trusted).await)).await
}

/// How often the log says so.
fn times(place: &Place, sentence: &str) -> usize {
    place.log().matches(sentence).count()
}

#[tokio::test]
async fn a_changed_certificate_is_taken_up_and_a_bad_one_is_not() -> Done {
    let mut place = Place::new()?;
    let room = place.room().to_owned();
    let (first, first_key) = make(&room, "first").await?;
    let (second, second_key) = make(&room, "second").await?;
    let (chain, key) = (room.join("live.pem"), room.join("live.key"));
    fs::copy(&first, &chain)?;
    fs::copy(&first_key, &key)?;
    place.launch.environment.push(("EVOKE_TLS_CERT", chain.clone().into()));
    place.launch.environment.push(("EVOKE_TLS_KEY", key.clone().into()));
    let hub = place.launch.start()?;
    let address = place.launch.address;
    let mut former = served_with(address, &first).await?;
    until("the hub", SOON, async || {
        Ok(former.ask().await.and_then(|it| if it == "ready" { Ok(()) } else { Err(it) }))
    })
    .await?;

    // One file at a time, as people do: the pair that does not fit is passed over.
    fs::copy(&second, &chain)?;
    until("the pair that does not fit to be told", SOON, async || {
        let told = times(&place, "the former one stays") > 0;
        Ok(if told { Ok(()) } else { Err(place.log()) })
    })
    .await?;
    Line::open(address, &first).await.expect("the former pair is served");
    fs::copy(&second_key, &key)?;
    let mut newer = served_with(address, &second).await?;
    assert_eq!(newer.ask().await.as_deref(), Ok("ready"));
    assert_eq!(former.ask().await.as_deref(), Ok("ready"), "a connection of before goes on");
    assert!(Line::open(address, &first).await.is_err(), "the former certificate is gone");

    let told = times(&place, "the former one stays");
    fs::write(&chain, "no certificate")?;
    Command::new("kill").args(["-HUP", &hub.pid().to_string()]).status().await?;
    until("the bad certificate to be told", SOON, async || {
        let now = times(&place, "the former one stays");
        Ok(if now > told { Ok(()) } else { Err(place.log()) })
    })
    .await?;
    Line::open(address, &second).await.expect("the last good one is served");
    assert_eq!(newer.ask().await.as_deref(), Ok("ready"));
    place.end(hub).await
}
