//! The frame decoders: whatever comes over the wire is read or refused, and what is written is read again as it was.

use bytes::Bytes;
use hub::realtime::frame::{self, Body, Broadcast, Frame, Payload, Version};
use proptest::prelude::*;
use serde_json::Value;

fn any_broadcast() -> impl Strategy<Value = Broadcast> {
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| Body::Binary(bytes.into())),
        "\\PC{0,100}".prop_map(|text| Body::Json(Value::from(text).to_string().into())),
    ];
    let meta = proptest::option::of("[a-z0-9-]{1,40}".prop_map(|id| format!(r#"{{"id":"{id}"}}"#)));
    ("\\PC{0,300}", body, meta).prop_map(|(event, body, meta)| Broadcast { event, body, meta })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0_u8..6) {
        let mut frame = vec![kind];
        frame.extend(bytes);
        let frame = Bytes::from(frame);
        for read in [frame::read_client_binary(&frame), frame::read_server_binary(&frame)].into_iter().flatten() {
            prop_assert!(read.topic.len() <= 255);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in r#"[\[{]("[a-z:]{0,6}",?|[0-9]{1,25},?|null,?|[\[\]{}:,]){0,12}|\PC{0,200}"#) {
        for version in [Version::V1, Version::V2] {
            drop(frame::read_text(version, &text));
        }
    }

    #[test]
    fn a_broadcast_is_read_as_it_was_written(broadcast in any_broadcast(), topic in "\\PC{0,300}") {
        if let Some(Frame::Binary(bytes)) = broadcast.to_client(Version::V2, &topic) {
            let read = frame::read_server_binary(&bytes).unwrap();
            prop_assert_eq!(read.topic, topic.clone());
            prop_assert!(matches!(read.payload, Payload::Broadcast(read) if read == broadcast));
        }
        if let Some(Frame::Binary(bytes)) = broadcast.to_server("1", "2", &topic) {
            let read = frame::read_client_binary(&bytes).unwrap();
            prop_assert!(matches!(read.payload, Payload::Broadcast(read) if read == broadcast));
        }
        for version in [Version::V1, Version::V2] {
            if let Some(Frame::Text(text)) = broadcast.to_client(version, &topic) {
                let read = frame::read_text(version, &text).unwrap();
                prop_assert_eq!(&read.topic, &topic);
                let Payload::Json(payload) = read.payload else { panic!() };
                let payload: Value = serde_json::from_str(payload.get()).unwrap();
                prop_assert_eq!(payload["event"].as_str(), Some(broadcast.event.as_str()));
            }
        }
    }
}
