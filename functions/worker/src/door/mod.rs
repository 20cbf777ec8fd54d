//! The door of an attempt: a Unix socket in its folder, by which the agent that runs reaches the hub. No token passes it: the worker
//! speaks with the hub, in the name of this attempt alone, and the door ends with the attempt.
//!
//! Spoken is JSON-RPC 2.0, a message a line. `hub mcp`, `hub say` and the like speak it ([`call`]).
//!
//! Who may come in: a process of the same user, below the guard that this worker started for the attempt. Others are told so in a
//! sentence and sent away.

mod call;
mod peer;
mod place;
mod serve;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use hub::types::Message;
use hub_agents::HubServer;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Context, redact::Redactor};
pub use call::{Trouble, call};

/// The variable that says where the door of an attempt is.
pub const SOCKET: &str = HubServer::VARIABLE;
/// How the socket is called, in the attempt's folder.
const NAME: &str = "hub.sock";
/// The longest line, in bytes.
pub const LINE: usize = 1024 * 1024;
/// As many may be connected at once.
const CONNECTIONS: usize = 16;
/// As many who connect are looked at at once.
const LOOKS: usize = 4;
/// As many of an attempt's requests may be under way at once.
const REQUESTS: usize = 32;
/// How long a request waits for a subtask. Its slot is taken meanwhile, which may be the one that the subtask waits for.
const HOLD: Duration = Duration::from_secs(600);

/// What an agent may want of the hub while it works.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Words for the conversation, now.
    Say(Say),
    /// A person is to decide.
    Ask(Question),
    /// Work for another.
    Subtask(Subtask),
    /// What became of that.
    SubtaskResult(Which),
    /// What was said in its conversation.
    Thread(Last),
}

impl Request {
    /// Its name as a method, and what it says.
    fn message(&self) -> (&'static str, serde_json::Result<serde_json::Value>) {
        match self {
            Self::Say(say) => ("say", serde_json::to_value(say)),
            Self::Ask(question) => ("ask", serde_json::to_value(question)),
            Self::Subtask(subtask) => ("subtask", serde_json::to_value(subtask)),
            Self::SubtaskResult(which) => ("subtask_result", serde_json::to_value(which)),
            Self::Thread(last) => ("thread", serde_json::to_value(last)),
        }
    }

    /// By its name. None: there is no such method.
    fn read(method: &str, params: &str) -> Option<serde_json::Result<Self>> {
        Some(match method {
            "say" => serde_json::from_str(params).map(Self::Say),
            "ask" => serde_json::from_str(params).map(Self::Ask),
            "subtask" => serde_json::from_str(params).map(Self::Subtask),
            "subtask_result" => serde_json::from_str(params).map(Self::SubtaskResult),
            "thread" => serde_json::from_str(params).map(Self::Thread),
            _ => return None,
        })
    }
}

/// Something to say in the conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Say {
    /// The words.
    pub text: String,
}

/// Something that a person is to decide.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// What it is about, in a line.
    pub title: String,
    /// All there is to know about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Answers to choose from; without any it is answered in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Leave is asked for something: it is answered by yes or no.
    #[serde(default)]
    pub approval: bool,
    /// Whether the answer is waited for.
    #[serde(default)]
    pub wait: bool,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether, and if not, why not.
    pub state: AnswerState,
    /// The option's key; of an approval `allow`, `allow_task` or `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Who answered, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Answer {
    /// One that says nothing but that there is no answer.
    #[must_use]
    pub fn none(state: AnswerState) -> Self {
        Self { state, answer: None, text: None, by: None }
    }
}

/// How a question stands. Only `Answered` says anything about what a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerState {
    /// It is asked, and nobody waits here.
    Open,
    /// A person, a rule or a grant answered.
    Answered,
    /// Nobody answered for so long that the attempt is parked: it goes on with the answer.
    Parked,
    /// Nobody answered in time, and what then was to be is: nothing.
    Expired,
    /// It was taken back, here or by the end of what it was about.
    Withdrawn,
}

/// A piece of work for another agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subtask {
    /// What is to be done.
    pub text: String,
    /// The model that is to do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The agent that is to do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The project that it is about, where that is another than the task's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Whether its end is waited for.
    #[serde(default)]
    pub wait: bool,
}

/// Which subtask is asked about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Its id, as [`Subtask`] was answered.
    pub id: Uuid,
    /// Whether its end is waited for.
    #[serde(default)]
    pub wait: bool,
}

