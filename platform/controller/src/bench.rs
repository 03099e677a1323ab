//! A hub for tests: real stores in a folder, an engine over a log in memory, a scripted runner.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use evoke_event_log::{MemoryLog, MemoryOptions};
use evoke_feeds::{
    ActionCard, Batch, BatchEnd, Clock, FeedAction, FeedContext, FeedRefusal, Fields, MemorySink,
    NativeAction, PackageCard, Provider, Registry, Source, SourceError, Start, Supervisor,
    SystemClock,
};
use evoke_invoker::{Manifest, Outcome, PlatformFailure, Run, RunEnd};
use evoke_placement::{Fleet, InvokerId, InvokerState};
use evoke_schemas::{EntityUid, LogUid, activation::error_result};
use evoke_store::{
    EmbeddedActivations, EmbeddedEntities, EmbeddedIdentities, FileCode, Identities, Seal,
};
use evoke_trigger_engine::{Engine, EngineConfig, EngineParts};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::{
    Api, Config, Hub, HubParts, InvocationParts, Invocations, Records, Runner, Runners, System,
};

/// OpenWhisk's well-known credential of `guest`.
pub(crate) const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
/// That of `whisk.system`.
pub(crate) const SYSTEM: &str = "789c46b1-71f6-4ed5-8c54-816aa4f8c502:abczO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

/// A hub, and what it stands on.
pub(crate) struct Bench {
    pub(crate) api: Api,
    pub(crate) hub: Arc<Hub>,
    pub(crate) runner: Arc<Scripted>,
    folder: tempfile::TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// Runs nothing: the action's name says how a run ends.
///
/// `fails` is an application error, `throws` a developer error, `lost` a failure of the platform,
/// `slow` waits until it is let go; every other returns its arguments.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) runs: Mutex<Vec<Run>>,
    pub(crate) retired: Mutex<Vec<(EntityUid, Option<u64>)>>,
    pub(crate) let_go: Semaphore,
}

#[async_trait]
impl Runner for Scripted {
    async fn run(&self, run: Run) -> RunEnd {
        self.runs.lock().unwrap().push(run.clone());
        let outcome = match run.action.name.name.as_str() {
            "fails" => Outcome::ApplicationError { result: error_result("bad") },
            "throws" => Outcome::DeveloperError { result: error_result("boom"), timeout: false },
            "lost" => Outcome::Platform { reason: PlatformFailure::Lost },
            name => {
                if name == "slow" {
                    self.let_go.acquire().await.unwrap().forget();
                }
                Outcome::Success { result: serde_json::from_slice(&run.arguments).unwrap() }
            }
        };
        RunEnd {
            outcome,
            logs: vec!["a line".to_owned()],
            start_ms: 1_000,
            end_ms: 1_007,
            init_ms: Some(3),
            wait_ms: 2,
            size: Some(run.arguments.len() as u64),
        }
    }

    fn retire(&self, action: EntityUid, current: Option<u64>) {
        self.retired.lock().unwrap().push((action, current));
    }
}

impl Fleet for Scripted {
    fn invokers(&self) -> Vec<InvokerState> {
        vec![InvokerState {
            id: InvokerId::new("scripted"),
            healthy: true,
            memory_bytes: 1 << 30,
            used_bytes: 0,
            waiting: 0,
        }]
    }
}

/// A provider whose sources yield nothing but where they began.
#[derive(Debug)]
struct Silent;

#[derive(Debug)]
struct SilentSource {
    pinned: bool,
}

#[async_trait]
impl Provider for Silent {
    const NAME: &'static str = "silent";
    type Parameters = u32;

    fn parameters(fields: &mut Fields<'_>) -> Option<u32> {
        let _password: Option<String> = fields.optional("password", "a string");
        fields.required("every", "a number")
    }

    async fn open(
        &self,
        _feed: FeedContext,
        every: u32,
        _from: Start,
    ) -> Result<Box<dyn Source>, SourceError> {
        if every == 0 {
            return Err(SourceError::Waiting("silence has no bounds".to_owned()));
        }
        Ok(Box::new(SilentSource { pinned: false }))
    }
}

#[async_trait]
impl Source for SilentSource {
    async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        if std::mem::replace(&mut self.pinned, true) {
            std::future::pending::<()>().await;
        }
        Ok(Some(Batch::new(Vec::new(), Bytes::from_static(b"0"))))
    }

    async fn ended(&mut self, _end: BatchEnd) -> Result<(), SourceError> {
        Ok(())
    }
}

/// `/whisk.system/silence/hush`: feeds of [`Silent`], whose parameter it calls `pause`.
#[derive(Debug)]
struct SilentFeed;

impl FeedAction for SilentFeed {
    fn card(&self) -> ActionCard {
        ActionCard { package: "silence", name: "hush", description: "Hushes.", parameters: vec![] }
    }

    fn provider(&self) -> &'static str {
        Silent::NAME
    }

    fn create(&self, asked: &Map<String, Value>) -> Result<Map<String, Value>, FeedRefusal> {
        match asked.get("pause") {
            Some(pause) => Ok(Map::from_iter([("every".to_owned(), pause.clone())])),
            None => Err(FeedRefusal::bad("no pause parameter was provided")),
        }
    }

    fn update(
        &self,
        _present: &Map<String, Value>,
        asked: &Map<String, Value>,
    ) -> Result<Map<String, Value>, FeedRefusal> {
        self.create(asked)
    }

    fn config(&self, present: &Map<String, Value>) -> Map<String, Value> {
        Map::from_iter([("pause".to_owned(), json!(present.get("every")))])
    }
}

