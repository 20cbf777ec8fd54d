//! How a running attempt and the people it works for speak with each other: what they add and answer comes with the heartbeats, again
//! and again until it was taken; what the attempt asks and takes goes to the hub, tried again while that is away.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use hub::{Hub, Result, types};
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::executor::{ASK_AGAIN, bounded};

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum About {
    /// A person added it.
    Steer(i64),
    /// It answers an ask that nobody waits with.
    Answer(Uuid),
}

/// Words for a running agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) about: About,
    pub(crate) text: String,
}

/// What became of something that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) ask: Uuid,
    pub(crate) how: How,
    /// `allow`, `deny`, `allow_task`, or the key of an option.
    pub(crate) answer: Option<String>,
    /// In words.
    pub(crate) text: Option<String>,
    /// Who answered, as people read it.
    pub(crate) by: Option<String>,
}

impl Answered {
    /// None: it is open.
    pub(crate) fn of(answer: &types::Answer) -> Option<Self> {
        let types::Answer { ask, answer, text, by, state, .. } = answer.clone();
        Some(Self { ask, how: How::of(&state)?, answer, text, by })
    }

    fn of_row(row: types::Ask) -> Option<Self> {
        let how = match How::of(&row.state)? {
            How::Answered if row.answered_door.as_deref() == Some("rule") => How::Ruled,
            how => how,
        };
        Some(Self { ask: row.id, how, answer: row.answer, text: row.answer_text, by: row.answered_label })
    }

    /// For an agent that did not wait for it.
    fn words(&self, title: &str) -> String {
        let said = match (self.how, self.answer.as_deref(), self.text.as_deref()) {
            (How::Answered | How::Ruled, Some(answer), Some(text)) => format!("{answer}. {text}"),
            (How::Answered | How::Ruled, answer, text) => answer.or(text).unwrap_or_default().to_owned(),
            (How::Expired | How::Withdrawn, ..) => "nobody has answered, and nobody is asked any more".to_owned(),
        };
        format!("About your question \"{title}\": {said}")
    }
}

/// How an ask was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// By a person, or as one had said before.
    Answered,
    /// By a rule.
    Ruled,
    Expired,
    Withdrawn,
}

impl How {
    pub(crate) fn of(state: &str) -> Option<Self> {
        match state {
            "answered" => Some(Self::Answered),
            "expired" => Some(Self::Expired),
            "withdrawn" => Some(Self::Withdrawn),
            _ => None,
        }
    }
}

/// What the last heartbeat brought for an attempt.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) steers: Vec<Note>,
    pub(crate) answers: Vec<Answered>,
    /// Subtasks that have ended.
    pub(crate) ended: Vec<Uuid>,
}

/// What an attempt asks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    /// `approval` or `question`.
    pub(crate) kind: &'static str,
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    pub(crate) input: Option<Value>,
    pub(crate) options: Option<Value>,
    /// The agent's name for it: the same again is the same ask.
    pub(crate) reference: String,
}

/// It is asked, and may be answered already: by a rule, or because the same was allowed before.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) id: Uuid,
    pub(crate) answer: Option<Answered>,
}

/// Who can be asked, and is told. What is to be told is tried again until it is taken, or until it can not be.
pub(crate) trait People: Send + Sync + fmt::Debug {
    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Asked>>;
    /// The agent does not wait for it any more.
    fn withdraw(&self, ask: Uuid) -> BoxFuture<'static, ()>;
    /// It has reached the agent.
    fn taken(&self, what: Vec<About>) -> BoxFuture<'static, ()>;
    /// The agent is told in its next turn.
    fn next_turn(&self, what: Vec<About>) -> BoxFuture<'static, ()>;
}

/// The people behind the hub, for one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Behind {
    pub(crate) hub: Hub,
    pub(crate) key: types::Running,
}

impl Behind {
    /// Asks the hub until it says something: it is away, and comes back.
    pub(crate) async fn patiently<T, F: Future<Output = Result<T>>>(mut call: impl FnMut() -> F) -> Result<T> {
        loop {
            match bounded(call()).await {
                Err(error) if error.is_transient() => sleep(ASK_AGAIN).await,
                answer => return answer,
            }
        }
    }

    pub(crate) async fn say(&self, text: &str) -> Result<types::Message> {
        Self::patiently(|| self.hub.say(self.key.task, self.key.attempt, text)).await
    }

    async fn report(&self, what: &[About], outcome: types::SteerOutcome) {
        let mut steers = Vec::new();
        let mut answers = Vec::new();
        for about in what {
            match about {
                About::Steer(id) => steers.push(*id),
                About::Answer(ask) => answers.push(*ask),
            }
        }
        let (hub, key) = (&self.hub, self.key);
        let mut told = Ok(());
        if !steers.is_empty() {
            told = Self::patiently(|| hub.report_steer(key.task, key.attempt, &steers, outcome)).await;
        }
        // An answer that waits for the next turn is not taken before that begins.
        if !answers.is_empty() && outcome == types::SteerOutcome::Taken {
            let answered = Self::patiently(|| hub.take_answers(key.task, key.attempt, &answers)).await;
            told = told.and(answered);
        }
        if let Err(error) = told {
            tracing::warn!(task.id = %key.task, task.attempt = key.attempt, error = %error, "what an agent heard could not be told");
        }
    }
}

impl People for Behind {
    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Asked>> {
        let Self { hub, key } = self.clone();
        let Question { kind, title, body, input, options, reference } = question;
        let asking = types::Asking { kind: kind.into(), title, body, input, options, reference: Some(reference) };
        async move {
            let row = Self::patiently(|| hub.ask(key.task, key.attempt, &asking)).await?;
            Ok(Asked { id: row.id, answer: Answered::of_row(row) })
        }
        .boxed()
    }

