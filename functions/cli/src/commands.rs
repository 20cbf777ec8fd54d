//! The commands that talk to a hub: each makes a call or two and prints the answer.

use anyhow::{Context, Result, bail};
use hub::{
    Hub,
    follow::Follow,
    types::{Message, Sent},
};
use secrecy::ExposeSecret;
use serde_json::json;
use std::{io::Read, process::ExitCode};
use uuid::Uuid;

use crate::accounts;
use crate::args::{self, Device, Link, Member, Places, Task, ThreadStatus, TokenOf};
use crate::asks;
use crate::attempts;
use crate::output::{Output, print_json, print_line, shorten, size, tell, try_print_json_line, try_print_line};
use crate::target::{As, Target};

pub async fn migrate(target: &Target, platform: bool, repair: bool, out: Output) -> Result<ExitCode> {
    // As `--platform` the address is a superuser's; of a `hub dev` that is DATABASE_ADMIN_URL.
    let url = match target.get("DATABASE_ADMIN_URL").filter(|_| platform) {
        Some(url) if target.database_url().is_err() => url.into(),
        _ => target.database_url()?,
    };
    let say = move |line: &str| {
        if !out.json {
            print_line(line);
        }
    };
    if platform {
        hub_migrate::platform(&url, &say).await?;
        out.show(&json!({ "prepared": true }), |_| "Prepared. Next: `hub migrate` as the role postgres.".into());
        return Ok(ExitCode::SUCCESS);
    }
    if repair {
        let changed = hub_migrate::repair(&url).await?;
        for name in changed.iter().filter(|_| !out.json) {
            print_line(&format!("put right: {name}"));
        }
        out.show(&json!({ "repaired": changed }), |_| match changed.len() {
            0 => "Nothing to repair.".into(),
            count => format!("Repaired: {count} put right."),
        });
        return Ok(ExitCode::SUCCESS);
    }
    let report = hub_migrate::migrate(&url, &say).await?;
    out.show(&json!({ "applied": report.applied, "recognised": report.recognised }), |_| {
        let recognised = if report.recognised > 0 {
            format!(" {} had been applied by the Supabase CLI.", report.recognised)
        } else {
            String::new()
        };
        match report.applied.len() {
            0 => format!("Up to date: nothing to apply.{recognised}"),
            count => format!("Up to date: {count} applied.{recognised}"),
        }
    });
    Ok(ExitCode::SUCCESS)
}

pub async fn seed(target: &Target, out: Output) -> Result<ExitCode> {
    hub_migrate::seed(&target.database_url()?, &|line| {
        if !out.json {
            print_line(line);
        }
    })
    .await?;
    out.show(&json!({ "seeded": true }), |_| "Seeded.".into());
    Ok(ExitCode::SUCCESS)
}

/// Where in a channel a message belongs.
pub struct To {
    /// A thread, by the first digits of its id.
    pub thread: Option<String>,
    /// A message of a task, by the first digits of its id.
    pub reply_to: Option<String>,
}

/// What was typed, or standard input for `-`.
fn typed(text: String) -> Result<String> {
    if text != "-" {
        return Ok(text);
    }
    let mut read = String::new();
    std::io::stdin().read_to_string(&mut read).context("standard input is not text")?;
    Ok(read)
}

pub async fn send(
    target: &Target,
    channel: &str,
    text: String,
    wait: bool,
    to: To,
    key: Option<String>,
    out: Output,
) -> Result<ExitCode> {
    let text = typed(text)?;
    let hub = target.connect(As::Person).await?;
    let (_, channel) = hub.channel_named(channel).await?;
    let sent = match &to {
        To { reply_to: Some(id), .. } => {
            let message = hub.message(&channel, id).await?;
            hub.reply(channel.id, &text, message.id, key.as_deref()).await?
        }
        To { thread: Some(id), .. } => {
            let thread = hub.thread(&channel, id).await?;
            hub.send(channel.id, &text, Some(thread.id), key.as_deref()).await?
        }
        To { .. } => hub.send(channel.id, &text, None, key.as_deref()).await?,
    };
    if let Some(reply) = &sent.reply {
        out.show(reply, |reply| reply.text.clone());
        return Ok(ExitCode::SUCCESS);
    }
    if wait {
        return follow(&hub, channel.id, &sent, out).await;
    }
    out.show(&sent, |sent| match (&sent.task, &sent.thread) {
        (Some(task), _) if task.status == "running" => format!("↪️ for the agent of task {}, which runs", task.id),
        (Some(task), Some(thread)) => format!("⏳ task {} queued in thread {} ({})", task.id, thread.id, thread.name),
        (Some(task), None) => format!("⏳ task {} queued", task.id),
        _ => "sent".into(),
    });
    Ok(ExitCode::SUCCESS)
}

