//! What Claude is told: lines of JSON on its standard input.

use serde_json::{Map, Value, json};

use crate::Decision;

/// As many questions are open at most. What comes beyond is refused at once.
pub(super) const OPEN: usize = 32;

/// A question that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: String,
    /// The use of a tool that it is about.
    pub(super) used: String,
    /// In plain words.
    pub(super) title: String,
    /// What the tool is to be given, as it came: an answer gives it back.
    pub(super) input: Value,
    /// It is a question in words (`AskUserQuestion`), and these are its questions.
    pub(super) questions: Option<Vec<String>>,
}

/// What an answer does.
pub(super) enum Answer {
    /// It goes on.
    Yes(Value),
    /// It does not; and whether that is a refusal, not advice.
    No(String, bool),
}

impl Asked {
    /// The program's answer for a decision. None: that is no answer to this.
    pub(super) fn answer(&self, decision: Decision) -> Option<Answer> {
        Some(match (decision, &self.questions) {
            (Decision::Allow(Some(input)), _) => Answer::Yes(input),
            (Decision::Allow(None), None) => Answer::Yes(self.input.clone()),
            (Decision::Deny(why), _) => Answer::No(why, true),
            (Decision::Decline(text) | Decision::Unanswered(text), _) => Answer::No(text, false),
            // Words instead of a yes or a no tell it what to do instead.
            (Decision::Say(text), None) => Answer::No(text, false),
            (Decision::Choose(text) | Decision::Say(text), Some(questions)) => {
                Answer::Yes(self.answered(questions, &text))
            }
            (Decision::Allow(None), Some(_)) | (Decision::Choose(_), None) => return None,
        })
    }

    /// A line for each question, or the same for all of them.
    fn answered(&self, questions: &[String], text: &str) -> Value {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let each = lines.len() == questions.len() && questions.len() > 1;
        let answers: Map<String, Value> = (questions.iter().enumerate())
            .map(|(at, question)| (question.clone(), Value::from(if each { lines[at] } else { text })))
            .collect();
        let mut input = self.input.clone();
        if let Some(input) = input.as_object_mut() {
            input.insert("answers".to_owned(), Value::Object(answers));
        }
        input
    }
}

/// Something from a person.
pub(super) fn user(text: &str, out: &mut Vec<u8>) {
    line(&json!({ "type": "user", "message": { "role": "user", "content": text } }), out);
}

/// Stop what you do.
pub(super) fn interrupt(number: u32, out: &mut Vec<u8>) {
    line(
        &json!({ "type": "control_request", "request_id": format!("hub-{number}"), "request": { "subtype": "interrupt" } }),
        out,
    );
}

/// The answer to what it asked.
pub(super) fn answer(id: &str, answer: &Answer, out: &mut Vec<u8>) {
    let answer = match answer {
        Answer::Yes(input) => json!({ "behavior": "allow", "updatedInput": input }),
        Answer::No(why, _) => json!({ "behavior": "deny", "message": why }),
    };
    line(
        &json!({ "type": "control_response", "response": { "subtype": "success", "request_id": id, "response": answer } }),
        out,
    );
}

/// What it asked is nothing that we do. Without an answer it would wait for ever.
pub(super) fn unknown(id: &str, out: &mut Vec<u8>) {
    let response = json!({ "subtype": "error", "request_id": id, "error": "This host does not answer that." });
    line(&json!({ "type": "control_response", "response": response }), out);
}

fn line(value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b'\n');
}
