//! Events: posted to a trigger or to the namespace's hub; listed and explained.

mod cloudevents;
pub(super) mod handshake;
mod headers;
mod listed;
mod taken;

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts as _, Request, State},
    response::Response,
};
use bytes::Bytes;
use evoke_schemas::{
    Data, EntityName, Event, FullName, Namespace,
    event::{Attribute, FIRE_TYPE},
    trigger::WebhookCredential,
};
use evoke_store::Identity;
use evoke_trigger_engine::{Accepted, Incoming, IngestError, Origin, Target};
use http::{HeaderMap, request::Parts};
use serde_json::{Map, Value, json};

use self::cloudevents::Mode;
pub(super) use self::headers::{add_trace, traceparent};
use super::{
    answer::{self, Activated},
    at::{self, At, Names},
    body, entities,
    error::ApiError,
    openapi::{Answer, Content, Operation, Parameter, Routes, header},
    query::Query,
};
use crate::{hub::Hub, webhooks};

/// Names an event of plain JSON, so that it can be sent again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

const POSITION: &[&str] = &["X-Evoke-Position"];

pub(super) fn routes() -> Routes {
    Routes::about("events")
        .collection(
            "/api/v1/namespaces/{ns}/events",
            [listed::list_described(), hub_described(), handshake::hub_described()],
        )
        .at(
            "/api/v1/namespaces/{ns}/events/{position}",
            [listed::read_described(), listed::erase_described()],
        )
}

pub(super) fn fire_described() -> Operation {
    Operation::post("fireTrigger", "Fires a trigger with an event, or a batch of them.", fire)
        .details(MODES)
        .for_senders()
        .with([idempotency_key()])
        .takes_any(modes())
        .answers(
            Answer::new(202, "The event is on the disk; of a batch all are.")
                .with(Content::json::<FiredAnswer>())
                .headers(&["X-OpenWhisk-Activation-Id", "X-Evoke-Position"]),
        )
        .answers(Answer::new(204, "The event is on the disk; no rule is active.").headers(POSITION))
        .fails([404, 409, 429, 503])
}

fn hub_described() -> Operation {
    Operation::post("postEvents", "Sends events to each trigger subscribed to them.", post_to_hub)
        .details(MODES)
        .with([idempotency_key()])
        .takes_any(modes())
        .answers(
            Answer::new(202, "The events are on the disk.")
                .with(Content::json::<taken::Taken<'static>>())
                .headers(POSITION),
        )
        .fails([409, 429, 503])
}

const MODES: &str = "\
A CloudEvent in structured or batch mode as the media types say; in binary mode its attributes are \
headers `ce-…` and the body, of any media type, is its data. A plain JSON object becomes an event \
of its own. A CloudEvent that comes twice with the same `source` and `id` is one event.";

/// One event is answered as OpenWhisk does, a batch with what became of each.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "each of them is answered where it is made; this is either")]
enum FiredAnswer {
    One(Activated),
    Batch(taken::Taken<'static>),
}

fn modes() -> [Content; 3] {
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/shop/eu", "type": "order.placed",
        "datacontenttype": "application/json", "data": { "count": 2 },
    });
    [
        Content::json::<Map<String, Value>>().example(json!({ "count": 2 })),
        Content::of::<Event>("application/cloudevents+json").example(event.clone()),
        Content::of::<Vec<Event>>("application/cloudevents-batch+json").example(json!([event])),
    ]
}

fn idempotency_key() -> Parameter {
    let text = "Names an event of plain JSON, so that it can be sent again.";
    header("Idempotency-Key", text, json!({ "type": "string", "pattern": "^[!-~]{1,1024}$" }))
}

/// Fires a trigger.
pub(super) async fn fire(
    State(hub): State<Arc<Hub>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, content) = request.into_parts();
    let sender = Sender::of(&mut parts, &hub).await?;
    let name = sender.names().entity()?;
    let bytes = read(&parts.headers, &hub, &name.namespace, content).await?;
    let identity = sender.prove(&hub, &parts, &bytes).await?;
    let events = Read::of(&parts.headers, bytes, || {
        format!("/namespaces/{}/triggers/{}", name.namespace, name.name)
    })?;
    events.check_sizes(hub.payload_bytes(&name.namespace))?;
    let batch = events.batch;
    let sent = Sent {
        namespace: name.namespace.clone(),
        target: Target::Trigger(name.name.clone()),
        subject: &identity.subject,
        headers: (!batch).then(|| headers::shown(&parts.headers, sender.own_header())),
    };
    match ingest(&hub, events, sent, &parts.headers).await {
        Ok(accepted) if batch => Ok(taken::answer(&accepted)),
        Ok(accepted) => Ok(fired(&accepted)),
        Err(IngestError::TriggerMissing(_)) => Err(missing(&hub, &name).await),
        Err(error) => Err(error.into()),
    }
}

