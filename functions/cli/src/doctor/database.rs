//! What a look into Postgres itself shows.

use hub::{
    Error,
    db::{Db, Unnamed},
};
use include_dir::{Dir, include_dir};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Postgres, postgres::PgArguments, query::QueryScalar};

use super::Report;

/// Each query must return no rows.
static CHECKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/checks");
/// A check reads whole tables; one that takes longer on a large hub is not worth waiting for here.
const CHECK_WITHIN: &str = "set local statement_timeout = '20s'";
const LINES: [&str; 9] = [
    "Postgres",
    "connection",
    "migrations",
    "policies",
    "schema",
    "triggers",
    "publication",
    "realtime policies",
    "keeping time",
];
/// The checks by the line they belong to.
const RIGHTS: [&str; 4] = ["tables", "policies", "grants", "functions"];
const FORM: [&str; 10] =
    ["names", "times", "foreign_keys", "commands", "errands", "numbering", "finite", "paths", "settings", "steers"];
const TELLING: [&str; 1] = ["told"];
const PUBLISHED: [&str; 5] = ["hub_servers", "hub_channels", "hub_channel_messages", "hub_task_threads", "mac_tasks"];
const REALTIME_POLICIES: [&str; 6] = [
    "hub_messages_select_readers",
    "hub_messages_insert_presence",
    "hub_messages_select_only_readers",
    "hub_messages_insert_only_presence",
    "hub_messages_update_nobody",
    "hub_messages_all_not_anon",
];
const NEW_DATABASE: &str = "`hub migrate --repair` puts rights, policies and triggers right; else compare with a database that `hub migrate` made";

/// Looks; gives the connection if it may be used for more.
pub(super) async fn look(url: Option<&SecretString>, report: &mut Report) -> Option<Db> {
    let Some(url) = url else {
        for what in LINES {
            report.not_checked(what, "give DATABASE_URL, the address of Postgres itself");
        }
        return None;
    };
    let db = match Db::connect(url).await {
        Ok(db) => db,
        Err(error) => {
            report.wrong("Postgres", error.to_string(), "check the address, user and password of the database");
            for what in &LINES[1..] {
                report.not_checked(*what, "Postgres was not reached");
            }
            return None;
        }
    };
    version(&db, report).await;
    if db.is_pooled() {
        report.wrong(
            "connection",
            "LISTEN was tried and is not heard, as behind a pooler in transaction mode: a worker polls every second",
            "give workers the database itself, or a pooler in session mode (Supabase's on port 5432)",
        );
    } else {
        report.ok("connection", "direct or in session mode: LISTEN was tried and is heard");
    }
    let migrated = migrations(url, report).await;
    if !migrated {
        for what in &LINES[3..] {
            report.not_checked(*what, "the migrations come first");
        }
        return None;
    }
    rules(&db, "policies", &RIGHTS, report).await;
    match hub_migrate::missing_functions(url).await {
        Ok(missing) if !missing.is_empty() => report.wrong(
            "schema",
            format!("functions are missing: {}", missing.join(", ")),
            "run the `create function` and `comment` of each, in migrations/, as the role postgres; then `hub migrate --repair` for \
             their rights",
        ),
        Ok(_) => rules(&db, "schema", &FORM, report).await,
        Err(error) => report.wrong("schema", error.to_string(), NEW_DATABASE),
    }
    triggers(&db, report).await;
    publication(&db, report).await;
    realtime(&db, report).await;
    keeping_time(&db, report).await;
    Some(db)
}

async fn version(db: &Db, report: &mut Report) {
    let place = format!("{}:{}", db.options().get_host(), db.options().get_port());
    match ask(db, sqlx::query_scalar("show server_version")).await.map(|mut all| all.remove(0)) {
        Ok(text) if text.split('.').next().and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n >= 15) => {
            report.ok("Postgres", format!("{text} at {place}"));
        }
        Ok(text) => report.wrong("Postgres", format!("{text} at {place}"), "15 or newer is needed: upgrade it"),
        Err(error) => report.wrong("Postgres", error.to_string(), "look into its log"),
    }
}

