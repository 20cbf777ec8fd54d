//! Who is let in at a door, what is said there, and how it ends. Who calls is a program of its own, below a host, as an agent's tools are.

use std::{
    os::unix::fs::PermissionsExt,
    process::Stdio,
    sync::{Mutex, PoisonError},
};

use futures_util::FutureExt;
use hub::error::Refusal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    sync::Notify,
    time::timeout,
};

use super::*;
use crate::host::{self, Events, Host, Input, Spec, Watch};

/// What takes longer hangs.
const BOUND: Duration = Duration::from_secs(30);

/// A hub that notes what it is told.
#[derive(Default)]
struct Noting {
    notes: Mutex<Vec<String>>,
    answered: Notify,
    ended: Notify,
    over: std::sync::atomic::AtomicBool,
    asked: Notify,
    withdrawn: Notify,
}

impl Noting {
    fn note(&self, what: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self) -> SubtaskState {
        let over = self.over.load(std::sync::atomic::Ordering::Relaxed);
        SubtaskState {
            id: Uuid::from_u128(7),
            status: if over { "complete" } else { "running" }.into(),
            result: over.then(|| "42".into()),
            error: None,
        }
    }
}

impl Way for Noting {
    fn say(&self, text: String) -> BoxFuture<'_, hub::Result<()>> {
        async move {
            let refused = |code: &str| {
                Err(hub::Error::refused(Refusal { code: code.into(), message: "no".into(), ..Refusal::default() }))
            };
            match text.as_str() {
                "too many" => refused("UH006"),
                "lost" => refused("UH002"),
                "away" => Err(hub::Error::Unreachable("nobody answers".into())),
                _ => {
                    self.note(text);
                    Ok(())
                }
            }
        }
        .boxed()
    }

    fn ask(&self, question: Question, gone: CancellationToken) -> BoxFuture<'_, hub::Result<Answer>> {
        async move {
            self.note(question.title);
            self.asked.notify_one();
            tokio::select! {
                () = self.answered.notified() => {}
                () = gone.cancelled() => {
                    self.withdrawn.notify_one();
                    return Ok(Answer::none(AnswerState::Withdrawn));
                }
            }
            Ok(Answer { answer: Some("allow".into()), by: Some("Mo".into()), ..Answer::none(AnswerState::Answered) })
        }
        .boxed()
    }

    fn subtask(&self, subtask: Subtask) -> BoxFuture<'_, hub::Result<SubtaskState>> {
        self.note(subtask.text);
        async { Ok(self.state()) }.boxed()
    }

    fn subtask_result(&self, _: Uuid) -> BoxFuture<'_, hub::Result<SubtaskState>> {
        async { Ok(self.state()) }.boxed()
    }

    fn subtask_ended(&self, _: Uuid) -> BoxFuture<'_, ()> {
        self.ended.notified().boxed()
    }

    fn thread(&self, limit: u32) -> BoxFuture<'_, hub::Result<Vec<Message>>> {
        let message = json!({
            "id": Uuid::nil(), "channel_id": Uuid::nil(), "seq": limit, "sender_type": "human", "sender_label": "Mo", "content": "hello"
        });
        async move { Ok(vec![serde_json::from_value(message).unwrap()]) }.boxed()
    }
}

/// A door of an attempt, whose folder is at a path of any length.
struct House {
    way: Arc<Noting>,
    door: Option<Door>,
    folder: PathBuf,
    mark: String,
    _place: TempDir,
}

fn house_in(deep: &str) -> House {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join(deep);
    std::fs::create_dir_all(&folder).unwrap();
    let (way, mark) = (Arc::new(Noting::default()), format!("{}.1", Uuid::new_v4()));
    let secret = ("A_KEY".into(), "abcd-efgh".into());
    let redactor = Arc::new(Redactor::new(std::iter::once(secret), &[]).unwrap());
    let door = Door::open(&folder, &mark, Arc::clone(&way) as Arc<dyn Way>, redactor).unwrap();
    House { way, door: Some(door), folder, mark, _place: place }
}

