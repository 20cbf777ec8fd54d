//! What Codex asks of a person, and how it is answered.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{Ask, Decision, rpc::lenient, words};

/// What names one call, or says how it may be answered, and not what is asked for.
const OF_THIS_CALL: [&str; 11] = [
    "threadId",
    "turnId",
    "itemId",
    "callId",
    "conversationId",
    "approvalId",
    "startedAtMs",
    "environmentId",
    "availableDecisions",
    "proposedExecpolicyAmendment",
    "reason",
];

/// How a question is to be answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Asked {
    /// By accept or decline; the tool it is about.
    Approval { item: Option<String>, title: String },
    /// As above, in the words of older versions.
    Review { title: String },
    /// By the rights that were asked for, or none.
    Permissions { wanted: Value, title: String },
    /// A tool of an MCP server asks; the field it wants, where it wants one.
    Elicitation { field: Option<String>, permission: bool, title: String },
    /// In words, by the name of the question.
    Input { question: String },
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(default, rename = "itemId", alias = "callId", deserialize_with = "lenient")]
    item: Option<String>,
    #[serde(borrow, default)]
    command: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    reason: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    message: Option<String>,
    #[serde(default, rename = "serverName", deserialize_with = "lenient")]
    server: Option<String>,
    #[serde(borrow, default)]
    permissions: Option<&'a RawValue>,
    #[serde(default, rename = "requestedSchema", deserialize_with = "lenient")]
    schema: Option<Value>,
    #[serde(default, rename = "_meta", deserialize_with = "lenient")]
    meta: Option<Value>,
    #[serde(default, rename = "availableDecisions", deserialize_with = "lenient")]
    available: Option<Vec<Value>>,
    #[serde(default, deserialize_with = "lenient")]
    questions: Option<Vec<Question>>,
}

#[derive(Deserialize)]
struct Question {
    id: String,
    #[serde(default, deserialize_with = "lenient")]
    question: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    options: Option<Vec<Choice>>,
}

#[derive(Deserialize)]
struct Choice {
    label: String,
}

