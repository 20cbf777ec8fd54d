//! `answer`: what a button of a notification (ntfy) sends. `{token, answer}`; the token went out with the question, is good for one answer
//! and is kept hashed. It stands in the body, since addresses are logged; the body's type is not looked at, since each of ntfy's programs
//! sends another.

use crate::{
    Problem, Request, Response, Step,
    call::{Answers, Call},
    json::Fields,
    pressed::Outcome,
};
use serde_json::{Value, json};

const ANSWERS: Answers = Answers::new(answer, Answers::PROBLEM);
/// No token and no key of an option is longer.
const LONGEST: usize = 200;

/// An answer to a question that a task asked.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Answer {
    /// What went out with the question, good for one answer.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200))]
    pub token: String,
    /// The key of an option: `allow`, `deny`, …; nothing, if the token is of one answer.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200, example = "allow"))]
    pub answer: Option<String>,
}

impl Answer {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let fields = Fields::read(body, r#"{"token": "…", "answer": "allow"}"#)?;
        let short = |name: &str, text: &str| {
            let fits = (1..=LONGEST).contains(&text.chars().count());
            if fits { Ok(()) } else { Err(fields.bad(format!("{name} must have 1 to {LONGEST} characters"))) }
        };
        let (token, answer) = (fields.text("token")?, fields.optional_text("answer")?);
        short("token", &token)?;
        answer.as_deref().map_or(Ok(()), |answer| short("answer", answer))?;
        Ok(Self { token, answer })
    }
}

pub fn plan(request: &Request<'_>) -> Result<Step, Problem> {
    let Answer { token, answer } = Answer::read(request.body)?;
    Ok(Step::Call(Call::Answered { token: token.into(), answer }, ANSWERS))
}

fn answer(value: &Value, _: &str) -> Response {
    let (outcome, text) = Outcome::read(value);
    let status = match outcome {
        Outcome::Answered => return Response::json(200, &json!({"outcome": "answered", "text": text})),
        Outcome::Over => 409,
        Outcome::Unlinked | Outcome::NotAllowed => 403,
        // Counted as a guess, and answered like one.
        Outcome::Unknown => 401,
    };
    Problem::new(status, text).into()
}
