//! What a running agent calls. It needs no address, no token and no configuration, and begins at once.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use hub_worker::door::{Answer, AnswerState, Last, Question, Request, SOCKET, Said, Say, Subtask, SubtaskState, call};
use serde_json::{Value, json};

use crate::{
    args::WayBack,
    mcp,
    output::{Output, tell},
};

/// What is waited for has not come yet: sysexits' "try again later".
const NOT_YET: u8 = 75;

/// The whole program, for one of these commands.
pub fn main(command: WayBack, out: Output) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("hub: no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(command, out)).unwrap_or_else(|error| {
        tell(&format!("hub: {error:#}"));
        ExitCode::FAILURE
    });
    // A read of standard input can not be taken back: nobody waits for it.
    runtime.shutdown_background();
    code
}

async fn run(command: WayBack, out: Output) -> Result<ExitCode> {
    let Some(socket) = std::env::var_os(SOCKET).filter(|socket| !socket.is_empty()).map(PathBuf::from) else {
        bail!("This is called by an agent that the hub runs ({SOCKET} is not set)");
    };
    match command {
        WayBack::Say { text } => {
            call::<Value>(&socket, &Request::Say(Say { text: given(text)? })).await?;
            out.show(&json!({"said": true}), |_| "said".into());
            Ok(ExitCode::SUCCESS)
        }
        WayBack::Ask { title, body, options, wait } => {
            let question = Question { title, body, options, approval: false, wait };
            let answer: Answer = call(&socket, &Request::Ask(question)).await?;
            out.show(&answer, printed);
            Ok(match answer.state {
                AnswerState::Answered => ExitCode::SUCCESS,
                AnswerState::Open if !wait => ExitCode::SUCCESS,
                _ => ExitCode::from(NOT_YET),
            })
        }
        WayBack::Subtask { text, model, agent, wait } => {
            let subtask = Subtask { text: given(text)?, model, agent, project: None, wait };
            let state: SubtaskState = call(&socket, &Request::Subtask(subtask)).await?;
            out.show(&state, subtask_words);
            Ok(match state.status.as_str() {
                "complete" => ExitCode::SUCCESS,
                "failed" | "cancelled" => ExitCode::FAILURE,
                _ if wait => ExitCode::from(NOT_YET),
                _ => ExitCode::SUCCESS,
            })
        }
        WayBack::Thread { limit } => {
            let said = thread(&socket, Some(limit)).await?;
            out.show(&said, |said| conversation(said));
            Ok(ExitCode::SUCCESS)
        }
        WayBack::Mcp => {
            mcp::serve(socket, rmcp::transport::stdio()).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn given(text: String) -> Result<String> {
    if text != "-" {
        return Ok(text);
    }
    let mut read = String::new();
    std::io::stdin().read_to_string(&mut read).context("standard input is not text")?;
    Ok(read)
}

/// The newest messages of the conversation.
pub async fn thread(socket: &Path, limit: Option<u32>) -> Result<Vec<Said>, hub_worker::door::Trouble> {
    call(socket, &Request::Thread(Last { limit })).await
}

/// What a script reads: the answer alone, once there is one.
fn printed(answer: &Answer) -> String {
    let text = answer.text.as_deref().map(str::trim).filter(|text| !text.is_empty());
    match (answer.state, answer.answer.as_deref()) {
        (AnswerState::Answered, Some(choice)) if text.is_none_or(|text| text == choice) => choice.to_owned(),
        (AnswerState::Answered, choice) => choice.into_iter().chain(text).collect::<Vec<_>>().join("\n"),
        _ => words(answer),
    }
}

/// What an answer says. Nobody's silence is told as a refusal.
pub fn words(answer: &Answer) -> String {
    let by = answer.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    let text = answer.text.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let with = text.map(|text| format!(": {text}")).unwrap_or_default();
    match (answer.state, answer.answer.as_deref()) {
        (AnswerState::Answered, Some("allow" | "allow_task")) => format!("Allowed{by}{with}"),
        (AnswerState::Answered, Some("deny")) => format!("Denied{by}{with}"),
        (AnswerState::Answered, Some(choice)) if text.is_none_or(|text| text == choice) => {
            format!("Answered{by}: {choice}")
        }
        (AnswerState::Answered, Some(choice)) => format!("Answered{by}: {choice}{with}"),
        (AnswerState::Answered, None) => format!("Answered{by}{with}"),
        (AnswerState::Open, _) => {
            "Asked. Nobody has answered yet, which is no refusal; the answer will be in the conversation.".into()
        }
        (AnswerState::Parked, _) => {
            "Nobody has answered yet, which is no refusal. The task waits from here on and goes on with the answer: stop now."
                .into()
        }
        (AnswerState::Expired, _) => "Nobody answered in time. That is no refusal, and no leave either.".into(),
        (AnswerState::Withdrawn, _) => "The question was withdrawn before anybody answered it.".into(),
    }
}

/// What a subtask says.
pub fn subtask_words(state: &SubtaskState) -> String {
    let SubtaskState { id, status, result, error } = state;
    match status.as_str() {
        "complete" => format!("Subtask {id} is complete:\n{}", result.as_deref().unwrap_or("(without a word)")),
        "failed" | "cancelled" => match error.as_deref().filter(|error| !error.is_empty()) {
            Some(error) => format!("Subtask {id} is {status}: {error}"),
            None => format!("Subtask {id} is {status}"),
        },
        _ => format!("Subtask {id} is {status}"),
    }
}

/// A conversation, as it is read.
pub fn conversation(said: &[Said]) -> String {
    if said.is_empty() {
        return "Nothing was said yet.".into();
    }
    let lines: Vec<String> = said.iter().map(|said| format!("[{}] {}: {}", said.seq, said.who, said.text)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kimi_cli_1823_silence_is_never_told_as_a_refusal() {
        for state in [AnswerState::Open, AnswerState::Parked, AnswerState::Expired, AnswerState::Withdrawn] {
            let text = words(&Answer::none(state)).to_lowercase();
            for word in ["denied", "declined", "rejected", "refused", "allowed"] {
                assert!(!text.contains(word), "{state:?}: {text}");
            }
        }
    }

    #[test]
    fn an_answer_says_what_who_and_in_which_words() {
        let answered = |answer: Option<&str>, text: Option<&str>| Answer {
            state: AnswerState::Answered,
            answer: answer.map(str::to_owned),
            text: text.map(str::to_owned),
            by: Some("Mo".into()),
        };
        let answer = |answer: Option<&str>, text: Option<&str>| words(&answered(answer, text));
        assert_eq!(answer(Some("allow"), None), "Allowed by Mo");
        assert_eq!(answer(Some("deny"), Some("not on Fridays")), "Denied by Mo: not on Fridays");
        assert_eq!(answer(Some("sqlite"), Some("sqlite")), "Answered by Mo: sqlite");
        assert_eq!(answer(Some("sqlite"), Some("it is small")), "Answered by Mo: sqlite: it is small");
        assert_eq!(answer(None, Some("call it renamer")), "Answered by Mo: call it renamer");
        // A script reads what was answered, and nothing else.
        let read = |answer: Option<&str>, text: Option<&str>| printed(&answered(answer, text));
        assert_eq!(read(Some("sqlite"), Some("sqlite")), "sqlite");
        assert_eq!(read(Some("sqlite"), Some("it is small")), "sqlite\nit is small");
        assert_eq!(read(None, Some("call it renamer")), "call it renamer");
        assert!(printed(&Answer::none(AnswerState::Expired)).contains("Nobody answered"));
    }

    #[test]
    fn a_subtask_says_how_it_stands() {
        let state = |status: &str, result: Option<&str>, error: Option<&str>| {
            subtask_words(&SubtaskState {
                id: uuid::Uuid::nil(),
                status: status.into(),
                result: result.map(str::to_owned),
                error: error.map(str::to_owned),
            })
        };
        assert!(state("complete", Some("42"), None).ends_with("is complete:\n42"));
        assert!(state("failed", None, Some("no disk")).ends_with("is failed: no disk"));
        assert!(state("pending", None, None).ends_with("is pending"));
    }
}
