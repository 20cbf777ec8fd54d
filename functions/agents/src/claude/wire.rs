//! What Claude writes, as far as it is of use. Nothing here fails on a field of the wrong type: it is as if it were missing, so that a
//! new version that changes one field costs us that field and not the line. What is not named is skipped without being kept.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::lenient::{Content, Flag, Head, List, Map, Number, Str};

/// One line.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Line<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    #[serde(borrow)]
    pub(super) subtype: Str<'a>,
    #[serde(borrow)]
    pub(super) session_id: Str<'a>,
    #[serde(borrow)]
    pub(super) parent_tool_use_id: Str<'a>,
    #[serde(borrow)]
    pub(super) message: Map<Message<'a>>,
    #[serde(borrow)]
    pub(super) error: Str<'a>,
    #[serde(rename = "isReplay")]
    pub(super) is_replay: Flag,
    #[serde(borrow)]
    pub(super) tool_result_meta: List<Map<Meta<'a>>>,

    // system
    #[serde(borrow)]
    pub(super) model: Str<'a>,
    #[serde(borrow)]
    pub(super) claude_code_version: Str<'a>,
    #[serde(rename = "apiKeySource", borrow)]
    pub(super) api_key_source: Str<'a>,
    pub(super) attempt: Number,
    pub(super) max_retries: Number,
    pub(super) error_status: Number,
    #[serde(borrow)]
    pub(super) original_model: Str<'a>,
    #[serde(borrow)]
    pub(super) fallback_model: Str<'a>,
    #[serde(borrow)]
    pub(super) task_id: Str<'a>,
    #[serde(borrow)]
    pub(super) description: Str<'a>,
    #[serde(borrow)]
    pub(super) patch: Map<Patch<'a>>,
    #[serde(borrow)]
    pub(super) tasks: List<Map<Task<'a>>>,
    #[serde(borrow)]
    pub(super) tool_name: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_use_id: Str<'a>,

    // control_request, control_cancel_request
    #[serde(borrow)]
    pub(super) request_id: Str<'a>,
    #[serde(borrow)]
    pub(super) request: Map<Request<'a>>,

    // rate_limit_event
    #[serde(borrow)]
    pub(super) rate_limit_info: Map<RateLimit<'a>>,

    // result
    pub(super) is_error: Flag,
    pub(super) api_error_status: Number,
    #[serde(borrow)]
    pub(super) result: Str<'a>,
    #[serde(borrow)]
    pub(super) stop_reason: Str<'a>,
    #[serde(borrow)]
    pub(super) terminal_reason: Str<'a>,
    #[serde(borrow)]
    pub(super) errors: List<Str<'a>>,
    pub(super) total_cost_usd: Number,
    pub(super) usage: Map<Usage>,
    #[serde(rename = "modelUsage")]
    pub(super) model_usage: Map<Models>,
    pub(super) model_usage_since_last_result: Map<Models>,
    #[serde(borrow)]
    pub(super) permission_denials: List<Map<Refused<'a>>>,
}

/// What a model or we said.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) model: Str<'a>,
    pub(super) usage: Map<Usage>,
    #[serde(borrow)]
    pub(super) content: Content<'a>,
}

/// Tokens of one message, or of one turn.
#[derive(Debug, Default, Clone, Copy, serde::Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    pub(super) input_tokens: Number,
    pub(super) cache_creation_input_tokens: Number,
    pub(super) cache_read_input_tokens: Number,
    pub(super) output_tokens: Number,
}

/// A part of a message.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Block<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    #[serde(borrow)]
    pub(super) text: Str<'a>,
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(borrow)]
    pub(super) input: Map<Input<'a>>,
    #[serde(borrow)]
    pub(super) tool_use_id: Str<'a>,
    pub(super) is_error: Flag,
    pub(super) content: Head,
}

