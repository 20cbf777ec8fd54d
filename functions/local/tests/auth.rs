//! Sign-in, as supabase-js' auth client uses it.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

mod common;

use common::{Stack, answer, home, options};
use hub_local::auth::AuthOptions;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn password_grant(stack: &Stack, email: &str, password: &str) -> (u16, Value) {
    answer(
        stack
            .ask(Method::POST, "/auth/v1/token?grant_type=password")
            .json(&json!({"email": email, "password": password})),
    )
    .await
}

async fn refresh(stack: &Stack, token: &Value) -> (u16, Value) {
    answer(stack.ask(Method::POST, "/auth/v1/token?grant_type=refresh_token").json(&json!({"refresh_token": token})))
        .await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("text expected: {value}")).to_owned()
}

#[tokio::test]
async fn a_session_from_sign_in_to_sign_out() {
    let stack = Stack::start().await;
    let (email, password) = (stack.var("HUB_OPERATOR_EMAIL"), stack.var("HUB_OPERATOR_PASSWORD"));
    let (status, session) = password_grant(&stack, &email.to_uppercase(), password).await;
    assert_eq!(status, 200, "{session}");
    assert_eq!((&session["token_type"], &session["expires_in"]), (&json!("bearer"), &json!(3600)));
    assert_eq!(session["user"]["email"], "operator@hub.local");
    assert_eq!(session["user"]["app_metadata"]["provider"], "email");
    assert_eq!(session["user"]["identities"][0]["provider"], "email");
    assert!(session["user"]["last_sign_in_at"].is_string());
    let token = text(&session["access_token"]);
    let keys = hub_local::keys::Keys::new(&stack.var("SUPABASE_JWT_SECRET").to_owned().into(), "");
    let claims = keys.verify(&token).unwrap();
    for (name, value) in
        [("role", "authenticated"), ("aud", "authenticated"), ("email", "operator@hub.local"), ("aal", "aal1")]
    {
        assert_eq!(claims[name], value);
    }
    assert_eq!(claims["iss"], format!("{}/auth/v1", stack.ready.api_url));
    assert_eq!(claims["sub"], session["user"]["id"]);
    assert_eq!(claims["is_anonymous"], false);
    assert!(
        claims["session_id"].is_string() && claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() == 3600
    );

    // The token is good for REST.
    let (status, rows) = answer(stack.ask(Method::GET, "/rest/v1/hub_servers?select=name").bearer_auth(&token)).await;
    assert_eq!((status, rows.as_array().map(Vec::len)), (200, Some(4)), "{rows}");

    let (status, user) = answer(stack.ask(Method::GET, "/auth/v1/user").bearer_auth(&token)).await;
    assert_eq!((status, &user["id"]), (200, &session["user"]["id"]));

    // A second session, then only the others end.
    let (_, second) = password_grant(&stack, email, password).await;
    let end = |scope: &str, token: &str| {
        stack.ask(Method::POST, &format!("/auth/v1/logout?scope={scope}")).bearer_auth(token)
    };
    assert_eq!(answer(end("others", &token)).await.0, 204);
    let (status, error) =
        answer(stack.ask(Method::GET, "/auth/v1/user").bearer_auth(text(&second["access_token"]))).await;
    assert_eq!((status, error["error_code"].as_str()), (403, Some("session_not_found")), "{error}");
    assert_eq!(refresh(&stack, &second["refresh_token"]).await.0, 400);
    assert_eq!(answer(stack.ask(Method::GET, "/auth/v1/user").bearer_auth(&token)).await.0, 200);
    assert_eq!(answer(end("local", &token)).await.0, 204);
    assert_eq!(answer(stack.ask(Method::GET, "/auth/v1/user").bearer_auth(&token)).await.0, 403);
    assert_eq!(refresh(&stack, &session["refresh_token"]).await.1["error_code"], "refresh_token_not_found");

    // The long tokens of dev.env belong to no session.
    let (status, user) = answer(stack.ask_as("HUB_DEVICE_JWT", Method::GET, "/auth/v1/user")).await;
    assert_eq!((status, &user["app_metadata"]["device"]), (200, &json!("dev")));
    stack.stop().await;
}

