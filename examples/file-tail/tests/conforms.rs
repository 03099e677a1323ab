//! The provider does what the feed room asks, on real files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, io::Write as _, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use evoke_example_file_tail::FileTail;
use evoke_feeds::{
    Clock, MemorySink, Registry, ResetTo, Supervisor, SystemClock,
    conformance::{self, Bench},
};
use evoke_schemas::{Data, EntityName, EntityUid, Feed, KeyValues, Namespace};
use serde_json::{Map, Value, json};

/// A folder with one file that grows.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.append("before\n");
        folder
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("a.log")
    }

    fn append(&self, text: &str) {
        let file = fs::OpenOptions::new().append(true).create(true).open(self.file());
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn registry(&self) -> Arc<Registry> {
        Arc::new(Registry::new().with(FileTail { root: self.0.path().to_owned() }))
    }
}

#[async_trait]
impl Bench for Folder {
    fn provider(&self) -> &'static str {
        "file-tail"
    }

    fn registry(&self) -> Arc<Registry> {
        self.registry()
    }

    fn parameters(&self) -> Map<String, Value> {
        json!({"path": "a.log"}).as_object().cloned().unwrap()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    async fn produce(&self, events: usize) {
        self.append(&"a line\n".repeat(events));
    }

    fn back(&self) -> Option<ResetTo> {
        Some(ResetTo::Earliest)
    }

    /// What a file has in place of credentials: it can be away.
    async fn revoke(&self) -> bool {
        fs::rename(self.file(), self.0.path().join("away")).is_ok()
    }

    async fn mend(&self) {
        fs::rename(self.0.path().join("away"), self.file()).unwrap();
    }
}

#[tokio::test]
async fn the_provider_conforms() {
    conformance::all(|| async { Folder::new() }).await;
}

#[tokio::test]
async fn a_file_that_is_replaced_or_cut_is_read_from_its_beginning() {
    let folder = Folder::new();
    let sink = MemorySink::new();
    let supervisor =
        Supervisor::new(folder.registry(), Arc::clone(&sink) as _, Arc::new(SystemClock));
    let feed = Feed {
        namespace: Namespace::new("guest").unwrap(),
        name: EntityName::new("log").unwrap(),
        uid: EntityUid([7; 16]),
        generation: 1,
        provider: "file-tail".to_owned(),
        trigger: EntityName::new("lines").unwrap(),
        parameters: folder.parameters(),
        annotations: KeyValues::default(),
        feed_action: None,
        paused: false,
        reset: None,
        updated: 0,
    };
    supervisor.apply(feed.clone()).await.unwrap();
    sink.wait_for_position(feed.uid).await;
    folder.append("one\ntw");
    sink.wait_for(1).await;
    folder.append("o\n");
    sink.wait_for(2).await;
    fs::rename(folder.file(), folder.0.path().join("a.log.1")).unwrap();
    folder.append("three\n");
    sink.wait_for(3).await;
    fs::write(folder.file(), "4\n").unwrap();
    sink.wait_for(4).await;
    supervisor.shutdown().await;
    let texts = sink.events().into_iter().map(|event| event.data);
    let texts: Vec<_> = texts.collect();
    assert_eq!(texts, ["one", "two", "three", "4"].map(|text| Data::Text(text.to_owned())));
}

#[test]
fn a_path_outside_the_root_is_refused() {
    let folder = Folder::new();
    for path in ["/etc/passwd", "../a.log", "x/../../a.log"] {
        let parameters = json!({"path": path}).as_object().cloned().unwrap();
        let error = folder.registry().check("file-tail", &parameters).unwrap_err();
        assert!(error.to_string().contains("must be relative"), "{error}");
    }
}
