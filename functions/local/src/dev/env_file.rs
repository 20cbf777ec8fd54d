//! `dev.env`: what a program needs to talk to the stack, as shell assignments. It exists while all is ready, and not before.

use super::{Database, people::People};
use crate::{auth::User, error::Result, files, keys::Keys};
use secrecy::ExposeSecret;
use std::{fmt::Write, path::Path};

/// Writes it, mode 0600.
///
/// # Errors
/// When the file can not be written.
pub fn write(path: &Path, api_url: &str, keys: &Keys, database: &Database, people: &People) -> Result<()> {
    let token = |user: &User| {
        keys.long_token(user.id, user.email.as_deref().unwrap_or(""), &user.app_metadata(), &user.user_metadata())
    };
    let secrets = &database.secrets;
    let mut text =
        String::from("# Written by `hub dev` when all is ready. These open this stack only, on this machine.\n");
    for (name, value) in [
        ("SUPABASE_URL", api_url.to_owned()),
        ("SUPABASE_ANON_KEY", keys.api_key("anon")?),
        ("SUPABASE_SERVICE_ROLE_KEY", keys.api_key("service_role")?),
        ("SUPABASE_JWT_SECRET", secrets.jwt_secret.expose_secret().to_owned()),
        ("DATABASE_URL", database.owner_url().expose_secret().to_owned()),
        ("DATABASE_ADMIN_URL", database.admin_url().expose_secret().to_owned()),
        ("HUB_OPERATOR_JWT", token(&people.operator)?),
        ("HUB_VIEWER_JWT", token(&people.viewer)?),
        ("HUB_OUTSIDER_JWT", token(&people.outsider)?),
        ("HUB_DEVICE_JWT", token(&people.device)?),
        ("HUB_OPERATOR_EMAIL", "operator@hub.local".into()),
        ("HUB_OPERATOR_PASSWORD", secrets.operator_password.expose_secret().to_owned()),
        ("HUB_VIEWER_EMAIL", "viewer@hub.local".into()),
        ("HUB_VIEWER_PASSWORD", secrets.viewer_password.expose_secret().to_owned()),
        ("HUB_OUTSIDER_EMAIL", "outsider@hub.local".into()),
        ("HUB_OUTSIDER_PASSWORD", secrets.outsider_password.expose_secret().to_owned()),
        ("HUB_DEVICE_SECRET", secrets.device_password.expose_secret().to_owned()),
    ] {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}={value}");
    }
    files::write_private(path, &text)
}
