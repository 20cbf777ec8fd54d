//! The course of an attempt: what the hub says that is to be done, a place to work, the agent's turns there, and what becomes of its work
//! before the end is told.
//!
//! A turn is one run of the agent's program. There is a further one, in the same session, for what people added too late for the one
//! before, and for a verification that failed. What a later worker has to know, if this one is killed meanwhile, is written down before
//! each turn: [`Course`].

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hub::{
    Error,
    types::{Begun, EndReason, Meta, ProjectPlan, PullRequest, Resumed, Running, Task, Team, TeamPart, Workspace},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    agents::{Agent, Context, Outcome, put_aside, session_after, together},
    door::Door,
    executor::{Hears, Reason, Shared, Stop},
    host::Exit,
    journal::{self, Entry},
    line::{About, Behind, Line, People},
    output::ending,
    process::{ATTEMPT_MARK, WORKER_MARK},
    progress::{self, Progress},
    project::{self, Refused},
    way::Through,
    workspace::{self, Hosting, Kind, Place, Receipt, Trouble, Verification, Verified},
};

/// What the hub takes of what an agent says until it waits, in characters.
const SAID: usize = 100_000;
/// As many turns as an attempt has at most. What people add after that is a task of its own.
const TURNS: u32 = 20;

/// How far an attempt is: what a worker has to know to end what another began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Course {
    /// As the hub said.
    pub(crate) plan: Begun,
    /// What the person asked for, for the words of a commit.
    pub(crate) words: String,
    /// The project's folder.
    pub(crate) directory: PathBuf,
    /// Whether it has a place to work there, and its own folder where that is a worktree.
    pub(crate) placed: bool,
    pub(crate) workspace: Option<PathBuf>,
    /// The turn that runs, from 1.
    pub(crate) turn: u32,
    /// The session that it goes on with.
    pub(crate) session: Option<Resumed>,
    /// The record of the turns before it.
    pub(crate) before: Meta,
    /// How often the agent was sent back because what it had done was not verified.
    pub(crate) rounds: u32,
}

/// What becomes of an agent's work.
enum Concluded {
    /// That is the end.
    Over(Outcome),
    /// It goes on, in the same session.
    Again(Again),
}

/// A further turn of an agent.
struct Again {
    /// What people see of it.
    note: &'static str,
    prompt: String,
    /// What that tells it.
    carries: Vec<About>,
    /// How often it was sent back because of a verification, this time included.
    rounds: u32,
    /// What stands where it comes to nothing.
    stands: Outcome,
}

/// An attempt at its work, or what a worker that is gone left of one.
struct Work<'a> {
    shared: &'a Shared,
    id: Uuid,
    attempt: i32,
    stop: &'a Stop,
    progress: &'a Progress,
    place: Option<Place>,
    hosting: Hosting,
}

