//! Items: what Codex says and does, in both of its ways to spell them.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Event, Policy, Step, StepState, Turn, rpc::lenient, story::Story, words};

/// As many files of a change, and steps of a plan, as are looked at.
const MANY: usize = 500;

/// As much of an item as is looked at. Big fields (what a command printed, differences) are skipped.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Item<'a> {
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    status: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    text: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    command: Option<String>,
    #[serde(default, alias = "exitCode", deserialize_with = "lenient")]
    exit_code: Option<i64>,
    #[serde(borrow, default, alias = "aggregatedOutput")]
    aggregated_output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) changes: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    server: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    tool: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    query: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    path: Option<String>,
    #[serde(borrow, default)]
    items: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Change {
    #[serde(default, deserialize_with = "lenient")]
    path: Option<String>,
}

#[derive(Deserialize)]
struct Todo {
    #[serde(default, alias = "step", deserialize_with = "lenient")]
    text: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    completed: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    status: Option<String>,
}

impl Item<'_> {
    /// The files that a change names.
    fn files(&self) -> Vec<String> {
        let changes: Vec<Change> =
            self.changes.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        changes.into_iter().filter_map(|change| change.path).take(MANY).collect()
    }

    /// What it does, where it is a tool.
    fn words(&self, folder: &str) -> Option<String> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Some(match self.kind.as_deref()? {
            "commandExecution" | "command_execution" => words::running(&text(&self.command)),
            "fileChange" | "file_change" => {
                let files = self.files();
                let files: Vec<&str> = files.iter().map(|file| words::file(folder, file)).collect();
                words::line("Editing", &files.join(", "))
            }
            "mcpToolCall" | "mcp_tool_call" => {
                words::line("Using", &format!("{} {}", text(&self.server), text(&self.tool)))
            }
            "dynamicToolCall" => words::line("Using", &text(&self.tool)),
            "webSearch" | "web_search" => words::line("Searching the web for", &text(&self.query)),
            "imageView" => words::line("Looking at", words::file(folder, &text(&self.path))),
            "imageGeneration" => "Drawing an image".into(),
            "collabAgentToolCall" | "collab_tool_call" => "Working with another agent".into(),
            "sleep" => "Waiting".into(),
            _ => return None,
        })
    }

    /// It began. False: it is not known.
    pub(crate) fn started(&self, story: &mut Story, turn: &mut Turn) -> bool {
        if let (Some(words), Some(id)) = (self.words(&story.job.folder), &self.id) {
            story.tool(id, words, turn);
            return true;
        }
        self.told(false, story, turn)
    }

    /// It is complete. False: it is not known.
    pub(crate) fn completed(&self, story: &mut Story, turn: &mut Turn) -> bool {
        let (Some(words), Some(id)) = (self.words(&story.job.folder), &self.id) else {
            return self.told(true, story, turn);
        };
        // One whose beginning was not seen.
        story.tool(id, words.clone(), turn);
        let status = self.status.as_deref().unwrap_or("completed");
        let ok = status == "completed" && self.exit_code.is_none_or(|code| code == 0);
        let how = match (self.exit_code, status) {
            (Some(code), _) if code != 0 => Some(format!("{words}: exit {code}")),
            (_, "declined") => Some(format!("{words}: not allowed")),
            (_, "failed") => Some(format!("{words}: failed")),
            _ => None,
        };
        if status == "declined" && !story.is_excused(id) {
            let why = story.why.take();
            story.denied(&words, why.as_deref().unwrap_or("declined"), turn);
        }
        if self.met_the_sandbox(ok, story.job.policy) {
            story.denied(&words, "the sandbox of its policy", turn);
        }
        let changed = ok && matches!(self.kind.as_deref(), Some("fileChange" | "file_change"));
        story.tool_end(id, how, ok, if changed { self.files() } else { Vec::new() }, turn);
        true
    }

    /// A command that its sandbox stopped fails like any other; only what it printed tells. One that is stopped before it begins is not
    /// told of at all.
    fn met_the_sandbox(&self, ok: bool, policy: Policy) -> bool {
        const MARK: &[u8] = b"Read-only file system";
        let printed = self.aggregated_output.map_or("", RawValue::get).as_bytes();
        !ok && policy != Policy::Full && memchr::memmem::find(printed, MARK).is_some()
    }

    /// What is no tool.
    fn told(&self, whole: bool, story: &mut Story, turn: &mut Turn) -> bool {
        match self.kind.as_deref() {
            Some("agentMessage" | "agent_message" | "plan") if whole => {
                story.text(self.text.as_deref().unwrap_or_default(), turn)
            }
            Some("todo_list") => {
                if let Some(items) = self.items {
                    plan(items.get(), turn);
                }
            }
            Some(
                "agentMessage" | "agent_message" | "plan" | "reasoning" | "userMessage" | "hookPrompt" | "error"
                | "contextCompaction" | "enteredReviewMode" | "exitedReviewMode" | "subAgentActivity"
                | "functionCallOutput",
            ) => {}
            _ => return false,
        }
        true
    }
}

/// A plan, whole.
pub(crate) fn plan(steps: &str, turn: &mut Turn) {
    let Ok(steps) = serde_json::from_str::<Vec<Todo>>(steps) else { return };
    let steps = steps.into_iter().take(MANY).filter_map(|step| {
        let state = match (step.completed, step.status.as_deref()) {
            (Some(true), _) | (_, Some("completed")) => StepState::Done,
            (_, Some("inProgress" | "in_progress")) => StepState::Running,
            _ => StepState::Pending,
        };
        Some(Step { text: step.text?, state })
    });
    turn.events.push(Event::Plan(steps.collect()));
}
