//! Frames of Supabase Realtime's two protocols, `vsn=1.0.0` and `vsn=2.0.0`, as both ends read and write them: the client here,
//! the endpoint of a local stack elsewhere. Knows nothing of sockets.
//!
//! Version 1 is a JSON object `{topic, event, payload, ref, join_ref}`. Version 2 is the array `[join_ref, ref, topic, event,
//! payload]`, and for broadcasts a binary frame: a kind, the sizes of the fields that follow in a byte each, then the fields.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

const PUSH: u8 = 0;
const BROADCAST_PUSH: u8 = 3;
const BROADCAST: u8 = 4;

/// Which protocol a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// `1.0.0`: text, objects.
    V1,
    /// `2.0.0`: text, arrays; broadcasts in binary frames.
    V2,
}

impl Version {
    /// By the parameter `vsn` of the address; none means the first. `None` for one that nobody speaks.
    #[must_use]
    pub fn of(vsn: Option<&str>) -> Option<Self> {
        match vsn {
            None | Some("" | "1.0.0") => Some(Self::V1),
            Some("2.0.0") => Some(Self::V2),
            Some(_) => None,
        }
    }
}

/// What goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary(Bytes),
}

/// A frame that was read.
#[derive(Debug, Clone)]
pub struct Message {
    /// The join that this belongs to: null, a string or a number, as are all references.
    pub join_ref: Value,
    /// What a reply repeats.
    pub reference: Value,
    /// `realtime:<name>`, or `phoenix`.
    pub topic: String,
    /// `phx_join`, `broadcast`, …
    pub event: String,
    /// What it carries.
    pub payload: Payload,
}

/// What a frame carries.
#[derive(Debug, Clone)]
pub enum Payload {
    /// JSON as it stands in the frame: numbers keep their digits.
    Json(Box<RawValue>),
    /// A broadcast in a frame of its own kind.
    Broadcast(Broadcast),
    /// Phoenix's own binary payload, which nothing here uses.
    Bytes(Bytes),
}

/// A broadcast, wherever it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    /// The sender's name for it.
    pub event: String,
    /// What it says.
    pub body: Body,
    /// JSON beside it: the id of what is kept in the database.
    pub meta: Option<String>,
}

/// The payload of a broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// JSON text.
    Json(Bytes),
    /// Anything.
    Binary(Bytes),
}

/// Why a frame is none. A receiver drops it; the socket stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or nested too deep.
    #[error("the frame is no JSON")]
    Json,
    /// JSON of another shape.
    #[error("the frame has not the shape of its version")]
    Shape,
    /// Binary of a kind that does not go this way, or in version 1.
    #[error("the frame is of an unknown kind")]
    Kind,
    /// Shorter than its sizes say.
    #[error("the frame ends before its fields")]
    Truncated,
    /// A field that should be text is none.
    #[error("a field of the frame is not UTF-8")]
    Utf8,
}

#[derive(Deserialize)]
struct Object<'a> {
    topic: String,
    event: String,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(default, rename = "ref")]
    reference: Value,
    #[serde(default)]
    join_ref: Value,
}

/// Reads a text frame, whoever sent it.
///
/// # Errors
/// [`Malformed`].
pub fn read_text(version: Version, text: &str) -> Result<Message, Malformed> {
    let shape = |error: serde_json::Error| if error.is_data() { Malformed::Shape } else { Malformed::Json };
    let (join_ref, reference, topic, event, payload) = match version {
        Version::V1 => {
            let object: Object<'_> = serde_json::from_str(text).map_err(shape)?;
            (object.join_ref, object.reference, object.topic, object.event, object.payload)
        }
        Version::V2 => {
            serde_json::from_str::<(Value, Value, String, String, Option<&RawValue>)>(text).map_err(shape)?
        }
    };
    for reference in [&join_ref, &reference] {
        if !matches!(reference, Value::Null | Value::String(_) | Value::Number(_)) {
            return Err(Malformed::Shape);
        }
    }
    let payload = match payload {
        Some(payload) => payload.to_owned(),
        None => to_raw_value(&Value::Null).map_err(|_| Malformed::Json)?,
    };
    Ok(Message { join_ref, reference, topic, event, payload: Payload::Json(payload) })
}

