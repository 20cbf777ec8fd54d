//! Who is present in a room: what each member tracks, under the member's key, and what changed.

use super::rooms::MemberId;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The members of one room that are present.
#[derive(Debug, Default)]
pub struct Presence {
    keys: BTreeMap<String, Vec<Entry>>,
    next_ref: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    member: MemberId,
    meta: Map<String, Value>,
}

/// Keys and what is tracked under them.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Present(BTreeMap<String, Metas>);

#[derive(Debug, Default, Clone, PartialEq, Serialize)]
struct Metas {
    metas: Vec<Map<String, Value>>,
}

impl Present {
    fn add(&mut self, key: &str, meta: &Map<String, Value>) {
        self.0.entry(key.to_owned()).or_default().metas.push(meta.clone());
    }
}

/// What is sent as `presence_diff`.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Diff {
    joins: Present,
    leaves: Present,
}

impl Diff {
    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joins.0.is_empty() && self.leaves.0.is_empty()
    }
}

impl Presence {
    /// All who are present: `presence_state`.
    #[must_use]
    pub fn state(&self) -> Present {
        let mut present = Present::default();
        for (key, entries) in &self.keys {
            for entry in entries {
                present.add(key, &entry.meta);
            }
        }
        present
    }

    /// A member shows `payload` under `key`, in place of what it showed there. The same again changes nothing.
    pub fn track(&mut self, member: MemberId, key: &str, payload: Map<String, Value>) -> Diff {
        let entries = self.keys.entry(key.to_owned()).or_default();
        let before = entries.iter().position(|entry| entry.member == member);
        let mut diff = Diff::default();
        let mut meta = payload;
        if let Some(before) = before {
            let old = &entries[before].meta;
            let same = old.iter().filter(|(name, _)| !name.starts_with("phx_ref"));
            if same.eq(meta.iter().filter(|(name, _)| !name.starts_with("phx_ref"))) {
                return diff;
            }
            diff.leaves.add(key, old);
            meta.insert("phx_ref_prev".into(), old.get("phx_ref").cloned().unwrap_or_default());
        }
        self.next_ref += 1;
        meta.insert("phx_ref".into(), format!("{:x}-{:x}", member.0, self.next_ref).into());
        diff.joins.add(key, &meta);
        let entry = Entry { member, meta };
        match before {
            Some(before) => entries[before] = entry,
            None => entries.push(entry),
        }
        diff
    }

    /// A member shows nothing any more.
    pub fn untrack(&mut self, member: MemberId) -> Diff {
        let mut diff = Diff::default();
        self.keys.retain(|key, entries| {
            entries.retain(|entry| {
                if entry.member == member {
                    diff.leaves.add(key, &entry.meta);
                }
                entry.member != member
            });
            !entries.is_empty()
        });
        diff
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn payload(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn presence_reports_joins_changes_and_leaves() {
        let mut presence = Presence::default();
        let diff = presence.track(MemberId(1), "ada", payload(json!({"typing": false})));
        assert_eq!(
            serde_json::to_value(&diff).unwrap(),
            json!({"joins": {"ada": {"metas": [{"typing": false, "phx_ref": "1-1"}]}}, "leaves": {}})
        );
        assert!(presence.track(MemberId(1), "ada", payload(json!({"typing": false}))).is_empty());
        let diff = presence.track(MemberId(1), "ada", payload(json!({"typing": true})));
        assert_eq!(
            serde_json::to_value(&diff).unwrap(),
            json!({"joins": {"ada": {"metas": [{"typing": true, "phx_ref": "1-2", "phx_ref_prev": "1-1"}]}},
                   "leaves": {"ada": {"metas": [{"typing": false, "phx_ref": "1-1"}]}}})
        );
        // A second device of the same person.
        presence.track(MemberId(2), "ada", payload(json!({})));
        let state = serde_json::to_value(presence.state()).unwrap();
        assert_eq!(state["ada"]["metas"].as_array().unwrap().len(), 2);
        let diff = presence.untrack(MemberId(1));
        assert_eq!(serde_json::to_value(&diff).unwrap()["leaves"]["ada"]["metas"][0]["phx_ref"], "1-2");
        assert!(presence.untrack(MemberId(1)).is_empty());
        presence.untrack(MemberId(2));
        assert_eq!(serde_json::to_value(presence.state()).unwrap(), json!({}));
    }
}
