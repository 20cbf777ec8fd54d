//! The three people and the device of a local stack.

use super::{DEVICE, Database};
use crate::{
    auth::{Auth, NewUser, User},
    error::Result,
};
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

/// Makes them, with their rights: the operator operates and the viewer reads every server; the outsider is a member of nothing.
///
/// # Errors
/// When the database refuses.
pub async fn prepare(auth: &Auth, database: &Database) -> Result<People> {
    let secrets = &database.secrets;
    let (operator, viewer, outsider, device) = tokio::try_join!(
        auth.ensure_user(person("operator@hub.local", "Operator", &secrets.operator_password)),
        auth.ensure_user(person("viewer@hub.local", "Viewer", &secrets.viewer_password)),
        auth.ensure_user(person("outsider@hub.local", "Outsider", &secrets.outsider_password)),
        auth.ensure_user(device_user(&secrets.device_password)),
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
    // A device that somebody revoked on purpose stays revoked, and registering it would be refused.
    let revoked: bool = sqlx::query_scalar(
        "select exists (select from public.mesh_devices where name = $1 and revoked_at is not null)",
    )
    .bind(DEVICE)
    .fetch_one(&mut connection)
    .await?;
    if !revoked {
        sqlx::query("select public.hub_register_device($1, $2, $3, $4)")
            .bind(DEVICE)
            .bind(platform())
            .bind(json!([super::worker::agent().offer()]))
            .bind(i32::from(super::worker::CAPACITY))
            .execute(&mut connection)
            .await?;
    }
    sqlx::query("update public.mesh_devices set user_id = $2 where name = $1 and user_id is distinct from $2")
        .bind(DEVICE)
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