/// Reads a client's binary frame (version 2).
///
/// # Errors
/// [`Malformed`].
pub fn read_client_binary(frame: &Bytes) -> Result<Message, Malformed> {
    match frame.first() {
        Some(&BROADCAST_PUSH) => {
            let mut fields = Fields::new(frame, 7, &[1, 2, 3, 4, 5])?;
            let json = frame.get(6) != Some(&0);
            let (join_ref, reference) = (fields.reference()?, fields.reference()?);
            let (topic, event, meta) = (fields.text()?, fields.text()?, fields.text()?);
            let payload = Payload::Broadcast(broadcast(event, meta, json, fields.rest())?);
            Ok(Message { join_ref, reference, topic, event: "broadcast".into(), payload })
        }
        Some(&PUSH) => {
            let mut fields = Fields::new(frame, 5, &[1, 2, 3, 4])?;
            let (join_ref, reference) = (fields.reference()?, fields.reference()?);
            let (topic, event) = (fields.text()?, fields.text()?);
            Ok(Message { join_ref, reference, topic, event, payload: Payload::Bytes(fields.rest()) })
        }
        Some(_) => Err(Malformed::Kind),
        None => Err(Malformed::Truncated),
    }
}

/// Reads a server's binary frame (version 2).
///
/// # Errors
/// [`Malformed`].
pub fn read_server_binary(frame: &Bytes) -> Result<Message, Malformed> {
    match frame.first() {
        Some(&BROADCAST) => {
            let mut fields = Fields::new(frame, 5, &[1, 2, 3])?;
            let json = frame.get(4) != Some(&0);
            let (topic, event, meta) = (fields.text()?, fields.text()?, fields.text()?);
            let payload = Payload::Broadcast(broadcast(event, meta, json, fields.rest())?);
            Ok(Message { join_ref: Value::Null, reference: Value::Null, topic, event: "broadcast".into(), payload })
        }
        Some(&PUSH) => {
            let mut fields = Fields::new(frame, 4, &[1, 2, 3])?;
            let join_ref = fields.reference()?;
            let (topic, event) = (fields.text()?, fields.text()?);
            Ok(Message { join_ref, reference: Value::Null, topic, event, payload: Payload::Bytes(fields.rest()) })
        }
        Some(_) => Err(Malformed::Kind),
        None => Err(Malformed::Truncated),
    }
}

fn broadcast(event: String, meta: String, json: bool, body: Bytes) -> Result<Broadcast, Malformed> {
    let meta = Some(meta).filter(|meta| !meta.is_empty());
    if let Some(meta) = &meta {
        serde_json::from_str::<IgnoredAny>(meta).map_err(|_| Malformed::Json)?;
    }
    if json {
        serde_json::from_slice::<&RawValue>(&body).map_err(|_| Malformed::Json)?;
    }
    Ok(Broadcast { event, body: if json { Body::Json(body) } else { Body::Binary(body) }, meta })
}

/// The fields of a binary frame, in their order.
struct Fields {
    sizes: std::vec::IntoIter<usize>,
    rest: Bytes,
}

impl Fields {
    fn new(frame: &Bytes, header: usize, sizes: &[usize]) -> Result<Self, Malformed> {
        if frame.len() < header {
            return Err(Malformed::Truncated);
        }
        let sizes: Vec<usize> = sizes.iter().filter_map(|&at| frame.get(at).copied()).map(usize::from).collect();
        Ok(Self { sizes: sizes.into_iter(), rest: frame.slice(header..) })
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let size = self.sizes.next().unwrap_or(0);
        if self.rest.len() < size {
            return Err(Malformed::Truncated);
        }
        String::from_utf8(self.rest.split_to(size).into()).map_err(|_| Malformed::Utf8)
    }

    fn reference(&mut self) -> Result<Value, Malformed> {
        let text = self.text()?;
        Ok(if text.is_empty() { Value::Null } else { Value::String(text) })
    }

    fn rest(self) -> Bytes {
        self.rest
    }
}

