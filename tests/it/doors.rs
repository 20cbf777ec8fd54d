//! Who comes in at all: tokens by published keys, callers that ask too often, bodies that are too large, too slow, or nobody's.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, http::StatusCode, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hub_api::{Api, Limit, Secrets, Verifier};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, encode,
    jwk::{
        AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, EllipticCurveKeyType, Jwk,
    },
};
use reqwest::Client;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use crate::functions::{Functions, SECRET, functions_by, token};

/// A project that publishes its keys, and can be told not to answer.
struct Project {
    url: String,
    asked: Arc<AtomicU32>,
    away: Arc<AtomicBool>,
}

/// A key of the project, and what it publishes of it.
fn signing_key(id: &str) -> (EncodingKey, Value) {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let key = Jwk {
        common: CommonParameters { key_id: Some(id.into()), ..CommonParameters::default() },
        algorithm: AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
            key_type: EllipticCurveKeyType::EC,
            curve: EllipticCurve::P256,
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        }),
    };
    (EncodingKey::from_ec_der(document.as_ref()), serde_json::to_value(key).unwrap())
}

async fn project(keys: Value) -> Project {
    let (asked, away) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, silent) = (Arc::clone(&asked), Arc::clone(&away));
    let published = get(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let answer = (!silent.load(Ordering::SeqCst)).then(|| Json(keys.clone())).ok_or(StatusCode::BAD_GATEWAY);
        async move { answer }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/auth/v1/.well-known/jwks.json", listener.local_addr().unwrap());
    let router = Router::new().route("/auth/v1/.well-known/jwks.json", published);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Project { url, asked, away }
}

fn signed(key: &EncodingKey, id: &str, claims: &Value) -> String {
    encode(&Header { kid: Some(id.into()), ..Header::new(Algorithm::ES256) }, claims, key).unwrap()
}

/// Claims of somebody who may read: the servers of the seed let every signed-in person.
fn somebody() -> Value {
    json!({"sub": Uuid::new_v4(), "role": "authenticated", "exp": 4_000_000_000_i64})
}

async fn status(hub: &Functions, token: &str) -> u16 {
    hub.ask(token, hub.leads, "!stats").await.0.as_u16()
}

#[tokio::test]
async fn tokens_signed_by_published_keys_are_accepted() {
    let (key, public) = signing_key("one");
    let (stranger, _) = signing_key("one");
    // A kind that is not known here, and a shared secret that has no business there, hide nothing and open nothing.
    let keys = json!({"keys": [{"kty": "XX", "kid": "odd"}, {"kty": "oct", "kid": "shared", "k": "c2VjcmV0", "alg": "HS256"}, public]});
    let project = project(keys).await;
    let published = Verifier::new(&SECRET.into()).published_at(project.url.parse().unwrap());
    let hub = functions_by(|db| Api::new(db, published, Secrets::default())).await;
    assert_eq!(status(&hub, &token(SECRET, somebody())).await, 200, "the secret counts, too");
    assert_eq!(project.asked.load(Ordering::SeqCst), 0, "nobody needed the keys");
    for _ in 0..3 {
        assert_eq!(status(&hub, &signed(&key, "one", &somebody())).await, 200);
    }
    assert_eq!(project.asked.load(Ordering::SeqCst), 1);
    assert_eq!(status(&hub, &signed(&stranger, "one", &somebody())).await, 401, "another key of that name");
    assert_eq!(status(&hub, &signed(&key, "two", &somebody())).await, 401, "a key that is not published");
    assert_eq!(status(&hub, &signed(&key, "one", &json!({"role": "authenticated", "exp": 1}))).await, 401, "expired");
    // What is public is no secret to sign with, whatever the token says of itself.
    for secret in [public.to_string(), public["x"].as_str().unwrap().to_owned(), "secret".into()] {
        let claims = json!({"role": "service_role", "exp": 4_000_000_000_i64});
        let header = Header { kid: Some("one".into()), ..Header::default() };
        let forged = encode(&header, &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
        assert_eq!(status(&hub, &forged).await, 401);
    }
    assert_eq!(project.asked.load(Ordering::SeqCst), 1, "who makes up names of keys has nobody asked for them");
}

#[tokio::test]
async fn unreachable_signing_keys_answer_503() {
    let (key, public) = signing_key("one");
    let project = project(json!({"keys": [public]})).await;
    project.away.store(true, Ordering::SeqCst);
    let published = Verifier::default().published_at(project.url.parse().unwrap());
    let hub = functions_by(|db| Api::new(db, published, Secrets::default())).await;
    let (status, body) = hub.ask(&signed(&key, "one", &somebody()), hub.leads, "!stats").await;
    assert_eq!(status.as_u16(), 503, "{body}");
    assert_eq!(
        hub.ask(&token(SECRET, somebody()), hub.leads, "!stats").await.0.as_u16(),
        401,
        "there is no secret here"
    );
}

#[tokio::test]
async fn a_caller_over_the_limit_gets_429_and_others_do_not() {
    let limit = Limit::per_second(NonZeroU32::MIN);
    let hub =
        functions_by(|db| Api::new(db, Verifier::new(&SECRET.into()), Secrets::default()).limited(Some(limit))).await;
    let (one, other) = (token(SECRET, somebody()), token(SECRET, somebody()));
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(status(&hub, &one).await);
    }
    assert_eq!(statuses[..4], [200; 4]);
    assert!(statuses[4..].contains(&429), "{statuses:?}");
    assert_eq!(status(&hub, &other).await, 200);
    let service = token(SECRET, json!({"role": "service_role", "exp": 4_000_000_000_i64}));
    for _ in 0..8 {
        assert_eq!(status(&hub, &service).await, 200, "the project's own programs are not counted");
    }
    // Who guesses is told to wait, and learns nothing; who shows what counts is not held up by it.
    let mut refused = Vec::new();
    for _ in 0..8 {
        refused.push(status(&hub, "guess").await);
    }
    assert_eq!(refused[..4], [401; 4]);
    assert!(refused[4..].contains(&429), "{refused:?}");
    assert_eq!(status(&hub, &token(SECRET, somebody())).await, 200);

    let url = format!("{}/functions/v1/koji-discord-bot", hub.url);
    let late = Client::new().post(url).bearer_auth("guess").body("{}").send().await.unwrap();
    assert_eq!((late.status().as_u16(), late.headers()["retry-after"].to_str().unwrap()), (429, "1"));
}

