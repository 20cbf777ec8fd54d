//! Claude's tools: what people read of them, what they change, and how one is refused.

use crate::words::{file, line, running};
use crate::{Policy, Step, StepState};

use super::wire::{Block, Input};

/// As many uses are open at once at most. One that never ended makes room for a new one.
const OPEN: usize = 256;

/// As many steps has a plan at most.
const STEPS: usize = 200;

/// Longer ids are no ids: what is left of them still tells one use from another.
const ID: usize = 128;

/// A use of a tool that did not end yet.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) id: String,
    pub(super) words: String,
    /// Nobody is told of it as of a tool: it plans, or asks.
    pub(super) quiet: bool,
    /// The plan that it submits, for whoever is asked about it.
    pub(super) plan: Option<String>,
    tool: Tool,
}

#[derive(Debug)]
enum Tool {
    Shell,
    Edit(String),
    NewStep(String),
    Step { id: String, text: Option<String>, state: Option<StepState>, gone: bool },
    Other,
}

/// What came of a use of a tool.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) words: Option<String>,
    pub(super) files: Vec<String>,
    pub(super) refused: Option<String>,
    pub(super) planned: bool,
}

/// The tools in use, and the plan that some of them keep.
#[derive(Debug, Default)]
pub(super) struct Tools {
    open: Vec<Use>,
    plan: Vec<(String, Step)>,
}

impl Tools {
    /// A tool is used. None: it is open already.
    pub(super) fn start(&mut self, block: &Block<'_>, folder: &str) -> Option<&Use> {
        let id = short(block.id.or_empty());
        if self.find(&id).is_some() {
            return None;
        }
        let none = Input::default();
        let (name, input) = (block.name.or_empty(), block.input.0.as_ref().unwrap_or(&none));
        let tool = match name {
            "Bash" | "PowerShell" => Tool::Shell,
            "Write" | "Edit" | "MultiEdit" | "NotebookEdit" => {
                Tool::Edit(input.file_path.get().or(input.notebook_path.get()).unwrap_or_default().to_owned())
            }
            "TaskCreate" => Tool::NewStep(input.subject.or_empty().to_owned()),
            "TaskUpdate" => Tool::Step {
                id: short(input.task_id.or_empty()),
                text: input.subject.owned(),
                state: input.status.get().and_then(state),
                gone: input.status.get() == Some("deleted"),
            },
            _ => Tool::Other,
        };
        if name == "TodoWrite" {
            self.plan = (input.todos.0.iter().flat_map(|todo| &todo.0).take(STEPS))
                .map(|todo| {
                    let state = todo.status.get().and_then(state).unwrap_or(StepState::Pending);
                    (String::new(), Step { text: todo.content.or_empty().to_owned(), state })
                })
                .collect();
        }
        if self.open.len() == OPEN {
            self.open.remove(0);
        }
        self.open.push(Use {
            id,
            words: words(name, input, folder),
            quiet: quiet(name),
            plan: (name == "ExitPlanMode").then(|| input.plan.owned()).flatten(),
            tool,
        });
        self.open.last()
    }

    /// A use that is open.
    pub(super) fn find(&self, id: &str) -> Option<&Use> {
        self.open.iter().rev().find(|used| used.id == id)
    }

    /// It ended. None: nothing is known of its beginning.
    pub(super) fn end(&mut self, id: &str) -> Option<Use> {
        let at = self.open.iter().rposition(|used| used.id == id)?;
        Some(self.open.remove(at))
    }

    /// What came of it.
    pub(super) fn outcome(&mut self, used: &Use, text: &str, failed: bool, policy: Policy) -> Outcome {
        let mut outcome = Outcome::default();
        if failed {
            outcome.refused = refusal(text).or_else(|| {
                // What this policy took from it is refused as well, where it tries it anyway.
                let taken = policy == Policy::ReadOnly && used.changes() && unavailable(text);
                taken.then(|| plain(text).to_owned())
            });
            outcome.words = match exit_code(text).filter(|_| matches!(used.tool, Tool::Shell)) {
                Some(code) => Some(format!("{}: exit {code}", used.words)),
                None => Some(line(&format!("{}:", used.words), plain(text))),
            };
            return outcome;
        }
        match &used.tool {
            Tool::Edit(path) if !path.is_empty() => outcome.files.push(path.clone()),
            Tool::NewStep(text_of_step) => {
                let id = text.split_once('#').map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect());
                if self.plan.len() < STEPS {
                    let step = Step { text: text_of_step.clone(), state: StepState::Pending };
                    self.plan.push((id.unwrap_or_default(), step));
                }
                outcome.planned = true;
            }
            Tool::Step { id, text, state, gone } => {
                if *gone {
                    self.plan.retain(|(known, _)| known != id);
                } else if let Some((_, step)) = self.plan.iter_mut().find(|(known, _)| known == id) {
                    step.text = text.clone().unwrap_or_else(|| std::mem::take(&mut step.text));
                    step.state = state.unwrap_or(step.state);
                }
                outcome.planned = true;
            }
            _ => {}
        }
        outcome
    }

    /// The plan as it is now.
    pub(super) fn plan(&self) -> Vec<Step> {
        self.plan.iter().map(|(_, step)| step.clone()).collect()
    }
}

impl Use {
    fn changes(&self) -> bool {
        matches!(self.tool, Tool::Shell | Tool::Edit(_))
    }
}