fn house() -> House {
    house_in("attempt")
}

/// The example `door` of this crate, which cargo builds beside its tests.
fn caller() -> PathBuf {
    host::tests::program().with_file_name("door")
}

/// A program under a host, and what it says.
struct Caller {
    host: Host,
    events: Events,
    said: Vec<u8>,
}

impl Caller {
    async fn line(&mut self) -> String {
        let hears = async {
            loop {
                if let Some(end) = memchr::memchr(b'\n', &self.said) {
                    let line: Vec<u8> = self.said.drain(..=end).collect();
                    return String::from_utf8(line).unwrap().trim_end().to_owned();
                }
                match self.events.next().await {
                    Some(host::Event::Output(bytes)) => self.said.extend_from_slice(&bytes),
                    Some(host::Event::Ended(exit)) => panic!("it ended without a word: {exit:?}"),
                    None => panic!("no event is left"),
                    Some(_) => {}
                }
            }
        };
        timeout(BOUND, hears).await.expect("it says nothing")
    }

    async fn reply(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    async fn ends(&mut self) {
        let ends = async {
            while let Some(event) = self.events.next().await {
                if matches!(event, host::Event::Ended(_)) {
                    return;
                }
            }
        };
        timeout(BOUND, ends).await.expect("it does not end");
    }
}

impl House {
    /// Runs a shell script as the agent of this attempt, with a folder for its turn.
    fn agent(&self, turn: &str, script: &str) -> Caller {
        let folder = self.folder.join(turn);
        std::fs::create_dir_all(&folder).unwrap();
        let door = self.door.as_ref().unwrap();
        let marks = [door.mark(), ("HUB_ATTEMPT".into(), self.mark.clone().into()), ("DOOR".into(), caller().into())];
        let spec = Spec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            directory: "/".into(),
            stdin: Input::Pipe,
            watch: Watch::default(),
            grace_seconds: 0.3,
        };
        let environment = std::env::vars_os().chain(marks).collect();
        let (host, events) = Host::start(&host::tests::program(), &spec, environment, &folder).unwrap();
        Caller { host, events, said: Vec::new() }
    }

    fn notes(&self) -> Vec<String> {
        self.way.notes()
    }
}

fn request(id: u32, method: &str, params: &Value) -> Vec<u8> {
    let mut line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string().into_bytes();
    line.push(b'\n');
    line
}

#[tokio::test]
async fn the_agent_and_all_that_came_of_it_are_let_in() {
    let house = house();
    let script = "\"$DOOR\" one; sh -c '\"$DOOR\" two; true'; (env -i HUB_ATTEMPT_SOCKET=\"$HUB_ATTEMPT_SOCKET\" setsid \"$DOOR\" three &) ; sleep 30";
    let mut agent = house.agent("", script);
    for _ in 0..3 {
        assert_eq!(agent.line().await, "said");
    }
    assert_eq!(house.notes(), ["one", "two", "three"]);
    // A later turn of the same attempt has a folder of its own.
    let mut turn = house.agent("turn-2", "\"$DOOR\" four; sleep 30");
    assert_eq!(turn.line().await, "said");
}

#[tokio::test]
async fn others_are_sent_away_with_a_sentence_whatever_their_environment_says() {
    let (house, other) = (house(), house());
    let outside = || {
        let mut command = tokio::process::Command::new(caller());
        command.env(SOCKET, house.door.as_ref().unwrap().socket()).env("HUB_ATTEMPT", &house.mark).arg("x");
        command
    };
    let said = outside().output().await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&said.stdout).trim(),
        "Only the agent of this attempt, and what it started, may call."
    );
    // An agent of another attempt, by the same worker.
    let script = format!(
        "HUB_ATTEMPT={} HUB_ATTEMPT_SOCKET={} \"$DOOR\" x; sleep 30",
        house.mark,
        house.door.as_ref().unwrap().socket().display()
    );
    let mut agent = other.agent("", &script);
    assert!(agent.line().await.starts_with("Only the agent of this attempt"));
    assert_eq!(house.notes(), [""; 0]);
}

