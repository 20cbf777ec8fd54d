//! `hub discord register`: Discord's list of the application's slash commands becomes the registry's.

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use crate::{
    commands::SlashCommand,
    error::{Error, Result},
    rest::Discord,
    settings::{Settings, is_snowflake},
};

/// What stands in Discord now.
#[derive(Debug, Serialize)]
pub struct Registered {
    /// The application's id.
    pub application: String,
    /// The one server (Discord: guild) they are for; none: everywhere.
    pub guild: Option<String>,
    /// As Discord answered them, with their ids.
    pub commands: Value,
    /// Where Discord sends interactions to now, if it says.
    pub interactions_endpoint_url: Option<String>,
    /// What is still to be done by hand.
    pub next: Vec<String>,
}

/// Puts `commands` in the place of all that the application has, in one server or everywhere: one request, again and again the
/// same. `endpoint` is the hub's `koji-discord-bot`, as far as it is known.
///
/// # Errors
/// [`Error::Config`] (`guild` is no id; `DISCORD_PUBLIC_KEY` is another application's) and what Discord says.
pub async fn register(
    settings: &Settings,
    commands: &[SlashCommand],
    guild: Option<&str>,
    endpoint: &str,
) -> Result<Registered> {
    if let Some(guild) = guild.filter(|guild| !is_snowflake(guild)) {
        return Err(Error::Config(format!("--guild {guild:?} is not an id of Discord: up to 20 digits")));
    }
    let discord = Discord::new(settings)?;
    // Asked even if the id is known: it says whether interactions find their way, and whether the key is the right one.
    let about = discord.call(Method::GET, "applications/@me", None).await?;
    let own = about["id"].as_str().unwrap_or_default();
    let application = settings.application.as_deref().unwrap_or(own);
    if !is_snowflake(application) {
        return Err(Error::Refused {
            status: 200,
            text: "Discord does not say which application the token is of: set HUB_DISCORD_APPLICATION_ID".into(),
        });
    }
    if is_snowflake(own) && own != application {
        return Err(Error::Config(format!(
            "HUB_DISCORD_APPLICATION_ID is {application}, but DISCORD_BOT_TOKEN is of the application {own}: make them the same, or leave the id out"
        )));
    }
    let verify = about["verify_key"].as_str();
    if let (Some(given), Some(verify)) = (&settings.public_key, verify)
        && !given.eq_ignore_ascii_case(verify)
    {
        return Err(Error::Config(format!(
            "DISCORD_PUBLIC_KEY is not the key of the application {application}, so the hub would refuse its interactions: set it to {verify}"
        )));
    }
    let path = match guild {
        Some(guild) => format!("applications/{application}/guilds/{guild}/commands"),
        None => format!("applications/{application}/commands"),
    };
    let body = serde_json::to_value(commands).map_err(|_| Error::Config("the commands are no JSON".into()))?;
    let answered =
        discord.call(Method::PUT, &path, Some(&body)).await.map_err(|error| name_commands(error, commands))?;

    let now = about["interactions_endpoint_url"].as_str().map(str::to_owned);
    let mut next = Vec::new();
    if settings.public_key.is_none() {
        next.push(format!(
            "Give the hub's endpoint DISCORD_PUBLIC_KEY={}",
            verify.unwrap_or("(the application's public key)")
        ));
    }
    match &now {
        Some(now) if now == endpoint => {}
        Some(now) => next.push(format!(
            "Interactions go to {now}. If that is not this hub, set the Interactions Endpoint URL to {endpoint} at https://discord.com/developers/applications/{application}/information"
        )),
        None => next.push(format!(
            "Set the Interactions Endpoint URL to {endpoint} at https://discord.com/developers/applications/{application}/information; Discord calls it at once, so the hub must answer there"
        )),
    }
    next.push(
        "A command is answered in channels that a row of hub_bridges (provider discord, target channel:<id>) ties to a channel of the hub".into(),
    );
    Ok(Registered {
        application: application.to_owned(),
        guild: guild.map(str::to_owned),
        commands: answered,
        interactions_endpoint_url: now,
        next,
    })
}

/// Discord names a command by its place in the list; people know it by its name.
fn name_commands(error: Error, commands: &[SlashCommand]) -> Error {
    let Error::Refused { status: 400, text } = error else { return error };
    let lines = text.lines().map(|line| {
        let named = line.split_once('.').and_then(|(place, rest)| {
            let command = commands.get(place.parse::<usize>().ok()?)?;
            Some(format!("/{}: {rest}", command.name))
        });
        named.unwrap_or_else(|| line.to_owned())
    });
    Error::Refused { status: 400, text: lines.collect::<Vec<_>>().join("\n") }
}
