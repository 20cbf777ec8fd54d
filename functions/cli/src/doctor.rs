//! `hub doctor`: looks at a deployment the way the person on call would, and says what to do about what it finds. It looks at as
//! much as it is given credentials for, and says of the rest what to give.

mod database;
mod machine;
mod project;

use anyhow::Result;
use hub::Hub;
use serde::Serialize;
use std::process::ExitCode;

use crate::output::Output;
use crate::target::{As, Target};

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    /// To be mended.
    Wrong,
    /// Worth knowing.
    Note,
    /// Takes a credential that was not given, or something that was not reached.
    NotChecked,
}

#[derive(Serialize)]
struct Finding {
    what: String,
    state: State,
    detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// What was found, in the order it was looked at.
#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, what: impl Into<String>, state: State, detail: impl Into<String>, remedy: Option<String>) {
        self.0.push(Finding { what: what.into(), state, detail: detail.into(), remedy });
    }

    fn ok(&mut self, what: impl Into<String>, detail: impl Into<String>) {
        self.add(what, State::Ok, detail, None);
    }

    fn wrong(&mut self, what: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) {
        self.add(what, State::Wrong, detail, Some(remedy.into()));
    }

    fn note(&mut self, what: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) {
        self.add(what, State::Note, detail, Some(remedy.into()));
    }

    fn not_checked(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(what, State::NotChecked, "not checked", Some(remedy.into()));
    }

    /// A line each; what is not checked for the same reason stands in one.
    fn text(&self) -> String {
        let same = |a: &Finding, b: &Finding| {
            a.state == State::NotChecked && b.state == State::NotChecked && a.remedy == b.remedy
        };
        let line = |findings: &[Finding]| {
            let (names, first) = (findings.iter().map(|f| f.what.as_str()).collect::<Vec<_>>(), &findings[0]);
            let mark = match first.state {
                State::Ok => "✅",
                State::Wrong => "❌",
                State::Note => "💡",
                State::NotChecked => "➖",
            };
            let remedy = first.remedy.as_ref().map(|remedy| format!(": {remedy}")).unwrap_or_default();
            format!("{mark} {}: {}{remedy}", names.join(", "), first.detail)
        };
        self.0.chunk_by(same).map(line).collect::<Vec<_>>().join("\n")
    }
}

pub async fn run(target: &Target, out: Output) -> Result<ExitCode> {
    let (database, project) = (target.database_address(), target.project_address());
    if database.is_none() && project.is_none() {
        // Says what is missing.
        target.connect(As::Operator).await?;
    }
    let mut report = Report::default();
    let db = database::look(database.as_ref(), &mut report).await;
    let api = project::look(target, project.as_deref(), &mut report).await;
    let hub = match (&db, &api) {
        (Some(db), _) => Some(Hub::Postgres(db.clone())),
        (None, Some(Hub::Api(api))) if api.is_service() => Some(Hub::Api(api.clone())),
        _ => None,
    };
    match &hub {
        Some(hub) => people(hub, &mut report).await,
        None => {
            for what in ["servers", "people", "devices"] {
                let given = database.is_some();
                let remedy = if given {
                    "Postgres and its migrations come first"
                } else {
                    "give DATABASE_URL or SUPABASE_SERVICE_ROLE_KEY"
                };
                report.not_checked(what, remedy);
            }
        }
    }
    open_files(&mut report);
    let well = report.0.iter().all(|finding| finding.state != State::Wrong);
    out.show(&report.0, |_| report.text());
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether this machine lets `hub serve` and `hub dev` keep as many connections as they are made for.
fn open_files(report: &mut Report) {
    match hub_api::open_files::raise() {
        None => report.ok("open files", "enough for `hub serve` and `hub dev`"),
        Some(few) => report.note("open files", few, "ulimit -Hn, or LimitNOFILE of the service"),
    }
}

/// A device that has been silent for a day is nobody's surprise any more.
const LOST_SECONDS: i64 = 24 * 3600;

/// Who makes work, and what carries it out.
async fn people(hub: &Hub, report: &mut Report) {
    const MIGRATE: &str = "run `hub migrate` or `supabase db push`";
    let servers = match hub.servers().await {
        Ok(servers) if servers.is_empty() => {
            report.wrong("servers", "there are none", MIGRATE);
            servers
        }
        Ok(servers) => {
            let names = servers.iter().map(|s| format!("{} ({} channels)", s.name, s.channel_count));
            report.ok("servers", names.collect::<Vec<_>>().join(", "));
            servers
        }
        Err(error) => {
            report.wrong("servers", error.to_string(), MIGRATE);
            Vec::new()
        }
    };
    let (mut ownerless, mut unasked) = (Vec::new(), Vec::new());
    for server in &servers {
        match hub.members(server.id).await {
            Ok(members) if members.iter().any(|m| m.role == "owner" || m.role == "operator") => {}
            Ok(_) => ownerless.push(server.name.clone()),
            Err(error) => unasked.push(format!("{} ({error})", server.name)),
        }
    }
    if servers.is_empty() {
        report.not_checked("people", "there are no servers yet");
    } else if ownerless.is_empty() && !unasked.is_empty() {
        report.not_checked("people", format!("could not be asked of {}", unasked.join(", ")));
    } else if ownerless.is_empty() {
        report.ok("people", "every server has an owner or operator");
    } else {
        let detail = format!("nobody can make work in {}", ownerless.join(", "));
        report.wrong("people", detail, "`hub member add SERVER EMAIL owner`");
    }
    match hub.devices().await {
        Err(error) => report.wrong("devices", error.to_string(), MIGRATE),
        Ok(devices) => {
            machine::look(&devices, report);
            let now = chrono::Utc::now();
            let expected = devices
                .iter()
                .filter(|d| d.revoked_at.is_none() && d.signed_off_at.is_none() && d.stopping_at.is_none())
                .filter_map(|d| Some((d.name.as_str(), (now - d.last_heartbeat_at?).num_seconds())));
            let (online, silent): (Vec<_>, Vec<_>) = expected.partition(|(_, seconds)| *seconds < 90);
            let list = |devices: &[(&str, i64)]| devices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            // One that said nothing for longer was put away by somebody.
            let silent: Vec<_> = silent.into_iter().filter(|(_, seconds)| *seconds < LOST_SECONDS).collect();
            if !online.is_empty() {
                report.ok("devices", format!("online: {}", list(&online)));
                if !silent.is_empty() {
                    let detail = format!("silent, and not signed off: {}", list(&silent));
                    report.note("silent devices", detail, "look whether `hub worker` runs there, and into its log");
                }
            } else if devices.is_empty() {
                report.wrong(
                    "devices",
                    "there are none",
                    "`hub device add NAME`, then `hub worker --device NAME` on that machine",
                );
            } else {
                let detail = format!("none of {} is online", devices.len());
                report.wrong("devices", detail, "start `hub worker --device NAME` on one");
            }
        }
    }
}
