//! Sign-in, as supabase-js' auth client uses it.

use crate::common::{Stack, answer, home, options};
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
        (json!({"password": "long enough"}), 422, "anonymous_provider_disabled"),
        (json!({"email": "nobody", "password": "short"}), 422, "weak_password"),
        (json!({"phone": "+15550100"}), 400, "validation_failed"),
        (json!({"phone": "+15550100", "password": "long enough"}), 400, "phone_provider_disabled"),
        (json!({"email": 5, "password": "long enough"}), 400, "bad_json"),
        (json!({"email": "n@example.org", "password": "long enough", "data": {"a": "\0"}}), 400, "validation_failed"),
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
    let (status, error) = answer(stack.ask(Method::POST, "/auth/v1/signup")).await;
    assert_eq!((status, error["error_code"].as_str()), (400, Some("bad_json")), "none at all: {error}");

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
        (json!({"email": "lovelace@example.org"}), "invalid_credentials"),
        (json!({"email": "lovelace@example.org", "password": ""}), "invalid_credentials"),
        (json!({"password": "wrong"}), "validation_failed"),
        (json!({"email": "lovelace@example.org", "phone": "+15550100", "password": "wrong"}), "validation_failed"),
        (json!({"email": "lovelace@example.org", "password": "wrong"}), "invalid_credentials"),
        (json!({"email": "who@example.org", "password": "wrong"}), "invalid_credentials"),
        (json!({"email": "' or 1=1 --", "password": "wrong"}), "invalid_credentials"),
    ] {
        let (status, error) = answer(stack.ask(Method::POST, "/auth/v1/token?grant_type=password").json(&body)).await;
        assert_eq!((status, error["error_code"].as_str()), (400, Some(code)), "{body} {error}");
    }
    for grant in ["?grant_type=magic", ""] {
        let (status, error) = answer(stack.ask(Method::POST, &format!("/auth/v1/token{grant}")).json(&json!({}))).await;
        assert_eq!((status, error["error_code"].as_str()), (400, Some("invalid_credentials")), "{grant} {error}");
        assert_eq!(error["msg"], "unsupported_grant_type");
    }
    stack.stop().await;
}

/// What Supabase Auth writes where, and when.
#[tokio::test]
async fn metadata_identities_and_times_are_as_supabase_auth_writes_them() {
    let stack = Stack::start().await;
    let admin = |method: Method, path: &str| {
        stack.ask_as("SUPABASE_SERVICE_ROLE_KEY", method, &format!("/auth/v1/admin/users{path}"))
    };
    let identity = |user: &Value| user["identities"][0]["identity_data"].clone();

    // An operator's word that the address is good is what marks it, and nothing else is added.
    let made = |body: Value| admin(Method::POST, "").json(&body);
    let (_, bare) = answer(made(json!({"email": "bare@example.org", "password": "long enough"}))).await;
    assert_eq!(bare["user_metadata"], json!({}), "{bare}");
    assert!(bare.get("email_confirmed_at").is_none() && bare["identities"][0]["last_sign_in_at"].is_string());
    let claims =
        json!({"sub": bare["id"], "email": "bare@example.org", "email_verified": false, "phone_verified": false});
    assert_eq!(identity(&bare), claims);
    let wanted =
        json!({"email": "sure@example.org", "email_confirm": true, "user_metadata": {"name": "S", "none": null}});
    let (_, sure) = answer(made(wanted)).await;
    assert_eq!(sure["user_metadata"], json!({"name": "S", "none": null, "email_verified": true}), "{sure}");

    // Another address is as sure as the operator says. What is null goes, and only that.
    let one = format!("/{}", text(&bare["id"]));
    let change = json!({"email": "bare2@example.org", "user_metadata": {"deep": {"null": null}, "gone": null}});
    let (_, changed) = answer(admin(Method::PUT, &one).json(&change)).await;
    assert_eq!(changed["user_metadata"], json!({"deep": {"null": null}}), "{changed}");
    assert!(changed.get("email_confirmed_at").is_none(), "{changed}");
    let (_, confirmed) = answer(admin(Method::PUT, &one).json(&json!({"email_confirm": true}))).await;
    assert_eq!(confirmed["user_metadata"], json!({"deep": {"null": null}, "email_verified": true}));
    assert!(confirmed["email_confirmed_at"].is_string());

    // What a person says when they sign up, their identity claims.
    let body = json!({"email": "ada@example.org", "password": "difference engine",
                      "data": {"name": "Ada", "email": "other@example.org", "none": null}});
    let (_, session) = answer(stack.ask(Method::POST, "/auth/v1/signup").json(&body)).await;
    assert!(session.get("weak_password").is_none());
    let user = &session["user"];
    let claims = json!({"sub": user["id"], "email": "ada@example.org", "email_verified": false, "phone_verified": false,
                        "name": "Ada", "none": null});
    assert_eq!(identity(user), claims);
    let data = json!({"sub": user["id"], "email": "ada@example.org", "email_verified": true, "phone_verified": false,
                      "name": "Ada"});
    assert_eq!(user["user_metadata"], data);

    // No zeros at the end, and no fraction where there is none.
    stack
        .sql("update auth.users set created_at = '2026-01-02 03:04:05', updated_at = '2026-01-02 03:04:05.1200' where email = 'ada@example.org'")
        .await;
    let token = text(&session["access_token"]);
    let (_, user) = answer(stack.ask(Method::GET, "/auth/v1/user").bearer_auth(&token)).await;
    assert_eq!(
        (&user["created_at"], &user["updated_at"]),
        (&json!("2026-01-02T03:04:05Z"), &json!("2026-01-02T03:04:05.12Z"))
    );

    // A token that does not count yet, not even by a second, and one of before a ban.
    let keys = hub_local::keys::Keys::new(&stack.var("SUPABASE_JWT_SECRET").to_owned().into(), "");
    let mut claims = keys.verify(&token).unwrap();
    for (ahead, expected) in [(3600, 403), (3, 403), (-1, 200)] {
        claims.insert("nbf".into(), json!(chrono::Utc::now().timestamp() + ahead));
        let early = keys.sign(&Value::Object(claims.clone())).unwrap();
        let (status, error) = answer(stack.ask(Method::GET, "/auth/v1/user").bearer_auth(early)).await;
        assert_eq!(status, expected, "{ahead}: {error}");
        if status == 403 {
            assert_eq!(error["error_code"], "bad_jwt");
            assert!(text(&error["msg"]).ends_with("token is not valid yet"), "{error}");
        }
    }
    answer(admin(Method::PUT, &format!("/{}", text(&user["id"]))).json(&json!({"ban_duration": "24h"}))).await;
    let (status, error) = answer(stack.ask(Method::GET, "/auth/v1/user").bearer_auth(&token)).await;
    assert_eq!((status, error["error_code"].as_str()), (403, Some("user_banned")), "{error}");
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
