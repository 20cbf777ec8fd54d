use super::*;

fn row(provider: &str, secret_name: &str) -> Outgoing {
    let row = serde_json::json!({
        "id": "00000000-0000-4000-8000-000000000001", "provider": provider, "target": "channel:1", "secret_name": secret_name, "kind": "post",
        "body": {"text": "x"}, "nonce": "n", "attempt": 1, "parts": [], "edit_of": null, "reply_to": null, "created_at": "2026-11-21T10:00:00Z"
    });
    serde_json::from_str(&row.to_string()).unwrap()
}

fn read(values: &[(&str, &str)]) -> Result<Delivery> {
    Delivery::read(&|name| values.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
}

#[test]
fn settings_are_read_and_all_problems_reported() {
    let plain = read(&[]).unwrap();
    assert_eq!(plain.discord.as_str(), "https://discord.com/api/v10");
    assert!(!plain.allow_private);
    assert!(read(&[("HUB_OUTBOX_ALLOW_PRIVATE_ADDRESSES", "1")]).unwrap().allow_private);
    assert_eq!(plain.answers, None);
    let of = |values: &[(&str, &str)]| read(values).unwrap().answers.unwrap().to_string();
    assert_eq!(of(&[("SUPABASE_URL", "https://abc.supabase.co/")]), "https://abc.supabase.co/functions/v1/answer");
    assert_eq!(
        of(&[("SUPABASE_URL", "https://abc.supabase.co"), ("HUB_ANSWER_URL", "https://hub.example/answer")]),
        "https://hub.example/answer"
    );
    for here in ["http://localhost:1/x", "http://127.0.0.1:1", "http://[::1]:1/", "https://ghe.example/api/v3"] {
        assert!(read(&[("HUB_GITHUB_API_URL", here)]).is_ok(), "{here}");
    }
    let wrong = read(&[
        ("HUB_DISCORD_API_URL", "http://discord.com/api"),
        ("HUB_TELEGRAM_API_URL", "telegram"),
        ("HUB_GITHUB_API_URL", "https://x.example/?a=b"),
        ("HUB_ANSWER_URL", "hub.example/answer"),
        ("HUB_OUTBOX_ALLOW_PRIVATE_ADDRESSES", "yes"),
    ]);
    let wrong = wrong.unwrap_err().to_string();
    for name in [
        "HUB_DISCORD_API_URL",
        "HUB_TELEGRAM_API_URL",
        "HUB_GITHUB_API_URL",
        "HUB_ANSWER_URL",
        "HUB_OUTBOX_ALLOW_PRIVATE_ADDRESSES",
    ] {
        assert!(wrong.contains(name), "{wrong}");
    }
}

#[test]
fn a_row_may_use_only_its_providers_secret_or_a_bridges() {
    let delivery =
        Delivery { secrets: |name| name.ends_with("TOKEN").then(|| " hush\n".to_owned()), ..read(&[]).unwrap() };
    let secret = |provider: &str, name: &str| delivery.secret(&row(provider, name));
    assert_eq!(secrecy::ExposeSecret::expose_secret(&secret("discord", "DISCORD_BOT_TOKEN").unwrap()), "hush");
    for (provider, name) in [
        ("discord", "HUB_GITHUB_TOKEN"),
        ("telegram", "DISCORD_BOT_TOKEN"),
        ("webhook", "TELEGRAM_BOT_TOKEN"),
        ("webhook", "DATABASE_URL"),
        ("webhook", ""),
        ("github", "SUPABASE_SERVICE_ROLE_KEY"),
        ("irc", "HUB_TOKEN"),
    ] {
        assert!(secret(provider, name).unwrap_err().permanent, "{provider} {name}");
    }
    let missing = secret("webhook", "HUB_BRIDGE_GARDEN").unwrap_err();
    assert!(!missing.permanent && missing.error.contains("HUB_BRIDGE_GARDEN is not set"), "{}", missing.error);
    assert!(!format!("{delivery:?}").contains("hush"));
}

#[test]
fn messages_of_people_and_other_agents_carry_their_name() {
    let speaker = |sender_type: &str, content_type: &str| {
        let body = serde_json::json!({"text": "x", "sender": " Ada ", "sender_type": sender_type, "content_type": content_type, "embed": null});
        serde_json::from_value::<Chat>(body).unwrap().speaker().map(str::to_owned)
    };
    for (sender_type, content_type) in [("human", "text"), ("human", "command"), ("agent", "text"), ("device", "text")]
    {
        assert_eq!(speaker(sender_type, content_type).as_deref(), Some("Ada"), "{sender_type} {content_type}");
    }
    for (sender_type, content_type) in
        [("system", "text"), ("agent", "result"), ("system", "notice"), ("agent", "progress")]
    {
        assert_eq!(speaker(sender_type, content_type), None, "{sender_type} {content_type}");
    }
}
