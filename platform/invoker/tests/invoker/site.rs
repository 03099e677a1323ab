//! An invoker with a driver of its own, and actions written in a line.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use evoke_invoker::{CodeError, CodeSource, Config, Invoker, Run, RunEnd, RunnableAction};
use evoke_sandbox::{Network, NoApi, ProcessDriver, SandboxDriver};
use evoke_schemas::{
    ActivationId, ActivationStatus, EntityUid, FullName, Namespace, SemVer, action::CodeRef,
    limits::LimitRanges,
};
use serde_json::Value;

/// An invoker for one test.
pub(crate) struct Site {
    pub(crate) invoker: Invoker,
    driver: Arc<ProcessDriver>,
    codes: Arc<Codes>,
    _data: tempfile::TempDir,
}

#[derive(Default)]
struct Codes(Mutex<HashMap<String, Bytes>>);

#[async_trait]
impl CodeSource for Codes {
    async fn load(&self, code: &CodeRef) -> Result<Bytes, CodeError> {
        let found = self.0.lock().unwrap().get(&code.hash).cloned();
        found.ok_or_else(|| CodeError { source: "no such code".into() })
    }
}

impl Site {
    pub(crate) async fn open() -> Self {
        Self::open_with(Config { stem_cells: false, ..Config::default() }).await
    }

    pub(crate) async fn open_with(config: Config) -> Self {
        let data = tempfile::tempdir().unwrap();
        let sandboxes = evoke_sandbox::Config {
            data_dir: data.path().to_owned(),
            exe: Some(env!("CARGO_BIN_EXE_evoke-invoker-init").into()),
            net_pool: 0,
            ..evoke_sandbox::Config::default()
        };
        let driver = ProcessDriver::open(sandboxes, Arc::new(NoApi)).await.unwrap();
        let driver = Arc::new(driver);
        let codes = Arc::new(Codes::default());
        let source = Arc::clone(&codes) as Arc<dyn CodeSource>;
        let invoker = Invoker::open(config, Arc::clone(&driver) as _, source).await.unwrap();
        Self { invoker, driver, codes, _data: data }
    }

    /// A new action of this kind and code, without network.
    pub(crate) fn action(&self, kind: &str, code: &str) -> RunnableAction {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let hash = format!("{number:064}");
        let bytes = Bytes::from(code.to_owned());
        self.codes.0.lock().unwrap().insert(hash.clone(), bytes);
        let guest = guest();
        let mut uid = [0; 16];
        uid[..8].copy_from_slice(&number.to_be_bytes());
        RunnableAction {
            name: FullName::parse("/guest/p/a", &guest).unwrap(),
            uid: EntityUid(uid),
            revision: 1,
            version: SemVer(0, 0, 3),
            kind: kind.to_owned(),
            main: None,
            binary: false,
            code: CodeRef { hash, bytes: code.len() as u64 },
            environment: BTreeMap::new(),
            limits: LimitRanges::default().defaults(),
            network: Network::None,
            provide_api_key: false,
        }
    }

    pub(crate) async fn run(&self, action: &Arc<RunnableAction>, arguments: &str) -> RunEnd {
        self.invoker.run(run_of(action, arguments)).await
    }

    /// One run of a new action.
    pub(crate) async fn once(&self, action: RunnableAction, arguments: &str) -> RunEnd {
        self.run(&Arc::new(action), arguments).await
    }

    /// Ends everything; nothing must be left.
    pub(crate) async fn close(self) {
        self.invoker.shutdown(Duration::from_secs(5)).await;
        assert_eq!(self.invoker.usage().sandboxes, 0);
        self.driver.close().await;
    }
}

pub(crate) fn guest() -> Namespace {
    Namespace::new("guest").unwrap()
}

pub(crate) fn run_of(action: &Arc<RunnableAction>, arguments: &str) -> Run {
    Run {
        activation_id: ActivationId::fresh(),
        namespace: guest(),
        action: Arc::clone(action),
        arguments: Bytes::from(arguments.to_owned()),
        transaction_id: "tid".to_owned(),
        event_id: None,
        traceparent: None,
        api_key: None,
        longest_wait: None,
    }
}

/// Status and result.
pub(crate) fn told(end: &RunEnd) -> (ActivationStatus, Value) {
    let result = serde_json::from_str(end.outcome.result().get()).unwrap();
    (end.outcome.status(), result)
}

/// The log lines without their times, each of which must be one.
pub(crate) fn lines(end: &RunEnd) -> Vec<String> {
    end.logs
        .iter()
        .map(|line| {
            let (time, text) = line.split_at(31);
            assert!(time.ends_with("Z ") && time.contains('T'), "{line}");
            text.to_owned()
        })
        .collect()
}