#[tokio::test]
async fn the_socket_is_this_users_alone_and_another_user_is_sent_away() {
    let house = house();
    let socket = house.door.as_ref().unwrap().socket().to_owned();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let another = async || {
        let mut command = tokio::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(house._place.path().join("caller"));
        let said = command.env(SOCKET, &socket).stdin(Stdio::null()).output().await.unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    std::fs::copy(caller(), house._place.path().join("caller")).unwrap();
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    open(house._place.path(), 0o755);
    let said = another().await;
    assert!(said.starts_with("no door: Permission denied"), "{said}");
    // Even where somebody opened it.
    open(&socket, 0o666);
    let said = another().await;
    assert!(said.contains("This is another user's"), "{said}");
}

#[tokio::test]
async fn a_path_of_any_length_will_do() {
    let house = house_in(&["a-folder-with-a-long-name"; 12].join("/"));
    assert!(house.door.as_ref().unwrap().socket().as_os_str().len() > 300);
    let mut agent = house.agent("", "\"$DOOR\" hello; sleep 30");
    assert_eq!(agent.line().await, "said");
    let socket = house.door.as_ref().unwrap().socket().to_owned();
    drop(house.door);
    assert!(!socket.exists());
}

#[tokio::test]
async fn more_than_sixteen_at_once_are_sent_away() {
    let house = house();
    // Each holds its own input open, and so stays.
    let script = "i=0; while [ $i -lt 17 ]; do p=\"$HUB_ATTEMPT_SOCKET.$i\"; mkfifo \"$p\"; (\"$DOOR\" <>\"$p\" &); i=$((i+1)); done; sleep 30";
    let mut agent = house.agent("", script);
    let reply = agent.reply().await;
    assert!(reply["error"]["message"].as_str().unwrap().starts_with("16 are connected already"), "{reply}");
}

#[tokio::test]
async fn who_finds_all_places_taken_asks_again() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("door");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let replies = [
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32002, "message": "16 are connected already"}}),
        json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
    ];
    let serving = tokio::spawn(async move {
        for reply in replies {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(format!("{reply}\n").as_bytes()).await.unwrap();
        }
    });
    let say = Request::Say(Say { text: "one".into() });
    let said = timeout(BOUND, call::<Value>(&socket, &say)).await.unwrap();
    assert_eq!(said.unwrap(), json!({}));
    serving.await.unwrap();
}

#[tokio::test]
async fn strangers_who_come_and_go_take_no_place_of_the_agents() {
    let house = house();
    let socket = house.door.as_ref().unwrap().socket().to_owned();
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&over);
    let stranger = tokio::task::spawn_blocking(move || {
        while !seen.load(std::sync::atomic::Ordering::Relaxed) {
            drop(std::os::unix::net::UnixStream::connect(&socket));
        }
    });
    // Lines as they come: what refuses is not tried again.
    let line = json!({"jsonrpc": "2.0", "id": 1, "method": "thread", "params": {}});
    let script = format!("i=0; while [ $i -lt 5 ]; do echo '{line}' | \"$DOOR\"; i=$((i+1)); done; sleep 30");
    let mut agent = house.agent("", &script);
    for _ in 0..5 {
        let reply = agent.reply().await;
        assert_eq!(reply["result"][0]["text"], "hello", "{reply}");
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    // Not a thread's join: the last of its connects waits until the door, which runs on this thread, has taken others from a full queue.
    stranger.await.unwrap();
}