#[tokio::test]
async fn a_refresh_token_works_once_and_a_copy_ends_the_session() {
    let stack = Stack::start().await;
    let (_, first) = password_grant(&stack, stack.var("HUB_VIEWER_EMAIL"), stack.var("HUB_VIEWER_PASSWORD")).await;
    let (status, second) = refresh(&stack, &first["refresh_token"]).await;
    assert_eq!(status, 200, "{second}");
    assert_ne!(first["refresh_token"], second["refresh_token"]);

    // The answer got lost: the token before the live one gives the live one, and no third is made.
    let (status, again) = refresh(&stack, &first["refresh_token"]).await;
    assert_eq!((status, &again["refresh_token"]), (200, &second["refresh_token"]), "{again}");
    // Two tabs at once get the same.
    let (one, two) = tokio::join!(refresh(&stack, &second["refresh_token"]), refresh(&stack, &second["refresh_token"]));
    assert_eq!((one.0, two.0), (200, 200), "{one:?} {two:?}");
    assert_eq!(one.1["refresh_token"], two.1["refresh_token"]);
    // An older one, within ten seconds, is still a client that lags.
    let (status, lagging) = refresh(&stack, &first["refresh_token"]).await;
    assert_eq!((status, &lagging["refresh_token"]), (200, &one.1["refresh_token"]), "{lagging}");

    // After that it is a copy, and neither goes on.
    stack.sql("update auth.refresh_tokens set updated_at = now() - interval '11 seconds' where revoked").await;
    let (status, error) = refresh(&stack, &first["refresh_token"]).await;
    assert_eq!((status, error["error_code"].as_str()), (400, Some("refresh_token_already_used")), "{error}");
    stack.sql("update auth.refresh_tokens set updated_at = now() - interval '11 seconds'").await;
    let (status, error) = refresh(&stack, &one.1["refresh_token"]).await;
    assert_eq!((status, error["error_code"].as_str()), (400, Some("refresh_token_already_used")), "{error}");
    let (status, error) = refresh(&stack, &json!("made-up")).await;
    assert_eq!((status, error["error_code"].as_str()), (400, Some("refresh_token_not_found")), "{error}");
    stack.stop().await;
}

#[tokio::test]
async fn a_person_signs_up_and_changes_their_account() {
    let stack = Stack::start().await;
    let signup = |body: Value| stack.ask(Method::POST, "/auth/v1/signup").json(&body);
    let (status, session) =
        answer(signup(json!({"email": "Ada@example.org", "password": "difference engine", "data": {"name": "Ada"}})))
            .await;
    assert_eq!(status, 200, "{session}");
    assert_eq!(session["user"]["email"], "ada@example.org");
    assert_eq!(session["user"]["user_metadata"]["name"], "Ada");
    assert!(session["access_token"].is_string(), "confirmed at once, as a local Supabase does");

    for (body, status, code) in [
        (json!({"email": "ada@EXAMPLE.org", "password": "difference engine"}), 422, "user_already_exists"),
        (json!({"email": "b@example.org", "password": "short"}), 422, "weak_password"),
        (json!({"email": "b@example.org", "password": "x".repeat(73)}), 400, "validation_failed"),
        (json!({"email": "nobody", "password": "long enough"}), 400, "validation_failed"),
        (json!({"email": "b@example.org"}), 400, "validation_failed"),
        (json!({}), 422, "anonymous_provider_disabled"),
        (json!({"phone": "+15550100", "password": "long enough"}), 422, "phone_provider_disabled"),
    ] {
        let (got, error) = answer(signup(body.clone())).await;
        assert_eq!((got, error["error_code"].as_str()), (status, Some(code)), "{body} {error}");
        assert_eq!(error["code"], status);
        // The newer shape, for clients that ask for it.
        let (got, error) = answer(signup(body).header("x-supabase-api-version", "2024-01-01")).await;
        assert_eq!((got, error["code"].as_str()), (status, Some(code)), "{error}");
        assert!(error["message"].is_string());
    }
    let (status, error) = answer(
        stack
            .ask(Method::POST, "/auth/v1/signup")
            .header("content-type", "application/json")
            .body("{\"email\": secret"),
    )
    .await;
    assert_eq!((status, error["error_code"].as_str()), (400, Some("bad_json")));
    assert!(!error.to_string().contains("secret"));

    let token = text(&session["access_token"]);
    let change = |body: Value| stack.ask(Method::PUT, "/auth/v1/user").bearer_auth(&token).json(&body);
    let (status, user) = answer(change(json!({"data": {"name": null, "title": "Countess"}}))).await;
    assert_eq!((status, &user["user_metadata"]["title"]), (200, &json!("Countess")));
    assert!(user["user_metadata"].get("name").is_none(), "{user}");
    let (status, error) = answer(change(json!({"app_metadata": {"device": "mac1"}}))).await;
    assert_eq!((status, error["error_code"].as_str()), (403, Some("not_admin")), "nobody makes oneself a device");
    let (status, error) = answer(change(json!({"password": "difference engine"}))).await;
    assert_eq!((status, error["error_code"].as_str()), (422, Some("same_password")));
    let (_, other) = password_grant(&stack, "ada@example.org", "difference engine").await;
    assert_eq!(answer(change(json!({"password": "analytical engine"}))).await.0, 200);
    assert_eq!(refresh(&stack, &other["refresh_token"]).await.0, 400, "a new password ends the other sessions");
    assert_eq!(answer(stack.ask(Method::GET, "/auth/v1/user").bearer_auth(&token)).await.0, 200, "and not this one");
    assert_eq!(password_grant(&stack, "ada@example.org", "difference engine").await.0, 400);
    assert_eq!(password_grant(&stack, "ada@example.org", "analytical engine").await.0, 200);
    let (status, error) = answer(change(json!({"email": "operator@hub.local"}))).await;
    assert_eq!((status, error["error_code"].as_str()), (422, Some("email_exists")));
    assert_eq!(answer(change(json!({"email": "lovelace@example.org"}))).await.1["email"], "lovelace@example.org");

    // What signs in as nobody.
    let (status, error) = answer(stack.ask(Method::GET, "/auth/v1/user")).await;
    assert_eq!((status, error["error_code"].as_str()), (403, Some("bad_jwt")), "the anon key is no person: {error}");
    for (body, code) in [
        (json!({"email": "lovelace@example.org"}), "validation_failed"),
        (json!({"email": "lovelace@example.org", "password": "wrong"}), "invalid_credentials"),
        (json!({"email": "who@example.org", "password": "wrong"}), "invalid_credentials"),
        (json!({"email": "' or 1=1 --", "password": "wrong"}), "invalid_credentials"),
    ] {
        let (status, error) = answer(stack.ask(Method::POST, "/auth/v1/token?grant_type=password").json(&body)).await;
        assert_eq!((status, error["error_code"].as_str()), (400, Some(code)), "{body} {error}");
    }
    let (status, _) = answer(stack.ask(Method::POST, "/auth/v1/token?grant_type=magic").json(&json!({}))).await;
    assert_eq!(status, 400);
    stack.stop().await;
}

