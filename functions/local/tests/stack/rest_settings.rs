//! What `ALTER ROLE … SET` says of the REST layer and of the roles, and what is read of the schema.

use crate::common::{Stack, answer};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const SERVICE: &str = "SUPABASE_SERVICE_ROLE_KEY";

const SCHEMA: &str = r#"
create schema api;
grant usage on schema api to anon, authenticated, service_role;
create table public.numbers (n int primary key, kind text);
insert into public.numbers select n, case when n % 2 = 0 then 'even' else 'odd' end from generate_series(1, 10) n;
create table api.only (id int primary key);
grant select on api.only to anon, service_role;
insert into api.only values (7);
create function public.setting(p_name text) returns text language sql stable as $$ select current_setting(p_name, true) $$;
create function public.before() returns void language plpgsql as $$
begin
  if current_setting('request.headers')::json->>'x-stop' is not null then
    raise exception using errcode = 'PT418', message = 'stopped';
  end if;
  perform set_config('my.mark', 'seen', true);
end $$;
create function public.level() returns text language sql stable set default_transaction_isolation = 'serializable' as $$ select current_setting('transaction_isolation') $$;
create function public.patient() returns text language sql stable set statement_timeout = '7s' as $$ select current_setting('statement_timeout') $$;
"#;

/// Asks until the answer is this one: a setting counts as soon as the layer has heard of it.
async fn becomes(stack: &Stack, path: &str, expected: (u16, Value)) {
    let mut last = (0, Value::Null);
    for _ in 0..100 {
        last = answer(stack.ask_as(SERVICE, Method::GET, path)).await;
        if last == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(last, expected, "{path}");
}

/// Sets as `postgres`, who is no superuser, and tells the layer.
async fn set(stack: &Stack, statement: &str) {
    stack.sql(&format!("{statement}; notify pgrst, 'reload config'")).await;
}

#[tokio::test]
async fn postgres_says_how_rest_behaves() {
    let stack = Stack::start().await;
    stack.sql(SCHEMA).await;

    // db_max_rows
    set(&stack, "alter role authenticator set pgrst.db_max_rows = '2'").await;
    becomes(&stack, "/rest/v1/numbers?select=n&order=n", (200, json!([{"n": 1}, {"n": 2}]))).await;
    let response = stack
        .ask_as(SERVICE, Method::GET, "/rest/v1/numbers?select=n&limit=5")
        .header("prefer", "count=exact")
        .send()
        .await
        .unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["content-range"].to_str().unwrap()), (206, "0-1/10"));
    set(&stack, "alter role authenticator reset pgrst.db_max_rows").await;
    becomes(&stack, "/rest/v1/numbers?select=n&n=gt.7&order=n", (200, json!([{"n": 8}, {"n": 9}, {"n": 10}]))).await;

    // db_aggregates_enabled; of this database before that of all.
    let sums = "/rest/v1/numbers?select=kind,n.sum()&order=kind";
    let (status, said) = answer(stack.ask_as(SERVICE, Method::GET, sums)).await;
    assert_eq!((status, said["code"].as_str()), (400, Some("PGRST123")), "{said}");
    set(&stack, "alter role authenticator set pgrst.db_aggregates_enabled = 'false'; do $$ begin execute format('alter role authenticator in database %I set pgrst.db_aggregates_enabled = true', current_database()); end $$").await;
    becomes(&stack, sums, (200, json!([{"kind": "even", "sum": 30}, {"kind": "odd", "sum": 25}]))).await;

    // db_schemas: the first is meant where none is named.
    let (status, said) =
        answer(stack.ask_as(SERVICE, Method::GET, "/rest/v1/only").header("accept-profile", "api")).await;
    assert_eq!((status, said["code"].as_str()), (406, Some("PGRST106")), "{said}");
    set(&stack, "alter role authenticator set pgrst.db_schemas = 'public, api'").await;
    let mut seen = (0, Value::Null);
    for _ in 0..100 {
        seen = answer(stack.ask_as(SERVICE, Method::GET, "/rest/v1/only").header("accept-profile", "api")).await;
        if seen.0 == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(seen, (200, json!([{"id": 7}])));
    let (status, _) = answer(stack.ask_as(SERVICE, Method::GET, "/rest/v1/only")).await;
    assert_eq!(status, 404, "it is not in public");

    // db_pre_request
    set(&stack, "alter role authenticator set pgrst.db_pre_request = 'public.before'").await;
    becomes(&stack, "/rest/v1/rpc/setting?p_name=my.mark", (200, json!("seen"))).await;
    let stopped = stack.ask_as(SERVICE, Method::GET, "/rest/v1/numbers").header("x-stop", "1");
    let (status, said) = answer(stopped).await;
    assert_eq!((status, &said["message"]), (418, &json!("stopped")));

    // db_tx_end
    set(&stack, "alter role authenticator set pgrst.db_tx_end = 'rollback'").await;
    let gone = async {
        for n in 100..200 {
            let insert = stack.ask_as(SERVICE, Method::POST, "/rest/v1/numbers").json(&json!({"n": n}));
            assert_eq!(answer(insert).await.0, 201);
            let (_, rows) =
                answer(stack.ask_as(SERVICE, Method::GET, &format!("/rest/v1/numbers?select=n&n=eq.{n}"))).await;
            if rows == json!([]) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    };
    assert!(gone.await, "what is written is rolled back");
    stack.stop().await;
}

#[tokio::test]
async fn roles_and_functions_have_their_settings() {
    let stack = Stack::start().await;
    stack.sql(SCHEMA).await;
    let setting = |name: &str| format!("/rest/v1/rpc/setting?p_name={name}");

    // As hosted: anon 3 s, authenticated 8 s.
    assert_eq!(answer(stack.ask(Method::GET, &setting("statement_timeout"))).await, (200, json!("3s")));
    let signed_in = |path: String| stack.ask_as("HUB_OPERATOR_JWT", Method::GET, &path);
    assert_eq!(answer(signed_in(setting("statement_timeout"))).await, (200, json!("8s")));
    set(&stack, "alter role service_role set work_mem = '9MB'").await;
    becomes(&stack, &setting("work_mem"), (200, json!("9MB"))).await;
    set(&stack, "alter role service_role set default_transaction_isolation = 'repeatable read'").await;
    becomes(&stack, &setting("transaction_isolation"), (200, json!("repeatable read"))).await;
    assert_eq!(answer(stack.ask_as(SERVICE, Method::GET, "/rest/v1/rpc/level")).await, (200, json!("serializable")));
    assert_eq!(answer(stack.ask_as(SERVICE, Method::GET, "/rest/v1/rpc/patient")).await, (200, json!("7s")));
    // What the request says of itself.
    let claims = answer(signed_in(setting("request.jwt.claims"))).await.1;
    let claims: Value = serde_json::from_str(claims.as_str().unwrap()).unwrap();
    assert_eq!(claims["role"], "authenticated");
    assert_eq!(answer(signed_in(setting("request.method"))).await.1, "GET");
    assert_eq!(answer(signed_in(setting("request.path"))).await.1, "/rpc/setting");
    assert_eq!(answer(signed_in(setting("role"))).await.1, "authenticated");

    // The document at / has what the caller may use.
    let paths = |document: &Value| document["paths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let (status, document) = answer(stack.ask_as(SERVICE, Method::GET, "/rest/v1/")).await;
    assert_eq!((status, &document["swagger"]), (200, &json!("2.0")));
    let all = paths(&document);
    assert!(all.contains(&"/numbers".into()) && all.contains(&"/rpc/setting".into()), "{all:?}");
    assert_eq!(
        document["definitions"]["numbers"]["properties"]["n"]["description"],
        "Note:\nThis is a Primary Key.<pk/>"
    );
    stack
        .sql(
            "revoke all on public.numbers from anon; revoke execute on function public.setting(text) from public, anon",
        )
        .await;
    let (status, document) = answer(stack.ask(Method::GET, "/rest/v1/")).await;
    let few = paths(&document);
    assert!(status == 200 && few.contains(&"/rpc/level".into()), "{few:?}");
    assert!(!few.contains(&"/numbers".into()) && !few.contains(&"/rpc/setting".into()), "{few:?}");
    set(&stack, "alter role authenticator set pgrst.openapi_mode = 'disabled'").await;
    let disabled =
        json!({"code": "PGRST126", "details": null, "hint": null, "message": "Root endpoint metadata is disabled"});
    becomes(&stack, "/rest/v1/", (404, disabled)).await;
    stack.stop().await;
}

/// Ways over views, across hidden tables, by functions; keys of partitions; domains with a form of their own.
#[tokio::test]
async fn the_schema_is_read_whole() {
    let stack = Stack::start().await;
    stack
        .sql(
            r#"
create schema deep;
create table deep.clients (id int primary key, name text);
create table deep.projects (id int, year int, client int references deep.clients, "odd "" name" text, primary key (id, year)) ;
create table deep.tasks (id int primary key, project int, year int, foreign key (project, year) references deep.projects (id, year));
insert into deep.clients values (1, 'ann'), (2, 'bob');
insert into deep.projects values (1, 2026, 1, 'x'), (2, 2026, 2, 'y');
insert into deep.tasks values (1, 1, 2026), (2, 1, 2026), (3, 2, 2026);
create view extensions.middle as select id, year, client, "odd "" name" from deep.projects;
create view public.clients as select id as key, name from deep.clients;
create view public.projects as select m.id, m.year, m.client as who, m."odd "" name" as resno from extensions.middle m;
create materialized view public.tasks as select t.id, t.project, t.year as in_year, (select max(name) from deep.clients) as most from deep.tasks t;
grant usage on schema deep to service_role;
grant select on all tables in schema deep to service_role;

create table public.logs (at int, word text, primary key (at)) partition by range (at);
create table public.logs_1 partition of public.logs for values from (0) to (10);
create table public.notes (id int primary key, log int references public.logs (at));
insert into public.logs values (1, 'one');
insert into public.notes values (5, 1);

create domain public.color as int;
create function public.color_to_json(public.color) returns json language sql immutable as $$ select to_json('#' || lpad(upper(to_hex($1)), 6, '0')) $$;
create function public.color_from_text(text) returns public.color language sql immutable as $$ select (('x' || lpad(replace($1, '#', ''), 8, '0'))::bit(32)::int)::public.color $$;
create function public.color_from_json(json) returns public.color language sql immutable as $$ select public.color_from_text($1 #>> '{}') $$;
create cast (public.color as json) with function public.color_to_json(public.color) as implicit;
create cast (text as public.color) with function public.color_from_text(text) as implicit;
create cast (json as public.color) with function public.color_from_json(json) as implicit;
create table public.paints (id int primary key, shade public.color);
insert into public.paints values (1, 255);

create table public.idle (a int generated always as identity primary key, b int generated by default as identity, c int generated always as (1) stored, d text default 'x');
"#,
        )
        .await;
    let get = |path: &str| stack.ask_as(SERVICE, Method::GET, path);
    assert_eq!(
        answer(get("/rest/v1/clients?select=name,projects(resno,tasks(id))&order=key&projects.tasks.order=id")).await,
        (
            200,
            json!([
                {"name": "ann", "projects": [{"resno": "x", "tasks": [{"id": 1}, {"id": 2}]}]},
                {"name": "bob", "projects": [{"resno": "y", "tasks": [{"id": 3}]}]},
            ])
        )
    );
    assert_eq!(
        answer(get("/rest/v1/tasks?select=projects(clients(name))&id=eq.3")).await,
        (200, json!([{"projects": {"clients": {"name": "bob"}}}]))
    );
    assert_eq!(
        answer(get("/rest/v1/notes?select=id,logs(word)")).await,
        (200, json!([{"id": 5, "logs": {"word": "one"}}]))
    );
    assert_eq!(answer(get("/rest/v1/logs_1")).await.0, 404, "a partition is part of its table");

    assert_eq!(answer(get("/rest/v1/paints?shade=eq.%230000FF")).await, (200, json!([{"id": 1, "shade": "#0000FF"}])));
    let insert = stack.ask_as(SERVICE, Method::POST, "/rest/v1/paints").header("prefer", "return=representation");
    assert_eq!(
        answer(insert.json(&json!({"id": 2, "shade": "#00FF00"}))).await,
        (201, json!([{"id": 2, "shade": "#00FF00"}]))
    );

    let insert = stack
        .ask_as(SERVICE, Method::POST, "/rest/v1/idle?columns=b,d")
        .header("prefer", "return=representation,missing=default");
    assert_eq!(
        answer(insert.json(&json!([{"d": "y"}, {}]))).await,
        (201, json!([{"a": 1, "b": 1, "c": 1, "d": "y"}, {"a": 2, "b": 2, "c": 1, "d": "x"}]))
    );
    stack.stop().await;
}