/// Runs an attempt to its end, but for telling it.
pub(crate) async fn run(shared: &Shared, task: Task, entry: &Entry, hears: &Hears, progress: Progress) -> Outcome {
    let directory = match folder(shared, &task) {
        Ok(directory) => directory,
        Err(outcome) => return *outcome,
    };
    let name = task.agent.as_deref().unwrap_or("none");
    let Some(agent) = shared.agents.get(name) else {
        // Another worker of this device's name offers it.
        return Outcome::failed(format!("agent {name} is not configured in this worker"), true, EndReason::NotStarted);
    };
    let key = entry.key();
    let begun = tokio::select! {
        biased;
        () = hears.stop.stopped() => return Outcome::stopped(),
        begun = Behind::patiently(|| shared.hub.begin_attempt(key.task, key.attempt)) => begun,
    };
    let plan = match begun {
        Ok(plan) => plan,
        Err(Error::LeaseLost(_) | Error::DeviceRevoked(_)) => {
            hears.stop.stop(Reason::Lost);
            return Outcome::stopped();
        }
        Err(error) => {
            return Outcome::failed(
                format!("the hub does not say what is to be done: {error}"),
                true,
                EndReason::NotStarted,
            );
        }
    };
    let mut work = Work::of(shared, entry, &hears.stop, &progress);
    // One that changes nothing needs no place of its own, unless what is there is to be proved.
    let verifies = plan.project.as_ref().is_some_and(|project| project.verify.is_some());
    if (agent.changes() || verifies)
        && let Err(trouble) = work.settle(&plan, &directory).await
    {
        return outcome_of(trouble, Meta::default());
    }
    let behind = Behind { hub: shared.hub.clone(), key };
    let somebody = task.channel_id.is_some() || task.created_by.is_some();
    let people = somebody.then(|| Arc::new(behind.clone()) as _);
    let hold = Duration::from_secs(plan.ask_hold_seconds);
    let line = Line::new(people, hears.said.subscribe(), hold);
    let mark = mark_of(key);
    let way = Arc::new(Through { behind: behind.clone(), line: line.clone() });
    let door = Door::open(entry.folder(), &mark, way, Arc::clone(&shared.redactor));
    let door = door.inspect_err(|error| {
        tracing::warn!(task.id = %key.task, error = %error.kind(), "the agent does not reach the hub: its door can not be opened");
    });
    let door = door.ok();
    let course = Course {
        words: task.content.clone(),
        directory: directory.clone(),
        placed: work.place.is_some(),
        workspace: work.place.as_ref().and_then(Place::folder).map(Into::into),
        turn: 1,
        session: plan.session.clone(),
        before: Meta::default(),
        rounds: 0,
        plan,
    };
    let context = Context {
        prompt: course.plan.prompt.clone(),
        session: course.session.clone(),
        directory: work.place.as_ref().map_or(directory, |place| place.directory().to_path_buf()),
        root: shared.root.clone(),
        folder: entry.folder().to_path_buf(),
        progress: progress.clone(),
        spent: hears.spent.clone(),
        cancel: hears.stop.turn(),
        marks: work.hosting.marks.iter().cloned().chain(door.as_ref().map(Door::mark)).collect(),
        host: shared.host.clone(),
        // A stopping worker has little time itself.
        grace: shared.grace,
        redactor: Arc::clone(&shared.redactor),
        line,
        carries: Vec::new(),
        further: false,
        limits: Some(Arc::clone(&shared.limits)),
        leases: Some(Arc::clone(&shared.leases)),
        task,
    };
    let outcome = work.turns(agent.as_ref(), course, context, entry, &behind).await;
    if let Some(door) = door {
        door.close().await;
    }
    outcome
}

/// Ends an attempt that another worker began and that came so far: what its agent left is kept, and proved and handed out where it had
/// said that it is done. Nobody is sent back any more.
pub(crate) async fn end(shared: &Shared, entry: &Entry, stop: &Stop, course: Course, outcome: Outcome) -> Outcome {
    let (progress, reporter) = progress::channel();
    // Nobody waits for its notes.
    drop(reporter);
    let mut work = Work::of(shared, entry, stop, &progress);
    let place = match &course.workspace {
        Some(folder) => shared.workspaces.again(folder).await,
        None if course.placed => shared.workspaces.open(&course.plan, &course.directory).await.map(Some),
        None => Ok(None),
    };
    match place {
        Ok(place) => work.place = place,
        Err(trouble) => {
            tracing::warn!(task.id = %work.id, reason = %trouble, "the workspace of an attempt can not be opened again");
        }
    }
    match outcome {
        Outcome::Complete { result, meta } => {
            let meta = together(course.before.clone(), meta);
            work.conclude(result, meta, &course, None).await.stands()
        }
        outcome => work.leave(outcome, &course).await,
    }
}

fn mark_of(key: Running) -> String {
    format!("{}.{}", key.task, key.attempt)
}

/// The project's folder. Else what to tell.
fn folder(shared: &Shared, task: &Task) -> Result<PathBuf, Box<Outcome>> {
    project::directory(&shared.root, task.project.as_deref()).map_err(|refused| {
        // What people are told names no path of this machine; its log does.
        tracing::warn!(task.id = %task.id, projects.root = %shared.root.display(), reason = %refused, "task refused");
        Box::new(match (refused, &task.project) {
            // It was there when the device said so. Another may have it; this one takes nothing of it any more.
            (Refused::Here(why), Some(project)) => {
                shared.facts.missing(project);
                Outcome::failed(why, true, EndReason::NoProject)
            }
            (Refused::Here(why) | Refused::Anywhere(why), _) => Outcome::failed(why, false, EndReason::NotStarted),
        })
    })
}

fn outcome_of(trouble: Trouble, meta: Meta) -> Outcome {
    let (retryable, reason) = match &trouble {
        Trouble::Stopped => return Outcome::Stopped { meta },
        Trouble::NoRoom(_) => (true, EndReason::NoRoom),
        Trouble::NoWorkspace { retryable, .. } => (*retryable, EndReason::NoWorkspace),
    };
    Outcome::Failed { error: trouble.to_string(), retryable, meta: Meta { reason: Some(reason), ..meta } }
}

