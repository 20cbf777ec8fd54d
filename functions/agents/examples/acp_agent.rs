//! An agent that speaks the Agent Client Protocol over standard input and output, for tests: it does all that the protocol allows, and
//! some that it does not. What it does is named in the prompt, by the words below, one after the other: `plan edit:notes.txt say:done`.
//!
//! | word | what it does |
//! |---|---|
//! | `say:TEXT` | says it (`_` is a space) |
//! | `think` `plan` `tool` `fails` `usage` `mode` `commands` | a thought, a plan in three steps, tools that work or fail, figures, news |
//! | `edit:FILE` | asks for leave, and writes the file once it has it |
//! | `ask:KIND` | asks for leave for a tool of this kind |
//! | `choose` | asks which of two things to do |
//! | `retract` | asks for leave, and takes that back at once |
//! | `recall` | says what it was asked before in this session, and what was said to it |
//! | `read` | asks for a file by a method that was not offered |
//! | `refresh` | if the login in the file of `CLAUDE_CONFIG_DIR` expires in 5 minutes, has it changed for a new one, as a provider does who takes each token once |
//! | `wait:MS` | waits; is cancelled in that time if it is told to |
//! | `refuse` `max_tokens` `max_turns` | ends the turn for that reason |
//! | `auth` `limit` `retry` `overloaded` `full` `error` | ends it with such an error |
//! | `broken` `binary` `nobody` `twice` `wrong_id` `unknown` `huge:MB` `deep` | says what is none of the protocol |
//! | `late` | goes on to tell after the end |
//! | `silent` `crash` `exit:N` `linger` | never answers; dies; exits; stays after its input has ended |
//!
//! The sessions it had are in files in the folder that `ACP_AGENT_SESSIONS` names; without it, it has none to go on with. With
//! `ACP_AGENT_LOGIN` it wants to be logged in first.

use std::{
    env, fs,
    io::{BufRead, Write, stdin, stdout},
    path::{Path, PathBuf},
    process::exit,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

struct Agent {
    input: Receiver<Value>,
    /// What came while an answer was waited for.
    waiting: Vec<Value>,
    folder: PathBuf,
    session: String,
    asked: u64,
    cancelled: bool,
    logged_in: bool,
    linger: bool,
}

fn main() {
    let (sender, input) = channel();
    thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if let Ok(message) = serde_json::from_str(&line)
                && sender.send(message).is_err()
            {
                return;
            }
        }
    });
    let mut agent = Agent {
        input,
        waiting: Vec::new(),
        folder: PathBuf::from("."),
        session: String::new(),
        asked: 0,
        cancelled: false,
        logged_in: env::var_os("ACP_AGENT_LOGIN").is_none(),
        linger: false,
    };
    while let Some(message) = agent.next() {
        agent.answer(&message);
    }
    if agent.linger {
        loop {
            thread::park();
        }
    }
}

fn write(bytes: &[u8]) {
    let mut out = stdout().lock();
    // Who does not listen any more has ended it.
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        exit(0);
    }
}

fn send(message: &Value) {
    write(format!("{message}\n").as_bytes());
}

fn result(id: &Value, result: &Value) {
    send(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
}

fn error(id: &Value, code: i64, message: &str, data: &Value) {
    send(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, "data": data}}));
}

impl Agent {
    fn next(&mut self) -> Option<Value> {
        if self.waiting.is_empty() { self.input.recv().ok() } else { Some(self.waiting.remove(0)) }
    }