#[tokio::test]
async fn an_unknown_address_takes_as_long_as_a_wrong_password() {
    let stack = Stack::start().await;
    let mut times = [Duration::ZERO; 2];
    for _ in 0..6 {
        for (at, email) in ["operator@hub.local", "who@example.org"].into_iter().enumerate() {
            let began = Instant::now();
            let (status, error) = password_grant(&stack, email, "wrong password").await;
            times[at] += began.elapsed();
            assert_eq!((status, &error["msg"]), (400, &json!("Invalid login credentials")));
        }
    }
    let ratio = times[1].as_secs_f64() / times[0].as_secs_f64();
    assert!((0.6..1.7).contains(&ratio), "{times:?}");
    stack.stop().await;
}

#[tokio::test]
async fn the_service_key_manages_users() {
    let stack = Stack::start().await;
    let service = "SUPABASE_SERVICE_ROLE_KEY";
    let ask = |method: Method, path: &str| stack.ask_as(service, method, &format!("/auth/v1/admin/users{path}"));

    for who in ["HUB_OPERATOR_JWT", "SUPABASE_ANON_KEY"] {
        let (status, error) = answer(stack.ask_as(who, Method::GET, "/auth/v1/admin/users")).await;
        assert_eq!((status, error["error_code"].as_str()), (403, Some("not_admin")), "{who} {error}");
    }
    let response = ask(Method::GET, "?page=1&per_page=3").send().await.unwrap();
    assert_eq!(response.headers()["x-total-count"], "4");
    assert!(response.headers()["link"].to_str().unwrap().contains("page=2&per_page=3>; rel=\"next\""));
    let page: Value = response.json().await.unwrap();
    assert_eq!((page["users"].as_array().unwrap().len(), &page["aud"]), (3, &json!("authenticated")));

    let id = "11111111-2222-4333-8444-555555555555";
    let wanted = json!({"id": id, "email": "device+mac1@hub.invalid", "password": "a long device secret", "email_confirm": true,
                        "app_metadata": {"device": "mac1"}, "user_metadata": {"label": "desk"}});
    let (status, user) = answer(ask(Method::POST, "").json(&wanted)).await;
    assert_eq!(status, 200, "{user}");
    assert_eq!((&user["id"], &user["app_metadata"]["device"]), (&json!(id), &json!("mac1")));
    let (status, error) = answer(ask(Method::POST, "").json(&wanted)).await;
    assert_eq!((status, error["error_code"].as_str()), (422, Some("email_exists")), "{error}");
    let (status, session) = password_grant(&stack, "device+mac1@hub.invalid", "a long device secret").await;
    assert_eq!(status, 200);
    let keys = hub_local::keys::Keys::new(&stack.var("SUPABASE_JWT_SECRET").to_owned().into(), "");
    assert_eq!(keys.verify(session["access_token"].as_str().unwrap()).unwrap()["app_metadata"]["device"], "mac1");

    let one = format!("/{id}");
    assert_eq!(answer(ask(Method::GET, &one)).await.1["email"], "device+mac1@hub.invalid");
    let (status, user) =
        answer(ask(Method::PUT, &one).json(&json!({"app_metadata": {"device": "mac2"}, "ban_duration": "24h"}))).await;
    assert_eq!((status, &user["app_metadata"]["device"]), (200, &json!("mac2")));
    assert!(user["banned_until"].is_string());
    let (status, error) = password_grant(&stack, "device+mac1@hub.invalid", "a long device secret").await;
    assert_eq!((status, error["error_code"].as_str()), (400, Some("user_banned")));
    assert_eq!(refresh(&stack, &session["refresh_token"]).await.1["error_code"], "user_banned");
    answer(ask(Method::PUT, &one).json(&json!({"ban_duration": "none", "password": "another device secret"}))).await;
    assert_eq!(password_grant(&stack, "device+mac1@hub.invalid", "another device secret").await.0, 200);
    let (status, error) = answer(ask(Method::PUT, &one).json(&json!({"role": "supabase_admin"}))).await;
    assert_eq!(status, 400, "{error}");

    // Unconfirmed is not let in.
    answer(ask(Method::POST, "").json(&json!({"email": "late@example.org", "password": "long enough"}))).await;
    let (status, error) = password_grant(&stack, "late@example.org", "long enough").await;
    assert_eq!((status, error["error_code"].as_str()), (400, Some("email_not_confirmed")));

    assert_eq!(answer(ask(Method::DELETE, &one)).await.0, 200);
    let (status, error) = answer(ask(Method::GET, &one)).await;
    assert_eq!((status, error["error_code"].as_str()), (404, Some("user_not_found")));
    assert_eq!(answer(ask(Method::GET, "/not-a-uuid")).await.0, 404);
    stack.stop().await;
}

