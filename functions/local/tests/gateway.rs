//! What the gateway refuses, and what it adds.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

mod common;

use common::{Stack, answer};
use reqwest::{Method, header};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A request as bytes, for what a client library would not send.
async fn raw(stack: &Stack, request: &str) -> String {
    let address = stack.ready.api_url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let reading = stream.read_to_end(&mut said);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(3), reading).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn the_gateway_needs_a_key_and_a_local_host_name() {
    let stack = Stack::start().await;
    let url = |path: &str| format!("{}{path}", stack.ready.api_url);
    let anon = stack.var("SUPABASE_ANON_KEY");

    for path in ["/rest/v1/hub_servers", "/rest/v1/", "/rest/v1/rpc/hub_recover", "/auth/v1/health", "/auth/v1/user"] {
        let (status, error) = answer(stack.http.get(url(path))).await;
        assert_eq!((status, &error["message"]), (401, &json!("No API key found in request")), "{path}");
        let (status, error) = answer(stack.http.get(url(path)).header("apikey", "rubbish")).await;
        assert_eq!((status, &error["message"]), (401, &json!("Invalid API key")), "{path}");
        let (status, _) = answer(stack.http.get(url(path)).header("apikey", stack.var("HUB_OPERATOR_JWT"))).await;
        assert_eq!(status, 401, "a person's token is no key: {path}");
    }
    // The key alone speaks as anon; in the query, too, and REST does not see it there.
    let (status, rows) = answer(stack.http.get(url("/rest/v1/hub_servers?select=name")).header("apikey", anon)).await;
    assert!(status == 401 || rows == json!([]), "anon reads nothing: {status} {rows}");
    let service = stack.var("SUPABASE_SERVICE_ROLE_KEY");
    let (status, rows) =
        answer(stack.http.get(url(&format!("/rest/v1/hub_servers?apikey={service}&select=name")))).await;
    assert_eq!((status, rows.as_array().map(Vec::len)), (200, Some(4)), "{rows}");

    // Open doors: health and the (empty) key set.
    assert_eq!(
        answer(stack.http.get(url("/health"))).await,
        (200, json!({"status": "ok", "database": "ok", "rest": "ok", "realtime": "ok"}))
    );
    assert_eq!(answer(stack.http.get(url("/auth/v1/.well-known/jwks.json"))).await, (200, json!({"keys": []})));

    for (path, status) in [
        ("/", 404),
        ("/nothing", 404),
        ("/realtime/v1/nothing", 404),
        ("/functions/v1/hello", 404),
        ("/rest/v2/x", 404),
    ] {
        let (got, error) = answer(stack.http.get(url(path))).await;
        assert_eq!(got, status, "{path}");
        assert!(error["message"].is_string() || error["detail"].is_string(), "{path}: {error}");
    }
    let (status, error) = answer(stack.ask(Method::POST, "/auth/v1/recover").json(&json!({"email": "a@b.c"}))).await;
    assert_eq!((status, error["error_code"].as_str()), (404, Some("not_found")));
    let (status, _) = answer(stack.ask(Method::DELETE, "/auth/v1/token")).await;
    assert_eq!(status, 405);

    // DNS rebinding: the browser sends the attacker's name.
    for host in ["evil.example", "evil.example:54321", "127.0.0.1.evil.example"] {
        let (status, error) = answer(stack.http.get(url("/health")).header(header::HOST, host)).await;
        assert_eq!(status, 403, "{host} {error}");
        let (status, _) =
            answer(stack.http.request(Method::OPTIONS, url("/rest/v1/hub_servers")).header(header::HOST, host)).await;
        assert_eq!(status, 403, "{host}");
    }
    let said =
        raw(&stack, "GET http://evil.example/health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 403"), "{said}");
    let (status, _) = answer(stack.http.get(url("/health")).header(header::HOST, "localhost:1234")).await;
    assert_eq!(status, 200);

    // What hyper alone would refuse, PostgREST's clients send.
    let said = raw(
        &stack,
        &format!("GET /rest/v1/hub_servers?select=name&metadata->>x=is.null&name=in.(\"buf-barista\") HTTP/1.1\r\nHost: localhost\r\napikey: {service}\r\nConnection: close\r\n\r\n"),
    )
    .await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("buf-barista"), "{said}");

    let long = "x".repeat(17 * 1024 * 1024);
    let (status, _) = answer(stack.ask_as("HUB_OPERATOR_JWT", Method::POST, "/rest/v1/rpc/hub_send").body(long)).await;
    assert_eq!(status, 413);
    let (status, error) = answer(stack.ask(Method::POST, "/auth/v1/signup").body("x".repeat(300 * 1024))).await;
    assert_eq!((status, error["error_code"].as_str()), (413, Some("request_too_large")), "{error}");
    stack.stop().await;
}

#[tokio::test]
async fn browsers_of_any_origin_are_allowed() {
    let stack = Stack::start().await;
    let response = stack
        .http
        .request(Method::OPTIONS, format!("{}/rest/v1/hub_channel_messages", stack.ready.api_url))
        .header("origin", "http://localhost:3000")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "apikey,authorization,content-profile,content-type,prefer,x-client-info,x-supabase-api-version",
        )
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_ascii_lowercase();
    assert_eq!(header("access-control-allow-origin"), "*");
    assert!(header("access-control-allow-headers").contains("x-supabase-api-version"));
    assert!(header("access-control-allow-methods").contains("patch"));

    for path in ["/rest/v1/hub_servers", "/auth/v1/settings", "/nothing"] {
        let response = stack.ask(Method::GET, path).header("origin", "http://localhost:3000").send().await.unwrap();
        assert_eq!(response.headers().get_all("access-control-allow-origin").iter().count(), 1, "{path}");
        let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap().to_ascii_lowercase();
        assert!(exposed.contains("content-range") && exposed.contains("x-total-count"), "{exposed}");
    }
    // Refusals are readable for a page, too.
    let response = stack
        .http
        .get(format!("{}/rest/v1/hub_servers", stack.ready.api_url))
        .header("origin", "http://localhost:3000")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    stack.stop().await;
}