impl Concluded {
    /// How it ends where nobody goes on.
    fn stands(self) -> Outcome {
        match self {
            Self::Over(outcome) | Self::Again(Again { stands: outcome, .. }) => outcome,
        }
    }
}

/// A turn with what people added too late for the one before, if they did.
fn added(further: Option<&Line>, rounds: u32, stands: impl FnOnce() -> Outcome) -> Option<Again> {
    let late = further?.late();
    (!late.is_empty()).then(|| Again {
        note: "Going on with what was added meanwhile",
        prompt: late.iter().map(|note| note.text.as_str()).collect::<Vec<_>>().join("\n\n"),
        carries: late.iter().map(|note| note.about).collect(),
        rounds,
        stands: stands(),
    })
}

fn complete(result: &str, meta: &Meta) -> Outcome {
    Outcome::Complete { result: result.to_owned(), meta: meta.clone() }
}

impl<'a> Work<'a> {
    fn of(shared: &'a Shared, entry: &Entry, stop: &'a Stop, progress: &'a Progress) -> Self {
        let key = entry.key();
        Self {
            shared,
            id: key.task,
            attempt: key.attempt,
            stop,
            progress,
            place: None,
            hosting: Hosting {
                host: shared.host.clone(),
                folder: entry.folder().to_path_buf(),
                marks: vec![
                    ("HUB_TASK_ID".into(), key.task.to_string().into()),
                    (ATTEMPT_MARK.into(), mark_of(key).into()),
                    (WORKER_MARK.into(), shared.mark.clone().into()),
                ],
                grace: shared.grace,
                cancel: stop.token(),
                redactor: Arc::clone(&shared.redactor),
            },
        }
    }

    /// Finds or makes the place to work, and has the project set it up.
    async fn settle(&mut self, plan: &Begun, directory: &Path) -> Result<(), Trouble> {
        let opened = tokio::select! {
            biased;
            () = self.stop.stopped() => Err(Trouble::Stopped),
            opened = self.shared.workspaces.open(plan, directory) => opened,
        };
        let place = opened?;
        if place.is_new() || place.kind() == Kind::InPlace {
            self.report(&place).await;
        }
        let setup = plan.project.as_ref().and_then(|project| Some((project.setup.as_deref()?, &project.setup_inputs)));
        if let Some((command, inputs)) = setup {
            self.progress.say("Setting up the project");
            place.setup(command, inputs, &self.hosting).await?;
        }
        self.place = Some(place);
        Ok(())
    }

    /// Says where it works. The work does not depend on it.
    async fn report(&self, place: &Place) {
        let workspace = Workspace {
            kind: place.kind(),
            base: place.base().map(str::to_owned),
            head: None,
            size_bytes: None,
            pushed: false,
            pull_request: None,
            bundled: false,
        };
        let told = Behind::patiently(|| self.shared.hub.report_workspace(self.id, self.attempt, &workspace));
        let told = tokio::select! {
            biased;
            () = self.stop.stopped() => return,
            told = told => told,
        };
        match told {
            Ok(()) => {}
            Err(Error::LeaseLost(_) | Error::DeviceRevoked(_)) => self.stop.stop(Reason::Lost),
            Err(error) => {
                tracing::warn!(task.id = %self.id, error = %error, "the hub was not told of a workspace");
            }
        }
    }

