//! The newest page of a channel as a member sees it, against the same query with no policy.

use crate::tools::{Aim, Amount, Bench, Figure};
use anyhow::{Context, Result};

/// Statements of the script: \set, begin, set role, set_config, select, commit.
const SELECT: usize = 4;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let database = bench.fresh("page").await?;
    bench.script(&database, "page_setup.sql", &[("n", bench.scaled(1000, 60))]).await?;
    let (mut ours, mut peer, mut our_select, mut peer_select) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        for (script, whole, select) in
            [("page_ours.sql", &mut ours, &mut our_select), ("page_peer.sql", &mut peer, &mut peer_select)]
        {
            let outcome = bench.pgbench(&database.url(), script, 1, Amount::Seconds(bench.seconds), &[]).await?;
            whole.push(crate::tools::median(&outcome.latencies));
            select.push(*outcome.statements.get(SELECT).context("pgbench: no latencies of statements")?);
        }
    }
    // It would be easy to be fast and show nothing, or too much.
    let mut connection = database.connect("postgres").await?;
    for (channel, expected) in [(50, 50), (51, 0)] {
        let seen: i64 = {
            crate::tools::run(
                &mut connection,
                "begin; set local role authenticated; \
                 select set_config('request.jwt.claims', '{\"sub\":\"22222222-2222-4222-8222-222222222222\",\"role\":\"authenticated\"}', true)",
            )
            .await?;
            sqlx::query_scalar(
                "select count(*) from (select from public.hub_channel_messages \
                  where channel_id = ('00000000-0000-4000-8000-' || lpad($1::text, 12, '0'))::uuid and task_thread_id is null \
                  order by seq desc limit 50) m",
            )
            .bind(channel)
            .fetch_one(&mut connection)
            .await?
        };
        crate::tools::run(&mut connection, "rollback").await?;
        anyhow::ensure!(seen == expected, "channel {channel}: {seen} messages seen, {expected} expected");
    }
    drop(connection);
    bench.drop_database(&database).await?;
    Ok(vec![
        Figure::of_rounds("page, whole transaction, p50", "ms", &ours, &peer, Some(Aim::AtMost(1.5))),
        Figure::of_rounds("page, the select alone, mean", "ms", &our_select, &peer_select, Some(Aim::AtMost(1.3))),
    ])
}
