//! `hub doctor`: looks at a deployment the way the person on call would, and says what to do about what it finds.

use anyhow::Result;
use hub::Hub;
use serde::Serialize;
use std::process::ExitCode;

use crate::output::Output;
use crate::target::{As, Target};

#[derive(Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    detail: String,
}

fn finding(what: &'static str, outcome: Result<String, String>) -> Finding {
    let ok = outcome.is_ok();
    Finding { what, ok, detail: outcome.unwrap_or_else(|problem| problem) }
}

pub async fn run(target: &Target, out: Output) -> Result<ExitCode> {
    let mut findings = Vec::new();
    match target.connect(As::Operator).await {
        Err(error) => findings.push(finding("the hub answers", Err(error.to_string()))),
        Ok(hub) => look(target, &hub, &mut findings).await,
    }
    let well = findings.iter().all(|finding| finding.ok);
    out.show(&findings, |findings| {
        findings
            .iter()
            .map(|f| format!("{} {}: {}", if f.ok { "✅" } else { "❌" }, f.what, f.detail))
            .collect::<Vec<_>>()
            .join("\n")
    });
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn look(target: &Target, hub: &Hub, findings: &mut Vec<Finding>) {
    if let Hub::Postgres(db) = hub {
        let version: Result<String, sqlx::Error> = sqlx::query_scalar("show server_version").fetch_one(db.pool()).await;
        findings.push(finding(
            "Postgres",
            match version {
                Ok(text) if text.split('.').next().and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n >= 15) => {
                    Ok(text)
                }
                Ok(text) => Err(format!("{text}, but 15 or newer is needed")),
                Err(error) => Err(error.to_string()),
            },
        ));
        findings.push(finding(
            "connection",
            if db.is_pooled() {
                Err("a pooler in transaction mode: workers can not LISTEN through it; use the direct address or session mode (port 5432)".into())
            } else {
                Ok("direct or in session mode: LISTEN works".into())
            },
        ));
        findings.push(finding(
            "migrations",
            match target.database_url() {
                Err(error) => Err(error.to_string()),
                Ok(url) => match hub::migrate::pending(&url).await {
                    Ok(pending) if pending.is_empty() => Ok("all applied".into()),
                    Ok(pending) => Err(format!("{} not applied: run `hub migrate`", pending.join(", "))),
                    Err(error) => Err(error.to_string()),
                },
            },
        ));
    }

    let servers = hub.servers().await;
    findings.push(finding(
        "servers",
        match &servers {
            Ok(servers) if servers.is_empty() => Err("none: run `hub migrate`".into()),
            Ok(servers) => Ok(servers
                .iter()
                .map(|s| format!("{} ({} channels)", s.name, s.channel_count))
                .collect::<Vec<_>>()
                .join(", ")),
            Err(error) => Err(error.to_string()),
        },
    ));
    let mut ownerless = Vec::new();
    for server in servers.iter().flatten() {
        match hub.members(server.id).await {
            Ok(members) if members.iter().any(|m| m.role == "owner" || m.role == "operator") => {}
            Ok(_) => ownerless.push(server.name.clone()),
            Err(error) => ownerless.push(format!("{} ({error})", server.name)),
        }
    }
    findings.push(finding(
        "people",
        if ownerless.is_empty() {
            Ok("every server has an owner or operator".into())
        } else {
            Err(format!("nobody can make work in {}: `hub member add SERVER EMAIL owner`", ownerless.join(", ")))
        },
    ));
    findings.push(finding(
        "devices",
        match hub.devices().await {
            Err(error) => Err(error.to_string()),
            Ok(devices) => {
                let now = chrono::Utc::now();
                let online = devices.iter().filter(|d| {
                    d.revoked_at.is_none() && d.last_heartbeat_at.is_some_and(|at| (now - at).num_seconds() < 90)
                });
                let names: Vec<&str> = online.map(|d| d.name.as_str()).collect();
                if names.is_empty() {
                    Err(format!("none of {} is online: start `hub worker --device NAME` on one", devices.len()))
                } else {
                    Ok(format!("online: {}", names.join(", ")))
                }
            }
        },
    ));
    if let Hub::Postgres(db) = hub {
        // Whoever keeps time would have done these within a minute.
        let overdue: Result<i64, sqlx::Error> = sqlx::query_scalar(
            "select (select count(*) from public.mac_tasks where status = 'running' and lease_expires_at < now() - interval '3 minutes')
                  + (select count(*) from public.hub_task_threads where decay_at < now() - interval '10 minutes' and status = 'decaying')",
        )
        .fetch_one(db.pool())
        .await;
        findings.push(finding(
            "keeping time",
            match overdue {
                Ok(0) => Ok("nothing is overdue".into()),
                Ok(count) => Err(format!("{count} overdue: no worker with Postgres or the service key keeps time")),
                Err(error) => Err(error.to_string()),
            },
        ));
    }
}