    async fn turns(
        &mut self,
        agent: &dyn Agent,
        mut course: Course,
        mut context: Context,
        entry: &Entry,
        behind: &Behind,
    ) -> Outcome {
        if self.stop.is_over_budget() {
            return Outcome::Parked { meta: course.before };
        }
        let mut stands = None;
        loop {
            if let Err(error) = next(entry, &course).await {
                let why = format!("the journal can not be written: {}", error.kind());
                return Outcome::failed(why, true, EndReason::NotStarted);
            }
            (context.session, context.further) = (course.session.clone(), course.turn > 1);
            let outcome = match agent.run(context.clone()).await.shown(&self.shared.redactor) {
                Outcome::Stopped { meta } if self.stop.is_over_budget() => Outcome::Parked { meta },
                outcome => outcome,
            };
            let (result, run) = match (outcome, stands.take()) {
                (Outcome::Complete { result, meta }, _) => (result, meta),
                (Outcome::Failed { meta, .. }, Some(stands)) if meta.reason == Some(EndReason::SessionLost) => {
                    return self.fall_back(stands, meta, &course).await;
                }
                (outcome, _) => return self.leave(outcome, &course).await,
            };
            // One whose budget is used up may yet be done, and then its work is proved and handed out: that costs nothing.
            let stopped = self.stop.is_stopped();
            let further = agent.resumes() && !stopped && course.turn < TURNS;
            let session = session_after(course.session.as_ref(), &run).filter(|_| further);
            let meta = together(course.before.clone(), run);
            let further = session.is_some().then_some(&context.line);
            let late = added(further, course.rounds, || complete(&result, &meta));
            if !agent.resumes() {
                context.line.settle();
            }
            let concluded = match late {
                Some(again) => Concluded::Again(again),
                None if context.line.is_owed() && !stopped => {
                    // It asked, and did not wait: it goes on with the answer.
                    let said = ending(&result, SAID, false).into_owned();
                    return Outcome::Parked { meta: Meta { said: Some(said), ..meta } };
                }
                None => self.conclude(result, meta.clone(), &course, further).await,
            };
            let again = match concluded {
                Concluded::Over(outcome) => return outcome,
                Concluded::Again(again) => again,
            };
            if self.stop.is_over_budget() {
                return Outcome::Parked { meta };
            }
            if !again.carries.is_empty() {
                behind.next_turn(again.carries.clone()).await;
            }
            self.progress.step(again.note).await;
            (context.prompt, context.carries) = (again.prompt, again.carries);
            stands = Some(again.stands);
            course = Course { turn: course.turn + 1, rounds: again.rounds, session, before: meta, ..course };
        }
    }

    /// A further turn could not go on with the session: what was before it stands.
    async fn fall_back(&mut self, stands: Outcome, lost: Meta, course: &Course) -> Outcome {
        let poisoned =
            |meta: Meta| Meta { session_id: lost.session_id.clone(), session_state: lost.session_state, ..meta };
        match stands {
            Outcome::Complete { result, meta } => self.conclude(result, poisoned(meta), course, None).await.stands(),
            Outcome::Failed { error, retryable, meta } => Outcome::Failed { error, retryable, meta: poisoned(meta) },
            outcome => outcome,
        }
    }

    /// What an agent did that did not end well is kept all the same. One that is parked goes on where it stands.
    async fn leave(&self, outcome: Outcome, course: &Course) -> Outcome {
        let before = course.before.clone();
        match outcome {
            // What is to be cancelled does not go on.
            Outcome::Parked { meta } if self.stop.reason() == Some(Reason::Cancelled) => {
                Outcome::Parked { meta: self.kept(together(before, meta), course).await }
            }
            Outcome::Parked { meta } => Outcome::Parked { meta: together(before, meta) },
            Outcome::Stopped { meta } => Outcome::Stopped { meta: self.kept(together(before, meta), course).await },
            Outcome::Failed { error, retryable, meta } => {
                Outcome::Failed { error, retryable, meta: self.kept(together(before, meta), course).await }
            }
            outcome @ (Outcome::Complete { .. } | Outcome::Left { .. }) => outcome,
        }
    }

    /// The record of work that is kept and not proved.
    async fn kept(&self, meta: Meta, course: &Course) -> Meta {
        let Some(place) = &self.place else { return meta };
        if self.stop.reason() == Some(Reason::Lost) {
            return meta;
        }
        let receipt = match place.keep(&course.words, self.id).await {
            Ok(_) => place.receipt(None).await,
            Err(trouble) => Err(trouble),
        };
        match receipt {
            Ok(receipt) => Meta { receipt: serde_json::to_value(receipt).ok(), ..meta },
            Err(trouble) => {
                tracing::warn!(task.id = %self.id, reason = %trouble, "what an agent left is where it was");
                meta
            }
        }
    }

    /// Keeps, proves and hands out the work of an agent that says that it is done. `further`: it can be sent back, also with what people
    /// added meanwhile.
    async fn conclude(&mut self, result: String, meta: Meta, course: &Course, further: Option<&Line>) -> Concluded {
        let Some(mut place) = self.place.take() else {
            return Concluded::Over(Outcome::Complete { result, meta });
        };
        let concluded = match self.prove(&place, &meta, course).await {
            Ok(proved) => self.hand_out(&mut place, proved, result, meta, course, further).await,
            Err(outcome) => Concluded::Over(*outcome),
        };
        self.place = Some(place);
        match concluded {
            Concluded::Over(Outcome::Stopped { meta }) if self.is_left() => Concluded::Over(Outcome::Left { meta }),
            concluded => concluded,
        }
    }

