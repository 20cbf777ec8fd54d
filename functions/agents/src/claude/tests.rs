use super::*;
use crate::Policy;

pub(super) fn job() -> Job {
    Job {
        prompt: "Say pong".to_owned(),
        folder: "/home/dev/project".to_owned(),
        model: None,
        policy: Policy::Edit,
        resume: None,
        used: (Tokens::default(), 0.0),
        now: "2026-11-29T08:00:00Z".parse().unwrap(),
    }
}