    fn withdraw(&self, ask: Uuid) -> BoxFuture<'static, ()> {
        let Self { hub, key } = self.clone();
        async move {
            match Self::patiently(|| hub.withdraw_ask(key.task, key.attempt, ask)).await {
                // Somebody answered meanwhile.
                Ok(_) | Err(hub::Error::Conflict(_)) => {}
                Err(error) => {
                    tracing::warn!(task.id = %key.task, task.attempt = key.attempt, error = %error, "an ask could not be withdrawn");
                }
            }
        }
        .boxed()
    }

    fn taken(&self, what: Vec<About>) -> BoxFuture<'static, ()> {
        let this = self.clone();
        async move { this.report(&what, types::SteerOutcome::Taken).await }.boxed()
    }

    fn next_turn(&self, what: Vec<About>) -> BoxFuture<'static, ()> {
        let this = self.clone();
        async move { this.report(&what, types::SteerOutcome::NextTurn).await }.boxed()
    }
}

/// What an attempt waits for: since when.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits {
    open: Arc<watch::Sender<BTreeMap<u64, Instant>>>,
    parked: CancellationToken,
}

/// Somebody is waited for until this is dropped.
#[derive(Debug)]
pub(crate) struct Wait {
    number: u64,
    waits: Waits,
}

impl Waits {
    pub(crate) fn begin(&self) -> Wait {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.open.send_modify(|open| {
            open.insert(number, Instant::now());
        });
        Wait { number, waits: self.clone() }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<BTreeMap<u64, Instant>> {
        self.open.subscribe()
    }

    /// Nothing is waited for any longer: the attempt makes room.
    pub(crate) fn park(&self) {
        self.parked.cancel();
    }

    /// Once nothing is waited for any longer.
    pub(crate) async fn parked(&self) {
        self.parked.cancelled().await;
    }

    /// Since when the longest wait lasts.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.open.borrow().values().min().copied()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waits.open.send_modify(|open| {
            open.remove(&self.number);
        });
    }
}

/// The attempt's end of it.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// None: nobody is there to be asked.
    pub(crate) people: Option<Arc<dyn People>>,
    pub(crate) said: watch::Receiver<Said>,
    pub(crate) waits: Waits,
    /// How long a program may wait for an answer before it makes room.
    pub(crate) hold: Duration,
    notes: Arc<Mutex<Notes>>,
}

/// What people said to it.
#[derive(Debug, Default)]
struct Notes {
    known: BTreeSet<About>,
    late: Vec<Note>,
    /// What was asked without waiting, by its title, until the answer is known.
    asked: BTreeMap<Uuid, String>,
}

impl Line {
    pub(crate) fn new(people: Option<Arc<dyn People>>, said: watch::Receiver<Said>, hold: Duration) -> Self {
        Self { people, said, waits: Waits::default(), hold, notes: Arc::default() }
    }

    /// Without anybody at the other end.
    pub(crate) fn dead() -> Self {
        Self::new(None, watch::channel(Said::default()).1, Duration::MAX)
    }

    /// This was asked, and nobody waits for the answer: it is told like what people add.
    pub(crate) fn does_not_wait(&self, ask: Uuid, title: String) {
        self.notes().asked.insert(ask, title);
    }

    /// Whether something was asked, without waiting, and is not answered yet.
    pub(crate) fn is_owed(&self) -> bool {
        !self.notes().asked.is_empty()
    }

    /// The answers that are there are owed no more: the agent can not be told in this attempt, and with the next it would only do anew
    /// what it has done. It may have read them in the conversation.
    pub(crate) fn settle(&self) {
        let said = self.said.borrow().clone();
        self.notes().asked.retain(|ask, _| said.answers.iter().all(|answered| answered.ask != *ask));
    }

    /// What is heard of for the first time.
    pub(crate) fn news(&self, said: &Said) -> Vec<Note> {
        let mut notes = self.notes();
        let answers = said.answers.iter().filter_map(|answered| {
            let title = notes.asked.remove(&answered.ask)?;
            Some(Note { about: About::Answer(answered.ask), text: answered.words(&title) })
        });
        let mut news: Vec<Note> = answers.collect();
        news.extend(said.steers.iter().cloned());
        news.retain(|note| notes.known.insert(note.about));
        news
    }

    /// These could not be told to a program that has ended.
    pub(crate) fn too_late(&self, notes: impl IntoIterator<Item = Note>) {
        self.notes().late.extend(notes);
    }

    /// What came too late so far, and what no program has heard of yet.
    pub(crate) fn late(&self) -> Vec<Note> {
        let said = self.said.borrow().clone();
        let news = self.news(&said);
        let mut late = std::mem::take(&mut self.notes().late);
        late.extend(news);
        late
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_is_owed_no_more_where_nobody_can_be_told() {
        let (said, hears) = watch::channel(Said::default());
        let line = Line::new(None, hears, Duration::MAX);
        let [first, second] = [1, 2].map(Uuid::from_u128);
        let answered = |ask| Answered { ask, how: How::Answered, answer: None, text: Some("yes".into()), by: None };
        line.does_not_wait(first, "May I?".into());
        line.does_not_wait(second, "And this?".into());
        said.send_modify(|said| said.answers.push(answered(first)));
        line.settle();
        assert!(line.is_owed());
        said.send_modify(|said| said.answers.push(answered(second)));
        // Who can be told is.
        assert_eq!(line.late().iter().map(|note| note.about).collect::<Vec<_>>(), [About::Answer(second)]);
        line.does_not_wait(second, "And this?".into());
        assert!(line.is_owed());
        line.settle();
        assert!(!line.is_owed());
    }
}
