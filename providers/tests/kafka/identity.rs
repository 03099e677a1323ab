//! Who a feed is: every mechanism that the broker is told to take.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use evoke_feeds::FeedState;
use serde_json::{Value, json};

use super::{
    broker::Sent,
    rig::{Rig, number, within},
};

const CLIENT: &str = "hub:secret-of-the-hub";
/// Life of a token. Unit: seconds.
const LIFE: u64 = 3;

/// An endpoint that gives unsigned tokens to one client, and counts them.
struct Endpoint {
    url: String,
    given: Arc<AtomicUsize>,
}

impl Endpoint {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let given = Arc::new(AtomicUsize::new(0));
        let router = Router::new().route("/token", post(give)).with_state(Arc::clone(&given));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, given }
    }
}

async fn give(
    State(given): State<Arc<AtomicUsize>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, Json<Value>) {
    let basic = format!("Basic {}", STANDARD.encode(CLIENT));
    let asked = body == "grant_type=client_credentials&scope=kafka";
    if headers["authorization"] != basic.as_str() || !asked {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_client"})));
    }
    given.fetch_add(1, Ordering::SeqCst);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (head, claims) = (
        json!({"alg": "none"}),
        json!({"sub": "hub", "iat": now.as_secs(), "exp": now.as_secs() + LIFE, "scope": "kafka"}),
    );
    let [head, claims] = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    (StatusCode::OK, Json(json!({"access_token": format!("{head}.{claims}."), "expires_in": LIFE})))
}

fn secured(rig: &Rig, sasl: Value) -> Value {
    let (address, ca) = rig.broker.secured();
    json!({"brokers": address, "tls": {"ca": ca}, "sasl": sasl})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_shows_who_it_is_by_scram() {
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let rig = Rig::new(1).await;
        let who = |password: &str| json!({"mechanism": mechanism, "username": "alice", "password": password});
        rig.want(secured(&rig, who("hunter2")), false, None).await;
        let status = rig.until("refused", |it| it.state == FeedState::Waiting).await;
        assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
        rig.apply(secured(&rig, who("alice-secret")), false).await;
        rig.send(Sent { value: Some(b"7"), ..Sent::default() }).await;
        assert_eq!(number(&rig.events(1).await[0]), 7, "{mechanism}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_shows_who_it_is_by_tokens_that_are_renewed() {
    let (rig, endpoint) = (Rig::new(1).await, Endpoint::start().await);
    let who = |secret: &str| {
        json!({"mechanism": "OAUTHBEARER", "tokenUrl": endpoint.url, "clientId": "hub",
            "clientSecret": secret, "scope": "kafka"})
    };
    rig.want(secured(&rig, who("hunter2")), false, None).await;
    let refused = rig.until("refused", |it| it.state == FeedState::Waiting).await;
    let reason = refused.reason.unwrap();
    assert!(reason.contains("refuses the client") && !reason.contains("hunter2"), "{reason}");
    rig.apply(secured(&rig, who("secret-of-the-hub")), false).await;
    rig.send(Sent { value: Some(b"1"), ..Sent::default() }).await;
    assert_eq!(number(&rig.events(1).await[0]), 1);
    let renewed = async {
        while endpoint.given.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("two renewals", renewed).await;
    rig.send(Sent { value: Some(b"2"), ..Sent::default() }).await;
    assert_eq!(number(&rig.events(2).await[1]), 2);
}