    fn answer(&mut self, message: &Value) {
        let id = &message["id"];
        let params = &message["params"];
        match message["method"].as_str() {
            Some("initialize") => {
                let able = json!({"loadSession": true, "sessionCapabilities": {}, "promptCapabilities": {}});
                let info = json!({"name": "acp-agent", "title": "Test agent", "version": env!("CARGO_PKG_VERSION")});
                let login = json!([{"id": "test-api-key", "name": "A key"}]);
                result(
                    id,
                    &json!({"protocolVersion": 1, "agentCapabilities": able, "agentInfo": info, "authMethods": login}),
                );
            }
            Some("authenticate") => {
                self.logged_in = env::var("ACP_AGENT_LOGIN").is_ok_and(|key| key == "valid");
                if self.logged_in {
                    result(id, &json!({}))
                } else {
                    error(id, -32000, "The key is not valid", &Value::Null)
                }
            }
            Some("session/new" | "session/load") if !self.logged_in => {
                error(id, -32000, "Authentication required", &Value::Null)
            }
            Some("session/new") => {
                self.folder = PathBuf::from(params["cwd"].as_str().unwrap_or("."));
                self.session = format!("session-{}", std::process::id());
                if let Some(file) = self.file_of(&self.session) {
                    fs::write(file, "").ok();
                }
                result(id, &json!({"sessionId": self.session, "modes": modes(), "models": models()}));
            }
            Some("session/load") => {
                self.folder = PathBuf::from(params["cwd"].as_str().unwrap_or("."));
                self.session = params["sessionId"].as_str().unwrap_or_default().to_owned();
                if !self.file_of(&self.session).is_some_and(|file| file.is_file()) {
                    return error(
                        id,
                        -32603,
                        "Internal error",
                        &json!({"details": format!("no session {}", self.session)}),
                    );
                }
                self.update(&json!({"sessionUpdate": "user_message_chunk", "content": text("what was said before")}));
                self.say("what was answered before");
                self.update(&json!({"sessionUpdate": "tool_call", "toolCallId": "old", "title": "an old tool", "status": "completed"}));
                result(id, &json!({"modes": modes(), "models": models()}));
            }
            Some("session/set_mode") => {
                self.update(&json!({"sessionUpdate": "current_mode_update", "currentModeId": params["modeId"]}));
                result(id, &json!({}));
            }
            Some("session/set_model") => result(id, &json!({})),
            Some("session/prompt") => {
                self.cancelled = false;
                let words = params["prompt"][0]["text"].as_str().unwrap_or_default().to_owned();
                self.work(id, &words);
                if let Some(file) = self.file_of(&self.session) {
                    let before = fs::read_to_string(&file).unwrap_or_default();
                    fs::write(file, format!("{before}{words}\n")).ok();
                }
            }
            Some("session/cancel") => self.cancelled = true,
            Some(_) if !id.is_null() => error(id, -32601, "Method not found", &Value::Null),
            _ => {}
        }
    }

    fn file_of(&self, session: &str) -> Option<PathBuf> {
        let named = session.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        env::var_os("ACP_AGENT_SESSIONS")
            .filter(|_| named && !session.is_empty())
            .map(|folder| Path::new(&folder).join(session))
    }

    fn update(&self, update: &Value) {
        send(
            &json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": self.session, "update": update}}),
        );
    }

    fn say(&self, words: &str) {
        self.update(&json!({"sessionUpdate": "agent_message_chunk", "content": text(words)}));
    }

    /// Asks, and waits for the answer; what else comes meanwhile is for later. None: it was cancelled, or nobody is there.
    fn ask(&mut self, method: &str, params: &Value) -> Option<Value> {
        let id = json!(self.asked);
        self.asked += 1;
        send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        while let Ok(message) = self.input.recv() {
            if message.get("method").is_none() && message["id"] == id {
                return Some(message);
            }
            self.heard(message);
        }
        None
    }

    fn heard(&mut self, message: Value) {
        if message["method"] == "session/cancel" {
            self.cancelled = true;
        } else {
            self.waiting.push(message);
        }
    }

