//! What an agent asks leave for, and what its policy covers.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::messages::Tool;
use crate::{Decision, Policy, rpc::lenient};

/// As many options as are looked at.
const MANY: usize = 20;

#[derive(Deserialize)]
pub(super) struct Params<'a> {
    #[serde(borrow, rename = "toolCall", default)]
    pub(super) tool: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    options: Option<Vec<Choice>>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Choice {
    option_id: String,
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    kind: Option<String>,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    options: Vec<Choice>,
    /// The tool, by the program's name for this use.
    pub(super) tool: String,
    pub(super) words: String,
    pub(super) files: Vec<String>,
}

impl Asked {
    pub(super) fn new(params: &mut Params<'_>, tool: &Tool<'_>, words: String) -> Self {
        let mut options = params.options.take().unwrap_or_default();
        options.truncate(MANY);
        Self { options, tool: tool.id.clone().unwrap_or_default(), words, files: tool.files() }
    }

    /// The options for people: the program's name for each, and what it says.
    pub(super) fn options(&self) -> Vec<(String, String)> {
        let options = self.options.iter();
        options
            .map(|option| (option.option_id.clone(), option.name.clone().unwrap_or_else(|| option.option_id.clone())))
            .collect()
    }

    /// Whether it is asked for leave. Else one of several things is to be chosen, and none of them is a yes.
    pub(super) fn is_permission(&self) -> bool {
        self.options.is_empty() || self.of_kind(["allow_once", "allow_always"]).is_some()
    }

    fn of_kind(&self, kinds: [&str; 2]) -> Option<&str> {
        let of = |kind: &str| self.options.iter().find(|option| option.kind.as_deref() == Some(kind));
        kinds.iter().find_map(|kind| of(kind)).map(|option| option.option_id.as_str())
    }

    /// The answer, and whether it is a yes. None: that is no answer to it.
    pub(super) fn answer(&self, decision: &Decision) -> Option<(Value, bool)> {
        let (option, yes) = match decision {
            // Once: what is allowed for good is decided by people, not here.
            Decision::Allow(_) => (Some(self.of_kind(["allow_once", "allow_always"])?), true),
            Decision::Deny(_) | Decision::Decline(_) => (self.of_kind(["reject_once", "reject_always"]), false),
            Decision::Say(_) if self.is_permission() => (self.of_kind(["reject_once", "reject_always"]), false),
            // A rejection has no words, and would be told as a person's.
            Decision::Say(_) | Decision::Unanswered(_) => (None, false),
            Decision::Choose(choice) => {
                let option = self.options.iter().find(|option| option.option_id == *choice)?;
                (Some(choice.as_str()), !option.kind.as_deref().is_some_and(|kind| kind.starts_with("reject")))
            }
        };
        let outcome = match option {
            Some(option) => json!({"outcome": "selected", "optionId": option}),
            None => json!({"outcome": "cancelled"}),
        };
        Some((json!({"outcome": outcome}), yes))
    }
}

/// Whether a policy covers what a tool is to do, so that nobody needs to be asked.
pub(super) fn covers(policy: Policy, tool: &Tool<'_>, folder: &str) -> bool {
    let files = tool.files();
    let inside = !files.is_empty() && files.iter().all(|file| is_inside(file, folder));
    match (policy, tool.kind.as_deref()) {
        (Policy::Full, _) | (_, Some("think")) => true,
        (Policy::ReadOnly, Some("read" | "search")) => inside,
        // Who may run programs may read what those can.
        (Policy::Edit, Some("read" | "search" | "execute")) => true,
        (Policy::Edit, Some("edit" | "delete" | "move")) => inside,
        _ => false,
    }
}

/// By the name alone: what a link leads to is not seen here.
fn is_inside(file: &str, folder: &str) -> bool {
    let within = match file.strip_prefix('/') {
        Some(_) => {
            file.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        None => !folder.is_empty(),
    };
    within && !file.contains('\0') && file.split('/').all(|part| part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_policy_covers() {
        let covers = |policy, tool: &str| covers(policy, &serde_json::from_str(tool).unwrap(), "/p/a");
        let edit = r#"{"kind":"edit","locations":[{"path":"/p/a/x"}]}"#;
        let outside = r#"{"kind":"edit","locations":[{"path":"/p/a/x"},{"path":"/p/a/../b"}]}"#;
        let other = r#"{"kind":"edit","content":[{"type":"diff","path":"/p/ab/x"}],"locations":[{"path":"/p/a/x"}]}"#;
        let run = r#"{"kind":"execute","title":"rm -r x"}"#;
        let read = r#"{"kind":"read","locations":[{"path":"src/x"}]}"#;
        assert!(covers(Policy::Edit, edit) && covers(Policy::Full, edit) && !covers(Policy::ReadOnly, edit));
        assert!(!covers(Policy::Edit, outside) && !covers(Policy::Edit, other) && covers(Policy::Full, outside));
        assert!(covers(Policy::Edit, run) && !covers(Policy::ReadOnly, run));
        assert!(
            covers(Policy::ReadOnly, read)
                && !covers(Policy::ReadOnly, r#"{"kind":"read","locations":[{"path":"/etc/passwd"}]}"#)
        );
        for unclear in ["{}", r#"{"kind":"edit"}"#, r#"{"kind":"fetch"}"#, r#"{"kind":7}"#, r#"{"kind":"switch_mode"}"#]
        {
            assert!(!covers(Policy::Edit, unclear) && !covers(Policy::ReadOnly, unclear), "{unclear}");
        }
    }
}
