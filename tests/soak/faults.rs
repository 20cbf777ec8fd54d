//! What goes wrong, by kind, and whom each fault may have cost a run.

use hub_tests::{Line, Part, World, of_attempts};
use nix::sys::signal::Signal;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    fleet::{Fleet, Member, State},
    random::Random,
};

/// After a worker or a host was killed its agent may still come to its end for so long: it has two seconds to follow TERM, on a machine
/// that has other things to do.
const DYING: Duration = Duration::from_secs(5);
/// And that an agent ended may be known, and written down, so long after its last line was seen.
const NOTICED: Duration = Duration::from_secs(1);
/// Longer than a lease of 60 s and the keeper's next look.
const LEASE: Duration = Duration::from_secs(75);

/// Whom a fault hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything that ran on the device.
    Device(String),
    /// One attempt, `<task>.<attempt>`.
    Attempt(String),
}

struct Fault {
    scope: Scope,
    from: Instant,
    to: Instant,
}

pub struct Faults {
    /// Workers may stay away for longer than a lease.
    leases: bool,
    counts: BTreeMap<&'static str, usize>,
    list: Vec<Fault>,
}

impl Faults {
    pub fn new(leases: bool) -> Faults {
        Faults { leases, counts: BTreeMap::new(), list: Vec::new() }
    }

    /// An attempt that was hit may be run again.
    pub fn happened(&mut self, scope: Scope, from: Instant, to: Instant) {
        self.list.push(Fault { scope, from, to });
    }

    /// Whether an attempt whose agent's last line was seen at `ended` was hit in its last moments: then nobody could know that it had
    /// come to its end. One that ended well before the fault was in the journal, and must not be run again.
    pub fn hit(&self, attempt: &str, device: &str, ended: Instant) -> bool {
        self.list.iter().any(|fault| {
            let meant = match &fault.scope {
                Scope::Device(hit) => hit == device,
                Scope::Attempt(hit) => hit == attempt,
            };
            meant && ended + NOTICED >= fault.from && ended <= fault.to + DYING
        })
    }

    pub fn said(&self) -> String {
        self.counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
    }

    fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// Lets one fault happen, if there is what it takes.
    pub async fn one(&mut self, world: &World, fleet: &mut Fleet, random: &mut Random) {
        match random.between(1, 16) {
            1..=4 => self.kill(fleet, random),
            5..=6 => self.stop(fleet, random),
            7..=9 => self.freeze(fleet, random),
            10..=11 => self.part(world, fleet, random, Part::Host, "host killed").await,
            12 => self.part(world, fleet, random, Part::Guard, "guard killed").await,
            13..=14 => self.part(world, fleet, random, Part::Agent, "agent killed").await,
            15 => self.backends(world, fleet, random).await,
            _ => self.cut(fleet, random),
        }
    }

    fn kill(&mut self, fleet: &mut Fleet, random: &mut Random) {
        let kind = match random.between(1, 20) {
            1..=9 => ("worker killed, started again at once", Duration::ZERO),
            20 if self.leases => ("worker killed, started again after its leases", LEASE),
            _ => ("worker killed, started again after a second", Duration::from_secs(1)),
        };
        let Some(member) = running(fleet, random) else { return };
        let now = Instant::now();
        member.signal(Signal::SIGKILL);
        member.state = State::Away { until: now + kind.1 };
        self.happened(Scope::Device(member.device.clone()), now, now);
        self.count(kind.0);
    }

    fn stop(&mut self, fleet: &mut Fleet, random: &mut Random) {
        let Some(member) = running(fleet, random) else { return };
        member.signal(Signal::SIGTERM);
        member.state = State::Stopping { since: Instant::now() };
        self.count("worker told to stop");
    }

    fn freeze(&mut self, fleet: &mut Fleet, random: &mut Random) {
        let (for_ms, killed) = (random.between(500, 4000), random.chance(2));
        let Some(member) = running(fleet, random) else { return };
        member.signal(Signal::SIGSTOP);
        member.state = State::Frozen { until: Instant::now() + Duration::from_millis(for_ms), killed };
        self.count(if killed { "worker frozen, then killed" } else { "worker frozen" });
    }

    async fn part(&mut self, world: &World, fleet: &Fleet, random: &mut Random, part: Part, kind: &'static str) {
        let state = world.root().join(".state").display().to_string();
        let all = of_attempts(&state, &fleet.marker).await;
        let victims: Vec<_> = all.iter().filter(|(_, is)| *is == part).map(|(process, _)| process).collect();
        let Some(victim) = random.of(&victims) else { return };
        // A host names its attempt's folder; an agent's parent is its host.
        let host = if part == Part::Agent {
            all.iter().map(|(process, _)| process).find(|p| p.pid == victim.parent)
        } else {
            Some(*victim)
        };
        let Some(attempt) = host.and_then(|host| attempt_of(&host.arguments)) else { return };
        let now = Instant::now();
        if victim.signal(Signal::SIGKILL) {
            self.happened(Scope::Attempt(attempt), now, now);
            self.count(kind);
        }
    }

    async fn backends(&mut self, world: &World, fleet: &Fleet, random: &mut Random) {
        let Some(member) = random.of(&fleet.members) else { return };
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'hub worker ' || $1";
        let ended: i64 = sqlx::query_scalar(sql).bind(&member.device).fetch_one(&world.pool).await.expect(sql);
        if ended > 0 {
            self.count("a worker's backends terminated");
        }
    }

    fn cut(&mut self, fleet: &mut Fleet, random: &mut Random) {
        let for_ms = random.between(200, 3000);
        let line = if random.chance(2) { Line::Cut } else { Line::Frozen };
        let Some(member) = running(fleet, random) else { return };
        member.line.set(line);
        member.healed = Some(Instant::now() + Duration::from_millis(for_ms));
        self.count(if line == Line::Cut { "network cut" } else { "network frozen" });
    }
}

/// One that nothing is done to already.
fn running<'a>(fleet: &'a mut Fleet, random: &mut Random) -> Option<&'a mut Member> {
    let free = |member: &Member| matches!(member.state, State::Running) && member.healed.is_none();
    let at: Vec<usize> = (0..fleet.members.len()).filter(|at| free(&fleet.members[*at])).collect();
    let at = *random.of(&at)?;
    fleet.members.get_mut(at)
}

/// `<task>.<attempt>` of `… <state>/attempts/<task>.<attempt> …`.
fn attempt_of(arguments: &str) -> Option<String> {
    let (_, rest) = arguments.split_once("/attempts/")?;
    rest.split(['/', ' ']).next().map(str::to_owned)
}