#[tokio::test]
async fn a_body_is_read_only_with_credentials_and_up_to_its_limit() {
    let secrets = Secrets::from(|name| (name == "GITHUB_WEBHOOK_SECRET").then(|| "hush".to_owned()));
    let hub = functions_by(|db| Api::new(db, Verifier::new(&SECRET.into()), secrets)).await;
    let url = format!("{}/functions/v1/github-webhook", hub.url);
    let large = vec![b'x'; 26 * 1024 * 1024];
    for (signature, expected) in [(None, 401), (Some("sha256=00"), 413)] {
        let request = Client::new().post(&url).header("content-type", "application/json").body(large.clone());
        let request =
            signature.into_iter().fold(request, |request, value| request.header("x-hub-signature-256", value));
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{signature:?}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }

    // A client that waits for leave to send is answered before it sends anything.
    let place = hub.url.trim_start_matches("http://").to_owned();
    let mut waiting = TcpStream::connect(&place).await.unwrap();
    let head =
        "POST /functions/v1/github-webhook HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\nexpect: 100-continue\r\n\r\n";
    waiting.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    waiting.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 401");

    // One that goes away in the middle of its body leaves nothing.
    let person = hub.person(Some("operator")).await;
    let mut cut = TcpStream::connect(&place).await.unwrap();
    let head = format!(
        "POST /functions/v1/send HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {person}\r\ncontent-length: 1000\r\n\r\n{{\"channel\":"
    );
    cut.write_all(head.as_bytes()).await.unwrap();
    cut.shutdown().await.unwrap();
    let mut answer = String::new();
    cut.read_to_string(&mut answer).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    let stored: i64 = sqlx::query_scalar("select count(*) from public.hub_webhook_deliveries")
        .fetch_one(&hub.world.pool)
        .await
        .unwrap();
    assert_eq!(stored, 0);
    assert_eq!(status(&hub, &person).await, 200);
}

#[tokio::test]
async fn the_openapi_description_covers_every_function() {
    let hub = functions_by(|db| Api::new(db, Verifier::new(&SECRET.into()), Secrets::default())).await;
    let url = format!("{}/functions/v1/openapi.json", hub.url);
    let document: Value = Client::new().get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for function in ["koji-discord-bot", "github-webhook", "telegram-webhook", "hooks-agent", "send"] {
        let operation = &document["paths"][format!("/functions/v1/{function}")]["post"];
        assert!(operation["security"][0].is_object() && operation["requestBody"].is_object(), "{function}");
        for status in ["401", "413", "429", "503"] {
            let problem = &operation["responses"][status]["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(problem, "#/components/schemas/Problem", "{function} {status}");
        }
    }
    // Its token is in the body.
    let answer = &document["paths"]["/functions/v1/answer"]["post"];
    assert_eq!((&answer["security"], answer["requestBody"].is_object()), (&serde_json::json!([]), true));
    // Everything that is referred to is there.
    let text = document.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

/// Half a request head, and then nothing, a thousand times over: who is served is served all the same, and the halves are closed.
#[tokio::test]
async fn a_thousand_unfinished_requests_delay_nobody() {
    hub_api::open_files::raise();
    let hub = functions_by(|db| Api::new(db, Verifier::new(&SECRET.into()), Secrets::default())).await;
    let address = hub.url.strip_prefix("http://").unwrap().to_owned();
    let mut halves = Vec::new();
    for n in 0..1_100 {
        let Ok(mut half) = TcpStream::connect(&address).await else { continue };
        if n % 2 == 0 {
            let _ = half.write_all(b"POST /functions/v1/send HTTP/1.1\r\nHost: x\r\n").await;
        }
        halves.push(half);
    }
    // Beyond 512 of an address they are closed at once, and the next one with a whole request is taken only when there is room again.
    let mut closed = 0;
    for half in &mut halves {
        let mut byte = [0];
        if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(Duration::from_millis(1), half.read(&mut byte)).await {
            closed += 1;
        }
    }
    assert!(closed >= 500, "{closed} were closed");
    halves.truncate(400);
    let answer = reqwest::Client::new()
        .get(format!("{}/health", hub.url))
        .timeout(Duration::from_secs(20))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    // And the rest by the time a head may take: none is open for good.
    drop(halves);
}

#[tokio::test]
async fn a_token_is_refused_before_its_nbf() {
    let hub = functions_by(|db| Api::new(db, Verifier::new(&SECRET.into()), Secrets::default())).await;
    let now =
        i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap();
    for (nbf, status) in [(now + 3600, 403), (now - 1, 200), (now + 1, 200)] {
        let bearer = token(SECRET, json!({"role": "service_role", "exp": now + 7200, "nbf": nbf}));
        let body = json!({"channel": "buf-barista/quick", "content": "x"});
        let answer = reqwest::Client::new()
            .post(format!("{}/functions/v1/send", hub.url))
            .bearer_auth(bearer)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "nbf {}", nbf - now);
        if status == 403 {
            let said: Value = answer.json().await.unwrap();
            assert_eq!(said["code"], "bad_jwt", "{said}");
        }
    }
}