/// What one caller can do to the others, and what of it is refused; beside each what goes on working.
#[tokio::test]
async fn one_caller_can_not_slow_down_the_others() {
    let stack = Stack::start().await;
    stack
        .sql(
            "create table public.moments (id int primary key, at timestamptz, name text);
             grant select, insert on public.moments to authenticated, service_role, anon;
             insert into public.moments values (1, '-infinity', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'), (2, now(), 'y');
             create function public.choose(p_yes boolean default true, p_what text default null) returns text language sql as $$ select coalesce(p_yes::text, 'null') || coalesce(p_what, '-') $$;",
        )
        .await;
    let operator = "HUB_OPERATOR_JWT";
    let get = |path: &str| stack.ask_as(operator, Method::GET, path);

    // A panic behind the gateway is an answer with an id; the next request is served.
    let response = get("/rest/v1/moments?select=id,at&id=eq.1").send().await.unwrap();
    let (status, id) = (response.status().as_u16(), response.headers().get("x-request-id").is_some());
    assert!(status == 200 || (status == 500 && id), "{status}");
    let (status, rows) = answer(get("/rest/v1/moments?select=id&id=eq.2")).await;
    assert_eq!((status, rows), (200, json!([{"id": 2}])));

    // Questions that starve others; questions that only look like them.
    for much in [
        "/rest/v1/moments?select=id&name=match.%5E(x%2Bx%2B)%2By%5C1",
        "/rest/v1/moments?select=id&or=(name.imatch.(x)%5C1,id.eq.1)",
        &format!("/rest/v1/hub_servers?select=id{}{}", ",hub_channels(id".repeat(9), ")".repeat(9)),
    ] {
        let (status, error) = answer(get(much)).await;
        assert_eq!((status, error["code"].as_str()), (400, Some("PGRST100")), "{much}: {error}");
    }
    for fine in
        ["/rest/v1/moments?select=id&name=match.%5Ey%24", "/rest/v1/hub_servers?select=id,hub_channels(id)&limit=1"]
    {
        let (status, rows) = answer(get(fine)).await;
        assert_eq!((status, rows.as_array().map(Vec::len)), (200, Some(1)), "{fine}: {rows}");
    }

    // Who is calling is said once.
    let (key, token) = (stack.var("SUPABASE_ANON_KEY"), stack.var(operator));
    for twice in [
        format!("Authorization: Bearer {key}\r\nAuthorization: Bearer {token}\r\napikey: {key}"),
        format!("Authorization: Bearer {token}\r\napikey: {key}\r\napikey: {key}"),
    ] {
        for path in ["/rest/v1/hub_servers", "/auth/v1/user", "/functions/v1/send"] {
            let said =
                raw(&stack, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{twice}\r\nConnection: close\r\n\r\n"))
                    .await;
            assert!(said.starts_with("HTTP/1.1 400"), "{path}: {said}");
        }
    }

    // A token says when it ends, and counts now.
    let keys = hub_local::keys::Keys::new(&stack.var("SUPABASE_JWT_SECRET").to_owned().into(), "");
    let now = chrono::Utc::now().timestamp();
    for (claims, status) in [
        (json!({"role": "service_role"}), 401),
        (json!({"role": "service_role", "exp": now + 600, "nbf": now + 300}), 401),
        (json!({"role": "service_role", "exp": now - 1}), 401),
        (json!({"role": "service_role", "exp": now + 600, "nbf": now - 1}), 200),
        (json!({"role": "service_role", "exp": now + 600}), 200),
    ] {
        let (got, said) = answer(
            stack.ask(Method::GET, "/rest/v1/moments?select=id&limit=1").bearer_auth(keys.sign(&claims).unwrap()),
        )
        .await;
        assert_eq!(got, status, "{claims}: {said}");
    }

    // A junk token is refused before its body has come.
    let address = stack.ready.api_url.strip_prefix("http://").unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /rest/v1/moments HTTP/1.1\r\nHost: localhost\r\napikey: {key}\r\nAuthorization: Bearer junk\r\nContent-Length: 10000000\r\n\r\n["
    );
    half.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 12];
    tokio::time::timeout(std::time::Duration::from_secs(5), half.read_exact(&mut said)).await.unwrap().unwrap();
    assert_eq!(&said, b"HTTP/1.1 401");

    // A null is not what the default says.
    let call = |body: serde_json::Value| stack.ask_as(operator, Method::POST, "/rest/v1/rpc/choose").json(&body);
    let (status, error) = answer(call(json!({"p_yes": null}))).await;
    assert!(status == 400 && error["message"].as_str().unwrap().contains("p_yes"), "{status} {error}");
    assert_eq!(answer(call(json!({"p_yes": false, "p_what": null}))).await, (200, json!("false-")));
    assert_eq!(answer(call(json!({}))).await, (200, json!("true-")));
    stack.stop().await;
}
