//! `hub shares`: what servers and projects weigh against each other. `hub fallbacks`: which model runs what another can not.

use std::process::ExitCode;

use anyhow::Result;
use hub::{
    Hub,
    types::{Fallback, ShareState},
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    args::{self, Fallbacks, Shares},
    attempts::duration,
    budgets::DEPLOYMENT,
    output::Output,
    target::{As, Target},
};

pub async fn shares(target: &Target, command: Option<Shares>, out: Output) -> Result<ExitCode> {
    let hub = target.connect(As::Operator).await?;
    let of = |server: &str, project: &Option<String>| match project {
        Some(project) => format!("project {project} of {server}"),
        None => server.to_owned(),
    };
    match command {
        None | Some(Shares::List) => {
            let head = ["server", "project", "weight", "used lately", "stands back"];
            let none = "All weigh 1, and nothing ran lately.";
            out.show_table(&hub.shares().await?, none, &head, row);
        }
        Some(Shares::Set { server, weight, project }) => {
            let id = hub.server_named(&server).await?.id;
            let share = hub.set_share(id, project.as_deref(), Some(weight)).await?;
            out.show(&share, |share| format!("{} weighs {}", of(&server, &project), share.weight));
        }
        Some(Shares::Remove { server, project }) => {
            let id = hub.server_named(&server).await?.id;
            let share = hub.set_share(id, project.as_deref(), None).await?;
            out.show(&share, |_| format!("{} weighs 1 again", of(&server, &project)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(state: &ShareState) -> Vec<String> {
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds")]
    let time = |seconds: f64| if seconds == 0.0 { "—".to_owned() } else { duration(seconds as i64) };
    vec![
        state.server_name.clone(),
        state.project.clone().unwrap_or_else(|| "— (all)".into()),
        state.weight.to_string(),
        time(state.used_seconds),
        time(state.stands_back_seconds),
    ]
}

pub async fn fallbacks(target: &Target, command: Option<Fallbacks>, out: Output) -> Result<ExitCode> {
    let hub = target.connect(As::Operator).await?;
    match command {
        None | Some(Fallbacks::List) => {
            let (fallbacks, servers) = (hub.fallbacks().await?, hub.servers().await?);
            let named = |id: Option<Uuid>| match id {
                None => "— (where a server has none)".to_owned(),
                Some(id) => {
                    servers.iter().find(|one| one.id == id).map_or_else(|| id.to_string(), |one| one.name.clone())
                }
            };
            let orders = orders(&fallbacks);
            let none = "No model has another to go to: what meets a limit waits.";
            out.show_table(&orders, none, &["server", "model", "goes to"], |order| {
                vec![named(order.server), order.model.clone(), order.to.join(", then ")]
            });
        }
        Some(Fallbacks::Set { server, model, fallbacks }) => {
            let names: Vec<String> = fallbacks.into_iter().map(args::name).collect();
            let model = args::name(model);
            let set = hub.set_fallbacks(within(&hub, &server).await?, &model, &names).await?;
            out.show(&set, |_| format!("{server}: {model} goes to {}", names.join(", then ")));
        }
        Some(Fallbacks::Remove { server, model }) => {
            let model = args::name(model);
            let set = hub.set_fallbacks(within(&hub, &server).await?, &model, &[]).await?;
            out.show(&set, |_| match server.as_str() {
                DEPLOYMENT => format!("{model} goes nowhere where a server says nothing else"),
                server => format!("{server}: {model} goes where the deployment says"),
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn within(hub: &Hub, server: &str) -> hub::Result<Option<Uuid>> {
    if server == DEPLOYMENT { Ok(None) } else { Ok(Some(hub.server_named(server).await?.id)) }
}

/// Where a model goes in a server, in its order.
#[derive(Debug, PartialEq, Serialize)]
struct Order {
    server: Option<Uuid>,
    model: String,
    to: Vec<String>,
}

/// One for each model of each server; what is shipped first.
fn orders(fallbacks: &[Fallback]) -> Vec<Order> {
    let mut sorted: Vec<&Fallback> = fallbacks.iter().collect();
    sorted.sort_by_key(|one| (one.server_id, &one.model, one.position));
    let same = |one: &&Fallback, next: &&Fallback| (one.server_id, &one.model) == (next.server_id, &next.model);
    sorted
        .chunk_by(same)
        .map(|chunk| Order {
            server: chunk[0].server_id,
            model: chunk[0].model.clone(),
            to: chunk.iter().map(|one| one.fallback.clone()).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_says_what_it_weighs_and_how_far_it_stands_back() {
        let of = |fields: serde_json::Value| {
            let mut whole = json!({
                "server_id": Uuid::nil(), "server_name": "cloud-hub", "weight": 1, "used_seconds": 0, "stands_back_seconds": 0,
            });
            whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            row(&serde_json::from_str(&whole.to_string()).unwrap()).join("|")
        };
        assert_eq!(of(json!({})), "cloud-hub|— (all)|1|—|—");
        let app = json!({"project": "team/app", "weight": 2.5, "used_seconds": 90, "stands_back_seconds": 300});
        assert_eq!(of(app), "cloud-hub|team/app|2.5|1 min 30 s|5 min 0 s");
    }

    #[test]
    fn fallbacks_are_told_in_their_order_a_line_a_model() {
        let one = |server: Option<Uuid>, model: &str, position, fallback: &str| Fallback {
            server_id: server,
            model: model.into(),
            position,
            fallback: fallback.into(),
        };
        let server = Some(Uuid::max());
        let all = [
            one(server, "claude", 1, "wait"),
            one(None, "claude", 2, "gemini"),
            one(None, "claude", 1, "codex"),
            one(None, "codex", 1, "claude"),
        ];
        let shown = |server, model: &str, to: &[&str]| Order {
            server,
            model: model.to_owned(),
            to: to.iter().map(|&one| one.to_owned()).collect(),
        };
        assert_eq!(
            orders(&all),
            [
                shown(None, "claude", &["codex", "gemini"]),
                shown(None, "codex", &["claude"]),
                shown(server, "claude", &["wait"]),
            ]
        );
    }
}