    /// Whether the next worker can go on where this one stops: the agent's end is in the journal.
    fn is_left(&self) -> bool {
        self.stop.reason() == Some(Reason::Shutdown) && Exit::read(&self.hosting.folder).ok().flatten().is_some()
    }

    /// Pushes, and opens the pull request or brings it up to date. What does not work out costs no result.
    async fn out(
        &self,
        place: &mut Place,
        project: &ProjectPlan,
        result: &str,
        course: &Course,
    ) -> Result<(), Trouble> {
        place.push().await?;
        let ready = match project.pull_request {
            PullRequest::Off => return Ok(()),
            PullRequest::Draft => false,
            PullRequest::Ready => true,
        };
        let words = self.shared.redactor.text(&course.words).into_owned();
        let body = result.to_owned() + &of_team(course.plan.team.as_ref());
        if let Some(wanted) = pull_request(project, &words, body, ready) {
            place.pull_request(&wanted).await?;
        }
        Ok(())
    }

    async fn prove(&self, place: &Place, meta: &Meta, course: &Course) -> Result<Proved, Box<Outcome>> {
        let trouble = |trouble| Box::new(outcome_of(trouble, meta.clone()));
        let notes = place.keep(&course.words, self.id).await.map_err(trouble)?.unwrap_or_default().notes;
        let project = course.plan.project.as_ref();
        let mut verified = None;
        if let Some((command, project)) = project.and_then(|project| Some((project.verify.as_deref()?, project))) {
            self.progress.step(&format!("Verifying: {command}")).await;
            match self.verify(place, command, project.verify_seconds, course.rounds + 1).await {
                Verification::Done(done) => verified = Some(done),
                Verification::Stopped => return Err(Box::new(Outcome::Stopped { meta: meta.clone() })),
                Verification::NotTried(why) => {
                    let meta = Meta { reason: Some(EndReason::HostGone), ..meta.clone() };
                    return Err(Box::new(Outcome::Failed { error: why, retryable: true, meta }));
                }
            }
        }
        let receipt = place.receipt(verified).await.map_err(trouble)?;
        Ok(Proved { notes, receipt })
    }

    /// One that was killed says nothing of the work, and is cheaper to begin again than the agent's.
    async fn verify(&self, place: &Place, command: &str, seconds: u64, round: u32) -> Verification {
        let folder = self.hosting.folder.join(format!("verify-{round}"));
        let mut again = true;
        loop {
            // Of the one that was killed, or of a worker that is gone.
            tokio::fs::remove_dir_all(&folder).await.ok();
            match place.verify(command, seconds, round, &self.hosting).await {
                Verification::NotTried(why) if again && self.stop.reason().is_none() => {
                    tracing::warn!(task.id = %self.id, reason = %why, "verifying again");
                    again = false;
                }
                verification => return verification,
            }
        }
    }

    async fn hand_out(
        &self,
        place: &mut Place,
        proved: Proved,
        result: String,
        meta: Meta,
        course: &Course,
        further: Option<&Line>,
    ) -> Concluded {
        let Proved { mut notes, mut receipt } = proved;
        let project = course.plan.project.clone().unwrap_or_default();
        if let Some(failed) = receipt.verify.clone().filter(|verified| !verified.passed) {
            let rounds = project.verify_rounds;
            let meta = Meta { receipt: serde_json::to_value(&receipt).ok(), reason: Some(EndReason::Verify), ..meta };
            let outcome = Outcome::Failed {
                error: format!("{result}\n\nThe verification failed:\n{}", failed.tail),
                retryable: false,
                meta,
            };
            let Some(line) = further.filter(|_| course.rounds < rounds) else { return Concluded::Over(outcome) };
            let late = line.late();
            let words = std::iter::once(send_back(&project, &failed)).chain(late.iter().map(|note| note.text.clone()));
            return Concluded::Again(Again {
                note: "The verification failed: going on to mend it",
                prompt: words.collect::<Vec<_>>().join("\n\n"),
                carries: late.iter().map(|note| note.about).collect(),
                rounds: course.rounds + 1,
                stands: outcome,
            });
        }
        // Before anything of it leaves this machine.
        if let Some(again) = added(further, course.rounds, || complete(&result, &meta)) {
            return Concluded::Again(again);
        }
        if project.push && place.kind() == Kind::Git {
            // Whoever lost the lease hands nothing out any more.
            let fence = format!("Pushing {}", course.plan.branch);
            let fenced = Behind::patiently(|| self.shared.hub.report_progress(self.id, self.attempt, &fence, true));
            let fenced = tokio::select! {
                biased;
                () = self.stop.stopped() => return Concluded::Over(Outcome::Stopped { meta }),
                fenced = fenced => fenced,
            };
            if let Err(error @ (Error::LeaseLost(_) | Error::DeviceRevoked(_))) = fenced {
                tracing::warn!(task.id = %self.id, error = %error, "nothing is pushed: the lease is lost");
                self.stop.stop(Reason::Lost);
                return Concluded::Over(Outcome::Stopped { meta });
            }
            let out = tokio::select! {
                biased;
                () = self.stop.stopped() => {
                    let meta = Meta { receipt: serde_json::to_value(&receipt).ok(), ..meta };
                    return Concluded::Over(Outcome::Stopped { meta });
                }
                out = self.out(place, &project, &result, course) => out,
            };
            if let Err(trouble) = out {
                notes.push(trouble.to_string());
            }
            if let Ok(after) = place.receipt(receipt.verify.take()).await {
                receipt = after;
            }
        }
        let meta = Meta { receipt: serde_json::to_value(&receipt).ok(), ..meta };
        let notes: String = notes.iter().map(|note| format!("\n({note})")).collect();
        Concluded::Over(Outcome::Complete { result: format!("{result}{notes}"), meta })
    }
}

