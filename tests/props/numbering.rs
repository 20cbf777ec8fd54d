//! Numbers under concurrent writers: 1, 2, 3 without gaps, in the order of commit, whoever writes what where, and a key posts once.

use hub_tests::World;
use sqlx::PgPool;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use uuid::Uuid;

use crate::block_on;

const WRITERS: usize = 8;
const EACH: usize = 60;

#[derive(Clone, Copy)]
struct Conversation {
    channel: Uuid,
    thread: Option<Uuid>,
}

async fn post(pool: &PgPool, to: Conversation, content: &str, key: Option<String>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into public.hub_channel_messages (channel_id, task_thread_id, sender_type, sender_id, content, idempotency_key)
         values ($1, $2, 'human', 'writer', $3, $4) on conflict do nothing",
    )
    .bind(to.channel)
    .bind(to.thread)
    .bind(content)
    .bind(key)
    .execute(pool)
    .await
    .map(|_| ())
}

async fn since(pool: &PgPool, from: Conversation, after: i64) -> Vec<i64> {
    sqlx::query_scalar("select seq from public.hub_messages_since($1, $2, $3, 1000)")
        .bind(from.channel)
        .bind(after)
        .bind(from.thread)
        .fetch_all(pool)
        .await
        .unwrap()
}

#[test]
fn message_numbers_have_no_gap_and_follow_the_commits() {
    block_on(async {
        let world = World::new().await;
        let channels: Vec<Uuid> =
            sqlx::query_scalar("select id from public.hub_channels where name in ('garden', 'dispatch') order by name")
                .fetch_all(&world.pool)
                .await
                .unwrap();
        let thread: Uuid = sqlx::query_scalar(
            "insert into public.hub_task_threads (channel_id, name) values ($1, 'busy') returning id",
        )
        .bind(channels[0])
        .fetch_one(&world.pool)
        .await
        .unwrap();
        let conversations = [
            Conversation { channel: channels[0], thread: None },
            Conversation { channel: channels[1], thread: None },
            Conversation { channel: channels[0], thread: Some(thread) },
        ];

        // Readers that come back for more all the while: what they have seen never has a hole that is filled later.
        let done = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = conversations
            .map(|conversation| {
                let (pool, done) = (world.pool.clone(), done.clone());
                tokio::spawn(async move {
                    let mut last = 0;
                    loop {
                        let finished = done.load(Ordering::Acquire);
                        let seen = since(&pool, conversation, last).await;
                        for seq in &seen {
                            assert_eq!(*seq, last + 1, "a hole");
                            last = *seq;
                        }
                        if finished && seen.is_empty() {
                            return last;
                        }
                    }
                })
            })
            .into_iter()
            .collect();

        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let pool = world.pool.clone();
                tokio::spawn(async move {
                    for n in 0..EACH {
                        let to = conversations[(writer * 7 + n * 5) % 3];
                        if n % 4 == 0 {
                            // The same key from every writer, at about the same time, to the same place: one of them posts.
                            let to = conversations[n % 3];
                            post(&pool, to, &format!("shared {n}"), Some(format!("key {n}"))).await.unwrap();
                        } else if n % 9 == 0 {
                            // A transaction that is rolled back takes no number.
                            let mut transaction = pool.begin().await.unwrap();
                            sqlx::query("insert into public.hub_channel_messages (channel_id, task_thread_id, sender_type, content) values ($1, $2, 'human', 'never')")
                                .bind(to.channel)
                                .bind(to.thread)
                                .execute(&mut *transaction)
                                .await
                                .unwrap();
                            transaction.rollback().await.unwrap();
                        } else {
                            post(&pool, to, &format!("{writer} {n}"), None).await.unwrap();
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        done.store(true, Ordering::Release);
        let mut total = 0;
        for reader in readers {
            total += reader.await.unwrap();
        }

        let rows = world.count_all("select count(*) from public.hub_channel_messages").await;
        assert_eq!(total, rows, "every row was seen");
        let keyed =
            world.count_all("select count(*) from public.hub_channel_messages where idempotency_key is not null").await;
        assert_eq!(keyed, i64::try_from(EACH.div_ceil(4)).unwrap(), "a key posts once");
        let disorder = world
            .count_all(
                "select count(*) from (select created_at < lag(created_at) over (partition by channel_id, task_thread_id order by seq) as back
                                         from public.hub_channel_messages) x where back",
            )
            .await;
        assert_eq!(disorder, 0, "created_at follows seq");
        let counts = world
            .count_all(
                "select (select sum(message_count) from public.hub_channels) + (select sum(message_count) from public.hub_task_threads)",
            )
            .await;
        assert_eq!(counts, rows, "the counts are the rows");
    });
}