#[tokio::test]
async fn an_attempt_that_ends_says_so_to_all_who_wait_and_to_all_who_come_later() {
    let mut house = house();
    let mut idle = house.agent("idle", "\"$DOOR\"; sleep 30");
    let mut asking = house.agent("asking", "\"$DOOR\"; \"$DOOR\" later; sleep 30");
    idle.host.input(&request(1, "thread", &json!({})));
    assert_eq!(idle.reply().await["result"][0]["text"], "hello");
    asking.host.input(&request(2, "ask", &json!({"title": "May I?", "wait": true})));
    timeout(BOUND, house.way.asked.notified()).await.unwrap();
    house.door.take().unwrap().close().await;
    let reply = asking.reply().await;
    assert_eq!((reply["id"].as_i64(), reply["error"]["message"].as_str()), (Some(2), Some("The attempt has ended.")));
    for caller in [&mut asking, &mut idle] {
        let reply = caller.reply().await;
        assert_eq!((&reply["id"], reply["error"]["message"].as_str()), (&Value::Null, Some("The attempt has ended.")));
    }
    assert!(asking.line().await.starts_with("The attempt that this belongs to has ended"));
    asking.host.stop("the test is over");
    asking.ends().await;
}

/// A connection that is let in: what was said by whom is not asked here.
fn connected(house: &House, end: &CancellationToken) -> (UnixStream, tokio::task::JoinHandle<std::io::Result<()>>) {
    let redactor = Arc::new(Redactor::new([("A_KEY".into(), "abcd-efgh".into())].into_iter(), &[]).unwrap());
    let wanted = peer::Wanted { folder: house.folder.clone(), mark: house.mark.clone() };
    let room = serve::Room::new(wanted, Arc::clone(&house.way) as Arc<dyn Way>, redactor);
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ours, tokio::spawn(serve::listen(theirs, Arc::new(room), end.clone())))
}

