//! What the gateway refuses, and what it adds.

use crate::common::{Stack, answer};
use reqwest::{Method, header};
use serde_json::json;
use sqlx::{Connection, PgConnection};
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
        if !path.starts_with("/auth") {
            let (status, error) = answer(stack.http.get(url(path))).await;
            assert_eq!((status, &error["message"]), (401, &json!("No API key found in request")), "{path}");
        }
        let (status, error) = answer(stack.http.get(url(path)).header("apikey", "rubbish")).await;
        assert_eq!((status, &error["message"]), (401, &json!("Invalid API key")), "{path}");
        let (status, _) = answer(stack.http.get(url(path)).header("apikey", stack.var("HUB_OPERATOR_JWT"))).await;
        assert_eq!(status, 401, "a person's token is no key: {path}");
    }
    // As the CLI's local gateway: without a key, sign-in itself is asked.
    assert_eq!(answer(stack.http.get(url("/auth/v1/health"))).await.0, 200);
    let (email, password) = (stack.var("HUB_VIEWER_EMAIL"), stack.var("HUB_VIEWER_PASSWORD"));
    let signing_in = stack.http.post(url("/auth/v1/token?grant_type=password"));
    let (status, session) = answer(signing_in.json(&json!({"email": email, "password": password}))).await;
    assert_eq!(status, 200, "{session}");
    let token = session["access_token"].as_str().unwrap();
    assert_eq!(answer(stack.http.get(url("/auth/v1/user")).bearer_auth(token)).await.0, 200);
    for path in ["/auth/v1/user", "/auth/v1/admin/users"] {
        let (status, error) = answer(stack.http.get(url(path))).await;
        assert_eq!((status, error["error_code"].as_str()), (401, Some("no_authorization")), "{path}: {error}");
    }
    let (status, error) = answer(stack.http.get(url("/auth/v1/admin/users")).bearer_auth(token)).await;
    assert_eq!((status, error["error_code"].as_str()), (403, Some("not_admin")), "{error}");
    let (status, _) = answer(stack.http.get(url("/rest/v1/hub_servers")).bearer_auth(token)).await;
    assert_eq!(status, 401, "REST needs one");

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
    let (status, error) = answer(stack.ask(Method::POST, "/auth/v1/signup").body("x".repeat(2 * 1024 * 1024))).await;
    assert_eq!((status, error["error_code"].as_str()), (413, Some("request_entity_too_large")), "{error}");

    // Who is refused may send the rest first, wherever it is refused, and the connection goes on.
    for (path, key, expected) in [
        ("/rest/v1/hub_servers", "rubbish", 401),
        ("/rest/v1/hub_servers", "", 401),
        ("/auth/v1/signup", "rubbish", 401),
        ("/nothing", "", 404),
        ("/functions/v1/nothing", "", 404),
    ] {
        let address = stack.ready.api_url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\napikey: {key}\r\nContent-Length: 8388608\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&[b'x'; 8_388_608]).await.unwrap();
            let mut said = Vec::new();
            while !said.ends_with(b"}") {
                let mut more = [0; 4096];
                let reading = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read(&mut more));
                let read = reading.await.unwrap().unwrap();
                assert!(read > 0, "{path}: closed after {}", String::from_utf8_lossy(&said));
                said.extend_from_slice(&more[..read]);
            }
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(said.starts_with(&format!("HTTP/1.1 {expected}")), "{path}: {said}");
        }
    }
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

    // Without that header it is no preflight: REST says what can be done with a table.
    let allowed = stack.ask(Method::OPTIONS, "/rest/v1/hub_channel_messages").send().await.unwrap();
    assert_eq!(allowed.status(), 200);
    assert!(allowed.headers()["allow"].to_str().unwrap().starts_with("OPTIONS,GET,HEAD"), "{:?}", allowed.headers());

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
        "/rest/v1/moments?select=id&or=(name.imatch.%22(x)%5C%5C1%22,id.eq.1)",
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
        // Clocks may differ by half a minute.
        (json!({"role": "service_role", "exp": now - 60}), 401),
        (json!({"role": "service_role", "exp": now - 10}), 200),
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
    tokio::time::timeout(std::time::Duration::from_secs(30), half.read_exact(&mut said)).await.unwrap().unwrap();
    assert_eq!(&said, b"HTTP/1.1 401");

    // A null is not what the default says.
    let call = |body: serde_json::Value| stack.ask_as(operator, Method::POST, "/rest/v1/rpc/choose").json(&body);
    assert_eq!(answer(call(json!({"p_yes": null}))).await, (200, json!("null-")));
    assert_eq!(answer(call(json!({"p_yes": false, "p_what": null}))).await, (200, json!("false-")));
    assert_eq!(answer(call(json!({}))).await, (200, json!("true-")));
    stack.stop().await;
}

