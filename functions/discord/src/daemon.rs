//! The Gateway: one connection a shard, kept by twilight (heartbeats, resuming, its limits), read here.

use std::time::Duration;

use futures_util::StreamExt;
use hub::Hub;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use twilight_gateway::{
    CloseFrame, ConfigBuilder, Intents, Message as Frame, Shard, ShardId, ShardState, error::ReceiveMessageErrorType,
    queue::InMemoryQueue,
};
use url::Url;

use crate::{
    carry::{Intake, Written},
    error::{Error, Result},
    event::{self, Event},
    rest::Discord,
    settings::{Settings, is_safe},
};

/// Messages in each lane.
const QUEUE: usize = 5_000;
/// A stopping daemon says goodbye to Discord, then hands over what waits, for so long at most.
const GOODBYE: Duration = Duration::from_secs(1);
const DRAIN: Duration = Duration::from_secs(3);
/// A connection that is closed again so soon was none.
const SHORT: Duration = Duration::from_secs(10);
/// So many messages without content in a row do not happen by chance.
const BLANKS: u32 = 20;

/// Carries what people write in bridged channels of Discord into the hub.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// The hub, over Postgres or with the service key.
    pub hub: Hub,
    /// Where Discord is.
    pub settings: Settings,
    /// How many messages wait for a hub that is away, in each of four lanes. What comes beyond is told in the log by its id.
    pub queue: usize,
}

struct Gateway {
    url: String,
    shards: u32,
    starts: InMemoryQueue,
}

impl Daemon {
    /// For this hub and this bot.
    #[must_use]
    pub fn new(hub: Hub, settings: Settings) -> Self {
        Self { hub, settings, queue: QUEUE }
    }

    /// Carries until `shutdown`. Waits for a Discord or a hub that is away.
    ///
    /// # Errors
    /// [`Error::Config`] (the hub is spoken to with too few rights), [`Error::Refused`], [`Error::Gateway`] once Discord ends the
    /// connection for good: the token, the intents.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        if !self.hub.keeps_time() {
            return Err(Error::Config(
                "the bridge speaks for people of Discord, which takes a postgres:// address or the service key: set DATABASE_URL, or SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY".into(),
            ));
        }
        let discord = Discord::new(&self.settings)?;
        let gateway = tokio::select! {
            gateway = find_patiently(&discord) => gateway?,
            () = shutdown.cancelled() => return Ok(()),
        };
        let mut lanes = JoinSet::new();
        let intake = Intake::start(&self.hub, &discord, self.queue, &mut lanes);

        let stop = shutdown.child_token();
        let mut shards = JoinSet::new();
        let intents = Intents::GUILD_MESSAGES | Intents::DIRECT_MESSAGES | Intents::MESSAGE_CONTENT;
        let config = ConfigBuilder::new(self.settings.token.expose_secret().to_owned(), intents)
            .proxy_url(gateway.url)
            .queue(gateway.starts)
            .build();
        tracing::info!(shards.count = gateway.shards, "bridging Discord");
        for number in 0..gateway.shards {
            let shard = Shard::with_config(ShardId::new(number, gateway.shards), config.clone());
            shards.spawn(listen(shard, intake.clone(), stop.clone()));
        }
        let mut ended = Ok(());
        while let Some(one) = shards.join_next().await {
            let one = one.unwrap_or_else(|_| {
                Err(Error::Gateway("the connection to Discord's Gateway failed unexpectedly; its log is above".into()))
            });
            // One shard that can not go on means servers nobody listens to: all end, and whoever started this knows.
            stop.cancel();
            ended = ended.and(one);
        }
        let waiting = intake.waiting();
        // The lanes end when the last door to them is closed and they are empty.
        drop(intake);
        if timeout(DRAIN, async { while lanes.join_next().await.is_some() {} }).await.is_err() {
            tracing::error!(
                messages.count = waiting.count(),
                "stopped before the hub took what waited: these messages are not carried"
            );
        }
        tracing::info!("bridge stopped");
        ended
    }
}

