//! Reading bodies: media type, bound, time.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, value::RawValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// Most bytes thrown away of a body that is too large, so that a client that sends first and reads
/// then sees the answer.
const MAX_DRAINED_BYTES: u64 = 16 * 1024 * 1024;
/// Bodies up to this are read without asking for room: what all connections together may have of
/// them is bounded. Unit: bytes.
const SMALL_BYTES: usize = 64 * 1024;
/// Unit of the room for bodies. Unit: bytes.
const ROOM_UNIT: usize = 1024;
/// Longest wait of a body for room.
const ROOM_WITHIN: Duration = Duration::from_secs(5);
/// When to come again where there is none.
const ROOM_AGAIN: Duration = Duration::from_secs(1);
/// Longest time for that.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// Memory for large bodies of all requests and answers under way.
#[derive(Clone, Debug)]
pub(crate) struct BodyRoom(Arc<Semaphore>);

/// A body with its share of the room.
struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// How a body may be read.
#[derive(Debug)]
pub(crate) struct Bounds<'a> {
    /// Most bytes.
    pub(crate) most: usize,
    /// Longest time for it to arrive.
    pub(crate) within: Duration,
    /// Where large ones get their memory.
    pub(crate) room: &'a BodyRoom,
}

// === impl BodyRoom ===

impl BodyRoom {
    /// Room for so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / ROOM_UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// Room for a body of at most so many bytes; none is needed for a small one. It is taken at
    /// once, so that bodies do not wait for each other with a half of theirs.
    pub(crate) async fn take(
        &self,
        bytes: usize,
    ) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
        if bytes <= SMALL_BYTES {
            return Ok(None);
        }
        let units = u32::try_from(bytes.div_ceil(ROOM_UNIT)).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.0).acquire_many_owned(units);
        match tokio::time::timeout(ROOM_WITHIN, taken).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            Ok(Err(_)) | Err(_) => Err(ApiError::TooMany {
                cap: "request-memory",
                reason: "Too many requests: the memory for requests is full.".to_owned(),
                retry_after: ROOM_AGAIN,
            }),
        }
    }
}

/// Bytes that give their room back when nobody has any part of them any more.
pub(super) fn held(bytes: Bytes, room: Option<OwnedSemaphorePermit>) -> Bytes {
    match room {
        None => bytes,
        Some(room) => Bytes::from_owner(Held { bytes, _room: room }),
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The media type of a body without parameters, lower case; none for an empty body.
pub(super) fn media_type(headers: &HeaderMap) -> Cow<'_, str> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if essence.bytes().any(|byte| byte.is_ascii_uppercase()) {
        essence.to_ascii_lowercase().into()
    } else {
        essence.into()
    }
}

/// The whole body, if it has at most `most` bytes and comes in time.
pub(crate) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    Bounds { most, within, room }: Bounds<'_>,
) -> Result<Bytes, ApiError> {
    let said =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(bytes) = said.filter(|bytes: &u64| *bytes > most as u64) {
        drain(body).await;
        return Err(ApiError::TooLarge { bytes, most });
    }
    // One that does not say how long it is may be as long as any.
    let length = said.map_or(most, |bytes| usize::try_from(bytes).unwrap_or(most));
    let room = if body.is_end_stream() { None } else { room.take(length).await? };
    match tokio::time::timeout(within, collect(&mut body, most)).await {
        Ok(Ok(bytes)) => Ok(held(bytes, room)),
        Ok(Err(ApiError::TooLarge { bytes, most })) => {
            drain(body).await;
            Err(ApiError::TooLarge { bytes, most })
        }
        Ok(read) => read,
        Err(_elapsed) => Err(ApiError::BodyTooSlow),
    }
}

async fn collect(body: &mut Body, most: usize) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| ApiError::Malformed(format!("Unexpected end of the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let bytes = first.len() + rest.len() + data.len();
        if bytes > most {
            return Err(ApiError::TooLarge { bytes: bytes as u64, most });
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
                first = Bytes::new();
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// Throws the body away, within bounds.
pub(super) async fn drain(mut body: Body) {
    let all = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            if bytes > MAX_DRAINED_BYTES {
                return;
            }
        }
    };
    if tokio::time::timeout(DRAIN_WITHIN, all).await.is_err() {
        tracing::debug!("a refused body came too slowly to be thrown away");
    }
}

/// Whether the body is JSON, or there is none.
pub(super) fn expect_json(headers: &HeaderMap, body: &Bytes) -> Result<(), ApiError> {
    if body.is_empty() {
        return Ok(());
    }
    match media_type(headers).as_ref() {
        "application/json" => Ok(()),
        "" => Err(ApiError::ContentType("application/octet-stream".to_owned())),
        other => Err(ApiError::ContentType(other.to_owned())),
    }
}

/// The body as an object.
pub(super) fn object(body: &Bytes) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(not_an_object()),
        Err(error) => Err(unparsable(&error)),
    }
}