async fn talk(house: &House, lines: &[u8]) -> Vec<Value> {
    let (mut stream, served) = connected(house, &CancellationToken::new());
    stream.write_all(lines).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    timeout(BOUND, stream.read_to_string(&mut said)).await.unwrap().unwrap();
    timeout(BOUND, served).await.unwrap().unwrap().unwrap();
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn what_is_no_request_is_told_so_and_costs_nothing_else() {
    let house = house();
    for (line, code, words) in [
        ("{", -32700, "This is no request"),
        ("[]", -32600, "This is no request"),
        ("{\"id\":1}", -32600, "missing field `method`"),
        ("{\"method\":\"say\",\"params\":{\"text\":\"x\"}}", -32600, "A request has an id"),
        ("{\"id\":1,\"method\":\"sing\"}", -32601, "There is no sing"),
        ("{\"id\":1,\"method\":\"say\"}", -32602, "missing field `text`"),
        ("{\"id\":1,\"method\":\"say\",\"params\":{\"text\":\"x\",\"task\":\"y\"}}", -32602, "unknown field `task`"),
        ("{\"id\":1,\"method\":\"say\",\"params\":{\"text\":\" \"}}", -32000, "text is empty"),
        ("{\"id\":1,\"method\":\"say\",\"params\":{\"text\":\"too many\"}}", -32000, "no"),
        ("{\"id\":1,\"method\":\"say\",\"params\":{\"text\":\"away\"}}", -32000, "try again in a minute"),
        ("{\"id\":1,\"method\":\"say\",\"params\":{\"text\":\"lost\"}}", -32001, "The attempt has ended."),
    ] {
        // Sent again, as the first of two lines: the second is heard.
        let mut lines = format!("{line}\n").into_bytes();
        lines.extend(request(2, "thread", &json!({"limit": 3})));
        let replies = talk(&house, &lines).await;
        assert_eq!(replies.len(), 2, "{line}: {replies:?}");
        let (refused, heard) = (
            replies.iter().find(|reply| reply["id"] != 2).unwrap(),
            replies.iter().find(|reply| reply["id"] == 2).unwrap(),
        );
        assert_eq!(refused["error"]["code"], code, "{line}: {refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains(words), "{line}: {refused}");
        assert_eq!(heard["result"], json!([{"seq": 3, "who": "Mo", "text": "hello"}]));
    }
    assert_eq!(house.notes(), [""; 0]);
}

#[tokio::test]
async fn half_a_line_is_no_request() {
    let house = house();
    let line = request(1, "say", &json!({"text": "whole"}));
    let replies = talk(&house, &[&line, &line[..line.len() - 1]].concat()).await;
    assert_eq!((replies.len(), house.notes()), (1, vec!["whole".to_owned()]));
}

#[tokio::test]
async fn a_line_of_a_megabyte_is_the_longest() {
    let house = house();
    let room = LINE - request(1, "say", &json!({"text": ""})).len() + 1;
    let longest = request(1, "say", &json!({"text": "x".repeat(room)}));
    assert_eq!(longest.len(), LINE + 1);
    let replies = talk(&house, &longest).await;
    assert_eq!(replies[0]["result"], json!({}));
    let (mut stream, served) = connected(&house, &CancellationToken::new());
    // Whether it ever ends is not waited for.
    stream.write_all(&vec![b'x'; LINE + 1]).await.unwrap();
    let mut said = String::new();
    timeout(BOUND, stream.read_to_string(&mut said)).await.unwrap().unwrap();
    assert!(said.contains("A line of more than 1048576 bytes"), "{said}");
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn as_many_requests_as_fit_are_under_way_at_once_in_any_order() {
    let house = house();
    let end = CancellationToken::new();
    let (stream, _served) = connected(&house, &end);
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    for id in 0..33 {
        write.write_all(&request(id, "ask", &json!({"title": "May I?", "wait": true}))).await.unwrap();
    }
    let mut reply = async || -> Value {
        let line = timeout(BOUND, lines.next_line()).await.unwrap().unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let refused = reply().await;
    assert_eq!(refused["id"], 32);
    assert!(refused["error"]["message"].as_str().unwrap().starts_with("32 requests of this attempt are under way"));
    house.way.answered.notify_one();
    assert_eq!(reply().await["result"], json!({"state": "answered", "answer": "allow", "by": "Mo"}));
    // There is room again.
    write.write_all(&request(40, "say", &json!({"text": "now"}))).await.unwrap();
    assert_eq!(reply().await["id"], 40);
}

#[tokio::test]
async fn a_question_is_withdrawn_when_nobody_waits_for_it_any_more() {
    let house = house();
    let (mut stream, served) = connected(&house, &CancellationToken::new());
    stream.write_all(&request(1, "ask", &json!({"title": "May I?", "wait": true}))).await.unwrap();
    timeout(BOUND, house.way.asked.notified()).await.unwrap();
    drop(stream);
    timeout(BOUND, house.way.withdrawn.notified()).await.unwrap();
    // Nobody reads what came of it.
    timeout(BOUND, served).await.unwrap().unwrap().ok();
}

#[tokio::test]
async fn a_subtask_is_waited_for_if_that_is_asked_for() {
    let house = house();
    let replies = talk(&house, &request(1, "subtask", &json!({"text": "count abcd-efgh"}))).await;
    assert_eq!(replies[0]["result"]["status"], "running");
    assert_eq!(house.notes(), ["count [redacted]"]);
    let (stream, _served) = connected(&house, &CancellationToken::new());
    let (read, mut write) = stream.into_split();
    write.write_all(&request(1, "subtask_result", &json!({"id": Uuid::from_u128(7), "wait": true}))).await.unwrap();
    house.way.over.store(true, std::sync::atomic::Ordering::Relaxed);
    house.way.ended.notify_one();
    let line = timeout(BOUND, BufReader::new(read).lines().next_line()).await.unwrap().unwrap().unwrap();
    let reply: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&reply["result"]["status"], &reply["result"]["result"]), (&json!("complete"), &json!("42")));
}

#[test]
fn the_program_is_named_by_a_path_that_holds_for_others() {
    assert_eq!(program(Path::new("/opt/hub")), Path::new("/opt/hub"));
    assert_eq!(program(&host::own_program()), std::env::current_exe().unwrap());
}