/// An id as it is kept.
pub(super) fn short(id: &str) -> String {
    id[..id.floor_char_boundary(ID)].to_owned()
}

/// What a tool does, in plain words.
pub(super) fn words(name: &str, input: &Input<'_>, folder: &str) -> String {
    let path = input.file_path.get().or(input.notebook_path.get()).or(input.path.get());
    let path = path.map_or("", |path| file(folder, path));
    let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    match name {
        "Bash" | "PowerShell" => running(input.command.or_empty()),
        "Read" => line("Reading", path),
        "Write" => line("Writing", path),
        "Edit" | "MultiEdit" | "NotebookEdit" => line("Editing", path),
        "Grep" => line("Searching for", input.pattern.or_empty()),
        "Glob" => line("Looking for files", input.pattern.or_empty()),
        "LS" => line("Listing", &or(path, "files")),
        "WebFetch" => line("Reading", input.url.or_empty()),
        "WebSearch" => line("Searching the web for", input.query.or_empty()),
        "Task" | "Agent" => line("Asking a helper:", &or(input.description.or_empty(), "a part of the work")),
        "Skill" => line("Using the skill", input.skill.or_empty()),
        "BashOutput" | "TaskOutput" | "Monitor" => "Looking at work in the background".to_owned(),
        "KillShell" | "KillBash" | "TaskStop" => "Stopping work in the background".to_owned(),
        "ExitPlanMode" => "Going ahead with its plan".to_owned(),
        "EnterPlanMode" => "Making a plan first".to_owned(),
        "AskUserQuestion" => "Asking a question".to_owned(),
        _ => match name.strip_prefix("mcp__").and_then(|rest| rest.split_once("__")) {
            Some((server, tool)) => line("Using", &format!("{tool} of {server}")),
            None => line("Using", &or(name, "a tool")),
        },
    }
}

/// Tools that plan or ask: a plan is told as a plan, and a question as a question.
fn quiet(name: &str) -> bool {
    matches!(
        name,
        "TodoWrite"
            | "TaskCreate"
            | "TaskUpdate"
            | "TaskList"
            | "TaskGet"
            | "AskUserQuestion"
            | "ExitPlanMode"
            | "EnterPlanMode"
            | "ToolSearch"
    )
}

fn state(status: &str) -> Option<StepState> {
    Some(match status {
        "pending" => StepState::Pending,
        "in_progress" => StepState::Running,
        "completed" => StepState::Done,
        _ => return None,
    })
}

/// `Exit code 3`, on the first line.
fn exit_code(text: &str) -> Option<u8> {
    plain(text).strip_prefix("Exit code ")?.split_whitespace().next()?.parse().ok()
}

/// A failure without what is around it for the model.
fn plain(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_prefix("<tool_use_error>").unwrap_or(text);
    let text = text.strip_suffix("</tool_use_error>").unwrap_or(text).trim();
    text.strip_prefix("Error: ").unwrap_or(text)
}

fn unavailable(text: &str) -> bool {
    plain(text).starts_with("No such tool available")
}

/// Why a tool was refused, where its failure is that. Its own list of refusals is not whole (claude-code#82747), and only newer
/// versions say beside a result that it is one.
fn refusal(text: &str) -> Option<String> {
    let text = plain(text);
    let first = text.lines().next().unwrap_or_default();
    let refused = [
        "Claude requested permissions",
        "This Bash command contains multiple operations",
        "This command requires approval",
    ]
    .iter()
    .any(|beginning| text.starts_with(beginning))
        || (text.starts_with("Permission to ") && first.contains("has been denied"))
        || text.starts_with("File is in a directory that is denied by your permission settings")
        || text.starts_with("Tool permission request failed")
        || text.starts_with("Tool permission stream closed")
        || first.contains("was blocked. For security, Claude Code may only")
        || (text.starts_with("PreToolUse:") && first.contains("hook"))
        || first.contains("denied by the Claude Code auto mode classifier");
    refused.then(|| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_a_failure() {
        for text in [
            "<tool_use_error>File is in a directory that is denied by your permission settings.</tool_use_error>",
            "Permission to use Bash with command rm -rf x has been denied.",
            "Claude requested permissions to write to /p/a, but you haven't granted it yet.",
            "This Bash command contains multiple operations. The following parts require approval: curl http://x, sh",
            "cd in '/tmp' was blocked. For security, Claude Code may only change directories to child directories",
            "Tool permission request failed: AbortError: Tool permission stream closed before response received",
        ] {
            assert!(refusal(text).is_some(), "{text}");
        }
        for text in [
            "Exit code 1\nPermission to use Bash has been denied.",
            "<tool_use_error>File has not been read yet. Read it first before writing to it.</tool_use_error>",
            "<tool_use_error>Error: No such tool available: TodoWrite. TodoWrite is disabled for this session.</tool_use_error>",
            "The user doesn't want to proceed with this tool use.",
            "",
        ] {
            assert_eq!(refusal(text), None, "{text}");
        }
    }

    #[test]
    fn an_exit_code_is_on_the_first_line() {
        assert_eq!(exit_code("Exit code 3\nsh: not found"), Some(3));
        assert_eq!(exit_code("Error: Exit code 137"), Some(137));
        assert_eq!(exit_code("x\nExit code 3"), None);
    }
}