/// Sends events to the hub of a namespace.
async fn post_to_hub(State(hub): State<Arc<Hub>>, request: Request) -> Result<Response, ApiError> {
    let (mut parts, content) = request.into_parts();
    let at = At::from_request_parts(&mut parts, &hub).await?;
    let namespace = at.own_namespace()?;
    let bytes = read(&parts.headers, &hub, namespace, content).await?;
    let events = Read::of(&parts.headers, bytes, || format!("/namespaces/{namespace}/events"))?;
    events.check_sizes(hub.payload_bytes(namespace))?;
    let sent = Sent {
        namespace: namespace.clone(),
        target: Target::Hub,
        subject: &at.caller.subject,
        headers: None,
    };
    let accepted = ingest(&hub, events, sent, &parts.headers).await?;
    Ok(taken::answer(&accepted))
}

async fn read(
    headers: &HeaderMap,
    hub: &Hub,
    namespace: &Namespace,
    content: axum::body::Body,
) -> Result<Bytes, ApiError> {
    let most = match cloudevents::mode(headers) {
        Mode::Batch => hub.parts.config.max_batch_bytes,
        Mode::Structured | Mode::Binary | Mode::Plain => hub.payload_bytes(namespace),
    };
    body::read(headers, content, hub.bounds(most)).await
}

/// The answer to one event for one trigger: as OpenWhisk's, with the event's position.
fn fired(accepted: &[Accepted]) -> Response {
    let Some(one) = accepted.first() else { return answer::nothing() };
    let id = one.triggers.first().and_then(|trigger| trigger.activation_id);
    let answer = id.map_or_else(answer::nothing, answer::activation_accepted);
    answer::with_position(answer, one.position)
}

/// Why there is no such trigger.
async fn missing(hub: &Hub, name: &FullName) -> ApiError {
    match entities::find::<evoke_schemas::Trigger>(hub, name).await {
        Ok(_) => ApiError::Missing,
        Err(error) => error,
    }
}

/// Where events go, and who sends them.
struct Sent<'a> {
    namespace: Namespace,
    target: Target,
    subject: &'a str,
    headers: Option<Map<String, Value>>,
}

async fn ingest(
    hub: &Hub,
    events: Read,
    sent: Sent<'_>,
    request: &HeaderMap,
) -> Result<Vec<Accepted>, IngestError> {
    if events.events.is_empty() {
        return Ok(Vec::new());
    }
    let mut headers = sent.headers;
    let incoming = events.events.into_iter().map(|mut event| {
        add_trace(&mut event, request);
        Incoming {
            namespace: sent.namespace.clone(),
            target: sent.target.clone(),
            event,
            origin: events.origin,
            headers: headers.take(),
            subject: sent.subject.to_owned(),
            dedup: events.dedup,
        }
    });
    hub.parts.engine.ingest(incoming.collect()).await
}

/// The events of one request.
struct Read {
    events: Vec<Event>,
    origin: Origin,
    dedup: bool,
    batch: bool,
}

impl Read {
    /// Reads the events in the mode that the headers tell; `source` names where plain JSON comes
    /// from.
    fn of(
        headers: &HeaderMap,
        bytes: Bytes,
        source: impl Fn() -> String,
    ) -> Result<Self, ApiError> {
        let mode = cloudevents::mode(headers);
        let events = match mode {
            Mode::Plain => return Self::plain(headers, bytes, source),
            Mode::Binary => vec![cloudevents::binary(headers, bytes)?],
            Mode::Structured => vec![cloudevents::structured(headers, &bytes)?],
            Mode::Batch => cloudevents::batch(headers, &bytes)?,
        };
        Ok(Self { events, origin: Origin::CloudEvent, dedup: true, batch: mode == Mode::Batch })
    }

