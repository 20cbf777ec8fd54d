//! Whatever is typed to Koji is answered, and only a command that writes, by one who may, changes anything.

use hub::{Error, db::Db};
use hub_tests::World;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;
use uuid::Uuid;

use crate::block_on;

const STATE: &str = "select md5(string_agg(t::text, '|' order by t::text)) from (
    select to_jsonb(p) from public.koji_prospects p union all select to_jsonb(a) from public.koji_accounts a
    union all select to_jsonb(o) from public.koji_orders o union all select to_jsonb(s) from public.koji_samples s
    union all select to_jsonb(f) from public.koji_followups f union all select to_jsonb(w) from public.koji_sweeps w
    union all select to_jsonb(c) from public.koji_commands c union all select to_jsonb(m) from public.hub_channel_messages m
    union all select to_jsonb(t) from public.mac_tasks t) x(t)";
const WRITERS: [&str; 3] = ["send-samples", "followup", "sweep"];

/// Any text, and texts that are nearly commands.
fn typed() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => prop::sample::select(vec!["stats", "hot", "warm", "lead", "export", "send-samples", "followup", "digest", "sweep", "sweep-status", "help"]).prop_map(str::to_owned),
        1 => "[a-zA-Z-]{1,12}",
    ];
    let argument = prop_oneof![
        Just(String::new()),
        Just(" 1".to_owned()),
        Just(" brooklyn".to_owned()),
        r#"[ '"\\;$%:_(){}*-]{0,12}"#,
        "[^\0]{0,40}",
    ];
    prop_oneof![
        1 => "[^\0]{0,200}",
        4 => ("[ !]{0,3}", name, argument).prop_map(|(before, name, argument)| format!("{before}{name}{argument}")),
    ]
}

#[test]
fn any_command_text_is_answered_and_only_write_commands_change_rows() {
    block_on(async {
        let world = World::new().await;
        hub_migrate::seed(&world.url, &|_| {}).await.unwrap();
        let db = Db::connect(&world.url).await.unwrap();
        let leads: Uuid = sqlx::query_scalar("select id from public.hub_channels where name = 'leads'")
            .fetch_one(&world.pool)
            .await
            .unwrap();
        let person = |role: &'static str| {
            let (world, id) = (&world, Uuid::new_v4());
            async move {
                sqlx::query("insert into auth.users (id, email, aud, role) values ($1, $1 || '@example.com', 'authenticated', 'authenticated')")
                    .bind(id)
                    .execute(&world.pool)
                    .await
                    .unwrap();
                sqlx::query("select public.hub_set_member(server_id, $1, $2) from public.hub_channels where id = $3")
                    .bind(id)
                    .bind(role)
                    .bind(leads)
                    .execute(&world.pool)
                    .await
                    .unwrap();
                json!({"sub": id, "role": "authenticated"})
            }
        };
        let (viewer, operator) = (person("viewer").await, person("operator").await);
        let handle = tokio::runtime::Handle::current();
        let outcome = tokio::task::block_in_place(|| {
            let mut runner =
                TestRunner::new(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() });
            runner.run(&(typed(), any::<bool>()), |(text, writes)| {
                handle.block_on(async {
                    let claims = if writes { &operator } else { &viewer };
                    let before = world.one_text(STATE).await;
                    let answer = db.execute_command_as(claims, leads, &text).await;
                    let name = text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '!' | '"' | '\''));
                    let writer = WRITERS.iter().any(|w| name.to_lowercase().starts_with(w))
                        && !name.to_lowercase().starts_with("sweep-");
                    match answer {
                        Ok(reply) => {
                            prop_assert!(!reply.text.is_empty());
                            prop_assert!(
                                reply.chunks.iter().all(|chunk| chunk.chars().count() <= 2000 && !chunk.is_empty())
                            );
                            let said = |text: &str| text.replace(['\n', '\r'], "");
                            prop_assert_eq!(said(&reply.chunks.concat()), said(&reply.text), "chunks are the text");
                            prop_assert!(
                                writes && writer || world.one_text(STATE).await == before,
                                "{:?} changed something",
                                text
                            );
                        }
                        Err(Error::Forbidden(_)) => {
                            prop_assert!(!writes, "an operator may do everything here: {:?}", text);
                            prop_assert!(world.one_text(STATE).await == before);
                        }
                        Err(error) => prop_assert!(false, "{:?}: {}", text, error),
                    }
                    Ok(())
                })
            })
        });
        if let Err(error) = outcome {
            panic!("{error}");
        }
    });
}