/// What a tool is given, as far as people are told.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Input<'a> {
    #[serde(borrow)]
    pub(super) command: Str<'a>,
    #[serde(borrow)]
    pub(super) file_path: Str<'a>,
    #[serde(borrow)]
    pub(super) notebook_path: Str<'a>,
    #[serde(borrow)]
    pub(super) path: Str<'a>,
    #[serde(borrow)]
    pub(super) pattern: Str<'a>,
    #[serde(borrow)]
    pub(super) url: Str<'a>,
    #[serde(borrow)]
    pub(super) query: Str<'a>,
    #[serde(borrow)]
    pub(super) description: Str<'a>,
    #[serde(borrow)]
    pub(super) skill: Str<'a>,
    #[serde(borrow)]
    pub(super) plan: Str<'a>,
    #[serde(borrow)]
    pub(super) subject: Str<'a>,
    #[serde(borrow)]
    pub(super) status: Str<'a>,
    #[serde(rename = "taskId", borrow)]
    pub(super) task_id: Str<'a>,
    #[serde(borrow)]
    pub(super) todos: List<Map<Todo<'a>>>,
}

/// A step of a plan.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Todo<'a> {
    #[serde(borrow)]
    pub(super) content: Str<'a>,
    #[serde(borrow)]
    pub(super) status: Str<'a>,
}

/// Whether a tool was let, by its use. Only newer versions say.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Meta<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) permission_decision: Map<Permission<'a>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Permission<'a> {
    #[serde(borrow)]
    pub(super) decision: Str<'a>,
}

/// What changed of work in the background.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Patch<'a> {
    #[serde(borrow)]
    pub(super) status: Str<'a>,
}

/// Work in the background.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Task<'a> {
    #[serde(borrow)]
    pub(super) task_id: Str<'a>,
    #[serde(borrow)]
    pub(super) description: Str<'a>,
}

/// What it asks us.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Request<'a> {
    #[serde(borrow)]
    pub(super) subtype: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_name: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_use_id: Str<'a>,
    pub(super) input: Option<Value>,
}

/// What it was refused, in its own list.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Refused<'a> {
    #[serde(borrow)]
    pub(super) tool_name: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_use_id: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_input: Map<Input<'a>>,
}

/// A limit of the account.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct RateLimit<'a> {
    #[serde(borrow)]
    pub(super) status: Str<'a>,
    #[serde(rename = "resetsAt")]
    pub(super) resets_at: Number,
    #[serde(rename = "rateLimitType", borrow)]
    pub(super) kind: Str<'a>,
    pub(super) utilization: Number,
    #[serde(rename = "isUsingOverage")]
    pub(super) overage: Flag,
}

/// What models were used, all of them together.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Models {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cached: u64,
    pub(super) cost: f64,
    /// Somebody else than Anthropic answers, and bills.
    pub(super) elsewhere: bool,
}

impl<'de> Deserialize<'de> for Models {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Model<'a> {
            input_tokens: Number,
            output_tokens: Number,
            cache_read_input_tokens: Number,
            cache_creation_input_tokens: Number,
            #[serde(rename = "costUSD")]
            cost: Number,
            #[serde(borrow)]
            provider: Str<'a>,
        }
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Models;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Models, A::Error> {
                let mut all = Models::default();
                while let Some((_, Map(model))) = map.next_entry::<IgnoredAny, Map<Model<'de>>>()? {
                    let Some(model) = model else { continue };
                    let cached = model.cache_read_input_tokens.count();
                    all.cached = all.cached.saturating_add(cached);
                    for part in [model.input_tokens.count(), cached, model.cache_creation_input_tokens.count()] {
                        all.input = all.input.saturating_add(part);
                    }
                    all.output = all.output.saturating_add(model.output_tokens.count());
                    all.cost += model.cost.0.filter(|cost| *cost > 0.0).unwrap_or(0.0);
                    all.elsewhere |= model.provider.get().is_some_and(|provider| provider != "firstParty");
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(All)
    }
}