    fn may(&mut self, tool: &Value) -> bool {
        let options = json!([
            {"optionId": "always", "name": "Always", "kind": "allow_always"},
            {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
            {"optionId": "no", "name": "No", "kind": "reject_once"}
        ]);
        let params = json!({"sessionId": self.session, "options": options, "toolCall": tool});
        let answer = self.ask("session/request_permission", &params).unwrap_or_default();
        matches!(answer["result"]["outcome"]["optionId"].as_str(), Some("yes" | "always"))
    }

    fn wait(&mut self, milliseconds: u64) {
        let end = Instant::now() + Duration::from_millis(milliseconds);
        while !self.cancelled {
            let left = end.saturating_duration_since(Instant::now());
            match self.input.recv_timeout(left) {
                Ok(message) => self.heard(message),
                Err(_) => {
                    // Nobody is there any more, or the time is over.
                    thread::sleep(end.saturating_duration_since(Instant::now()));
                    return;
                }
            }
        }
    }

    fn work(&mut self, id: &Value, words: &str) {
        let done = |reason: &str| {
            result(
                id,
                &json!({"stopReason": reason, "usage": {"inputTokens": 80, "cachedReadTokens": 20, "outputTokens": 5, "totalTokens": 105}}),
            )
        };
        let mut late = false;
        for (at, word) in words.split_whitespace().enumerate() {
            let (what, with) = word.split_once(':').unwrap_or((word, ""));
            let tool = format!("tool-{at}");
            match what {
                "say" => self.say(&with.replace('_', " ")),
                "think" => self.update(&json!({"sessionUpdate": "agent_thought_chunk", "content": text("a thought")})),
                "plan" => self.update(&json!({"sessionUpdate": "plan", "entries": [
                    {"content": "Look", "priority": "high", "status": "completed"},
                    {"content": "Change", "priority": "high", "status": "in_progress"},
                    {"content": "Test", "priority": "low", "status": "pending"}
                ]})),
                "tool" | "fails" => {
                    let status = if what == "tool" { "completed" } else { "failed" };
                    self.update(&json!({"sessionUpdate": "tool_call", "toolCallId": tool, "title": "cargo test", "kind": "execute", "status": "in_progress"}));
                    self.update(&json!({"sessionUpdate": "tool_call_update", "toolCallId": tool, "status": status, "content": [{"type": "content", "content": text("its output")}]}));
                }
                "edit" => self.edit(&tool, with),
                "ask" => {
                    let call = json!({"toolCallId": tool, "title": "something", "kind": with, "status": "pending"});
                    let answer = if self.may(&call) { "It was allowed." } else { "It was not allowed." };
                    self.say(answer);
                }
                "choose" => self.choose(&tool),
                "retract" => {
                    let call = json!({"toolCallId": tool, "title": "something", "kind": "other", "status": "pending"});
                    let params = json!({"sessionId": self.session, "options": [{"optionId": "yes", "name": "Yes", "kind": "allow_once"}], "toolCall": call});
                    send(&json!({"jsonrpc": "2.0", "id": self.asked, "method": "session/request_permission", "params": params}));
                    send(&json!({"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": self.asked}}));
                    self.asked += 1;
                }
                "recall" => {
                    let before = self.file_of(&self.session).and_then(|file| fs::read_to_string(file).ok());
                    let before = before.unwrap_or_default();
                    self.say(&format!("before: {}", before.lines().collect::<Vec<_>>().join(" | ")));
                }
                "read" => {
                    let answer = self.ask("fs/read_text_file", &json!({"sessionId": self.session, "path": "/etc/hostname"})).unwrap_or_default();
                    self.say(if answer["error"]["code"] == -32601 { "No such method." } else { "An answer." });
                }
                "usage" => self.update(&json!({"sessionUpdate": "usage_update", "used": 100, "size": 1000, "cost": {"amount": 0.25, "currency": "USD"}})),
                "mode" => self.update(&json!({"sessionUpdate": "current_mode_update", "currentModeId": "default"})),
                "commands" => self.update(&json!({"sessionUpdate": "available_commands_update", "availableCommands": []})),
                "refresh" => {
                    if let Err(why) = refresh() {
                        return error(id, -32000, &why, &Value::Null);
                    }
                }
                "wait" => self.wait(with.parse().unwrap_or(1000)),
                "refuse" => return done("refusal"),
                "max_tokens" => return done("max_tokens"),
                "max_turns" => return done("max_turn_requests"),
                "auth" => return error(id, -32000, "Authentication required", &Value::Null),
                "limit" => return error(id, 429, "You have exhausted your daily quota on this model.", &json!({"resetsAt": 1_893_456_000})),
                "retry" => return error(id, 429, "Resource exhausted. Please retry in 34.07s.", &Value::Null),
                "overloaded" => return error(id, 503, "The model is overloaded.", &Value::Null),
                "full" => return error(id, 400, "The input token count (9) exceeds the maximum number of tokens allowed (8).", &Value::Null),
                "error" => return error(id, -32603, "Internal error", &json!({"details": "something broke"})),
                "broken" => write(b"{\"jsonrpc\": \"2.0\", \"method\":\nTraceback (most recent call last):\n"),
                "binary" => write(b"\xff\xfe\x00\x1b[31m\n"),
                "nobody" => result(&json!(4711), &json!({"stopReason": "refusal"})),
                "twice" => {
                    done("end_turn");
                    return done("refusal");
                }
                "wrong_id" => send(&json!({"jsonrpc": "2.0", "id": {"not": "an id"}, "method": "session/request_permission", "params": 7})),
                "unknown" => self.update(&json!({"sessionUpdate": "something_new", "a": [1, 2, 3]})),
                "huge" => self.huge(with.parse().unwrap_or(1)),
                "deep" => write(format!("{{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{}\n", "[".repeat(100_000)).as_bytes()),
                "late" => late = true,
                "linger" => self.linger = true,
                "silent" => loop {
                    thread::park();
                },
                "crash" => std::process::abort(),
                "exit" if !with.is_empty() => exit(with.parse().unwrap_or(1)),
                _ => {}
            }
            if self.cancelled {
                return done("cancelled");
            }
        }
        done("end_turn");
        if late {
            self.say("This came late.");
            self.update(
                &json!({"sessionUpdate": "tool_call", "toolCallId": "late", "title": "late", "status": "pending"}),
            );
        }
    }

