//! Feeds as OpenWhisk's users have them: made by its own client through actions of
//! `/whisk.system`, with its payloads; and feed actions that users wrote.
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "feed_actions/alarms.rs"]
mod alarms;
#[path = "feed_actions/kafka.rs"]
mod kafka;

use evoke_tests::{
    e2e::{
        caller::{Ask, Caller},
        client::{self, Step},
        entities::{ECHO, node, records, records_when, text},
        place::Place,
        service::Service,
        wait::{SOON, until},
    },
    fault::error::FaultError,
};
use serde_json::{Value, json};

type Done = Result<(), FaultError>;

const CHANGES: &str = "/whisk.system/cloudant/changes";

/// A server with the database `fruit`.
async fn couch(place: &Place) -> Result<(Service, Caller), FaultError> {
    let couch = Service::couch(place.room()).await?;
    let caller = couch.caller("admin", "secret");
    caller.good(Ask::new("PUT", "/fruit")).await?;
    Ok((couch, caller))
}

fn source(couch: &Service, more: Value) -> Value {
    let mut parameters = json!({"host": "127.0.0.1", "port": couch.port, "protocol": "http",
        "dbname": "fruit", "username": "admin", "password": "secret"});
    if let (Some(members), Value::Object(more)) = (parameters.as_object_mut(), more) {
        members.extend(more);
    }
    parameters
}