/// A task that is not claimed within this time is waiting for something.
const EXPLAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(2);

/// Prints what the task's conversation says until the task has ended; the exit code says whether it completed.
async fn follow(hub: &Hub, channel: Uuid, sent: &Sent, out: Output) -> Result<ExitCode> {
    let task = sent.task.as_ref().context("nothing to wait for: the message made no task")?;
    let after = match (&sent.message, &sent.thread) {
        // A new thread is read from its beginning; a conversation that was there, from our own message on.
        (Some(message), Some(_)) if message.task_thread_id.is_none() => 0,
        (Some(message), _) => message.seq,
        (None, _) => 0,
    };
    let mut follow = Follow::new(hub, channel, sent.thread.as_ref().map(|thread| thread.id), after);
    let mut seen: Vec<Message> = Vec::new();
    let (since, mut explained) = (tokio::time::Instant::now(), String::new());
    loop {
        // Read the row before the messages: once it is final, its last message is there to be read, if it was not already told.
        let now = hub.task(&task.id.to_string()).await?;
        let messages = if now.is_final() && seen.iter().any(ends) { Vec::new() } else { follow.look().await? };
        for message in messages.into_iter().filter(|message| message.task_id == Some(task.id)) {
            if !out.json {
                print_line(&message.content);
            }
            seen.push(message);
        }
        if now.status == "pending" && since.elapsed() > EXPLAIN_AFTER {
            // Nobody should have to wonder why nothing happens: the reason, again only when it changes.
            let reasons = hub.explain(task.id).await?;
            let reasons: Vec<&str> =
                reasons.iter().map(|r| r.reason.as_str()).filter(|reason| *reason != "claimable").collect();
            let reason = reasons.join(", ");
            if !reason.is_empty() && reason != explained {
                tell(&format!("waiting: {reason} (Ctrl-C leaves the task queued)"));
                explained = reason;
            }
        }
        if now.is_final() && seen.iter().any(ends) {
            if out.json {
                print_json(&json!({ "task": now, "messages": seen }));
            }
            return Ok(if now.status == "complete" { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
}

/// Whether this is the last that a conversation says of a task.
fn ends(message: &Message) -> bool {
    matches!(message.event.as_deref(), Some("complete" | "failed" | "cancelled"))
}

/// Prints a conversation as it grows, until it is told to stop or nobody reads.
pub async fn tail(
    target: &Target,
    channel: &str,
    thread: Option<String>,
    last: u32,
    after: Option<i64>,
    out: Output,
) -> Result<ExitCode> {
    let hub = target.connect(As::Person).await?;
    let (_, channel) = hub.channel_named(channel).await?;
    let (thread, there) = match &thread {
        Some(id) => {
            let thread = hub.thread(&channel, id).await?;
            (Some(thread.id), thread.message_count)
        }
        None => (None, channel.message_count),
    };
    let after = after.unwrap_or_else(|| (there - i64::from(last)).max(0));
    let mut follow = Follow::new(&hub, channel.id, thread, after);
    let stop = tokio_util::sync::CancellationToken::new();
    tokio::spawn(until_told_to_stop(stop.clone()));
    loop {
        let messages = tokio::select! {
            messages = follow.next() => messages?,
            () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
        };
        for message in messages {
            let read = if out.json {
                try_print_json_line(&message)
            } else {
                let who = message.sender_label.as_deref().unwrap_or(&message.sender_type);
                let at = message.created_at.map(|at| at.format("%H:%M:%S ").to_string()).unwrap_or_default();
                try_print_line(&format!("{at}{who}: {}", message.content))
            };
            if !read {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

pub async fn task(target: &Target, command: Task, out: Output) -> Result<ExitCode> {
    let hub = target.connect(As::Operator).await?;
    match command {
        Task::Answer { id, answer, text, deny } => {
            return asks::answer(target, &id, asks::Said { answer, text, deny }, out).await;
        }
        Task::Show { id } => {
            let task = hub.task(&id).await?;
            let attempts = hub.attempts(task.id).await?;
            out.show(&json!({ "task": task, "attempts": attempts }), |_| {
                let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "—".into());
                let mut lines = vec![
                    format!("{}  {}", task.id, task.status),
                    format!("  asked     {}", shorten(&task.content, 100)),
                    format!("  project   {}", or_dash(&task.project)),
                    format!(
                        "  routed    model {}, platform {}, priority {}",
                        or_dash(&task.model_preference),
                        or_dash(&task.platform),
                        task.priority.unwrap_or(5)
                    ),
                    format!(
                        "  ran by    {}/{}, attempt {} of {}",
                        or_dash(&task.agent),
                        or_dash(&task.claimed_by),
                        task.attempt,
                        task.max_attempts.unwrap_or(1)
                    ),
                ];
                let now = chrono::Utc::now();
                lines.extend(attempts.iter().map(|attempt| attempts::text(attempt, now)));
                for (name, text) in [("doing", &task.partial_output), ("error", &task.error), ("result", &task.result)]
                {
                    if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                        lines.push(format!("  {name}\n{text}"));
                    }
                }
                lines.join("\n")
            });
        }
        Task::Explain { id } => {
            let task = hub.task(&id).await?;
            let reasons = hub.explain(task.id).await?;
            out.show(&reasons, |reasons| {
                let now = chrono::Utc::now();
                let line = |r: &hub::types::Explanation| {
                    let word = |at| if at > now { "until" } else { "since" };
                    let until = r
                        .until
                        .map(|at| format!(" ({} {})", word(at), at.format("%Y-%m-%d %H:%M:%S UTC")))
                        .unwrap_or_default();
                    let detail =
                        r.detail.as_deref().filter(|d| !d.is_empty()).map(|d| format!("\n  {d}")).unwrap_or_default();
                    format!("{}{until}{detail}", r.reason)
                };
                reasons.iter().map(line).collect::<Vec<_>>().join("\n")
            });
        }
        Task::Cancel { id } => {
            let task = hub.cancel(hub.task(&id).await?.id).await?;
            out.show(&task, |task| match task.status.as_str() {
                "cancelled" => format!("{} cancelled", task.id),
                _ => format!(
                    "{} asked to stop; {} stops it",
                    task.id,
                    task.claimed_by.as_deref().unwrap_or("its device")
                ),
            });
        }
        Task::Retry { id } => {
            let task = hub.retry(hub.task(&id).await?.id).await?;
            out.show(&task, |task| format!("{} queued again", task.id));
        }
        Task::Steer { id, text } => {
            // These are somebody's words, as those of `hub send` are.
            let hub = target.connect(As::Person).await?;
            let task = hub.steer(hub.task(&id).await?.id, &typed(text)?).await?;
            out.show(&task, |task| {
                let by = task.agent.as_deref().unwrap_or("its agent");
                let device = task.claimed_by.as_deref().unwrap_or("its device");
                format!("{}: for {by} on {device}; what becomes of it is told in the conversation", task.id)
            });
        }
        Task::Route { id, agent, model, device, kind } => {
            let id = hub.task(&id).await?.id;
            let task = hub.route(id, agent.as_deref(), model.as_deref(), device.as_deref(), kind.as_deref()).await?;
            out.show(&task, |task| match task.status.as_str() {
                "failed" | "cancelled" => {
                    format!("{} routed; queue it again: hub task retry {}", task.id, task.short())
                }
                _ => format!("{} routed", task.id),
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What keeps an agent from getting tasks, behind its name.
fn stop(stop: &hub::types::AgentStop) -> String {
    let of = stop.model.as_deref().map(|model| format!(" for {model}")).unwrap_or_default();
    match stop.until {
        Some(until) => {
            let guess = if stop.source.as_deref() == Some("guess") { " (a guess)" } else { "" };
            format!(": at its limit{of} until {}{guess}", until.format("%Y-%m-%d %H:%M UTC"))
        }
        None => ": not logged in".to_owned(),
    }
}

pub async fn devices(target: &Target, out: Output) -> Result<ExitCode> {
    let devices = target.connect(As::Operator).await?.devices().await?;
    let now = chrono::Utc::now();
    let row = |d: &hub::types::Device| {
        let silent = d.last_heartbeat_at.map(|at| (now - at).num_seconds().max(0));
        let state = match (d.revoked_at, d.signed_off_at, d.drained_at, silent) {
            (Some(_), _, _, _) => "revoked".to_owned(),
            (_, Some(at), _, _) => format!("signed off {}", at.format("%Y-%m-%d %H:%M UTC")),
            (_, _, Some(_), _) => "draining".to_owned(),
            (_, _, _, Some(seconds)) if seconds < 90 && d.stopping_at.is_some() => "stopping".to_owned(),
            (_, _, _, Some(seconds)) if seconds < 90 => "online".to_owned(),
            (_, _, _, Some(seconds)) => format!("silent for {seconds} s"),
            (_, _, _, None) => "never seen".to_owned(),
        };
        let room = |bytes: Option<u64>| bytes.map_or_else(|| "—".into(), size);
        let agents = d.agents.iter().map(|offer| {
            let stops = d.stops.iter().filter(|stop| stop.agent == offer.agent).map(stop);
            format!("{} ({}){}", offer.agent, offer.models.join(", "), stops.collect::<String>())
        });
        vec![
            d.name.clone(),
            d.platform.clone().unwrap_or_else(|| "—".into()),
            d.capacity.to_string(),
            state,
            room(d.disk_free_bytes),
            room(d.memory_free_bytes),
            agents.collect::<Vec<_>>().join(", "),
        ]
    };
    let head = ["device", "platform", "at once", "state", "free disk", "free memory", "agents"];
    out.show_table(&devices, "No devices. Enrol one: `hub device add NAME`.", &head, row);
    Ok(ExitCode::SUCCESS)
}

pub async fn threads(
    target: &Target,
    channel: Option<&str>,
    status: Option<ThreadStatus>,
    out: Output,
) -> Result<ExitCode> {
    let hub = target.connect(As::Person).await?;
    let channel = match channel {
        Some(name) => Some(hub.channel_named(name).await?.1.id),
        None => None,
    };
    let mut threads = hub.threads(channel, true, 100).await?;
    let status = status.map(args::name);
    threads.retain(|thread| status.as_ref().is_none_or(|status| thread.status == *status));
    let row = |t: &hub::types::Thread| {
        let mark = match t.status.as_str() {
            "active" => "🟢",
            "idle" | "decaying" => "🟡",
            _ => "⚫",
        };
        vec![t.id.to_string(), format!("{mark} {}", t.status), t.message_count.to_string(), shorten(&t.name, 60)]
    };
    out.show_table(&threads, "No threads.", &["thread", "state", "messages", "name"], row);
    Ok(ExitCode::SUCCESS)
}

pub async fn device(target: &Target, command: Device, out: Output) -> Result<ExitCode> {
    let hub = target.connect(As::Operator).await?;
    match command {
        Device::Add { name, servers } => {
            if !hub::config::is_device_name(&name) {
                bail!("{name:?} is no name for a device: use 1 to 63 letters, digits, dots, dashes and underscores");
            }
            let servers = if servers.is_empty() {
                hub.servers().await?
            } else {
                let mut chosen = Vec::new();
                for server in &servers {
                    chosen.push(hub.server_named(server).await?);
                }
                chosen
            };
            let known = hub.devices().await?.into_iter().find(|device| device.name == name);
            if known.is_some_and(|device| device.revoked_at.is_some()) {
                bail!(
                    "{name} is revoked, and a new secret would not change that: `hub device revoke {name} --undo` lets it work again"
                );
            }
            if name == hub_local::dev::DEVICE && target.is_hub_dev() {
                bail!(
                    "{name} is the device of this `hub dev`, whose dev.env has its secret: a new one would make that one useless. Choose another name"
                );
            }
            // With Postgres alone there is no sign-in: a worker there signs in to the database itself.
            let bare = matches!(hub, hub::Hub::Postgres(_)) && target.project_address().is_none();
            let account = if bare { None } else { Some(accounts::enrol_device(target, &name).await?) };
            for server in &servers {
                hub.enroll_device(&name, server.id, true).await?;
            }
            let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
            let Some(accounts::Enrolled { secret, replaced }) = account else {
                out.show(&json!({ "device": name, "servers": names }), |_| {
                    format!(
                        "{name} is enrolled for {}.\n\nThere is only Postgres here, so it needs no secret of its own. On that machine, with \
                         the address of the database and the password of postgres in it:\n\n  hub worker --device {name} --url postgres://…",
                        names.join(", ")
                    )
                });
                return Ok(ExitCode::SUCCESS);
            };
            let shown = json!({
                "device": name, "servers": names, "secret": secret.expose_secret(), "replaced": replaced,
            });
            out.show(&shown, |_| {
                let begin = if replaced {
                    format!(
                        "{name} was enrolled before: it has a NEW secret now, and the old one no longer works. Start its worker again \
                         with this one. It is enrolled for"
                    )
                } else {
                    format!("{name} is enrolled for")
                };
                format!(
                    "{begin} {}.\n\nIts secret, shown this once:\n\n  HUB_DEVICE_SECRET={}\n\n\
                     On that machine, with SUPABASE_ANON_KEY set too:\n\n  hub worker --device {name} --url <the project's URL>",
                    names.join(", "),
                    secret.expose_secret()
                )
            });
        }
        Device::Drain { name, undo } => {
            let device = hub.drain_device(&name, !undo).await?;
            out.show(&device, |_| {
                if undo {
                    format!("{name} takes work again")
                } else {
                    format!("{name} finishes what it runs and gets nothing new")
                }
            });
        }
        Device::Revoke { name, undo } => {
            let device = hub.revoke_device(&name, !undo).await?;
            out.show(&device, |_| {
                if undo {
                    format!("{name} may work again")
                } else {
                    format!("{name} is revoked; what it ran is taken back")
                }
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A code, and what to do with it; or the accounts that came by such codes.
pub async fn link(target: &Target, command: Option<Link>, out: Output) -> Result<ExitCode> {
    let hub = target.connect(As::Person).await?;
    match command {
        None => {}
        Some(Link::List) => {
            let linked = hub.chat_identities().await?;
            let row = |one: &hub::types::ChatIdentity| {
                let since = one.created_at.format("%Y-%m-%d %H:%M").to_string();
                vec![one.provider.clone(), one.author_id.clone(), one.label.clone(), since]
            };
            out.show_table(
                &linked,
                "No account is linked to you: hub link",
                &["chat", "account", "name", "since"],
                row,
            );
            return Ok(ExitCode::SUCCESS);
        }
        Some(Link::Remove { provider, account }) => {
            hub.unlink_chat(&provider, &account).await?;
            out.show(&json!({ "provider": provider, "account": account }), |_| {
                format!("{provider} {account} is not yours any more: what it presses counts as nobody's")
            });
            return Ok(ExitCode::SUCCESS);
        }
    }
    let code = hub.link_code().await?;
    out.show(&json!({ "code": code }), |_| {
        format!(
            "{code}\n\nIt is good for ten minutes, once. Type it where only the bot reads it:\n  Telegram   /link {code}         in a private chat with the bot\n  Discord    /link code:{code}    in any channel where the bot is\n\nFrom then on what that account presses under a question counts as your answer."
        )
    });
    Ok(ExitCode::SUCCESS)
}

pub async fn member(target: &Target, command: Member, out: Output) -> Result<ExitCode> {
    let (server, user, role) = match command {
        Member::Add { server, user, role } => (server, user, Some(role)),
        Member::Remove { server, user } => (server, user, None),
        Member::Invite { server, user, role } => {
            let hub = target.connect(As::Person).await?;
            let server = hub.server_named(&server).await?;
            let id = accounts::person(target, &hub, &user).await?;
            let role = args::name(role);
            let invitation = hub.invite(server.id, id, Some(role.as_str())).await?;
            out.show(&invitation, |_| {
                format!(
                    "{user} may become {} of {}: they accept with `hub member accept {}`",
                    role.as_str(),
                    server.name,
                    server.id
                )
            });
            return Ok(ExitCode::SUCCESS);
        }
        Member::Invitations => {
            let invitations = target.connect(As::Person).await?.invitations().await?;
            let row = |i: &hub::types::Invitation| {
                vec![i.server_name.clone(), i.server_id.to_string(), i.user_id.to_string(), i.role.clone()]
            };
            out.show_table(&invitations, "No invitations.", &["server", "id", "invited", "as"], row);
            return Ok(ExitCode::SUCCESS);
        }
        Member::Accept { server } => {
            let hub = target.connect(As::Person).await?;
            let member = hub.accept_invitation(hub.invited_server(&server).await?).await?;
            out.show(&member, |member| format!("you are {} of {server}", member.role));
            return Ok(ExitCode::SUCCESS);
        }
        Member::Leave { server } => {
            let hub = target.connect(As::Person).await?;
            hub.leave(hub.own_server(&server).await?).await?;
            out.show(&json!({ "left": server }), |_| format!("you are no member of {server} any more"));
            return Ok(ExitCode::SUCCESS);
        }
    };
    let hub = target.connect(As::Operator).await?;
    let server = hub.server_named(&server).await?;
    let id = accounts::person(target, &hub, &user).await?;
    let role = role.map(args::name);
    let member = hub.set_member(server.id, id, role.as_deref()).await?;
    out.show(&member, |_| match role {
        Some(role) => format!("{user} is {} of {}", role.as_str(), server.name),
        None => format!("{user} is no longer a member of {}", server.name),
    });
    Ok(ExitCode::SUCCESS)
}

/// What servers may name outside themselves. Only `postgres` and the service write it, and here it is `postgres`.
pub async fn places(target: &Target, command: Places, out: Output) -> Result<ExitCode> {
    let db = hub::db::Db::connect(&target.database_url()?).await?;
    let server = |name: String| {
        let hub = hub::Hub::Postgres(db.clone());
        async move { hub.server_named(&name).await }
    };
    match command {
        Places::List => {
            let places = db.places().await?;
            let row = |p: &hub::types::Place| {
                let or = |text: &Option<String>, other: &str| text.clone().unwrap_or_else(|| other.to_owned());
                vec![
                    p.server.clone(),
                    p.kind.clone(),
                    p.target.clone(),
                    or(&p.device, "all"),
                    or(&p.secret_name, "the default"),
                ]
            };
            out.show_table(&places, "No places.", &["server", "kind", "target", "device", "secret"], row);
        }
        Places::Add { kind, server: name, target, device, secret } => {
            let server = server(name).await?;
            let kind = args::name(kind);
            let place = db.add_place(kind.as_str(), server.id, &target, device.as_deref(), secret.as_deref()).await?;
            out.show(&place, |place| format!("{} may name {} {}", place.server, place.kind, place.target));
        }
        Places::Remove { kind, server: name, target } => {
            let server = server(name).await?;
            let kind = args::name(kind);
            let gone = db.remove_place(kind.as_str(), server.id, &target).await?;
            if gone == 0 {
                anyhow::bail!("{} has no place {} {target}: `hub places list` shows them", server.name, kind.as_str());
            }
            out.show(&json!({ "removed": gone }), |_| {
                format!("{} may no longer name {} {target}", server.name, kind.as_str())
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub fn token(target: &Target, who: TokenOf, out: Output) -> Result<ExitCode> {
    let name = who.variable();
    let token = target
        .get(name)
        .with_context(|| format!("{name} is in the dev.env of a running `hub dev`; there is none here"))?;
    out.show(&json!({ "name": name, "token": token }), |_| token.clone());
    Ok(ExitCode::SUCCESS)
}

pub async fn koji(target: &Target, channel: &str, command: &str, out: Output) -> Result<ExitCode> {
    let hub = target.connect(As::Person).await?;
    let (_, channel) = hub.channel_named(channel).await?;
    let reply = hub.execute_command(channel.id, command).await?;
    out.show(&reply, |reply| reply.text.clone());
    Ok(ExitCode::SUCCESS)
}

/// Serves the HTTP functions until it is told to stop.
pub async fn serve(target: &Target, options: crate::args::Serve) -> Result<ExitCode> {
    let settings = hub_api::Settings::read(&|name| target.get(name))?;
    if let Some(warning) = hub_api::open_files::raise() {
        tracing::warn!("{warning}");
    }
    let db = hub::db::Db::connect_sized(&target.database_url()?, "hub functions", options.connections).await?;
    let listener = tokio::net::TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("{} can not be listened on: take another address with --listen", options.listen))?;
    tracing::info!(listen = %listener.local_addr()?, "serving the functions");
    let stop = tokio_util::sync::CancellationToken::new();
    tokio::spawn(until_told_to_stop(stop.clone()));
    hub_api::serve(settings.over(db), listener, options.trusted_proxies, stop).await;
    Ok(ExitCode::SUCCESS)
}

/// Takes tasks and, where it may, keeps time, until it is told to stop; then drains.
pub async fn worker(target: &Target, options: crate::args::Worker) -> Result<ExitCode> {
    let shutdown = tokio_util::sync::CancellationToken::new();
    tokio::spawn(until_told_to_stop(shutdown.clone()));
    let state = match options.state_dir {
        Some(dir) => dir,
        None => state_dir(&options.device, &|name| std::env::var_os(name))?,
    };
    let agents = crate::agents::listed(options.agents.as_deref(), target.get("HUB_WORKER_AGENTS"))?;
    let sweeps = hub_keeper::SweepSource::read(&|name| target.get(name))?;
    let delivery = hub_keeper::Delivery::read(&|name| target.get(name))?;
    // What is wrong here is said before a hub is waited for.
    let Some(hub) = target.connect_device(&options.device, &shutdown).await? else { return Ok(ExitCode::SUCCESS) };
    let mut worker = hub_worker::Worker::new(hub, &options.device, &options.projects_root, state);
    worker.secrets = target.secrets();
    worker.capacity = options.capacity;
    worker.drain = std::time::Duration::from_secs(options.drain_seconds);
    if let Some(agents) = agents {
        worker.agents = agents;
    }
    let mut keeper = hub_keeper::Keeper::new(worker.hub.clone());
    keeper.sweeps = sweeps;
    keeper.delivery = Some(delivery);
    keeper.drain = worker.drain;
    if let Some(ready) = worker.start(&shutdown).await? {
        let keeping = keeper.start(ready.wake(), &shutdown);
        let ended = ready.run(&shutdown).await;
        keeping.end().await;
        ended?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a worker keeps its journal unless it is told.
fn state_dir(device: &str, variable: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Result<std::path::PathBuf> {
    states(variable).map(|states| states.join(device)).context(
        "there is no HOME for the worker's journal: say where to keep it with --state-dir DIR or HUB_WORKER_STATE_DIR",
    )
}

/// The folder of all workers' states: where the XDG Base Directory Specification has state.
pub fn states(variable: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Option<std::path::PathBuf> {
    let absolute = |name| variable(name).map(std::path::PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/state")))
        .map(|state| state.join("aura-hub"))
}

/// Cancels `shutdown` on Ctrl-C or SIGTERM.
pub async fn until_told_to_stop(shutdown: tokio_util::sync::CancellationToken) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let (Ok(mut terminate), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            shutdown.cancel();
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
    shutdown.cancel();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_known_by_its_event_and_not_by_its_words() {
        let message = |event: Option<&str>, content_type: &str, content: &str| -> Message {
            serde_json::from_value(json!({
                "id": Uuid::nil(), "channel_id": Uuid::nil(), "seq": 1, "sender_type": "agent",
                "content": content, "content_type": content_type, "event": event,
            }))
            .unwrap()
        };
        assert!(ends(&message(Some("complete"), "result", "✅ a1b2 complete [claude/mac1]")));
        assert!(ends(&message(Some("failed"), "error", "❌ a1b2 failed [claude/mac1]")));
        assert!(ends(&message(Some("cancelled"), "notice", "a1b2 ist abgebrochen")));
        for (event, content_type, content) in [
            (None, "text", "🚫 is what I would not do"),
            (Some("progress"), "progress", "🚫 no such file"),
            (Some("retried"), "error", "🔁 a1b2 failed on mac1: no disk"),
        ] {
            assert!(!ends(&message(event, content_type, content)), "{content}");
        }
    }
}
