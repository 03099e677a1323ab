//! Questions and orders about what became of events, with a scripted answerer.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use evoke_schemas::{ActivationId, EntityName, EntityUid, Event, FullName, Namespace, Position};
use evoke_trigger_engine::{
    Origin, Target,
    record::{
        Attempts, Death, DeliveryId, HeldRecord, Home, Outcome, Reason, ReplayRecord, ReplayStatus,
        StoredEvent, StoredRule, StoredTrigger,
    },
};
use serde_json::{Value, json};

use crate::{
    bench::Bench,
    history::{
        Accounted, DeadLetter, DeadLetterQuery, Decision, EventQuery, History, HistoryError, Place,
        Settle, Which, Why,
    },
};

const AT: Position = Position { partition: 3, offset: 41 };
const RULE: EntityUid = EntityUid([7; 16]);
const ID: ActivationId = ActivationId([9; 16]);

/// One event, one dead letter of rule `r`, one replay; notes what it is asked.
#[derive(Debug, Default)]
struct Scripted(Mutex<Vec<String>>);

impl Scripted {
    fn note(&self, what: impl std::fmt::Debug) {
        self.0.lock().unwrap().push(format!("{what:?}"));
    }
}

fn name(text: &str) -> EntityName {
    EntityName::new(text).unwrap()
}

fn guest() -> Namespace {
    Namespace::new("guest").unwrap()
}

fn action() -> FullName {
    FullName::new(guest(), name("a"))
}

fn stored() -> Arc<StoredEvent> {
    let rule = StoredRule { uid: RULE, name: name("r"), action: action(), active: true };
    Arc::new(StoredEvent {
        namespace: guest(),
        target: Target::Hub,
        origin: Origin::CloudEvent,
        subject: "guest".to_owned(),
        event: Event::new("e-1", "/s", "t"),
        headers: None,
        triggers: vec![StoredTrigger {
            name: name("t"),
            uid: EntityUid([8; 16]),
            version: "0.0.1".parse().unwrap(),
            rules: vec![rule],
        }],
    })
}

fn accounted(decision: Option<Decision>) -> Accounted {
    let why = decision.map(|decision| Why {
        trigger: Some(name("t")),
        rule: Some(name("r")),
        action: action(),
        activation_id: Some(ID),
        decision,
        attempts: None,
    });
    Accounted { position: AT, accepted_ms: 5, event: stored(), why: why.into_iter().collect() }
}

fn dead_letter() -> DeadLetter {
    let mut attempts = Attempts { made: 2, failures: 2, ..Attempts::default() };
    attempts.note(6, "boom");
    let held = HeldRecord {
        id: DeliveryId::live(AT, RULE),
        namespace: guest(),
        rule: Some(name("r")),
        accepted_ms: 5,
        since_ms: 5,
        attempts,
        key: 0,
        turn: None,
        size: 1,
        home: Home::At(AT),
        at_ms: 9,
        death: Some(Death { reason: Reason::Exhausted, announced: true }),
    };
    DeadLetter { activation_id: ID, held, event: Some(stored()) }
}

fn replay(status: ReplayStatus) -> ReplayRecord {
    ReplayRecord {
        uid: EntityUid([1; 16]),
        namespace: guest(),
        rule: name("r"),
        rule_uid: RULE,
        next: "17".parse().unwrap(),
        to: "18".parse().unwrap(),
        from_ms: 1,
        to_ms: u64::MAX,
        parked: 12,
        created_ms: 99,
        status,
    }
}

#[async_trait]
impl History for Scripted {
    async fn events(
        &self,
        _namespace: &Namespace,
        query: &EventQuery,
    ) -> Result<Vec<Accounted>, HistoryError> {
        self.note(query);
        Ok(vec![accounted(None)])
    }

    async fn count_events(
        &self,
        _namespace: &Namespace,
        query: &EventQuery,
    ) -> Result<usize, HistoryError> {
        self.note(query);
        Ok(5)
    }

    async fn event(
        &self,
        _namespace: &Namespace,
        position: Position,
    ) -> Result<Option<Accounted>, HistoryError> {
        Ok((position == AT).then(|| accounted(Some(Decision::Ended(Outcome::Success)))))
    }

    async fn dead_letters(
        &self,
        _namespace: &Namespace,
        query: &DeadLetterQuery,
    ) -> Result<Vec<DeadLetter>, HistoryError> {
        self.note(query);
        Ok(vec![dead_letter()])
    }