/// Whether the schema is this build's.
async fn migrations(url: &SecretString, report: &mut Report) -> bool {
    match hub_migrate::state(url).await {
        Ok(state) if !state.pending.is_empty() => {
            let more = if state.pending.len() > 3 { ", …" } else { "" };
            let first = state.pending.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
            let detail = format!("{} not applied: {first}{more}", state.pending.len());
            report.wrong("migrations", detail, "run `hub migrate` or `supabase db push`");
            false
        }
        Ok(state) if !state.unknown.is_empty() => {
            let detail = format!("the database has {}, which this build does not know", state.unknown.join(", "));
            report.wrong("migrations", detail, "use the build that deployed it, or a newer one");
            true
        }
        Ok(_) => {
            report.ok("migrations", "all of this build, and no others");
            true
        }
        // Its text says what to do.
        Err(error @ Error::Schema(_)) => {
            report.wrong("migrations", error.to_string(), "deploy one version everywhere");
            true
        }
        Err(error) => {
            report.wrong("migrations", error.to_string(), "`hub migrate` says more");
            false
        }
    }
}

/// Texts, by a query of one column.
async fn ask<'q>(db: &Db, query: QueryScalar<'q, Postgres, String, PgArguments>) -> Result<Vec<String>, hub::Error> {
    let mut transaction = db.begin().await?;
    Ok(query.fetch_all(Unnamed(&mut transaction)).await?)
}

/// Rows that break the rules of these files.
async fn broken(db: &Db, files: &[&str]) -> Result<Vec<String>, String> {
    let mut rows = Vec::new();
    for name in files {
        let file = CHECKS.get_file(format!("{name}.sql")).and_then(|file| file.contents_utf8());
        let sql = file.ok_or_else(|| format!("this build has no check {name}"))?.trim().trim_end_matches(';');
        let found = async {
            let mut transaction = db.begin().await?;
            sqlx::raw_sql(CHECK_WITHIN).execute(&mut *transaction).await?;
            let sql = format!("select to_jsonb(x)::text from (\n{sql}\n) x limit 5");
            Ok(sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_all(Unnamed(&mut transaction)).await?)
        };
        let found = found.await.map_err(|error: hub::Error| format!("sql/checks/{name}.sql: {error}"))?;
        rows.extend(found.into_iter().map(|row| format!("{name} {row}")));
    }
    Ok(rows)
}

async fn rules(db: &Db, what: &'static str, files: &[&str], report: &mut Report) {
    match broken(db, files).await {
        Ok(rows) if rows.is_empty() => report.ok(what, format!("{} rules hold (sql/checks)", files.len())),
        Ok(rows) => report.wrong(
            what,
            rows.join("; "),
            format!("the first line of sql/checks/NAME.sql says the rule; {NEW_DATABASE}"),
        ),
        Err(error) if error.contains("statement timeout") => {
            report.not_checked(what, format!("{error}: run it with psql"))
        }
        Err(error) => report.wrong(what, error, NEW_DATABASE),
    }
}

/// A question whose answer must be empty.
async fn none(
    db: &Db,
    what: &'static str,
    sql: &'static str,
    names: &[&str],
    well: &str,
    remedy: &str,
    report: &mut Report,
) {
    match ask(db, sqlx::query_scalar(sql).bind(names.to_vec())).await {
        Ok(missing) if missing.is_empty() => report.ok(what, well),
        Ok(missing) => report.wrong(what, missing.join(", "), remedy),
        Err(error) => report.wrong(what, error.to_string(), NEW_DATABASE),
    }
}

async fn triggers(db: &Db, report: &mut Report) {
    none(
        db,
        "triggers",
        "select format('%s is off on %s', t.tgname, t.tgrelid::regclass) from pg_trigger t join pg_proc p on p.oid = t.tgfoid
          where not t.tgisinternal and t.tgenabled not in ('O', 'A') and p.pronamespace = 'hub_internal'::regnamespace and cardinality($1::text[]) = 0
          order by 1",
        &[],
        "all are on",
        "`hub migrate --repair`: they tell people, wake devices and number messages",
        report,
    )
    .await;
}

