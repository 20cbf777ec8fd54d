//! What happens to budgets, and what their model knows of tasks and of budgets.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use std::collections::HashMap;
use uuid::Uuid;

pub const DEVICES: [(&str, &str); 2] = [("one", "a"), ("two", "b")];
pub const CAPACITY: usize = 4;
pub const CHANNELS: [&str; 4] = ["quick", "garden", "cc-motion", "dispatch"];
pub const PEOPLE: [Uuid; 2] = [Uuid::from_u128(1), Uuid::from_u128(2)];
pub const BEAT: i64 = 20;
/// How long one may go on that was told.
pub const GRACE: i64 = 30;

/// What a budget is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Of {
    All,
    Server(usize),
    Project(usize),
    Channel(usize),
    Person(usize, usize),
    Agent(usize),
    Task(usize),
}

#[derive(Debug, Clone)]
pub struct Limits {
    pub of: Of,
    pub tokens: bool,
    pub cents: i64,
    pub daily: bool,
}

#[derive(Debug, Clone)]
pub enum Step {
    Send {
        channel: usize,
        person: usize,
        stubborn: bool,
    },
    Claim {
        device: usize,
    },
    /// Each that runs used this much more, in cents and as many tokens.
    Beat {
        cents: [i64; 5],
    },
    Bound {
        task: usize,
        tokens: bool,
        cents: i64,
    },
    More {
        ask: usize,
        cents: Option<i64>,
    },
    Stop {
        ask: usize,
    },
    Complete {
        task: usize,
        cents: i64,
    },
    Tomorrow,
}

pub fn limits() -> impl Strategy<Value = Limits> {
    let of = prop_oneof![
        1 => Just(Of::All),
        1 => (0..CHANNELS.len()).prop_map(Of::Server),
        1 => (0..CHANNELS.len()).prop_map(Of::Project),
        1 => (0..CHANNELS.len()).prop_map(Of::Channel),
        1 => (0..CHANNELS.len(), 0..PEOPLE.len()).prop_map(|(server, person)| Of::Person(server, person)),
        2 => (0..DEVICES.len()).prop_map(Of::Agent),
    ];
    (of, any::<bool>(), 20..400i64, any::<bool>()).prop_map(|(of, tokens, cents, daily)| Limits {
        of,
        tokens,
        cents,
        daily,
    })
}

pub fn step() -> impl Strategy<Value = Step> {
    let cents = prop_oneof![1 => Just(0), 4 => 1..60i64];
    prop_oneof![
        4 => (0..CHANNELS.len(), 0..PEOPLE.len(), prop::bool::weighted(0.3)).prop_map(|(channel, person, stubborn)| Step::Send { channel, person, stubborn }),
        5 => (0..DEVICES.len()).prop_map(|device| Step::Claim { device }),
        8 => prop::array::uniform5(cents.clone()).prop_map(|cents| Step::Beat { cents }),
        1 => (0..32usize, any::<bool>(), 1..80i64).prop_map(|(task, tokens, cents)| Step::Bound { task, tokens, cents }),
        3 => (0..32usize, prop::option::of(1..200i64)).prop_map(|(ask, cents)| Step::More { ask, cents }),
        1 => (0..32usize).prop_map(|ask| Step::Stop { ask }),
        2 => (0..32usize, cents).prop_map(|(task, cents)| Step::Complete { task, cents }),
        1 => Just(Step::Tomorrow),
    ]
}

#[derive(Debug)]
pub struct Task {
    pub id: Uuid,
    pub channel: usize,
    pub person: usize,
    /// It does not stop when it is told to.
    pub stubborn: bool,
    pub status: String,
    pub attempt: i64,
    pub device: usize,
    /// What this attempt used by now.
    pub cents: i64,
    /// By which question it was told, and when, that a budget of it is met; and when it used something last.
    pub told: Option<(Uuid, DateTime<Utc>)>,
    pub used: DateTime<Utc>,
    /// People ended it, and its device has not heard of that.
    pub stopping: bool,
}

#[derive(Debug)]
pub struct Budget {
    pub id: i64,
    pub limits: Limits,
    pub since: DateTime<Utc>,
    pub used: i64,
    /// How much more was given in the period that began then.
    pub raised: i64,
    pub raised_in: DateTime<Utc>,
    /// As of the last round.
    pub met: bool,
    /// The beats of each task since it is met.
    pub beats: HashMap<usize, usize>,
}
