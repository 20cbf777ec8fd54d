//! The three people and the device of a local stack.

use super::{DEVICE, Database};
use crate::{
    auth::{Auth, NewUser, User},
    error::Result,
};
use hub_worker::AgentConfig;
use secrecy::SecretString;
use serde_json::{Map, json};
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};

/// Who is there after [`prepare`].
pub struct People {
    pub operator: User,
    pub viewer: User,
    pub outsider: User,
    pub device: User,
}

/// Makes them, with their rights: the operator operates and the viewer reads every server; the outsider is a member of nothing. Whoever was
/// there `before` has the same id again, so that the tokens of `dev.env` stay good.
///
/// # Errors
/// When the database refuses.
pub async fn prepare(
    auth: &Auth,
    database: &Database,
    agents: &[AgentConfig],
    before: Option<&People>,
) -> Result<People> {
    let secrets = &database.secrets;
    let wanted = |mut user: NewUser, before: Option<&User>| {
        user.id = before.map(|before| before.id);
        auth.ensure_user(user)
    };
    let (operator, viewer, outsider, device) = tokio::try_join!(
        wanted(person("operator@hub.local", "Operator", &secrets.operator_password), before.map(|b| &b.operator)),
        wanted(person("viewer@hub.local", "Viewer", &secrets.viewer_password), before.map(|b| &b.viewer)),
        wanted(person("outsider@hub.local", "Outsider", &secrets.outsider_password), before.map(|b| &b.outsider)),
        wanted(device_user(&secrets.device_password), before.map(|b| &b.device)),
    )?;

    let mut connection = owner(database).connect().await?;
    for (user, role) in [(&operator, "operator"), (&viewer, "viewer")] {
        sqlx::query(
            "insert into public.hub_members (server_id, user_id, role) select s.id, $1, $2 from public.hub_servers s
             on conflict (user_id, server_id) do nothing",
        )
        .bind(user.id)
        .bind(role)
        .execute(&mut connection)
        .await?;
    }
    let offers: Vec<_> = agents.iter().map(|one| one.offer(agents)).collect();
    // As it will register itself. Here it is only made known: one that registers counts as there, and a worker may never be started.
    sqlx::query(
        "insert into public.mesh_devices as d (name, platform, agents, capacity, user_id, serves_all)
         values ($1, $2, $3, $4, $5, true)
         on conflict (name) do update set user_id = excluded.user_id where d.user_id is distinct from excluded.user_id",
    )
    .bind(DEVICE)
    .bind(platform())
    .bind(json!(offers))
    .bind(i32::from(super::worker::CAPACITY))
    .bind(device.id)
    .execute(&mut connection)
    .await?;
    connection.close().await?;
    Ok(People { operator, viewer, outsider, device })
}

pub fn owner(database: &Database) -> PgConnectOptions {
    crate::postgres::connect_options(database.options.port, "postgres", &database.secrets.postgres_password)
}

fn platform() -> &'static str {
    match std::env::consts::OS {
        "macos" => "macos",
        "windows" => "windows",
        _ => "linux",
    }
}

fn person(email: &str, name: &str, password: &SecretString) -> NewUser {
    use secrecy::ExposeSecret;
    let mut user = NewUser::new(email);
    user.password = Some(password.expose_secret().to_owned());
    user.user_metadata = Map::from_iter([("name".to_owned(), json!(name))]);
    user
}

fn device_user(password: &SecretString) -> NewUser {
    let mut user = person(&format!("device+{DEVICE}@hub.invalid"), DEVICE, password);
    user.app_metadata = Map::from_iter([("device".to_owned(), json!(DEVICE))]);
    user
}
