//! What a task asks, answered in a chat: out by a real worker to servers that speak as Telegram, Discord and ntfy do, back in over HTTP,
//! and the edit that takes the buttons away.

use std::time::{SystemTime, UNIX_EPOCH};

use hub_api::{Api, Secrets, Verifier};
use hub_tests::{World, wait};
use reqwest::Client;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{
    functions::{Functions, SECRET, functions_by},
    outbox::{bridge, outside, worker},
};

const WEBHOOK_SECRET: &str = "telegram-hush-hush";

fn discord_key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

async fn hub() -> Functions {
    let secrets = Secrets::from(|name| match name {
        "TELEGRAM_WEBHOOK_SECRET" => Some(WEBHOOK_SECRET.into()),
        "DISCORD_PUBLIC_KEY" => Some(hex::encode(discord_key().public_key())),
        _ => None,
    });
    functions_by(|db| Api::new(db, Verifier::new(&SECRET.into()), secrets)).await
}

/// A person who operates the server of the channel `quick`.
async fn operator(world: &World, name: &str) -> Uuid {
    sqlx::query_scalar(
        "with made as (
           insert into auth.users (id, email, aud, role)
           values (gen_random_uuid(), $1 || '@example.com', 'authenticated', 'authenticated') returning id)
         select (public.hub_set_member(c.server_id, made.id, 'operator')).user_id
           from made, public.hub_channels c where c.name = 'quick'",
    )
    .bind(name)
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

/// As the person's own program asks for it.
async fn code(world: &World, person: Uuid) -> String {
    let mut transaction = world.pool.begin().await.unwrap();
    let claims = json!({"sub": person, "role": "authenticated", "email": "ada@example.com"});
    for sql in [format!("set local request.jwt.claims = '{claims}'"), "set local role authenticated".into()] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await.unwrap();
    }
    let code = sqlx::query_scalar("select public.hub_link_code()").fetch_one(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    code
}

struct Asked {
    task: Uuid,
    ask: Uuid,
}

impl Asked {
    async fn state(&self, world: &World) -> String {
        world
            .text("select concat_ws(' ', state, answer, answered_door) from public.hub_asks where id = $1", self.ask)
            .await
    }
}

/// A task runs, and asks whether it may run a command.
async fn ask(world: &World, command: &str) -> Asked {
    world.sql("select public.hub_register_device('asker', 'linux', '[{\"agent\": \"claude\", \"models\": [\"any\"]}]', 50)").await;
    world.send("Work").await;
    let (task, attempt): (Uuid, i32) =
        sqlx::query_as("select id, attempt from public.hub_claim_tasks('asker', 1, '1 hour')")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    let input = json!({"tool": "Bash", "input": {"command": command}});
    let ask = sqlx::query_scalar("select (public.hub_ask($1, $2, 'approval', 'May I run this?', null, $3)).id")
        .bind(task)
        .bind(attempt)
        .bind(input)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    Asked { task, ask }
}