/// What runs as a superuser looks up no name where `postgres` could have put another; and what callers show is kept nowhere.
#[tokio::test]
async fn postgres_becomes_no_superuser_and_reads_no_tokens() {
    let stack = Stack::start().await;
    stack
        .sql(
            "create function pg_temp.take() returns boolean language plpgsql as $$
               begin
                 execute 'alter role postgres superuser';
                 return true;
               exception
                 when insufficient_privilege then return true;
               end $$;
             create function pg_temp.taken(regrole) returns boolean language sql as 'select pg_temp.take()';
             create function pg_temp.taken(date) returns boolean language sql as 'select pg_temp.take()';
             create domain pg_temp.regrole as pg_catalog.regrole check (pg_temp.taken(value));
             create domain pg_temp.date as pg_catalog.date check (pg_temp.taken(value));
             select realtime.hub_keep_partitions();
             create function public.is_taken(timestamp) returns boolean immutable language sql as 'select pg_temp.take()';
             alter table realtime.messages add constraint taken check (public.is_taken(inserted_at));
             select realtime.hub_keep_partitions(now() + interval '40 days');
             alter table realtime.messages drop constraint taken;
             do $$
             begin
               create extension if not exists plpgsql_check;
             exception
               when others then null;             -- its package is not everywhere
             end $$;",
        )
        .await;
    let mut database = PgConnection::connect(stack.var("DATABASE_URL")).await.unwrap();
    let is_superuser = "select rolsuper from pg_roles where rolname = current_user";
    assert!(!sqlx::query_scalar::<_, bool>(is_superuser).fetch_one(&mut database).await.unwrap());

    // Realtime runs policies, which are postgres' to write: a role that is set is set back in there.
    let sessions = "select coalesce(bool_or(r.rolsuper), true) from pg_stat_activity a join pg_roles r on r.oid = a.usesysid where a.application_name = 'hub realtime'";
    assert!(!sqlx::query_scalar::<_, bool>(sessions).fetch_one(&mut database).await.unwrap());

    for _ in 0..3 {
        let servers = stack.ask_as("HUB_OPERATOR_JWT", Method::GET, "/rest/v1/hub_servers?select=name");
        assert_eq!(answer(servers).await.0, 200);
    }
    let counted = "select to_regclass('extensions.pg_stat_statements') is not null and current_setting('shared_preload_libraries') ~ 'pg_stat_statements'";
    if sqlx::query_scalar::<_, bool>(counted).fetch_one(&mut database).await.unwrap() {
        let kept = "select count(*) from extensions.pg_stat_statements where query ~ 'eyJ|Bearer'";
        assert_eq!(sqlx::query_scalar::<_, i64>(kept).fetch_one(&mut database).await.unwrap(), 0);
    }
    stack.stop().await;
}

/// A page from elsewhere shows the key, where others need none.
#[tokio::test]
async fn a_page_from_elsewhere_can_not_sign_up_without_the_key() {
    let stack = Stack::start().await;
    let sign_up = |origin: Option<&str>| {
        let person = json!({"email": format!("{}@example.com", origin.map_or(0, str::len)), "password": "long enough"});
        let request = stack.http.post(format!("{}/auth/v1/signup", stack.ready.api_url)).json(&person);
        origin.iter().fold(request, |request, origin| request.header("origin", *origin))
    };
    assert_eq!(answer(sign_up(Some("https://elsewhere.example"))).await.0, 401);
    assert_eq!(answer(sign_up(Some("null"))).await.0, 401);
    assert_eq!(answer(sign_up(Some("http://localhost:3000"))).await.0, 200);
    assert_eq!(answer(sign_up(None)).await.0, 200);
    stack.stop().await;
}