/// How much of the conversation is asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Last {
    /// So many messages, the newest; 50 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// How a subtask stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubtaskState {
    /// Its id.
    pub id: Uuid,
    /// `pending`, `running`, `complete` and so on: a task's.
    pub status: String,
    /// What it has to say, if it completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl SubtaskState {
    /// Whether nothing will come any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "complete" | "failed" | "cancelled")
    }
}

/// A message of the conversation, as an agent gets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Its number in the conversation.
    pub seq: i64,
    /// Who said it.
    pub who: String,
    /// The words.
    pub text: String,
}

impl From<Message> for Said {
    fn from(message: Message) -> Self {
        let who = message.sender_label.filter(|label| !label.is_empty()).unwrap_or(message.sender_type);
        Self { seq: message.seq, who, text: message.content }
    }
}

/// How the door of one attempt reaches the hub. Whatever is called, the hub holds it against the attempt: where that is over, it says
/// [`hub::Error::LeaseLost`]. A future that is dropped is not waited for any more.
pub trait Way: Send + Sync {
    /// Says something in the conversation.
    fn say(&self, text: String) -> BoxFuture<'_, hub::Result<()>>;

    /// Asks a person. With [`Question::wait`] it comes back when there is an answer, or with [`AnswerState::Parked`] when the attempt is
    /// about to be ended because there is none. `gone` is cancelled once nobody waits here any more: then the question is to be
    /// withdrawn.
    fn ask(&self, question: Question, gone: CancellationToken) -> BoxFuture<'_, hub::Result<Answer>>;

    /// Makes a subtask. That it is waited for is the door's affair.
    fn subtask(&self, subtask: Subtask) -> BoxFuture<'_, hub::Result<SubtaskState>>;

    /// How a subtask stands.
    fn subtask_result(&self, id: Uuid) -> BoxFuture<'_, hub::Result<SubtaskState>>;

    /// Comes back once the hub has told that a subtask ended.
    fn subtask_ended(&self, id: Uuid) -> BoxFuture<'_, ()>;

    /// The newest messages of the conversation, the newest last.
    fn thread(&self, limit: u32) -> BoxFuture<'_, hub::Result<Vec<Message>>>;
}

/// The door of one attempt, while it is open. Dropped, it closes.
#[derive(Debug)]
pub struct Door {
    socket: PathBuf,
    end: CancellationToken,
    serving: Option<tokio::task::JoinHandle<()>>,
}

impl Door {
    /// Opens it in the attempt's folder, for what carries the attempt's mark. What the agent says through it is cleaned and blacked
    /// out before anybody hears it.
    pub(crate) fn open(folder: &Path, mark: &str, way: Arc<dyn Way>, redactor: Arc<Redactor>) -> io::Result<Self> {
        let socket = folder.join(NAME);
        let listener = place::listen(&socket)?;
        let end = CancellationToken::new();
        let room = serve::Room::new(peer::Wanted { folder: folder.to_owned(), mark: mark.to_owned() }, way, redactor);
        let serving = tokio::spawn(serve::serve(listener, Arc::new(room), end.clone()));
        Ok(Self { socket, end, serving: Some(serving) })
    }

    /// What the agent's environment says of it.
    #[must_use]
    pub fn mark(&self) -> (OsString, OsString) {
        (SOCKET.into(), self.socket.clone().into())
    }

    /// Where it is.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Closes it: whoever waits is told that the attempt has ended.
    pub async fn close(mut self) {
        self.end.cancel();
        if let Some(serving) = self.serving.take() {
            serving.await.ok();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.end.cancel();
        std::fs::remove_file(&self.socket).ok();
    }
}

/// What an agent's program is told of the hub: how to start what speaks MCP with it. None where the attempt has no door.
pub(crate) fn server(context: &Context) -> Option<HubServer> {
    let (_, socket) = context.marks.iter().find(|(name, _)| name == SOCKET)?;
    Some(HubServer {
        program: program(&context.host).to_string_lossy().into_owned(),
        socket: socket.to_string_lossy().into_owned(),
    })
}

/// The program `hub`, by the path of what hosts agents. For another process `/proc/self` is another program.
fn program(host: &Path) -> PathBuf {
    if host != crate::host::own_program() {
        return host.to_owned();
    }
    let own = std::env::current_exe().unwrap_or_else(|_| host.to_owned());
    // What Linux says where the file was replaced meanwhile: the new one is at its place.
    let text = own.to_string_lossy();
    text.strip_suffix(" (deleted)").map_or_else(|| own.clone(), PathBuf::from)
}