    fn choose(&mut self, tool: &str) {
        let options = json!([{"optionId": "a", "name": "The first"}, {"optionId": "b", "name": "The second"}]);
        let call = json!({"toolCallId": tool, "title": "Which one?", "kind": "other", "status": "pending"});
        let params = json!({"sessionId": self.session, "options": options, "toolCall": call});
        let answer = self.ask("session/request_permission", &params).unwrap_or_default();
        match answer["result"]["outcome"]["optionId"].as_str() {
            Some(option) => self.say(&format!("chosen: {option}")),
            None => self.say("nothing chosen"),
        }
    }

    fn edit(&mut self, tool: &str, name: &str) {
        let path = self.folder.join(name);
        let diff = json!([{"type": "diff", "path": path, "oldText": null, "newText": "written\n"}]);
        let call = json!({"toolCallId": tool, "title": format!("Writing {name}"), "kind": "edit", "status": "pending", "content": diff, "locations": [{"path": path}]});
        if !self.may(&call) {
            return;
        }
        let status = if fs::write(&path, "written\n").is_ok() { "completed" } else { "failed" };
        self.update(&json!({"sessionUpdate": "tool_call_update", "toolCallId": tool, "status": status, "kind": "edit", "content": diff, "locations": [{"path": path}]}));
    }

    /// One line, so many millions of bytes long.
    fn huge(&self, millions: usize) {
        let output = "x".repeat(millions * 1_000_000);
        self.update(&json!({"sessionUpdate": "tool_call", "toolCallId": "huge", "title": "cat big", "kind": "execute", "status": "completed", "content": [{"type": "content", "content": text(&output)}]}));
    }
}

/// A token that was used has a file of its name beside the login, wherever that is: who comes second is refused, as by a provider.
fn refresh() -> Result<(), String> {
    let folder = env::var_os("CLAUDE_CONFIG_DIR").map(PathBuf::from).unwrap_or_default();
    let file = folder.join(".credentials.json").canonicalize().map_err(|error| error.to_string())?;
    let read = fs::read(&file).map_err(|error| error.to_string())?;
    let mut login: Value = serde_json::from_slice(&read).map_err(|error| error.to_string())?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let in_minutes = |minutes: u64| u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_add(minutes * 60_000);
    let tokens = &mut login["claudeAiOauth"];
    if tokens["expiresAt"].as_u64() > Some(in_minutes(5)) {
        return Ok(());
    }
    let token = tokens["refreshToken"].as_str().unwrap_or_default().to_owned();
    // The provider takes its time.
    thread::sleep(Duration::from_secs(1));
    let used = fs::File::create_new(file.with_file_name(format!("used-{token}")));
    used.map_err(|_| format!("Your refresh token was already used: {token}"))?;
    tokens["refreshToken"] = format!("{token}-next").into();
    tokens["expiresAt"] = in_minutes(480).into();
    fs::write(file, login.to_string()).map_err(|error| error.to_string())
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn modes() -> Value {
    json!({"currentModeId": "default", "availableModes": [{"id": "default", "name": "Default"}, {"id": "acceptEdits", "name": "Edit"}, {"id": "yolo", "name": "All"}]})
}

fn models() -> Value {
    json!({"currentModelId": "small", "availableModels": [{"modelId": "small", "name": "Small"}, {"modelId": "big", "name": "Big"}]})
}