async fn publication(db: &Db, report: &mut Report) {
    none(
        db,
        "publication",
        "select n || ' is not in supabase_realtime' from unnest($1::text[]) n
          where not exists (select from pg_publication_tables p where p.pubname = 'supabase_realtime' and p.schemaname = 'public' and p.tablename = n)
          order by 1",
        &PUBLISHED,
        "supabase_realtime has our five tables",
        "`hub migrate --repair`, or Postgres Changes are silent",
        report,
    )
    .await;
}

async fn realtime(db: &Db, report: &mut Report) {
    none(
        db,
        "realtime policies",
        "select 'no policy ' || n || ' on realtime.messages' from unnest($1::text[]) n
          where not exists (select from pg_policies p where p.schemaname = 'realtime' and p.tablename = 'messages' and p.policyname = n)
         union all
         select 'row level security of realtime.messages is off' from pg_class c where c.oid = to_regclass('realtime.messages') and not c.relrowsecurity
         union all
         select 'there is no function realtime.send' where to_regprocedure('realtime.send(jsonb,text,text,boolean)') is null",
        &REALTIME_POLICIES,
        "who may read the rows may join the topics",
        "`hub migrate --repair` makes them; private topics do not work without",
        report,
    )
    .await;
}

/// Whoever keeps time would have done what is overdue within a minute.
async fn keeping_time(db: &Db, report: &mut Report) {
    const WORKER: &str = "run a `hub worker` with Postgres (port 5432) or the service key; look into its log";
    let overdue = ask(
        db,
        sqlx::query_scalar(
            "select ((select count(*) from public.mac_tasks where status = 'running' and lease_expires_at < now() - interval '75 seconds')
              + (select count(*) from public.hub_task_threads where decay_at < now() - interval '10 minutes' and status = 'decaying'))::text",
        ),
    )
    .await
    .map(|mut all| all.remove(0));
    // A keeper without a session leaves this trace alone. Seconds, if it is not long ago.
    let round = ask(
        db,
        sqlx::query_scalar(
            "select ceil(extract(epoch from clock_timestamp() - k.at))::text from hub_internal.kept_time k
              where k.at > clock_timestamp() - interval '3 minutes'",
        ),
    )
    .await;
    let keeper = match (db.kept_by().await, round) {
        (Ok(Some(name)), _) => Ok(Some(format!("{name} does"))),
        (Ok(None), Ok(round)) => Ok(round.first().map(|seconds| {
            format!("a round was done {seconds} s ago without a session (by the service key, or through a pooler in transaction mode)")
        })),
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    match (overdue, broken(db, &TELLING).await, keeper) {
        (Err(error), ..) => report.wrong("keeping time", error.to_string(), WORKER),
        (Ok(count), ..) if count != "0" => {
            report.wrong("keeping time", format!("{count} tasks or threads are overdue"), WORKER)
        }
        (_, Ok(rows), _) if !rows.is_empty() => {
            report.wrong("keeping time", format!("people were not told of an ending: {}", rows.join("; ")), WORKER);
        }
        (_, _, Ok(Some(who))) => report.ok("keeping time", format!("{who}, and nothing is overdue")),
        (_, _, Ok(None)) => {
            report.note("keeping time", "nothing is overdue, but nobody kept time in the last three minutes", WORKER);
        }
        (_, _, Err(error)) => report.wrong("keeping time", error.to_string(), WORKER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_check_belongs_to_a_line_of_the_report() {
        let there: BTreeSet<_> = CHECKS
            .files()
            .filter_map(|file| file.path().file_name()?.to_str()?.strip_suffix(".sql").map(str::to_owned))
            .collect();
        let looked_at: BTreeSet<_> =
            RIGHTS.iter().chain(&FORM).chain(&TELLING).map(|name| (*name).to_owned()).collect();
        assert_eq!(looked_at, there);
    }
}