/// Where the Gateway is and how to begin there; a Discord that is away is waited for.
async fn find_patiently(discord: &Discord) -> Result<Gateway> {
    let mut pause = Duration::from_secs(1);
    loop {
        match find(discord).await {
            Err(error @ (Error::Unreachable(_) | Error::Limited { .. })) => {
                if let Error::Limited { seconds } = error {
                    pause = Duration::from_secs(seconds);
                }
                tracing::warn!(error = %error, "the Gateway is not found yet; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(30));
            }
            other => return other,
        }
    }
}

async fn find(discord: &Discord) -> Result<Gateway> {
    let about = discord.call(Method::GET, "gateway/bot", None).await?;
    // As the parser writes it: twilight puts a path behind it, and takes it for an address.
    let url = Url::parse(about["url"].as_str().unwrap_or_default())
        .ok()
        .filter(|url| is_safe(url, "wss", "ws") && url.query().is_none() && url.fragment().is_none());
    let Some(url) = url.map(|url| url.as_str().trim_end_matches('/').to_owned()) else {
        return Err(Error::Gateway(
            "Discord's answer names no Gateway that is encrypted: check HUB_DISCORD_API_URL".into(),
        ));
    };
    let limit = &about["session_start_limit"];
    let number = |value: &Value, otherwise: u64| value.as_u64().unwrap_or(otherwise);
    let total = u32::try_from(number(&limit["total"], 1000)).unwrap_or(u32::MAX);
    let remaining = u32::try_from(number(&limit["remaining"], 1000)).unwrap_or(u32::MAX).min(total);
    let at_once = u16::try_from(number(&limit["max_concurrency"], 1)).unwrap_or(1).max(1);
    let reset = Duration::from_millis(number(&limit["reset_after"], 0));
    let shards = u32::try_from(number(&about["shards"], 1)).unwrap_or(1).max(1);
    if remaining < shards {
        tracing::warn!(
            reset_s = reset.as_secs(),
            sessions.remaining = remaining,
            "Discord allows no more sessions today: waiting"
        );
    }
    Ok(Gateway { url, shards, starts: InMemoryQueue::new(at_once, remaining, reset, total) })
}

/// One shard, until it is told to stop or can not go on.
async fn listen(mut shard: Shard, intake: Intake, stop: CancellationToken) -> Result<()> {
    let number = shard.id().number();
    let (mut own, mut blanks) = (String::new(), 0_u32);
    let (mut closed, mut short) = (Instant::now(), 0_u32);
    loop {
        let frame = tokio::select! {
            biased;
            () = stop.cancelled() => {
                shard.close(CloseFrame::NORMAL);
                let goodbye = async { while let Some(Ok(frame)) = shard.next().await { if frame.is_close() { break } } };
                let _ = timeout(GOODBYE, goodbye).await;
                return Ok(());
            }
            frame = shard.next() => frame,
        };
        match frame {
            Some(Ok(Frame::Text(text))) => match event::read(&text) {
                Ok(Event::Ready { user }) => {
                    tracing::info!(shard.id = number, "connected to Discord");
                    if !own.is_empty() {
                        tracing::warn!(
                            shard.id = number,
                            "Discord began a new session: fetching what was written meanwhile"
                        );
                        intake.catch_up(&user);
                    }
                    own = user;
                }
                Ok(Event::Resumed) => tracing::info!(shard.id = number, "resumed"),
                Ok(event @ (Event::Message(_) | Event::Edited(_))) => {
                    let (message, kind) = match event {
                        Event::Edited(message) => (message, "edit"),
                        Event::Message(message) => (message, "message"),
                        _ => continue,
                    };
                    if !message.is_a_persons(&own) {
                        continue;
                    }
                    let text = message.text(&own);
                    if text.is_empty() {
                        blanks += 1;
                        if blanks == BLANKS {
                            tracing::warn!(
                                "{BLANKS} messages in a row had no content: is Message Content Intent on, on the application's page Bot?"
                            );
                        }
                        tracing::debug!(discord.message_id = %message.id, "nothing in it to carry");
                        continue;
                    }
                    blanks = 0;
                    intake.carry(Written { message: *message, text, kind });
                }
                Ok(Event::Other) => {}
                Err(place) => tracing::error!(shard.id = number, place, "an event can not be read and is not carried"),
            },
            Some(Ok(Frame::Close(frame))) => {
                let code = frame.map(|frame| frame.code);
                if shard.state() == ShardState::FatallyClosed {
                    return Err(Error::Gateway(fatal(code.unwrap_or(0))));
                }
                tracing::info!(shard.id = number, code, "the connection to Discord was closed; reconnecting");
                // twilight backs off while it can not connect. What connects and is closed at once would go round and round.
                short = if closed.elapsed() < SHORT { short + 1 } else { 0 };
                if short > 3 {
                    let pause = Duration::from_secs(1 << (short - 3).min(6));
                    let _ = timeout(pause, stop.cancelled()).await;
                }
                closed = Instant::now();
            }
            Some(Err(error)) => match error.kind() {
                ReceiveMessageErrorType::Reconnect => {
                    tracing::warn!(shard.id = number, "Discord's Gateway can not be reached; trying again")
                }
                // Its text has the event in it.
                _ => tracing::error!(shard.id = number, "an event can not be read and is not carried"),
            },
            None => return Err(Error::Gateway("the connection to Discord's Gateway ended: start again".into())),
        }
    }
}

/// https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
fn fatal(code: u16) -> String {
    let why = match code {
        4004 => {
            "it does not accept DISCORD_BOT_TOKEN: reset the token on the application's page Bot, and set the new one"
        }
        4010 | 4011 => "it wants another number of shards: start again",
        4012 => "it no longer speaks this version of its API: a newer build is needed",
        4013 => "it does not know the intents asked for: a newer build is needed",
        4014 => {
            "the bot may not read what people write: switch on Message Content Intent on the application's page Bot (a bot in 100 servers or more needs Discord's approval for it)"
        }
        _ => "it does not say why",
    };
    format!("Discord ended the connection for good ({code}): {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_close_code_says_what_to_do() {
        assert!(fatal(4004).contains("(4004)") && fatal(4004).contains("DISCORD_BOT_TOKEN"));
        assert!(fatal(4014).contains("Message Content Intent"));
    }
}