/// `/whisk.system/silence/answer`: gives its arguments, or refuses to `speak`.
#[derive(Debug)]
struct Native;

#[async_trait]
impl NativeAction for Native {
    fn card(&self) -> ActionCard {
        ActionCard { package: "silence", name: "answer", description: "Asks.", parameters: vec![] }
    }

    async fn run(&self, arguments: Map<String, Value>) -> Result<Map<String, Value>, Value> {
        if arguments.contains_key("speak") { Err(json!("silence!")) } else { Ok(arguments) }
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default(), tempfile::tempdir().unwrap()).await
    }

    /// A hub over what is in the folder.
    pub(crate) async fn with(config: Config, folder: tempfile::TempDir) -> Self {
        let at = |name: &str| folder.path().join(name);
        let entities = EmbeddedEntities::open(&at("entities"), Seal::new(&[1; 32])).unwrap();
        let identities = EmbeddedIdentities::open(&entities).unwrap().with_development_keys();
        let identities: Arc<dyn Identities> = Arc::new(identities);
        let entities = Arc::new(entities);
        let activations = Arc::new(EmbeddedActivations::open(&at("activations")).unwrap());
        let runner = Arc::new(Scripted {
            runs: Mutex::default(),
            retired: Mutex::default(),
            let_go: Semaphore::new(0),
        });
        let runners: Vec<Arc<dyn Runner>> = vec![Arc::clone(&runner) as Arc<dyn Runner>];
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let system = system(&clock);
        let with_system = system.over(Arc::clone(&entities) as _);
        let manifest = Arc::new(Manifest::built_in().unwrap());
        let invocations = Invocations::new(
            InvocationParts {
                entities: Arc::clone(&with_system),
                activations: Arc::clone(&activations) as _,
                identities: Arc::clone(&identities),
                manifest: Arc::clone(&manifest),
                runners: Arc::new(Runners::new(
                    evoke_placement::policy("home").unwrap(),
                    runners,
                    Arc::clone(&system) as _,
                )),
                clock: Arc::clone(&clock),
            },
            &config,
        );
        let engine = engine(Records::new(Arc::clone(&activations) as _)).await;
        let feeds = Supervisor::new(
            Arc::new(Registry::new().with(Silent)),
            MemorySink::new(),
            Arc::clone(&clock),
        );
        let hub = Hub::new(HubParts {
            config,
            entities: with_system,
            feeds: entities,
            activations,
            code: Arc::new(FileCode::open(&at("code")).unwrap()),
            identities,
            manifest,
            engine,
            invocations,
            system,
            feed_control: feeds,
            clock,
            build: "test".to_owned(),
        });
        hub.load().await.unwrap();
        hub.set_ready();
        Self { api: Api::new(Arc::clone(&hub)), hub, runner, folder }
    }

    /// The folder, when the hub is gone.
    pub(crate) fn into_folder(self) -> tempfile::TempDir {
        self.folder
    }

    /// Asks as `guest`, with JSON where there is a body; the path is below `guest`'s namespace.
    pub(crate) async fn guest(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.ask(
            method,
            path,
            &[basic(GUEST), media("application/json")],
            body.map(|b| b.to_string()),
        )
        .await
    }

    /// Does what a test needs done first.
    pub(crate) async fn set_up(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.guest(method, path, Some(body)).await;
        assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
        answer.json()
    }

    /// Asks with these headers and this text.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Option<impl Into<Bytes>>,
    ) -> Answer {
        let path = match path.strip_prefix('/') {
            Some(_) => path.to_owned(),
            None => format!("/api/v1/namespaces/_/{path}"),
        };
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = match body {
            None => request.body(Body::empty()),
            Some(body) => {
                let body: Bytes = body.into();
                request.header(header::CONTENT_LENGTH, body.len()).body(Body::from(body))
            }
        };
        let answer = self.api.answer(request.unwrap()).await;
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }
}

/// The header that says who asks.
pub(crate) fn basic(credential: &str) -> (&'static str, String) {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(credential);
    ("authorization", format!("Basic {encoded}"))
}

/// The header that says what the body is.
pub(crate) fn media(kind: &str) -> (&'static str, String) {
    ("content-type", kind.to_owned())
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The sentence of an error, with its status.
    pub(crate) fn error(&self) -> (u16, String) {
        let body = self.json();
        let text = body.get("error").and_then(Value::as_str).unwrap_or(&self.text);
        (self.status.as_u16(), text.to_owned())
    }
}

fn system(clock: &Arc<dyn Clock>) -> Arc<System> {
    let packages = [PackageCard { name: "silence", description: "Says nothing." }];
    let clock = Arc::clone(clock);
    System::new(&packages, vec![Arc::new(SilentFeed)], vec![Arc::new(Native)], clock)
}

async fn engine(records: Records) -> Engine {
    let log = MemoryLog::new(LogUid([7; 16]), MemoryOptions::default());
    let parts = EngineParts {
        log: Arc::new(log),
        activations: Arc::new(records),
        clock: evoke_trigger_engine::Clock::system(),
        checkpoints: None,
    };
    Engine::open(parts, EngineConfig::default()).await.unwrap()
}
