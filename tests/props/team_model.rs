//! What becomes of tasks that need each other, and of requests that are several tasks, as a model without time or machines.

use std::collections::HashMap;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    Blocked,
    Running,
    Complete,
    Failed,
    Cancelled,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Blocked => "blocked",
            State::Running => "running",
            State::Complete => "complete",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }

    pub fn is_final(self) -> bool {
        self.is_bad() || self == State::Complete
    }

    pub fn is_bad(self) -> bool {
        matches!(self, State::Failed | State::Cancelled)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Whole,
    Planner,
    Part,
}

#[derive(Debug)]
pub struct Task {
    pub id: Uuid,
    pub role: Role,
    pub team: usize,
    pub state: State,
    pub attempt: i64,
    pub max_attempts: i64,
    /// As many as it was made with, once it had one more.
    pub given: Option<i64>,
    pub holder: usize,
    pub lease_until: i64,
    pub run_after: i64,
    pub cancel_requested: bool,
    pub endings: i64,
    pub gathered: i64,
    /// What it needs, and whether it fails with that.
    pub needs: HashMap<usize, bool>,
}

pub struct Team {
    pub whole: usize,
    pub planner: Option<usize>,
    pub parts: Vec<usize>,
    pub join: bool,
}

#[derive(Default)]
pub struct Model {
    pub tasks: Vec<Task>,
    pub teams: Vec<Team>,
}

impl Model {
    pub fn add(&mut self, id: Uuid, role: Role, team: usize, needs: HashMap<usize, bool>) -> usize {
        self.tasks.push(Task {
            id,
            role,
            team,
            state: if needs.is_empty() { State::Pending } else { State::Blocked },
            attempt: 0,
            max_attempts: 3,
            given: None,
            holder: 0,
            lease_until: 0,
            run_after: i64::MIN,
            cancel_requested: false,
            endings: 0,
            gathered: 0,
            needs,
        });
        self.tasks.len() - 1
    }

    pub fn end(&mut self, task: usize, state: State) {
        self.tasks[task].state = state;
        self.tasks[task].endings += 1;
        self.settle(task);
    }

    /// Something has ended: what needs it goes on, or fails.
    pub fn settle(&mut self, ended: usize) {
        for task in 0..self.tasks.len() {
            if self.tasks[task].state == State::Blocked && self.tasks[task].needs.contains_key(&ended) {
                self.judge(task);
            }
        }
    }

    fn judge(&mut self, task: usize) {
        let needs: Vec<(State, bool)> =
            self.tasks[task].needs.iter().map(|(&other, &fail)| (self.tasks[other].state, fail)).collect();
        if needs.iter().any(|(state, fail)| *fail && state.is_bad()) {
            self.end(task, State::Failed);
        } else if needs.iter().all(|(state, _)| state.is_final()) {
            let team = &self.teams[self.tasks[task].team];
            let parts: Vec<State> = team.parts.iter().map(|&part| self.tasks[part].state).collect();
            if self.tasks[task].role != Role::Whole || parts.is_empty() {
                self.tasks[task].state = State::Pending;
            } else if !parts.contains(&State::Complete) {
                self.end(task, State::Failed);
            } else if team.join {
                self.end(task, State::Complete);
            } else {
                self.tasks[task].state = State::Pending;
                self.tasks[task].gathered += 1;
            }
        }
    }

    /// Whether one waits for the other, by what it needs or by its parts.
    pub fn leads_to(&self, task: usize, other: usize) -> bool {
        let team = &self.teams[self.tasks[task].team];
        let parts = team.planner.iter().chain(&team.parts).filter(|_| team.whole == task);
        task == other || self.tasks[task].needs.keys().chain(parts).any(|&next| self.leads_to(next, other))
    }

    fn open_needs(&self, task: usize) -> bool {
        self.tasks[task].needs.keys().any(|&other| !self.tasks[other].state.is_final())
    }

    pub fn requeue(&mut self, task: usize, with: &[usize]) {
        let waits = self.open_needs(task) || self.tasks[task].needs.keys().any(|other| with.contains(other));
        let task = &mut self.tasks[task];
        task.state = if waits { State::Blocked } else { State::Pending };
        task.run_after = i64::MIN;
        task.cancel_requested = false;
        let given = *task.given.get_or_insert(task.max_attempts);
        task.max_attempts = task.max_attempts.max(task.attempt + given);
    }

    pub fn lost(&mut self, task: usize) {
        if self.tasks[task].cancel_requested {
            self.end(task, State::Cancelled);
        } else if self.tasks[task].attempt < self.tasks[task].max_attempts {
            self.tasks[task].state = State::Pending;
            self.tasks[task].run_after = i64::MIN;
        } else {
            self.end(task, State::Failed);
        }
    }
}