/// A pull request's texts: what was asked, and what came of it.
fn pull_request(project: &ProjectPlan, words: &str, body: String, ready: bool) -> Option<workspace::PullRequest> {
    let title = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("Work").to_owned();
    Some(workspace::PullRequest {
        repository: project.repository.clone()?,
        secret_name: project.secret_name.clone(),
        ready,
        title,
        body,
    })
}

/// For whoever reads a part's pull request: which it is, and after which others it is to be merged. What of them is not there yet when the
/// part begins is named by its branch, or by what it is about.
fn of_team(team: Option<&Team>) -> String {
    let Some((position, team)) = team.and_then(|team| Some((team.position?, team))) else { return String::new() };
    let name = |part: &TeamPart| {
        let branch = part.branch.as_ref().map(|branch| format!("`{branch}`"));
        part.pull_request.clone().or(branch).or_else(|| part.title.clone())
    };
    let before: Vec<String> = team.parts.iter().take(position.saturating_sub(1)).filter_map(name).collect();
    let after = if before.is_empty() { String::new() } else { format!(", to be merged after {}", before.join(", ")) };
    format!("\n\nPart {position} of {} of one request{after}.", team.parts.len())
}

struct Proved {
    /// What people should know of how it was left.
    notes: Vec<String>,
    receipt: Receipt,
}

/// What is said to an agent whose work was not verified.
fn send_back(project: &ProjectPlan, failed: &Verified) -> String {
    let command = project.verify.as_deref().unwrap_or_default();
    format!("Verification failed: {command}\n\n{}\n\nMend it.", failed.tail)
}

/// Makes the attempt's folder ready for a turn: it says how far the attempt is, and has nothing of the turn before.
async fn next(entry: &Entry, course: &Course) -> std::io::Result<()> {
    let folder = entry.folder().to_path_buf();
    let course = course.clone();
    let written = tokio::task::spawn_blocking(move || {
        if course.turn > 1 {
            put_aside(&folder, &format!("turn-{}", course.turn - 1))?;
        }
        journal::set_course(&folder, &course)
    });
    written.await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_team_says_after_which_others_it_is_to_be_merged() {
        let part = |title: &str, branch: Option<&str>, pull_request: Option<&str>| TeamPart {
            title: Some(title.into()),
            branch: branch.map(Into::into),
            pull_request: pull_request.map(Into::into),
        };
        let parts = vec![
            part("the schema", Some("hub/00000001"), Some("https://github.example/o/r/pull/7")),
            part("the server", Some("hub/00000002"), None),
            part("the page", None, None),
        ];
        let said = |position| of_team(Some(&Team { position, parts: parts.clone() }));
        assert_eq!(
            said(Some(3)),
            "\n\nPart 3 of 3 of one request, to be merged after https://github.example/o/r/pull/7, `hub/00000002`."
        );
        assert_eq!(said(Some(1)), "\n\nPart 1 of 3 of one request.");
        assert_eq!((said(None), of_team(None)), (String::new(), String::new()));
    }
}