    async fn count_dead_letters(
        &self,
        _namespace: &Namespace,
        rule: Option<&EntityName>,
    ) -> Result<usize, HistoryError> {
        Ok(if rule.is_some() { 1 } else { 4 })
    }

    async fn dead_letter(
        &self,
        _namespace: &Namespace,
        id: ActivationId,
    ) -> Result<Option<DeadLetter>, HistoryError> {
        Ok((id == ID).then(dead_letter))
    }

    async fn settle(
        &self,
        _namespace: &Namespace,
        which: &Which,
        how: Settle,
    ) -> Result<usize, HistoryError> {
        self.note((which, how));
        Ok(usize::from(*which == Which::One(ID))
            + 3 * usize::from(*which == Which::Rule(name("r"))))
    }

    async fn replay(
        &self,
        _namespace: &Namespace,
        rule: &EntityName,
        from: Place,
        to: Option<Place>,
    ) -> Result<ReplayRecord, HistoryError> {
        self.note((from, to));
        if *rule == name("r") {
            Ok(replay(ReplayStatus::Reading))
        } else {
            Err(HistoryError::NoRule(rule.clone()))
        }
    }

    async fn replays(&self, _namespace: &Namespace) -> Result<Vec<ReplayRecord>, HistoryError> {
        Ok(vec![replay(ReplayStatus::Read)])
    }

    async fn cancel(
        &self,
        _namespace: &Namespace,
        id: EntityUid,
    ) -> Result<Option<ReplayRecord>, HistoryError> {
        Ok((id == EntityUid([1; 16])).then(|| replay(ReplayStatus::Cancelled)))
    }
}

async fn bench() -> (Bench, Arc<Scripted>) {
    let (bench, history) = (Bench::new().await, Arc::new(Scripted::default()));
    assert_eq!(bench.guest("GET", "events", None).await.status, 503, "nobody answers yet");
    bench.hub.answer_from(Arc::clone(&history) as Arc<dyn History>);
    (bench, history)
}

async fn get(bench: &Bench, path: &str) -> Value {
    let answer = bench.guest("GET", path, None).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.json()
}

#[tokio::test]
async fn events_are_listed_and_explained() {
    let (bench, history) = bench().await;
    let listed = get(&bench, "events?trigger=t&since=3&limit=7").await;
    let event = json!({"specversion": "1.0", "id": "e-1", "source": "/s", "type": "t"});
    let mut wanted = json!({
        "position": "3:41", "accepted": 5, "subject": "guest", "event": event, "triggers": ["t"],
    });
    wanted["traceId"] = listed[0]["traceId"].clone();
    assert_eq!(wanted["traceId"].as_str().map(str::len), Some(32), "{listed}");
    assert_eq!(listed, json!([wanted]));
    let asked = history.0.lock().unwrap()[0].clone();
    assert!(asked.contains("since: Some(3)") && asked.contains("limit: 7"), "{asked}");
    wanted["why"] = json!([{
        "trigger": "t", "rule": "r", "action": "guest/a", "activationId": ID,
        "decision": {"ended": "success"},
    }]);
    assert_eq!(get(&bench, "events/3:41").await, wanted);
    assert_eq!(bench.guest("GET", "events/3:42", None).await.status, 404);
    assert_eq!(bench.guest("GET", "events/here", None).await.status, 400);
}

#[tokio::test]
async fn dead_letters_are_listed_shown_and_settled() {
    let (bench, history) = bench().await;
    let listed = get(&bench, "deadletters?rule=r").await;
    let summary = json!([{
        "activationId": ID, "time": 9, "rule": "r", "action": "guest/a", "reason": "exhausted",
        "attempts": listed[0]["attempts"], "eventId": "e-1",
    }]);
    assert_eq!(listed, summary);
    assert_eq!(listed[0]["attempts"][0]["why"], json!("boom"));
    let shown = get(&bench, &format!("deadletters/{ID}")).await;
    assert_eq!((shown["event"]["id"].clone(), shown["made"].clone()), (json!("e-1"), json!(2)));
    let post = async |path: &str, body: Value| {
        let answer = bench.guest("POST", path, Some(body)).await;
        (answer.status.as_u16(), answer.json()["count"].clone())
    };
    let one = format!("deadletters/{ID}");
    assert_eq!(post(&one, json!({"action": "replay"})).await, (200, json!(1)));
    let other = format!("deadletters/{}", ActivationId([1; 16]));
    assert_eq!(post(&other, json!({"action": "discard"})).await.0, 404);
    let rule = json!({"action": "discard", "rule": "r"});
    assert_eq!(post("deadletters", rule.clone()).await, (200, json!(3)));
    assert_eq!(post("deadletters", json!({"action": "discard"})).await.0, 400);
    assert_eq!(post(&one, rule).await.0, 400);
    assert_eq!(post(&one, json!({"action": "forget"})).await.0, 400);
    assert_eq!(post("deadletters/abc", json!({"action": "replay"})).await.0, 400);
    let asked = history.0.lock().unwrap();
    assert_eq!(asked.iter().filter(|asked| asked.contains("Replay")).count(), 1, "{asked:?}");
}