fn feed(name: &str, method: &'static str, trigger: &str, params: Value) -> Step<'static> {
    ("feeds", method, json!({"feedName": name, "trigger": trigger, "params": params}))
}

fn result(outcome: &Value) -> &Value {
    outcome.pointer("/ok/response/result").unwrap_or(outcome)
}

/// The words of a feed action that says no, as the client gets them.
fn refusal(outcome: &Value) -> String {
    text(outcome, "/failed/error/response/result/error/error")
}

async fn arguments(caller: &Caller, action: &str, count: usize) -> Result<Vec<Value>, FaultError> {
    let of = |record: Value| record.pointer("/response/result/args").cloned().unwrap_or_default();
    Ok(records_when(caller, action, count).await?.into_iter().map(of).collect())
}

#[tokio::test]
async fn c1_c13_changes_of_couchdb_come_as_openwhisk_sends_them() -> Done {
    let place = Place::new()?;
    let (couch, database) = couch(&place).await?;
    let (hub, caller) = place.start().await?;
    node(&caller, "echo", ECHO).await?;
    let filter = json!({"filters": {"kind":
        "function(doc, req) { return doc._deleted || doc.kind === req.query.kind; }"}});
    database.good(Ask::new("PUT", "/fruit/_design/of").json(&filter)).await?;
    let asked = source(&couch, json!({"filter": "of/kind", "query_params": {"kind": "fruit"}}));
    let made = client::call(
        &place,
        &[
            ("triggers", "create", json!({"name": "changed"})),
            ("rules", "create", json!({"name": "r", "trigger": "changed", "action": "echo"})),
            feed(CHANGES, "create", "changed", asked),
            feed(CHANGES, "get", "changed", json!({})),
        ],
    )
    .await?;
    assert_eq!(result(&made[2]), &json!({"status": "success"}), "{:?}", made[2]);
    let read = result(&made[3]);
    assert_eq!(
        read["config"],
        json!({"name": "changed", "namespace": "guest", "host": "127.0.0.1", "port": couch.port,
            "protocol": "http", "dbname": "fruit", "username": "admin", "filter": "of/kind",
            "query_params": {"kind": "fruit"},
            "iamUrl": "https://iam.cloud.ibm.com/identity/token"})
    );
    assert_eq!(read["status"]["active"], json!(true));
    assert!(read["status"].get("reason").is_none(), "{read}");
    assert!(!made.iter().any(|one| one.to_string().contains("secret")), "{made:?}");

    let put = |id: &str, kind: &str| {
        Ask::new("PUT", &format!("/fruit/{id}")).json(&json!({"kind": kind}))
    };
    let first = text(&database.good(put("apple", "fruit")).await?.json(), "/rev");
    database.good(put("leek", "root")).await?;
    arguments(&caller, "echo", 1).await?;
    let gone = format!("/fruit/apple?rev={first}");
    let second = text(&database.good(Ask::new("DELETE", &gone)).await?.json(), "/rev");
    let mut got = arguments(&caller, "echo", 2).await?;
    for (payload, (rev, deleted)) in got.iter_mut().zip([(first, false), (second, true)]) {
        assert!(payload["seq"].take().is_number(), "{payload}");
        let mut want =
            json!({"id": "apple", "seq": null, "changes": [{"rev": rev}], "dbname": "fruit"});
        if deleted {
            want["deleted"] = json!(true);
        }
        assert_eq!(*payload, want, "exactly what OpenWhisk's provider sends");
    }
    changed_and_ended(&place, &caller, &database).await?;
    place.end(hub).await
}

/// The feed's other filter holds from the update on; after its end nothing comes.
async fn changed_and_ended(place: &Place, caller: &Caller, database: &Caller) -> Done {
    let put = |id: &str, kind: &str| {
        Ask::new("PUT", &format!("/fruit/{id}")).json(&json!({"kind": kind}))
    };
    let changed = client::call(
        place,
        &[
            feed(CHANGES, "update", "changed", json!({"query_params": {"kind": "root"}})),
            feed(CHANGES, "get", "changed", json!({})),
        ],
    )
    .await?;
    assert_eq!(result(&changed[0]), &json!({"status": "success"}));
    assert_eq!(result(&changed[1])["config"]["query_params"], json!({"kind": "root"}));
    database.good(put("pear", "fruit")).await?;
    database.good(put("kale", "root")).await?;
    let got = arguments(caller, "echo", 3).await?;
    assert_eq!(text(&got[2], "/id"), "kale");
    let ended = client::call(
        place,
        &[
            feed(CHANGES, "delete", "changed", json!({})),
            feed(CHANGES, "get", "changed", json!({})),
        ],
    )
    .await?;
    assert_eq!(result(&ended[0]), &json!({"status": "success"}));
    assert!(refusal(&ended[1]).contains("has no feed"), "{ended:?}");
    database.good(put("plum", "root")).await?;
    assert_eq!(records(caller, "echo").await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn c2_what_a_feed_lacks_is_told_to_openwhisks_client() -> Done {
    let place = Place::new()?;
    let (couch, _database) = couch(&place).await?;
    let (hub, caller) = place.start().await?;
    let good = || source(&couch, json!({}));
    let without = |name: &str| {
        let mut parameters = good();
        parameters.as_object_mut().map(|members| members.remove(name));
        parameters
    };
    let with = |name: &str, value: Value| source(&couch, json!({name: value}));
    let cases = [
        (without("dbname"), "missing dbname"),
        (without("host"), "missing host"),
        (without("password"), "iamApiKey or username/password"),
        (with("query_params", json!({"a": "b"})), "`query_params` need a `filter`"),
        (with("dbname", json!("nuts")), "database `nuts` does not exist"),
        (with("filter", json!("of/none")), "filter `of/none` does not exist"),
        (with("password", json!("wrong")), "credentials are refused"),
        (with("authKey", json!("23bc46b1:no")), "not authorized"),
    ];
    let mut steps = vec![("triggers", "create", json!({"name": "changed"}))];
    steps.extend(cases.iter().map(|(asked, _)| feed(CHANGES, "create", "changed", asked.clone())));
    let outcomes = client::call(&place, &steps).await?;
    for (outcome, (asked, words)) in outcomes.iter().skip(1).zip(&cases) {
        assert_eq!(outcome["failed"]["statusCode"], json!(502), "{asked}: {outcome}");
        let said = refusal(outcome);
        assert!(said.contains(words), "{asked}: {said}");
    }
    assert_eq!(caller.get("feeds").await?, json!([]), "nothing is left");
    place.end(hub).await
}

#[tokio::test]
async fn actions_on_documents_are_called_and_pointed_to_by_rules() -> Done {
    let place = Place::new()?;
    let (couch, database) = couch(&place).await?;
    let (hub, caller) = place.start().await?;
    let call = |name: &str, more: Value| {
        let name = format!("/whisk.system/couchdb/{name}");
        let params = source(&couch, more);
        (
            "actions",
            "invoke",
            json!({"name": name, "blocking": true, "result": true, "params": params}),
        )
    };
    let outcomes = client::call(
        &place,
        &[
            call("create-document", json!({"doc": {"_id": "apple", "n": 1}})),
            call("read-document", json!({"docid": "apple"})),
            call("read-document", json!({"docid": "pear"})),
            ("packages", "get", json!({"name": "/whisk.system/couchdb"})),
        ],
    )
    .await?;
    assert_eq!(outcomes[0]["ok"]["id"], json!("apple"), "{:?}", outcomes[0]);
    assert_eq!(outcomes[1]["ok"]["n"], json!(1));
    let status = outcomes[2].pointer("/failed/error/response/result/error/statusCode");
    assert_eq!(status, Some(&json!(404)), "{}", outcomes[2]);
    assert_eq!(outcomes[3]["ok"]["actions"].as_array().map(Vec::len), Some(26));
    assert_eq!(outcomes[3]["ok"]["feeds"][0]["name"], json!("changes"));

    caller.put("triggers/written", &json!({})).await?;
    let rule = json!({"trigger": "/_/written", "action": "/whisk.system/couchdb/write"});
    caller.put("rules/write", &rule).await?;
    let event = source(&couch, json!({"doc": {"_id": "pear", "n": 2}}));
    caller.post("triggers/written", &event).await?;
    let pear = until("the document", SOON, async || {
        let reply = database.send(Ask::new("GET", "/fruit/pear")).await?;
        Ok(if reply.status == 200 { Ok(reply.json()) } else { Err(reply.text()) })
    })
    .await?;
    assert_eq!(pear["n"], json!(2));
    let record = records_when(&caller, "couchdb/write", 1).await?.remove(0);
    assert_eq!(record["response"]["success"], json!(true));
    assert!(!record.to_string().contains("secret"), "{record}");
    place.end(hub).await
}

/// What OpenWhisk's users write themselves: an action that is told of the life cycle.
#[tokio::test]
async fn an_action_that_a_user_wrote_is_a_feed() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    let code = "function main(args) {
      if (args.lifecycleEvent === 'CREATE' && !args.every) return { error: 'every is missing' };
      return { told: args };
    }";
    let body = json!({"exec": {"kind": "nodejs:default", "code": code},
        "annotations": [{"key": "feed", "value": true}]});
    caller.put("actions/mine", &body).await?;
    let outcomes = client::call(
        &place,
        &[
            feed("mine", "create", "t", json!({"every": 5})),
            feed("mine", "create", "t", json!({})),
            feed("mine", "delete", "t", json!({})),
        ],
    )
    .await?;
    let told = &result(&outcomes[0])["told"];
    assert_eq!(told["lifecycleEvent"], json!("CREATE"));
    assert_eq!((&told["triggerName"], &told["every"]), (&json!("/_/t"), &json!(5)));
    assert_eq!(told["authKey"].as_str().map(|key| key.contains(':')), Some(true));
    let refused = text(&outcomes[1], "/failed/error/response/result/error");
    assert_eq!(refused, "every is missing");
    assert_eq!(result(&outcomes[2])["told"]["lifecycleEvent"], json!("DELETE"));
    place.end(hub).await
}
