//! The certificate that the API is served with, taken up anew when its files change.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The file is no PEM with what is wanted.
    #[error("{file} cannot be read as PEM: {source}")]
    Pem {
        /// The file.
        file: String,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not fit.
    #[error("certificate and key cannot be used: {0}")]
    Unfit(#[from] rustls::Error),
    /// A file without what it is for.
    #[error("{0} holds no certificate")]
    Empty(String),
}

/// Certificate chain and key of two files, as they were last read whole.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    live: Arc<Live>,
}

/// What each handshake asks for.
#[derive(Debug)]
struct Live(RwLock<Arc<CertifiedKey>>);

/// What tells two states of a file apart: device, inode, size, time of change.
type Look = Option<(u64, u64, u64, i64, i64)>;

impl Certificate {
    /// Reads certificate chain and key.
    ///
    /// # Errors
    /// Names the file that is wrong.
    pub(crate) fn read(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let live = Arc::new(Live(RwLock::new(Arc::new(load(chain, key)?))));
        Ok(Self { chain: chain.to_owned(), key: key.to_owned(), live })
    }

    /// Serves connections with what the files have now and will have.
    ///
    /// # Errors
    /// A TLS library without the versions that are wanted, which no user can cause.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.live) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Takes up what the files have whenever they change, and when `asked`; connections go on with
    /// what they began with. What cannot be used is told and leaves the former certificate.
    pub(crate) async fn follow(self, asked: Arc<Notify>, stop: CancellationToken) {
        let mut seen = self.look();
        loop {
            let is_asked = tokio::select! {
                () = stop.cancelled() => return,
                () = asked.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let now = self.look();
            if !is_asked && now == seen {
                continue;
            }
            seen = now;
            let (chain, key) = (self.chain.clone(), self.key.clone());
            match tokio::task::spawn_blocking(move || load(&chain, &key)).await {
                Ok(Ok(certificate)) => {
                    self.live.set(certificate);
                    tracing::info!(file = %self.chain.display(), "the certificate was read anew");
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "the new certificate cannot be used, the former one stays");
                }
                Err(error) => tracing::error!(%error, "reading the certificate broke off"),
            }
        }
    }

    fn look(&self) -> [Look; 2] {
        let of = |path: &Path| -> io::Result<_> {
            let about = fs::metadata(path)?;
            Ok((about.dev(), about.ino(), about.size(), about.mtime(), about.mtime_nsec()))
        };
        [of(&self.chain).ok(), of(&self.key).ok()]
    }
}

fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let pem = |file: &Path| {
        let file = file.display().to_string();
        move |source| TlsError::Pem { file, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(pem(certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(certificate.display().to_string()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
    Ok(CertifiedKey::from_der(chain, key, &ring::default_provider())?)
}

// === impl Live ===

impl Live {
    fn set(&self, certificate: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
    }
}

impl ResolvesServerCert for Live {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}