#[tokio::test]
async fn replays_are_made_listed_and_cancelled() {
    let (bench, history) = bench().await;
    let made =
        bench.set_up("POST", "replays", json!({"rule": "r", "from": "3:41", "to": 99})).await;
    let id = EntityUid([1; 16]).to_string();
    assert_eq!((made["id"].clone(), made["state"].clone()), (json!(id), json!("reading")));
    let asked = history.0.lock().unwrap()[0].clone();
    assert_eq!(asked, format!("{:?}", (Place::Position(AT), Some(Place::Time(99)))));
    for (body, sentence) in [
        (json!({"rule": "none", "from": 1}), "rule `none` does not exist"),
        (json!({"rule": "r"}), "The request content was malformed"),
        (json!({"rule": "r", "from": "x"}), "`from`: position `x` is not of the form"),
        (json!({"rule": "r", "from": true}), "`from` must be a position"),
        (json!({"rule": "r", "from": -1}), "`from` must be a position"),
        (json!({"rule": "r", "from": 1, "until": 2}), "The request content was malformed"),
    ] {
        let (status, text) = bench.guest("POST", "replays", Some(body.clone())).await.error();
        assert!(status == 400 && text.starts_with(sentence), "{body}: {status} {text}");
    }
    assert_eq!(get(&bench, "replays").await[0]["parked"], json!(12));
    assert_eq!(get(&bench, &format!("replays/{id}")).await["to"], json!(null));
    let cancelled = bench.guest("DELETE", &format!("replays/{id}"), None).await.json();
    assert_eq!(cancelled["state"], json!("cancelled"));
    for path in ["replays/abc".to_owned(), format!("replays/{RULE}")] {
        assert_eq!(bench.guest("GET", &path, None).await.status, 404, "{path}");
        assert_eq!(bench.guest("DELETE", &path, None).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn our_own_lists_are_counted_and_refused_as_openwhisks_are() {
    let (bench, _history) = bench().await;
    for (list, count) in [
        ("events?trigger=t&", 5),
        ("deadletters?", 4),
        ("deadletters?rule=r&", 1),
        ("replays?", 1),
        ("feeds?", 0),
    ] {
        let collection = list.split('?').next().unwrap();
        for skip in [0, 1, 9] {
            let counted = get(&bench, &format!("{list}count=true&skip={skip}&limit=1")).await;
            let left = u64::saturating_sub(count, skip);
            assert_eq!(counted, json!({ (collection): left }), "{list} {skip}");
        }
        let refused = async |query: &str| {
            let (status, text) = bench.guest("GET", &format!("{list}{query}"), None).await.error();
            assert_eq!(status, 400, "{list}{query}: {text}");
            text
        };
        let sentence = "The query parameter 'limit' was malformed:\nThe value '201' is not in the \
                        range of 0 to 200 for ";
        assert_eq!(refused("limit=201").await, format!("{sentence}{collection}."));
        assert!(refused("skip=-1").await.ends_with(&format!("equal to 0 for {collection}.")));
        assert!(refused("count=maybe").await.ends_with("'maybe' is not a valid Boolean value"));
        // Whose it is counts before what is asked of it.
        let others = format!("/api/v1/namespaces/whisk.system/{collection}?limit=201");
        let (status, text) = bench.guest("GET", &others, None).await.error();
        let forbidden = "The supplied authentication is not authorized to access 'whisk.system'.";
        assert_eq!((status, text.as_str()), (403, forbidden), "{others}");
    }
    for (path, name) in [("events?trigger=a%2Fb", "trigger"), ("deadletters?rule=%20", "rule")] {
        let (status, text) = bench.guest("GET", path, None).await.error();
        let sentence = format!("The query parameter '{name}' was malformed:\nThe name of the");
        assert!(status == 400 && text.starts_with(&sentence), "{path}: {status} {text}");
    }
    for path in ["deadletters", "replays", "feeds/f"] {
        let others = format!("/api/v1/namespaces/whisk.system/{path}");
        assert_eq!(bench.guest("POST", &others, Some(json!("x"))).await.status, 403, "{others}");
    }
}
