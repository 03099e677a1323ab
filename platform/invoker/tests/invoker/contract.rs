//! What every runtime promises, asked of every kind that this machine can serve.

use std::sync::Arc;

use evoke_invoker::RunnableAction;
use evoke_schemas::ActivationStatus as Status;
use serde_json::json;

use crate::site::{Site, lines, told};

#[tokio::test(flavor = "multi_thread")]
async fn runs() {
    let site = Site::open().await;
    let action =
        Arc::new(site.action("nodejs:20", "function main(a) { console.log('hi'); return a }"));
    let end = site.run(&action, r#"{"a":1}"#).await;
    assert_eq!(told(&end), (Status::Success, json!({"a": 1})), "{end:?}");
    println!("{end:?}");
    for _ in 0..2000 {
        site.run(&action, r#"{"a":1}"#).await;
    }
    let t = std::time::Instant::now();
    for _ in 0..10000 {
        site.run(&action, r#"{"a":1}"#).await;
    }
    println!("warm {:?}", t.elapsed() / 10000);
    let end = site.run(&action, r#"{"a":1}"#).await;
    println!("{end:?}");
    site.close().await;
}