/// The body as the text of an object, checked; the empty body is the empty object.
pub(super) fn object_text(body: Bytes) -> Result<Bytes, ApiError> {
    if body.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let raw: &RawValue = serde_json::from_slice(&body).map_err(|error| unparsable(&error))?;
    if raw.get().starts_with('{') { Ok(body) } else { Err(not_an_object()) }
}

fn not_an_object() -> ApiError {
    ApiError::Malformed("Object expected".to_owned())
}

/// What the JSON parser says.
pub(super) fn unparsable(error: &serde_json::Error) -> ApiError {
    ApiError::Malformed(format!("Unexpected JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (http::HeaderName::from_static(k), v.parse().unwrap())).collect()
    }

    async fn read_chunks(said: Option<&str>, chunks: &[&'static str]) -> Result<Bytes, String> {
        let headers = said.map_or_else(HeaderMap::new, |said| headers(&[("content-length", said)]));
        let chunks: Vec<_> = chunks.iter().map(|c| Ok::<_, std::io::Error>(*c)).collect();
        let body = Body::from_stream(futures::stream::iter(chunks));
        let room = BodyRoom::new(1 << 20);
        let bounds = Bounds { most: 6, within: Duration::from_secs(5), room: &room };
        read(&headers, body, bounds).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_body_is_bounded_with_and_without_its_length() {
        assert_eq!(read_chunks(None, &["abc", "def"]).await, Ok(Bytes::from("abcdef")));
        assert_eq!(read_chunks(None, &[]).await, Ok(Bytes::new()));
        let wrong = |n| Err(format!("Request larger than allowed: {n} > 6 bytes."));
        assert_eq!(read_chunks(None, &["abc", "defg"]).await, wrong(7));
        assert_eq!(read_chunks(Some("9"), &["abc"]).await, wrong(9));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let room = BodyRoom::new(1 << 20);
        let bounds = Bounds { most: 6, within: Duration::from_secs(5), room: &room };
        let read = read(&HeaderMap::new(), body, bounds).await;
        assert!(matches!(read, Err(ApiError::BodyTooSlow)));
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_share_a_room_and_give_it_back() {
        let room = BodyRoom::new(300 * 1024);
        let body = || Body::from(vec![b'x'; 200 * 1024]);
        let bounds = || Bounds { most: 1 << 20, within: Duration::from_secs(5), room: &room };
        let said = headers(&[("content-length", "204800")]);
        let first = read(&said, body(), bounds()).await.unwrap();
        let part = first.slice(..10);
        drop(first);
        let refused = read(&said, body(), bounds()).await.unwrap_err();
        assert!(matches!(refused, ApiError::TooMany { cap: "request-memory", .. }), "{refused}");
        assert!(read(&HeaderMap::new(), Body::empty(), bounds()).await.unwrap().is_empty());
        drop(part);
        assert_eq!(read(&said, body(), bounds()).await.unwrap().len(), 200 * 1024);
    }

    #[test]
    fn only_objects_are_objects() {
        assert_eq!(object_text(Bytes::new()).unwrap(), "{}");
        assert_eq!(object_text(Bytes::from(" {\"a\" : 1}")).unwrap(), " {\"a\" : 1}");
        for bad in ["[1]", "1", "null", "\"x\"", "{", "{}{}"] {
            assert!(matches!(object_text(Bytes::from(bad)), Err(ApiError::Malformed(_))), "{bad}");
            assert!(matches!(object(&Bytes::from(bad)), Err(ApiError::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn media_types_are_compared_without_parameters() {
        let json = headers(&[("content-type", "Application/JSON; charset=utf-8")]);
        let body = Bytes::from("{}");
        assert!(expect_json(&json, &body).is_ok());
        assert!(expect_json(&HeaderMap::new(), &Bytes::new()).is_ok());
        let text = expect_json(&headers(&[("content-type", "text/plain")]), &body).unwrap_err();
        assert!(text.to_string().contains("[text/plain]"));
        let none = expect_json(&HeaderMap::new(), &body).unwrap_err();
        assert!(none.to_string().contains("[application/octet-stream]"));
    }
}
