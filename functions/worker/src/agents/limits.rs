//! What agents tell of their accounts' limits while they work. The hub is told of a limit at once, so that it holds everywhere before the
//! attempt has ended, and of shares as often as they say something new.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use hub::{Hub, text::clean, types};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{AgentConfig, speaking};
use crate::{executor::bounded, output::short_line, redact::Redactor};

/// A share that moved by so much is news.
const STEP: f64 = 0.05;
/// Whatever was told is told again after this, if the agent says it again.
const EVERY: Duration = Duration::from_secs(300);
/// Two moments within this are one limit's end, told twice.
const SAME: i64 = 60;
/// What is not met is less than all, whatever an agent rounds it to: an account that pays for more goes on beyond its plan.
const ALMOST: f64 = 0.99;
/// So many limits are known of at once. Of more the ends of attempts tell.
const MOST: usize = 100;
/// The hub takes the name of a model in so many characters.
const MODEL: usize = 200;

/// A limit, as its agent calls it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    agent: String,
    model: Option<String>,
    window: Option<&'static str>,
}

/// What is to be said of it.
#[derive(Debug, Clone, PartialEq)]
struct Report {
    limit: types::Limit,
    reason: String,
    used: f64,
    /// When the window of a share begins anew.
    resets_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Default)]
struct Pool {
    told: Option<(Report, Instant)>,
    wanted: Option<Report>,
}

#[derive(Debug, Default)]
struct Pools {
    /// From which share on an agent's account is kept for people.
    kept_from: BTreeMap<String, f64>,
    pools: BTreeMap<Name, Pool>,
}

impl Pools {
    /// Whether there is something to tell.
    fn heard(&mut self, name: Name, report: Report, now: Instant) -> bool {
        if self.pools.len() >= MOST && !self.pools.contains_key(&name) {
            return false;
        }
        let kept_from = self.kept_from.get(&name.agent).copied();
        let pool = self.pools.entry(name).or_default();
        let news = match &pool.told {
            Some((told, at)) if now.duration_since(*at) < EVERY => says_more(told, &report, kept_from),
            _ => true,
        };
        // What is still to be told is told as it is by then.
        let tells = news || pool.wanted.is_some();
        if tells {
            pool.wanted = Some(report);
        }
        tells
    }

    /// What is to be told next.
    fn next(&mut self, now: Instant) -> Option<(Name, Report)> {
        let (name, pool) = self.pools.iter_mut().find(|(_, pool)| pool.wanted.is_some())?;
        let report = pool.wanted.take()?;
        pool.told = Some((report.clone(), now));
        Some((name.clone(), report))
    }

    fn not_told(&mut self, name: &Name) {
        if let Some(pool) = self.pools.get_mut(name) {
            pool.told = None;
        }
    }
}

/// What this worker's agents told of the limits of their accounts.
#[derive(Debug)]
pub(crate) struct Limits {
    hub: Hub,
    device: String,
    pools: Mutex<Pools>,
    news: Notify,
}

impl Limits {
    pub(crate) fn of(hub: Hub, device: &str, agents: &[AgentConfig]) -> Self {
        let kept_from = agents.iter().filter_map(|one| Some((one.agent.clone(), 1.0 - one.reserve?))).collect();
        let pools = Mutex::new(Pools { kept_from, ..Pools::default() });
        Self { hub, device: device.to_owned(), pools, news: Notify::new() }
    }

    /// An agent told of one.
    pub(crate) fn heard(&self, agent: &str, told: &hub_agents::Limit, redactor: &Redactor) {
        let Some(report) = report(told, redactor) else { return };
        let name = Name { agent: agent.to_owned(), model: told.model.clone(), window: told.window.map(window) };
        if self.pools().heard(name, report, Instant::now()) {
            self.news.notify_one();
        }
    }