/// Writes a message of either side as text. `payload` is JSON.
#[must_use]
pub fn text(version: Version, join_ref: &Value, reference: &Value, topic: &str, event: &str, payload: &str) -> Frame {
    let (topic, event) = (quoted(topic), quoted(event));
    Frame::Text(match version {
        Version::V1 if join_ref.is_null() => {
            format!(r#"{{"ref":{reference},"topic":{topic},"event":{event},"payload":{payload}}}"#)
        }
        Version::V1 => {
            format!(
                r#"{{"ref":{reference},"topic":{topic},"event":{event},"payload":{payload},"join_ref":{join_ref}}}"#
            )
        }
        Version::V2 => format!("[{join_ref},{reference},{topic},{event},{payload}]"),
    })
}

/// Writes the server's answer to a message.
#[must_use]
pub fn reply<T: Serialize>(version: Version, to: &Message, ok: bool, response: &T) -> Frame {
    let status = if ok { "ok" } else { "error" };
    let response = serde_json::to_string(response).unwrap_or_else(|_| "{}".into());
    let payload = format!(r#"{{"status":"{status}","response":{response}}}"#);
    text(version, &to.join_ref, &to.reference, &to.topic, "phx_reply", &payload)
}

impl Broadcast {
    /// Writes it as a server sends it. `None`: bytes that version 1 can not carry, or version 2 with a name above 255 bytes.
    #[must_use]
    pub fn to_client(&self, version: Version, topic: &str) -> Option<Frame> {
        let meta = self.meta.as_deref().unwrap_or("");
        if version == Version::V2
            && let Some(frame) = self.binary(&[BROADCAST], &[topic, &self.event, meta])
        {
            return Some(frame);
        }
        self.text(version, &Value::Null, &Value::Null, topic)
    }

    /// Writes it as a client of version 2 sends it. `None` as for [`Broadcast::to_client`].
    #[must_use]
    pub fn to_server(&self, join_ref: &str, reference: &str, topic: &str) -> Option<Frame> {
        let meta = self.meta.as_deref().unwrap_or("");
        self.binary(&[BROADCAST_PUSH], &[join_ref, reference, topic, &self.event, meta])
            .or_else(|| self.text(Version::V2, &Value::from(join_ref), &Value::from(reference), topic))
    }

    fn binary(&self, kind: &[u8], fields: &[&str]) -> Option<Frame> {
        let (json, body) = match &self.body {
            Body::Json(body) => (1, body),
            Body::Binary(body) => (0, body),
        };
        let length: usize = fields.iter().map(|field| field.len()).sum();
        let mut frame = BytesMut::with_capacity(kind.len() + fields.len() + 1 + length + body.len());
        frame.put_slice(kind);
        for field in fields {
            frame.put_u8(u8::try_from(field.len()).ok()?);
        }
        frame.put_u8(json);
        for field in fields {
            frame.put_slice(field.as_bytes());
        }
        frame.put_slice(body);
        Some(Frame::Binary(frame.freeze()))
    }

    fn text(&self, version: Version, join_ref: &Value, reference: &Value, topic: &str) -> Option<Frame> {
        let Body::Json(body) = &self.body else { return None };
        let (event, body) = (quoted(&self.event), std::str::from_utf8(body).ok()?);
        let payload = match &self.meta {
            Some(meta) => format!(r#"{{"type":"broadcast","event":{event},"payload":{body},"meta":{meta}}}"#),
            None => format!(r#"{{"type":"broadcast","event":{event},"payload":{body}}}"#),
        };
        Some(text(version, join_ref, reference, topic, "broadcast", &payload))
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn json(message: &Message) -> Value {
        match &message.payload {
            Payload::Json(raw) => serde_json::from_str(raw.get()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn text_frames_are_read_and_written_in_both_protocol_versions() {
        let v2 = read_text(Version::V2, r#"["1","2","realtime:a","phx_join",{"config":{}}]"#).unwrap();
        assert_eq!((&v2.join_ref, &v2.reference), (&json!("1"), &json!("2")));
        assert_eq!(
            (v2.topic.as_str(), v2.event.as_str(), json(&v2)),
            ("realtime:a", "phx_join", json!({"config": {}}))
        );
        let v1 = r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"7"}"#;
        let v1 = read_text(Version::V1, v1).unwrap();
        assert_eq!((&v1.join_ref, &v1.reference), (&Value::Null, &json!("7")));
        assert_eq!(
            reply(Version::V2, &v2, true, &json!({"postgres_changes": []})),
            Frame::Text(
                r#"["1","2","realtime:a","phx_reply",{"status":"ok","response":{"postgres_changes":[]}}]"#.into()
            )
        );
        assert_eq!(
            reply(Version::V1, &v1, true, &json!({})),
            Frame::Text(
                r#"{"ref":"7","topic":"phoenix","event":"phx_reply","payload":{"status":"ok","response":{}}}"#.into()
            )
        );
    }

    #[test]
    fn a_binary_broadcast_has_the_documented_bytes() {
        let broadcast =
            Broadcast { event: "note".into(), body: Body::Json(Bytes::from_static(br#"{"seq":1}"#)), meta: None };
        let Some(Frame::Binary(frame)) = broadcast.to_client(Version::V2, "realtime:x") else { panic!() };
        assert_eq!(&frame[..], b"\x04\x0a\x04\x00\x01realtime:xnote{\"seq\":1}");
        let read = read_server_binary(&frame).unwrap();
        assert!(matches!(read.payload, Payload::Broadcast(read) if read == broadcast));
        let Some(Frame::Binary(frame)) = broadcast.to_server("1", "22", "realtime:x") else { panic!() };
        assert_eq!(&frame[..], b"\x03\x01\x02\x0a\x04\x00\x01122realtime:xnote{\"seq\":1}");
        let read = read_client_binary(&frame).unwrap();
        assert_eq!((&read.join_ref, &read.reference, read.topic.as_str()), (&json!("1"), &json!("22"), "realtime:x"));
        let with_meta = Broadcast { meta: Some(r#"{"id":"i"}"#.into()), ..broadcast };
        assert_eq!(
            with_meta.to_client(Version::V1, "realtime:x"),
            Some(Frame::Text(
                r#"{"ref":null,"topic":"realtime:x","event":"broadcast","payload":{"type":"broadcast","event":"note","payload":{"seq":1},"meta":{"id":"i"}}}"#.into()
            ))
        );
    }

    #[test]
    fn binary_payloads_need_version_2_and_long_topics_are_sent_as_text() {
        let bytes = Broadcast { event: "b".into(), body: Body::Binary(Bytes::from_static(&[0xff])), meta: None };
        assert!(bytes.to_client(Version::V1, "realtime:x").is_none());
        assert_eq!(
            bytes.to_client(Version::V2, "t"),
            Some(Frame::Binary(Bytes::from_static(b"\x04\x01\x01\x00\x00tb\xff")))
        );
        let long = format!("realtime:{}", "x".repeat(255));
        assert!(bytes.to_client(Version::V2, &long).is_none());
        let json = Broadcast { body: Body::Json(Bytes::from_static(b"{}")), ..bytes };
        assert!(matches!(json.to_client(Version::V2, &long), Some(Frame::Text(_))));
    }

    #[test]
    fn malformed_frames_are_errors() {
        let text = |version, text| read_text(version, text).err();
        assert_eq!(text(Version::V2, "["), Some(Malformed::Json));
        assert_eq!(text(Version::V2, "{}"), Some(Malformed::Shape));
        assert_eq!(text(Version::V2, r#"["1","2",3,"e",{}]"#), Some(Malformed::Shape));
        assert_eq!(text(Version::V2, r#"[{},"2","t","e",{}]"#), Some(Malformed::Shape));
        assert_eq!(text(Version::V1, r#"["1","2","t","e",{}]"#), Some(Malformed::Shape));
        assert_eq!(text(Version::V2, &"[".repeat(100_000)), Some(Malformed::Json));
        let binary = |frame: &'static [u8]| read_client_binary(&Bytes::from_static(frame)).err();
        assert_eq!(binary(b""), Some(Malformed::Truncated));
        assert_eq!(binary(b"\x09"), Some(Malformed::Kind));
        assert_eq!(binary(b"\x03\x01"), Some(Malformed::Truncated));
        assert_eq!(binary(b"\x03\x00\x00\x09\x00\x00\x01short"), Some(Malformed::Truncated));
        assert_eq!(binary(b"\x03\x00\x00\x01\x00\x00\x01\xff{}"), Some(Malformed::Utf8));
        assert_eq!(binary(b"\x03\x00\x00\x01\x01\x00\x01te{"), Some(Malformed::Json));
    }
}