#[tokio::test]
async fn anonymous_sign_in_and_sign_up_follow_the_settings() {
    let home = home();
    let mut open = options(&home.path().join("open"));
    open.auth = AuthOptions { signup: true, anonymous: true };
    let stack = Stack::start_with(open).await;
    let (status, session) =
        answer(stack.ask(Method::POST, "/auth/v1/signup").json(&json!({"data": {"from": "kiosk"}}))).await;
    assert_eq!(status, 200, "{session}");
    assert_eq!(session["user"]["is_anonymous"], true);
    let keys = hub_local::keys::Keys::new(&stack.var("SUPABASE_JWT_SECRET").to_owned().into(), "");
    assert_eq!(keys.verify(session["access_token"].as_str().unwrap()).unwrap()["is_anonymous"], true);
    let (_, settings) = answer(stack.ask(Method::GET, "/auth/v1/settings")).await;
    assert_eq!(settings["external"]["anonymous_users"], true);
    stack.stop().await;

    let mut closed = options(&home.path().join("closed"));
    closed.auth = AuthOptions { signup: false, anonymous: true };
    let stack = Stack::start_with(closed).await;
    for body in [json!({}), json!({"email": "a@example.org", "password": "long enough"})] {
        let (status, error) = answer(stack.ask(Method::POST, "/auth/v1/signup").json(&body)).await;
        assert_eq!((status, error["error_code"].as_str()), (422, Some("signup_disabled")));
    }
    stack.stop().await;
}

/// Guessing: after ten wrong passwords none of that account is tried, the right one neither; others sign in as ever.
#[tokio::test]
async fn an_account_is_locked_after_ten_wrong_passwords() {
    let stack = Stack::start().await;
    let (email, password) = (stack.var("HUB_VIEWER_EMAIL"), stack.var("HUB_VIEWER_PASSWORD"));
    for _ in 0..10 {
        let (status, error) = password_grant(&stack, email, "wrong").await;
        assert_eq!((status, error["error_code"].as_str()), (400, Some("invalid_credentials")), "{error}");
    }
    let response = stack
        .ask(Method::POST, "/auth/v1/token?grant_type=password")
        .json(&json!({"email": email.to_uppercase(), "password": password}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 200);
    assert_eq!(response.json::<Value>().await.unwrap()["error_code"], "over_request_rate_limit");
    let (status, _) = password_grant(&stack, stack.var("HUB_OPERATOR_EMAIL"), stack.var("HUB_OPERATOR_PASSWORD")).await;
    assert_eq!(status, 200);
    stack.stop().await;
}