    /// Whether each event of a batch is small enough; a single one came within its bound.
    fn check_sizes(&self, most: usize) -> Result<(), ApiError> {
        if !self.batch {
            return Ok(());
        }
        let mut sizes = self.events.iter().map(Event::size).enumerate();
        match sizes.find(|(_, bytes)| *bytes > most) {
            None => Ok(()),
            Some((index, bytes)) => Err(ApiError::PayloadTooLarge(format!(
                "event {index} has {bytes} bytes, at most {most} are allowed"
            ))),
        }
    }

    fn plain(
        headers: &HeaderMap,
        bytes: Bytes,
        source: impl Fn() -> String,
    ) -> Result<Self, ApiError> {
        body::expect_json(headers, &bytes)?;
        let payload = body::object_text(bytes)?;
        let mut event = Event::new("", source(), FIRE_TYPE);
        let key = headers.get(IDEMPOTENCY_KEY);
        match key.map(|key| key.to_str().map(str::to_owned)) {
            None => event.id = uuid::Uuid::new_v4().simple().to_string(),
            Some(Ok(key)) if !key.is_empty() => {
                event.set("id", Attribute::Text(key)).map_err(|error| {
                    ApiError::Bad(format!("header `{IDEMPOTENCY_KEY}`: {error}"))
                })?;
            }
            Some(Ok(_) | Err(_)) => {
                let text = format!("header `{IDEMPOTENCY_KEY}` must be text that is not empty");
                return Err(ApiError::Bad(text));
            }
        }
        event.datacontenttype = Some("application/json".to_owned());
        event.data = Data::Json(payload);
        Ok(Self { events: vec![event], origin: Origin::Plain, dedup: key.is_some(), batch: false })
    }
}

/// Who fires a trigger: somebody known, or somebody who must prove the trigger's own credential.
enum Sender {
    Known { caller: Arc<Identity>, names: Names },
    Unproven { credential: Arc<WebhookCredential>, names: Names },
}

impl Sender {
    async fn of(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, ApiError> {
        let caller = match at::authenticate(hub, &parts.headers).await {
            Err(ApiError::NoCredentials) => return Self::unproven(parts, hub).await,
            caller => caller?,
        };
        let names = Names::of(parts, hub, &caller.namespace).await?;
        if names.namespace != caller.namespace {
            return Err(ApiError::Forbidden(names.entity()?.to_string()));
        }
        Ok(Self::Known { caller, names })
    }

    async fn unproven(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, ApiError> {
        // Without a caller `_` is nobody's; no trigger is found for what is not a name.
        let nobody = Namespace::new(Namespace::CALLER)?;
        let Ok(names) = Names::of(parts, hub, &nobody).await else {
            return Err(ApiError::NoCredentials);
        };
        let name: EntityName = names.entity()?.name;
        let credential =
            hub.webhooks.get(&names.namespace, &name).ok_or(ApiError::NoCredentials)?;
        if matches!(*credential, WebhookCredential::Bearer { .. }) {
            Self::check(&credential, parts, b"")?;
        }
        Ok(Self::Unproven { credential, names })
    }

    fn check(credential: &WebhookCredential, parts: &Parts, body: &[u8]) -> Result<(), ApiError> {
        let query = Query::new(parts.uri.query());
        let token = query.get("access_token");
        if webhooks::proves(credential, &parts.headers, token.as_deref(), body) {
            return Ok(());
        }
        let tried = parts.headers.contains_key(http::header::AUTHORIZATION)
            || token.is_some()
            || matches!(credential, WebhookCredential::Hmac { header, .. }
                if parts.headers.contains_key(header));
        Err(if tried { ApiError::BadCredentials } else { ApiError::NoCredentials })
    }

    fn names(&self) -> &Names {
        match self {
            Self::Known { names, .. } | Self::Unproven { names, .. } => names,
        }
    }

    /// The header that carries the trigger's own signature, which no function must see.
    fn own_header(&self) -> Option<&str> {
        match self {
            Self::Unproven { credential, .. } => match &**credential {
                WebhookCredential::Hmac { header, .. } => Some(header),
                WebhookCredential::Bearer { .. } => None,
            },
            Self::Known { .. } => None,
        }
    }

    /// Who sends, now that the body is there.
    async fn prove(
        &self,
        hub: &Hub,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Arc<Identity>, ApiError> {
        match self {
            Self::Known { caller, .. } => Ok(Arc::clone(caller)),
            Self::Unproven { credential, names } => {
                Self::check(credential, parts, body)?;
                let owner = hub.parts.identities.owner(&names.namespace).await?;
                owner.ok_or(ApiError::BadCredentials)
            }
        }
    }
}