    /// Tells the hub, one after the other, until `stopping`. A hub that is away is told with the agent's next words, or with the end of
    /// its attempt.
    pub(crate) async fn tell(&self, stopping: &CancellationToken) {
        let telling = async {
            loop {
                let Some((name, report)) = self.next() else {
                    self.news.notified().await;
                    continue;
                };
                let Report { limit, reason, used, resets_at } = &report;
                let call =
                    self.hub.report_rate_limit(&self.device, &name.agent, limit, reason, Some(*used), *resets_at);
                if let Err(error) = bounded(call).await {
                    tracing::warn!(agent.name = %name.agent, error = %error, "the hub was not told of a limit");
                    if error.is_transient() {
                        self.pools().not_told(&name);
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            () = telling => {}
        }
    }

    fn next(&self) -> Option<(Name, Report)> {
        self.pools().next(Instant::now())
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As the hub calls it.
fn window(window: hub_agents::Window) -> &'static str {
    match window {
        hub_agents::Window::Minute => "minute",
        hub_agents::Window::FiveHours => "five_hour",
        hub_agents::Window::Day => "day",
        hub_agents::Window::SevenDays => "seven_day",
    }
}

/// None: it says neither that a limit is met nor how much is used, or is of a model whose name the hub would not take.
fn report(told: &hub_agents::Limit, redactor: &Redactor) -> Option<Report> {
    let used = if told.met { 1.0 } else { told.used?.clamp(0.0, ALMOST) };
    let takes = |name: &String| {
        (1..=MODEL).contains(&name.chars().count()) && !name.contains(char::is_control) && clean(name).trim() == name
    };
    if !told.model.as_ref().is_none_or(takes) {
        return None;
    }
    let limit = speaking::limit(told);
    let (until, resets_at) = if told.met { (limit.until, None) } else { (None, limit.until) };
    let reason = short_line(&redactor.text(&clean(&told.text)));
    Some(Report { limit: types::Limit { until, ..limit }, reason, used, resets_at })
}

/// Whether it is worth a call so soon after what was told.
fn says_more(told: &Report, new: &Report, kept_from: Option<f64>) -> bool {
    let met = |report: &Report| report.used >= 1.0;
    let kept = |report: &Report| kept_from.is_some_and(|from| report.used >= from);
    let ends = |report: &Report| report.limit.until.map_or(0, |until| until.timestamp());
    met(told) != met(new)
        || kept(told) != kept(new)
        || (told.used - new.used).abs() >= STEP - f64::EPSILON
        || (ends(told) - ends(new)).abs() > SAME
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_agents::{LimitSource, Window};

    fn told(used: Option<f64>, met: bool) -> hub_agents::Limit {
        hub_agents::Limit {
            met,
            until: Some("2030-01-01T00:00:00Z".parse().unwrap()),
            source: LimitSource::Structured,
            window: Some(Window::FiveHours),
            model: None,
            used,
            text: "  allowed\n abcd-efgh".into(),
        }
    }

    fn redactor() -> Redactor {
        Redactor::new([("A_KEY".into(), "abcd-efgh".into())].into_iter(), &[]).unwrap()
    }

    fn name(agent: &str, model: Option<&str>) -> Name {
        Name { agent: agent.into(), model: model.map(str::to_owned), window: Some("five_hour") }
    }

    fn of(used: f64) -> Report {
        report(&told(Some(used), false), &redactor()).unwrap()
    }

    #[test]
    fn a_limit_that_is_met_has_an_end_and_a_share_has_a_beginning() {
        let met = report(&told(None, true), &redactor()).unwrap();
        assert_eq!((met.used, met.limit.until, met.resets_at), (1.0, told(None, true).until, None));
        assert_eq!(met.reason, "allowed [redacted]");
        let share = of(0.4);
        assert_eq!((share.used, share.limit.until, share.resets_at), (0.4, None, told(None, true).until));
        // It goes on all the same: whoever reports 1 says that nothing is left.
        assert_eq!(of(1.0).used, ALMOST);
        assert_eq!(report(&told(None, false), &redactor()), None, "it says nothing");
        for model in ["", "a\nb", "\u{202e}a", &"m".repeat(201)] {
            let named = hub_agents::Limit { model: Some(model.into()), ..told(None, true) };
            assert_eq!(report(&named, &redactor()), None, "{model:?}");
        }
    }

    #[test]
    fn the_hub_is_told_what_is_new_and_no_more() {
        let mut pools = Pools::default();
        let begun = Instant::now();
        let mut hears = |used: f64, met: bool, seconds: u64| {
            let now = begun + Duration::from_secs(seconds);
            let report = report(&told(Some(used), met), &redactor()).unwrap();
            let tells = pools.heard(name("claude", None), report, now);
            assert_eq!(pools.next(now).is_some(), tells);
            tells
        };
        for (used, met, seconds, tells) in [
            (0.40, false, 0, true),
            (0.41, false, 1, false),
            (0.449, false, 2, false),
            (0.45, false, 3, true),
            (0.46, false, 302, false),
            (0.46, false, 303, true),
            (0.97, true, 304, true),
            (0.98, true, 305, false),
            (0.98, false, 306, true),
            // The window began anew.
            (0.01, false, 307, true),
        ] {
            assert_eq!(hears(used, met, seconds), tells, "{used} after {seconds} s");
        }
    }

    #[test]
    fn the_share_that_is_kept_for_people_is_told_to_the_point() {
        let mut pools = Pools { kept_from: [("claude".into(), 0.8)].into(), ..Pools::default() };
        let now = Instant::now();
        for (agent, used, tells) in [
            ("claude", 0.79, true),
            ("claude", 0.80, true),
            ("claude", 0.81, false),
            ("claude", 0.78, true),
            ("other", 0.79, true),
            ("other", 0.80, false),
        ] {
            assert_eq!(pools.heard(name(agent, None), of(used), now), tells, "{agent} {used}");
            pools.next(now);
        }
    }

    #[test]
    fn each_is_told_once_as_it_is_by_then_and_again_where_the_hub_was_away() {
        let mut pools = Pools::default();
        let now = Instant::now();
        assert!(pools.heard(name("claude", None), of(0.40), now));
        assert!(pools.heard(name("claude", None), of(0.41), now), "it waits to be told anyway");
        assert!(pools.heard(name("claude", Some("opus")), of(0.40), now));
        let (first, report) = pools.next(now).unwrap();
        assert_eq!((first.model.clone(), report.used), (None, 0.41));
        assert_eq!(pools.next(now).unwrap().0, name("claude", Some("opus")));
        assert_eq!(pools.next(now), None);
        assert!(!pools.heard(name("claude", None), of(0.41), now));
        pools.not_told(&first);
        assert!(pools.heard(name("claude", None), of(0.41), now));
    }

    #[test]
    fn an_agent_that_names_models_without_end_fills_no_memory() {
        let mut pools = Pools::default();
        let now = Instant::now();
        for n in 0..MOST + 10 {
            assert_eq!(pools.heard(name("claude", Some(&n.to_string())), of(0.4), now), n < MOST);
        }
        assert_eq!(pools.pools.len(), MOST);
    }
}