/// A question, and how it is answered. None: it is none of a person's. `about` gives the words and the changes of an item.
pub(crate) fn read<'a>(
    id: &str,
    method: &str,
    params: &str,
    about: impl FnOnce(&str) -> (Option<&'a str>, Option<Value>),
) -> Option<(Ask, Asked)> {
    let mut whole = crate::rpc::value(params);
    if let Some(fields) = whole.as_object_mut() {
        fields.retain(|name, _| !OF_THIS_CALL.contains(&name.as_str()));
    }
    let params: Params<'_> = serde_json::from_str(params).unwrap_or_default();
    let mut ask = Ask {
        id: id.to_owned(),
        title: String::new(),
        tool: None,
        input: whole,
        why: params.reason.clone().filter(|why| !why.trim().is_empty()),
        options: Vec::new(),
        permission: true,
    };
    let (known, changes) = params.item.as_deref().map(about).unwrap_or_default();
    let known = known.map(str::to_owned);
    let asked = match method {
        "item/commandExecution/requestApproval" | "execCommandApproval" => {
            let command = params.command.map(|raw| crate::rpc::value(raw.get()));
            let command = match command {
                Some(Value::String(command)) => Some(command),
                Some(Value::Array(words)) => Some(words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
                _ => None,
            };
            ask.title =
                command.map(|command| words::running(&command)).or(known).unwrap_or_else(|| "Running a command".into());
            ask.tool = Some("shell".into());
            for decision in params.available.iter().flatten().filter_map(Value::as_str).take(8) {
                ask.options.push((decision.to_owned(), label(decision).to_owned()));
            }
            approval(method, params.item, &ask)
        }
        "item/fileChange/requestApproval" | "applyPatchApproval" => {
            ask.title = known.unwrap_or_else(|| "Changing files".into());
            ask.tool = Some("apply_patch".into());
            if let (Some(changes), Value::Object(input)) = (changes, &mut ask.input) {
                input.insert("changes".into(), changes);
            }
            approval(method, params.item, &ask)
        }
        "item/permissions/requestApproval" => {
            ask.title = "Doing more than its sandbox lets it".into();
            ask.tool = Some("permissions".into());
            let wanted = params.permissions.map_or(json!({}), |raw| crate::rpc::value(raw.get()));
            Asked::Permissions { wanted, title: ask.title.clone() }
        }
        "mcpServer/elicitation/request" => {
            let permission = params.meta.as_ref().is_some_and(|meta| meta["codex_approval_kind"] == "mcp_tool_call");
            let message = params.message.unwrap_or_default();
            ask.tool = params.server.clone().filter(|_| permission);
            ask.title = words::line(&params.server.unwrap_or_else(|| "A tool".into()), &format!("asks: {message}"));
            ask.permission = permission;
            let properties = params.schema.as_ref().and_then(|schema| schema["properties"].as_object());
            let text = properties.and_then(|fields| fields.iter().find(|(_, field)| field["type"] == "string"));
            Asked::Elicitation { field: text.map(|(name, _)| name.clone()), permission, title: ask.title.clone() }
        }
        "item/tool/requestUserInput" => {
            let question = params.questions?.into_iter().next()?;
            ask.title = question.question.unwrap_or_else(|| "A question".into());
            ask.permission = false;
            ask.options = question
                .options
                .into_iter()
                .flatten()
                .take(20)
                .map(|choice| (choice.label.clone(), choice.label))
                .collect();
            Asked::Input { question: question.id }
        }
        _ => return None,
    };
    Some((ask, asked))
}

fn approval(method: &str, item: Option<String>, ask: &Ask) -> Asked {
    let title = ask.title.clone();
    if method.starts_with("item/") { Asked::Approval { item, title } } else { Asked::Review { title } }
}

fn label(decision: &str) -> &str {
    match decision {
        "accept" => "Yes",
        "acceptForSession" => "Yes, and do not ask again",
        "decline" => "No",
        "cancel" => "No, and stop",
        other => other,
    }
}

/// What is refused: in words, and the item that is going to say so itself.
pub(crate) type Refused = (String, Option<String>);

impl Asked {
    /// The answer, and what is thereby refused, if anything is. None: that is no answer to it.
    pub(crate) fn answer(self, decision: &Decision) -> Option<(Value, Option<Refused>)> {
        let yes = match decision {
            Decision::Allow(_) => true,
            Decision::Deny(_) => false,
            Decision::Choose(choice) => !matches!(choice.as_str(), "decline" | "cancel" | "denied" | "abort"),
            Decision::Decline(_) | Decision::Unanswered(_) | Decision::Say(_) => false,
        };
        Some(match self {
            Self::Approval { item, title } => {
                let word = match decision {
                    Decision::Choose(choice)
                        if ["accept", "acceptForSession", "decline", "cancel"].contains(&choice.as_str()) =>
                    {
                        choice
                    }
                    Decision::Choose(_) => return None,
                    _ if yes => "accept",
                    _ => "decline",
                };
                (json!({"decision": word}), (!yes).then_some((title, item)))
            }
            Self::Review { title } => {
                (json!({"decision": if yes { "approved" } else { "denied" }}), (!yes).then_some((title, None)))
            }
            Self::Permissions { wanted, title } => {
                let granted = if yes { wanted } else { json!({}) };
                (json!({"permissions": granted, "scope": "turn"}), (!yes).then_some((title, None)))
            }
            Self::Elicitation { field, permission, title } => {
                let content = match (decision, field) {
                    (Decision::Say(text) | Decision::Choose(text), Some(field)) if !permission => {
                        Some(json!({ field: text }))
                    }
                    (Decision::Allow(_), _) => Some(json!({})),
                    _ => None,
                };
                let action = match (&content, decision) {
                    (Some(_), _) => "accept",
                    (None, Decision::Unanswered(_)) => "cancel",
                    (None, _) => "decline",
                };
                let refused = permission && content.is_none();
                (json!({"action": action, "content": content, "_meta": null}), refused.then_some((title, None)))
            }
            Self::Input { question } => match decision {
                Decision::Say(text) | Decision::Choose(text) => {
                    (json!({"answers": {question: {"answers": [text]}}}), None)
                }
                _ => (json!({"answers": {}}), None),
            },
        })
    }
}