async fn telegram(hub: &Functions, update: Value) -> Value {
    let request = Client::new()
        .post(format!("{}/functions/v1/telegram-webhook", hub.url))
        .header("x-telegram-bot-api-secret-token", WEBHOOK_SECRET)
        .json(&update);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

async fn press(hub: &Functions, account: i64, key: &Value) -> Value {
    let message = json!({"message_id": 1000, "date": 1, "chat": {"id": -5, "type": "supergroup"}});
    let from = json!({"id": account, "is_bot": false, "first_name": "Ada", "username": "ada"});
    telegram(
        hub,
        json!({"update_id": 1, "callback_query": {"id": "q1", "from": from, "message": message, "data": key}}),
    )
    .await
}

async fn link(hub: &Functions, account: i64, chat: Value, code: &str) -> Value {
    let from = json!({"id": account, "is_bot": false, "first_name": "Ada", "username": "ada"});
    let message = json!({"message_id": 7, "date": 1, "chat": chat, "from": from, "text": format!("/link {code}")});
    telegram(hub, json!({"update_id": 2, "message": message})).await
}

async fn discord(hub: &Functions, interaction: &Value) -> Value {
    let (at, body) =
        (SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string(), interaction.to_string());
    let signed = hex::encode(discord_key().sign(format!("{at}{body}").as_bytes()));
    let request = Client::new()
        .post(format!("{}/functions/v1/koji-discord-bot", hub.url))
        .header("x-signature-ed25519", signed)
        .header("x-signature-timestamp", at)
        .body(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

#[tokio::test]
async fn a_button_of_telegram_answers_for_a_linked_account_alone_and_the_keyboard_goes() {
    let hub = hub().await;
    let (outside, url) = outside().await;
    bridge(&hub.world, "telegram", "channel:-5/7").await;
    let worker = worker(&hub.world, &url, &[], &[]).await;
    let asked = ask(&hub.world, "make *all* \u{202e}x").await;
    // The task's own line goes before.
    let keyboard =
        || outside.kept().into_iter().find(|kept| kept.get("reply_markup").is_some_and(|markup| markup.is_object()));
    hub_tests::wait(|| async { keyboard() }).await.expect("a keyboard");
    let shown = keyboard().unwrap();
    let text = shown["text"].as_str().unwrap();
    let short = &asked.task.to_string()[..4];
    assert_eq!(text, format!("🟡 {short} asks [claude/asker]: May I run this?\nBash\n> command: make *all* ‹U+202E›x"));
    let rows = shown["reply_markup"]["inline_keyboard"].as_array().unwrap();
    let labels: Vec<&str> = rows.iter().map(|row| row[0]["text"].as_str().unwrap()).collect();
    assert_eq!(labels, ["Allow", "Allow from now on", "Deny"]);
    let key = rows[0][0]["callback_data"].clone();
    assert!((16..=64).contains(&key.as_str().unwrap().len()) && !key.as_str().unwrap().contains("allow"));
    // Whoever reads the outbox has no key.
    let kept = hub.world.one_text("select string_agg(body::text, ' ') from public.hub_outbox").await;
    assert!(!kept.contains(key.as_str().unwrap()), "{kept}");

    // Nobody knows whose account it is.
    let unlinked = press(&hub, 77, &key).await;
    assert_eq!((&unlinked["method"], &unlinked["callback_query_id"]), (&json!("answerCallbackQuery"), &json!("q1")));
    assert!(unlinked["text"].as_str().unwrap().contains("/link"), "{unlinked}");
    assert_eq!(asked.state(&hub.world).await, "open");
    let code_seen = code(&hub.world, operator(&hub.world, "bea").await).await;
    let seen = link(&hub, 78, json!({"id": -5, "type": "supergroup", "title": "Ops"}), &code_seen).await;
    assert!(seen["text"].as_str().unwrap().contains("private chat"), "{seen}");
    let ada = operator(&hub.world, "ada").await;
    let code = code(&hub.world, ada).await;
    let private = || json!({"id": 77, "type": "private"});
    let linked = link(&hub, 77, private(), &code).await;
    assert_eq!((&linked["method"], &linked["chat_id"]), (&json!("sendMessage"), &json!(77)));
    assert!(linked["text"].as_str().unwrap().contains("is linked"), "{linked}");
    let again = link(&hub, 79, private(), &code).await;
    assert!(again["text"].as_str().unwrap().contains("not good"), "a code is used once: {again}");
    let said =
        hub.world.count_all("select count(*) from public.hub_channel_messages where content like '%/link%'").await;
    assert_eq!(said, 0, "a code is never a message");

    let pressed = press(&hub, 77, &key).await;
    assert!(pressed["text"].as_str().unwrap().starts_with("Allowed by "), "{pressed}");
    assert_eq!(pressed["show_alert"], false);
    assert_eq!(asked.state(&hub.world).await, "answered allow telegram");
    let by = hub.world.text("select answered_by::text from public.hub_asks where id = $1", asked.ask).await;
    assert_eq!(by, ada.to_string());
    // The message that tells that its task began is edited, too.
    let of_the_ask = || {
        outside
            .asked("/editMessageText")
            .iter()
            .map(|asked| asked.json())
            .find(|edit| edit["message_id"] == shown["id"])
    };
    let edit = wait(|| async { of_the_ask() }).await.unwrap();
    assert_eq!(edit["reply_markup"], json!({"inline_keyboard": []}));
    let text = edit["text"].as_str().unwrap();
    assert!(text.starts_with(&format!("☑️ {short} asked [claude/asker]")) && text.contains("Allowed by "), "{text}");
    // Three taps (Lobster#2088): the second and third learn who was first.
    for _ in 0..2 {
        let late = press(&hub, 77, &key).await;
        assert!(late["text"].as_str().unwrap().starts_with("Already answered. Allowed by "), "{late}");
        assert_eq!(late["show_alert"], true);
    }
    let forged = press(&hub, 77, &json!("f".repeat(32))).await;
    assert!(forged["text"].as_str().unwrap().contains("not known"), "{forged}");
    worker.stop().await;
}

#[tokio::test]
async fn hermes_agent_pr89879_an_acknowledged_time_out_leaves_no_buttons() {
    let hub = hub().await;
    let (outside, url) = outside().await;
    bridge(&hub.world, "telegram", "channel:-5").await;
    bridge(&hub.world, "discord", "channel:77").await;
    let worker = worker(&hub.world, &url, &[], &[]).await;
    let asked = ask(&hub.world, "make").await;
    let with = |field: &str| outside.kept().into_iter().find(|kept| kept[field].is_object() || kept[field].is_array());
    hub_tests::wait(|| async { with("reply_markup").zip(with("components")) }).await.expect("buttons");
    let key = with("reply_markup").unwrap()["reply_markup"]["inline_keyboard"][0][0]["callback_data"].clone();
    let ada = operator(&hub.world, "ada").await;
    let code = code(&hub.world, ada).await;
    link(&hub, 77, json!({"id": 77, "type": "private"}), &code).await;
    hub.world.sql("update public.hub_asks set expires_at = now() - interval '1 second', on_expiry = 'deny'").await;
    hub.world.sql("select hub_internal.expire_asks(now(), 100)").await;
    assert_eq!(asked.state(&hub.world).await, "expired deny time");
    hub_tests::wait(|| async {
        let kept = outside.kept();
        let gone = |field: &str, none: Value| kept.iter().any(|kept| kept[field] == none);
        (gone("reply_markup", json!({"inline_keyboard": []})) && gone("components", json!([]))).then_some(())
    })
    .await
    .expect("edits without buttons");
    let said: Vec<Value> = outside.kept();
    assert!(said.iter().any(|kept| kept["text"].as_str().is_some_and(|text| text.contains("Nobody answered in time"))));
    let late = press(&hub, 77, &key).await;
    assert!(late["text"].as_str().unwrap().starts_with("Nobody answered in time"), "{late}");
    worker.stop().await;
}

#[tokio::test]
async fn a_button_of_discord_updates_its_message_and_a_refusal_is_for_who_pressed() {
    let hub = hub().await;
    let (outside, url) = outside().await;
    bridge(&hub.world, "discord", "channel:70/77").await;
    let worker = worker(&hub.world, &url, &[], &[]).await;
    let asked = ask(&hub.world, "make *all* ``` ||quietly||").await;
    let buttons = || outside.kept().into_iter().find(|kept| kept["components"].is_array());
    hub_tests::wait(|| async { buttons() }).await.expect("buttons");
    let shown = buttons().unwrap();
    let content = shown["content"].as_str().unwrap();
    let (_, block) = content.split_once("\n```\n").unwrap();
    assert_eq!(block, "Bash\n> command: make *all* `\u{200b}`\u{200b}` ||quietly||\n```", "no sign of it is markup");
    assert!(shown["embeds"][0].get("description").is_none());
    let button = &shown["components"][0]["components"][2];
    assert_eq!(button["label"], "Deny");
    assert!(button["custom_id"].as_str().unwrap().starts_with(&format!("ask:{}:", asked.ask)));
    let press = |account: &str| {
        json!({"id": "3", "type": 3, "channel_id": "77", "channel": {"id": "77", "type": 11, "parent_id": "70"},
               "member": {"user": {"id": account, "username": "ada"}}, "message": {"id": shown["id"], "content": content},
               "data": {"component_type": 2, "custom_id": button["custom_id"]}})
    };
    let refused = discord(&hub, &press("9")).await;
    assert_eq!((&refused["type"], &refused["data"]["flags"]), (&json!(4), &json!(64)), "{refused}");
    assert_eq!(asked.state(&hub.world).await, "open");

    let ada = operator(&hub.world, "ada").await;
    let code = code(&hub.world, ada).await;
    let typed = json!({"id": "4", "type": 2, "channel_id": "500", "member": {"user": {"id": "9", "username": "ada"}},
                       "data": {"name": "link", "options": [{"name": "code", "type": 3, "value": code}]}});
    let linked = discord(&hub, &typed).await;
    assert_eq!((&linked["type"], &linked["data"]["flags"]), (&json!(4), &json!(64)));
    assert!(linked["data"]["content"].as_str().unwrap().contains("is linked"), "{linked}");

    let answered = discord(&hub, &press("9")).await;
    assert_eq!((&answered["type"], &answered["data"]["components"]), (&json!(7), &json!([])), "{answered}");
    let update = answered["data"]["content"].as_str().unwrap();
    assert!(update.starts_with(content) && update.contains("Denied by "), "{update}");
    assert_eq!(asked.state(&hub.world).await, "answered deny discord");
    // The edit says it for good.
    let edits = || {
        let edits = outside.asked("/messages/").into_iter().filter(|asked| asked.method == "PATCH");
        edits.map(|asked| asked.json()).find(|edit| edit["components"].is_array())
    };
    let edit = hub_tests::wait(|| async { edits() }).await.expect("an edit");
    assert_eq!(edit["components"], json!([]));
    assert!(edit["content"].as_str().unwrap().contains("\nDenied by "), "{edit}");
    worker.stop().await;
}

#[tokio::test]
async fn buzz_4502_what_does_not_fit_into_the_chats_message_has_no_button() {
    let hub = hub().await;
    let (outside, url) = outside().await;
    bridge(&hub.world, "telegram", "channel:-5").await;
    bridge(&hub.world, "discord", "channel:77").await;
    let worker = worker(&hub.world, &url, &[], &[]).await;
    ask(&hub.world, &format!("echo {}; rm -rf /", "x".repeat(9000))).await;
    let asks = || {
        let kept = outside.kept().into_iter();
        let text = |kept: &Value| kept["text"].as_str().or(kept["content"].as_str()).unwrap_or("").to_owned();
        kept.map(|kept| (text(&kept), kept)).filter(|(text, _)| text.contains("May I run this?")).collect::<Vec<_>>()
    };
    hub_tests::wait(|| async { (asks().len() == 2).then_some(()) }).await.expect("two messages");
    for (text, kept) in asks() {
        assert!(kept.get("reply_markup").is_none() && kept.get("components").is_none(), "{kept}");
        assert!(text.contains("Too long to be shown here whole") && text.contains("hub task answer"), "{text}");
    }
    assert_eq!(hub.world.count_all("select count(*) from hub_internal.ask_keys").await, 0);
    hub.world.until_text("select count(*) || '' from public.hub_outbox where cardinality(parts) > 0", "0").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_notification_of_ntfy_is_answered_by_its_tokens_once() {
    let hub = hub().await;
    let (outside, url) = outside().await;
    let ada = operator(&hub.world, "ada").await;
    // A bridge lets no test's address through.
    let target = format!("{url}/ntfy/adas-phone");
    hub.world
        .sql(&format!(
            "alter table public.hub_bridges disable trigger hub_bridges_check, disable trigger hub_bridges_give_place;
             insert into public.hub_places (kind, server_id, target)
             select 'ntfy', c.server_id, '*' from public.hub_channels c where c.name = 'quick';
             insert into public.hub_bridges (server_id, channel_id, provider, target, direction, starters)
             select c.server_id, c.id, 'ntfy', '{target}', 'out', '{{{ada}}}' from public.hub_channels c where c.name = 'quick';
             alter table public.hub_bridges enable trigger hub_bridges_check, enable trigger hub_bridges_give_place"
        ))
        .await;
    let answer_url = format!("{}/functions/v1/answer", hub.url);
    let more = [("HUB_ANSWER_URL", answer_url.as_str()), ("HUB_BRIDGE_NTFY", "tk_hush")];
    let worker = worker(&hub.world, &url, &[], &more).await;
    let asked = ask(&hub.world, "make").await;
    outside.until_asked("/ntfy/", 1).await;
    let first = outside.asked("/ntfy/").remove(0);
    assert_eq!(first.headers["authorization"], "Bearer tk_hush");
    let shown = first.json();
    assert_eq!((&shown["topic"], &shown["priority"]), (&json!("adas-phone"), &json!(4)), "{shown}");
    assert!(shown["message"].as_str().unwrap().ends_with("Bash\n> command: make"), "{shown}");
    assert!(shown.get("click").is_none());
    let actions = shown["actions"].as_array().unwrap();
    assert_eq!(actions.len(), 3);
    let answer = async |action: &Value| {
        let method = action["method"].as_str().unwrap().parse().unwrap();
        let body = action["body"].as_str().unwrap().to_owned();
        let response = Client::new().request(method, action["url"].as_str().unwrap()).body(body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let mut forged = actions[0].clone();
    forged["body"] = json!({"token": "f".repeat(32)}).to_string().into();
    assert_eq!(answer(&forged).await.0, 401);
    let (status, said) = answer(&actions[2]).await;
    assert_eq!((status, &said["outcome"]), (200, &json!("answered")), "{said}");
    assert!(said["text"].as_str().unwrap().starts_with("Denied by "), "{said}");
    assert_eq!(asked.state(&hub.world).await, "answered deny ntfy");
    for action in &actions[1..] {
        assert_eq!(answer(action).await.0, 409, "the first answer counts");
    }
    // What closes it takes its place, quietly and without buttons.
    outside.until_asked("/ntfy/", 2).await;
    let closed = outside.asked("/ntfy/").pop().unwrap().json();
    assert_eq!((&closed["sequence_id"], &closed["priority"]), (&shown["sequence_id"], &json!(1)));
    assert!(closed.get("actions").is_none() && closed["message"].as_str().unwrap().contains("Denied by "), "{closed}");
    // Nothing else rings a phone.
    assert_eq!(outside.asked("/ntfy/").len(), 2);
    worker.stop().await;
}
