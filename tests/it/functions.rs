//! `koji-discord-bot` over HTTP, by every kind of caller and with every kind of body.

use hub::db::Db;
use hub_api::{Api, Secrets, Verifier};
use hub_tests::World;
use jsonwebtoken::{EncodingKey, Header, encode};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub const SECRET: &str = "a secret of at least thirty-two characters";

pub struct Functions {
    pub world: World,
    pub url: String,
    pub leads: Uuid,
    pub quick: Uuid,
    labs: Uuid,
    stop: CancellationToken,
}

impl Drop for Functions {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn token(secret: &str, claims: Value) -> String {
    encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

async fn functions() -> Functions {
    functions_by(|db| Api::new(db, Verifier::new(&SECRET.into()), Secrets::default())).await
}

/// The functions that `make` makes of a database, served alone.
pub async fn functions_by(make: impl FnOnce(Db) -> Api) -> Functions {
    let world = World::new().await;
    hub_migrate::seed(&world.url, &|_| {}).await.unwrap();
    let db = Db::connect(&world.url).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(hub_api::serve(make(db), listener, 0, stop.clone()));
    let channel = async |name: &str| -> Uuid {
        sqlx::query_scalar("select id from public.hub_channels where name = $1")
            .bind(name)
            .fetch_one(&world.pool)
            .await
            .unwrap()
    };
    let (leads, quick) = (channel("leads").await, channel("quick").await);
    let labs = sqlx::query_scalar(
        "insert into public.hub_servers (name, display_name, architecture_type, access) values ('hidden', 'Hidden', 'command_dispatch', 'members') returning id",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    let labs: Uuid = sqlx::query_scalar(
        "insert into public.hub_channels (server_id, name, display_name) values ($1, 'hidden', '#hidden') returning id",
    )
    .bind::<Uuid>(labs)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    Functions { world, url, leads, quick, labs, stop }
}

impl Functions {
    /// A person's token, after making them what they are of the Koji server.
    pub async fn person(&self, role: Option<&str>) -> String {
        let id: Uuid = sqlx::query_scalar("insert into auth.users (id, email, aud, role) values (gen_random_uuid(), gen_random_uuid() || '@example.com', 'authenticated', 'authenticated') returning id")
            .fetch_one(&self.world.pool)
            .await
            .unwrap();
        if let Some(role) = role {
            sqlx::query("select public.hub_set_member(server_id, $1, $2) from public.hub_channels where id = $3")
                .bind(id)
                .bind(role)
                .bind(self.leads)
                .execute(&self.world.pool)
                .await
                .unwrap();
        }
        token(SECRET, json!({"sub": id, "role": "authenticated", "exp": 4_000_000_000_i64}))
    }

    async fn post(&self, token: &str, body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
        let request = Client::new().post(format!("{}/functions/v1/koji-discord-bot", self.url)).body(body);
        let response = request.bearer_auth(token).header("content-type", "application/json").send().await.unwrap();
        let status = response.status();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(kind, if status.is_success() { "application/json" } else { "application/problem+json" });
        assert!(response.headers().contains_key("x-request-id"));
        (status, response.json().await.unwrap())
    }

    pub async fn ask(&self, token: &str, channel: Uuid, command: &str) -> (StatusCode, Value) {
        self.post(token, json!({"channel_id": channel, "command": command}).to_string()).await
    }
}

#[tokio::test]
async fn each_kind_of_caller_gets_the_answer_its_rights_allow() {
    let hub = functions().await;
    let (outsider, viewer, operator) =
        (hub.person(None).await, hub.person(Some("viewer")).await, hub.person(Some("operator")).await);
    let service = token(SECRET, json!({"role": "service_role", "exp": 4_000_000_000_i64}));
    let anon = token(SECRET, json!({"role": "anon", "exp": 4_000_000_000_i64}));
    let device = token(
        SECRET,
        json!({"sub": Uuid::new_v4(), "role": "authenticated", "app_metadata": {"device": "mac1"}, "exp": 4_000_000_000_i64}),
    );
    for (who, token, reads, writes) in [
        ("anon", &anon, 403, 403),
        ("outsider", &outsider, 200, 403),
        ("viewer", &viewer, 200, 403),
        ("operator", &operator, 200, 200),
        ("service", &service, 200, 200),
        ("device", &device, 404, 404),
    ] {
        let (status, body) = hub.ask(token, hub.leads, "!stats").await;
        assert_eq!(status.as_u16(), reads, "{who}: {body}");
        if reads == 200 {
            assert_eq!(
                body,
                json!({"text": "Pipeline: 23 active leads\nHot: 8 | Warm: 12 | Cold: 3\nRevenue MTD: $4,200",
                "chunks": ["Pipeline: 23 active leads\nHot: 8 | Warm: 12 | Cold: 3\nRevenue MTD: $4,200"]})
            );
        }
        let (status, body) = hub.ask(token, hub.leads, "!followup").await;
        assert_eq!(status.as_u16(), writes, "{who}: {body}");
    }
    // The role and claims of one request are gone with it: the next on the same connection is another's.
    let (status, body) = hub.ask(&viewer, hub.leads, "!send-samples 1").await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (403, Some("42501")));

    let (status, body) = hub.ask(&operator, Uuid::new_v4(), "!stats").await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (404, Some("UH004")));
    let (hidden, other) =
        (hub.ask(&operator, hub.labs, "!stats").await, hub.ask(&operator, Uuid::new_v4(), "!stats").await);
    assert_eq!(hidden.0, other.0);
    assert_eq!(hidden.1["title"], other.1["title"], "a server one may not see does not exist");
    let (status, body) = hub.ask(&operator, hub.quick, "!stats").await;
    assert_eq!(status.as_u16(), 409, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("takes tasks, not commands"));
}

#[tokio::test]
async fn any_command_text_is_answered_and_invalid_requests_name_the_fault() {
    let hub = functions().await;
    let person = hub.person(Some("viewer")).await;
    for (command, begins) in [
        ("stats", "Pipeline:"),
        ("  !STATS ", "Pipeline:"),
        ("!statz", "Unknown command: !statz. Did you mean !stats?"),
        ("!lead", "Usage: !lead <id>"),
        ("", "Commands:"),
        ("!hot 'brooklyn", "1. Bakeri"),
        ("!hot '; drop table koji_prospects; --", "No hot prospects in"),
        ("!lead 1\u{0}", "#1 Bakeri"),
    ] {
        let (status, body) = hub.ask(&person, hub.leads, command).await;
        assert_eq!(status, StatusCode::OK, "{command}: {body}");
        assert!(body["text"].as_str().unwrap().starts_with(begins), "{command}: {body}");
    }
    let (status, _) = hub.ask(&person, hub.leads, &"🦀".repeat(4000)).await;
    assert_eq!(status, StatusCode::OK);

    let url = format!("{}/functions/v1/koji-discord-bot", hub.url);
    let client = Client::new();
    let request = |body: &str| client.post(&url).header("content-type", "application/json").body(body.to_owned());
    let statuses = [
        (request("{}").send().await.unwrap(), 401, "Authorization is missing"),
        (request("{}").header("authorization", "Basic eDp5").send().await.unwrap(), 401, "not of the form"),
        (
            request("{}")
                .bearer_auth(token(
                    "another secret, as long as the right one is",
                    json!({"role": "authenticated", "exp": 4_000_000_000_i64}),
                ))
                .send()
                .await
                .unwrap(),
            401,
            "not one of this project",
        ),
        (
            request("{}").bearer_auth(token(SECRET, json!({"role": "authenticated", "exp": 1}))).send().await.unwrap(),
            401,
            "expired",
        ),
        (
            request("{}")
                .bearer_auth(token(SECRET, json!({"role": "postgres", "exp": 4_000_000_000_i64})))
                .send()
                .await
                .unwrap(),
            401,
            "no role",
        ),
        (
            request("{}").bearer_auth("eyJhbGciOiJub25lIn0.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.").send().await.unwrap(),
            401,
            "not one of this project",
        ),
        (request("{}").bearer_auth(&person).send().await.unwrap(), 400, "channel_id is missing"),
        (request("{\"channel_id\": ").bearer_auth(&person).send().await.unwrap(), 400, "not JSON"),
        (request(&"x".repeat(100_000)).bearer_auth(&person).send().await.unwrap(), 413, "larger than"),
        (
            client.post(&url).header("content-type", "text/plain").bearer_auth(&person).body("x").send().await.unwrap(),
            415,
            "application/json",
        ),
        (client.get(&url).send().await.unwrap(), 405, "POST"),
        (client.post(format!("{}/functions/v1/nothing", hub.url)).send().await.unwrap(), 404, "no function"),
    ];
    for (response, status, says) in statuses {
        assert_eq!(response.status().as_u16(), status, "{says}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{says}");
        let body: Value = response.json().await.unwrap();
        assert!(body["detail"].as_str().unwrap().contains(says), "{body}");
        assert_eq!(body["status"], status);
    }
    let preflight = client
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "https://aura.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization, x-client-info, apikey, content-type")
        .send()
        .await
        .unwrap();
    assert!(preflight.status().is_success());
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    let health: Value = client.get(format!("{}/health", hub.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(health["status"], "ok");
}
