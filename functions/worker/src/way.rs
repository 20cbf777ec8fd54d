//! What comes in by the door of an attempt goes to the hub, in its name.

use futures_util::{FutureExt, future::BoxFuture};
use hub::{
    Result,
    types::{Message, Task},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    door::{Answer, AnswerState, Question, Subtask, SubtaskState, Way},
    line::{About, Answered, Behind, How, Line, People, Question as Asking},
    output::short_line,
};

/// One attempt's way to the hub.
#[derive(Debug)]
pub(crate) struct Through {
    pub(crate) behind: Behind,
    pub(crate) line: Line,
}

/// What is asked by the door, as people are asked. The same once more is the same to a grant.
fn asking(question: Question) -> Asking {
    let title = short_line(&question.title);
    let body = question.body.filter(|body| !body.trim().is_empty());
    let body = body.or_else(|| (title != question.title.trim()).then(|| question.title.clone()));
    let (kind, input, options) = if question.approval {
        ("approval", Some(json!({"tool": "ask", "input": {"title": question.title, "body": body}})), None)
    } else {
        ("question", None, (!question.options.is_empty()).then(|| json!(question.options)))
    };
    Asking { kind, title, body, input, options, reference: Uuid::new_v4().to_string() }
}

fn answer(answered: Answered) -> Answer {
    let state = match answered.how {
        How::Answered | How::Ruled => AnswerState::Answered,
        How::Expired => AnswerState::Expired,
        How::Withdrawn => AnswerState::Withdrawn,
    };
    Answer { state, answer: answered.answer, text: answered.text, by: answered.by }
}

fn state(task: Task) -> SubtaskState {
    SubtaskState { id: task.id, status: task.status, result: task.result, error: task.error }
}

impl Through {
    async fn asked(&self, question: Question, gone: CancellationToken) -> Result<Answer> {
        let waits = question.wait;
        let asking = asking(question);
        let title = asking.title.clone();
        let wait = waits.then(|| self.line.waits.begin());
        let asked = self.behind.ask(asking).await?;
        if let Some(answered) = asked.answer {
            self.behind.taken(vec![About::Answer(asked.id)]).await;
            return Ok(answer(answered));
        }
        if !waits {
            self.line.does_not_wait(asked.id, title);
            return Ok(Answer::none(AnswerState::Open));
        }
        let _wait = wait;
        let mut said = self.line.said.clone();
        said.mark_changed();
        loop {
            tokio::select! {
                biased;
                changed = said.changed() => {
                    let known = said.borrow_and_update().answers.iter().find(|one| one.ask == asked.id).cloned();
                    if let Some(answered) = known {
                        self.behind.taken(vec![About::Answer(asked.id)]).await;
                        return Ok(answer(answered));
                    }
                    // Nobody says anything to it any more.
                    if changed.is_err() {
                        return Ok(Answer::none(AnswerState::Parked));
                    }
                }
                () = self.line.waits.parked() => return Ok(Answer::none(AnswerState::Parked)),
                () = gone.cancelled() => {
                    self.behind.withdraw(asked.id).await;
                    return Ok(Answer::none(AnswerState::Withdrawn));
                }
            }
        }
    }
}

impl Way for Through {
    fn say(&self, text: String) -> BoxFuture<'_, Result<()>> {
        async move { self.behind.say(&text).await.map(drop) }.boxed()
    }

    fn ask(&self, question: Question, gone: CancellationToken) -> BoxFuture<'_, Result<Answer>> {
        self.asked(question, gone).boxed()
    }

    fn subtask(&self, subtask: Subtask) -> BoxFuture<'_, Result<SubtaskState>> {
        async move {
            let Subtask { text, model, agent, project, .. } = subtask;
            let (hub, key) = (&self.behind.hub, self.behind.key);
            // Once: a second try might make a second one.
            let made =
                hub.subtask(key.task, key.attempt, &text, model.as_deref(), agent.as_deref(), project.as_deref());
            crate::executor::bounded(made).await.map(state)
        }
        .boxed()
    }

    fn subtask_result(&self, id: Uuid) -> BoxFuture<'_, Result<SubtaskState>> {
        async move {
            let (hub, key) = (&self.behind.hub, self.behind.key);
            let found = Behind::patiently(|| hub.subtask_result(key.task, key.attempt, id)).await?;
            Ok(SubtaskState { id: found.id, status: found.status, result: found.result, error: found.error })
        }
        .boxed()
    }

    fn subtask_ended(&self, id: Uuid) -> BoxFuture<'_, ()> {
        async move {
            // An end that the hub tells no more, because it was asked for, is no end that is missed.
            self.line.said.clone().wait_for(|said| said.ended.contains(&id)).await.ok();
        }
        .boxed()
    }

    fn thread(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Message>>> {
        async move {
            let (hub, key) = (&self.behind.hub, self.behind.key);
            let limit = i32::try_from(limit).unwrap_or(i32::MAX);
            Behind::patiently(|| hub.attempt_thread(key.task, key.attempt, None, limit)).await
        }
        .boxed()
    }
}
