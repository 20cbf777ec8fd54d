//! Rights, policies, triggers and the publication, put right from the migrations. A dump that is restored into another project has the
//! tables and their rows, but whatever the new project grants by default on what is made there (everything, to everybody), and nothing of
//! what lies in schemas that the dump leaves out: the policies of `realtime.messages`, the publication.
//!
//! Nothing is derived: the statements of the migrations that say such things are said again, in their order, in one transaction.

use std::collections::BTreeMap;

use hub::{Error, Result, db::Unnamed};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// What was otherwise before, by name: `rights of public.hub_servers`, `policy … on …`. Of what was right nothing changes.
///
/// # Errors
/// [`Error::Schema`] if the database is not at this build's migrations; database errors with the statement.
pub async fn repair(url: &SecretString) -> Result<Vec<String>> {
    let state = crate::state(url).await?;
    if let Some(first) = state.pending.first() {
        return Err(Error::Schema(format!(
            "{first} is not applied: run `hub migrate` first, then `hub migrate --repair`"
        )));
    }
    let mut connection = crate::connect(url).await?;
    let mut transaction = crate::begin(&mut connection).await?;
    // Of two at once the second waits: both write the same rows of the catalogs.
    sqlx::query("select pg_advisory_xact_lock($1)").bind(crate::LOCK).execute(Unnamed(&mut transaction)).await?;
    let missing = missing(&mut transaction).await?;
    if !missing.is_empty() {
        return Err(Error::Schema(format!(
            "functions are missing: {}. --repair makes none: run the `create function` and `comment` of each, in migrations/, as the role \
             postgres; then `hub migrate --repair` again, for their rights",
            missing.join(", ")
        )));
    }
    let before = seen(&mut transaction).await?;
    for statement in crate::sources().into_iter().flat_map(|(_, source)| statements(source)) {
        for sql in again(statement) {
            sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut *transaction).await.map_err(|error| {
                let first = statement.lines().next().unwrap_or_default();
                Error::Schema(format!("{first} …: {}", crate::describe(&error)))
            })?;
        }
    }
    let after = seen(&mut transaction).await?;
    transaction.commit().await?;
    let names = before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name));
    let mut changed: Vec<String> = names.cloned().collect();
    changed.sort();
    changed.dedup();
    Ok(changed)
}

/// The functions of the migrations that the database has not, each with the file that makes it: `public.hub_send (V…__api.sql)`.
///
/// # Errors
/// As [`crate::state`].
pub async fn missing_functions(url: &SecretString) -> Result<Vec<String>> {
    let mut connection = crate::connect(url).await?;
    let mut transaction = crate::begin(&mut connection).await?;
    let missing = missing(&mut transaction).await?;
    transaction.rollback().await?;
    connection.close().await?;
    Ok(missing)
}

async fn missing(connection: &mut PgConnection) -> Result<Vec<String>> {
    let made = functions();
    let names: Vec<&str> = made.iter().map(|(name, _)| *name).collect();
    let absent: Vec<String> = sqlx::query_scalar(include_str!("../../../sql/queries/repair/missing.sql"))
        .bind(names)
        .fetch_all(Unnamed(connection))
        .await?;
    let made_by = |name: &String| made.iter().find(|(made, _)| made == name).map_or("", |(_, file)| *file);
    Ok(absent.iter().map(|name| format!("{name} ({})", made_by(name))).collect())
}

/// Every function that the migrations make, by its schema and name, and the file that makes it. No two of ours share a name.
fn functions() -> Vec<(&'static str, &'static str)> {
    let mut made: Vec<(&str, &str)> = Vec::new();
    for (file, source) in crate::sources() {
        for statement in statements(source) {
            let words: Vec<&str> = statement.split_whitespace().take(5).collect();
            let name = match words[..] {
                ["create", "function", name, ..] | ["create", "or", "replace", "function", name] => name,
                _ => continue,
            };
            let name = name.split('(').next().unwrap_or(name);
            made.retain(|(earlier, _)| *earlier != name);
            made.push((name, file));
        }
    }
    made
}

/// All that is put right here, as the catalogs have it.
async fn seen(connection: &mut PgConnection) -> Result<BTreeMap<String, String>> {
    let rows: Vec<(String, String)> =
        sqlx::query_as(include_str!("../../../sql/queries/repair/seen.sql")).fetch_all(Unnamed(connection)).await?;
    Ok(rows.into_iter().collect())
}

/// What a statement of a migration comes to when it is said to a database that may be right already; nothing for all that makes tables,
/// functions or rows.
fn again(statement: &str) -> Vec<String> {
    let mut words = statement.split_whitespace().map(str::to_ascii_lowercase);
    let words: [String; 4] = std::array::from_fn(|_| words.next().unwrap_or_default());
    let plain = || vec![statement.to_owned()];
    match words.each_ref().map(String::as_str) {
        ["revoke" | "grant", ..] => plain(),
        ["alter", "table", ..] if statement.trim_end().ends_with("enable row level security") => plain(),
        // The publication's, and the one that takes others' policies off an adopted mac_tasks.
        ["do", ..] if statement.contains("create publication") || statement.contains("drop policy") => plain(),
        ["create", "policy", name, "on"] => {
            let table = statement.split_whitespace().nth(4).unwrap_or_default();
            vec![format!("drop policy if exists {name} on {table}"), statement.to_owned()]
        }
        ["create", "trigger", name, _] => {
            let table = after_on(statement);
            vec![
                statement.replacen("create trigger", "create or replace trigger", 1),
                format!("alter table {table} enable trigger {name}"),
            ]
        }
        // There is no `create or replace` of these.
        ["create", "constraint", "trigger", name] => {
            let table = after_on(statement);
            vec![
                format!("drop trigger if exists {name} on {table}"),
                statement.to_owned(),
                format!("alter table {table} enable trigger {name}"),
            ]
        }
        _ => Vec::new(),
    }
}

/// The table of a trigger: `… insert or update of a, b on public.x`.
fn after_on(statement: &str) -> &str {
    statement.split_whitespace().skip_while(|word| *word != "on").nth(1).unwrap_or_default()
}

/// The statements of a script: what semicolons end outside of quotations, dollar quotes and comments.
fn statements(script: &str) -> Vec<&str> {
    let bytes = script.as_bytes();
    let (mut found, mut begin, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let rest = &script[at..];
        at += match bytes[at] {
            b'-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            b'\'' => {
                // A backslash hides a quote only in E'': a prefix that is no part of a word.
                let escapes = at > 0
                    && matches!(bytes[at - 1], b'e' | b'E')
                    && (at < 2 || !(bytes[at - 2].is_ascii_alphanumeric() || bytes[at - 2] == b'_'));
                quoted(&rest[1..], escapes) + 1
            }
            b'$' => match rest[1..].find('$').map(|end| &rest[..end + 2]) {
                Some(tag) if tag[1..tag.len() - 1].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                    rest[tag.len()..].find(tag).map_or(rest.len(), |end| end + 2 * tag.len())
                }
                _ => 1,
            },
            b';' => {
                found.push(&script[begin..at]);
                begin = at + 1;
                1
            }
            _ => 1,
        };
        // A character that is more than one byte.
        while !script.is_char_boundary(at) {
            at += 1;
        }
    }
    found.push(&script[begin..]);
    found.into_iter().map(without_comments).filter(|statement| !statement.is_empty()).collect()
}

/// How long a quotation is, its end included.
fn quoted(text: &str, escapes: bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Without the comments before it.
fn without_comments(statement: &str) -> &str {
    let mut rest = statement.trim();
    while rest.starts_with("--") {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest.trim_start());
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_cut_where_its_statements_end() {
        let script = "-- one; two\nselect ';', E'\\';', 'é;''', $$ a; $x$ $$, $a$;$a$ ; -- after;\n\ndo $$ begin; end; $$;\nselect 1";
        assert_eq!(
            statements(script),
            ["select ';', E'\\';', 'é;''', $$ a; $x$ $$, $a$;$a$", "do $$ begin; end; $$", "select 1"]
        );
        assert_eq!(statements(" ;; -- nothing\n"), Vec::<&str>::new());
        assert_eq!(statements("select date'\\'; x"), ["select date'\\'", "x"]);
    }

    #[test]
    fn repair_repeats_every_grant_policy_and_trigger_of_the_migrations() {
        let sources = crate::sources();
        // Of the weights of words each line is data, and may begin so.
        let statements_of = |file: &str| !file.ends_with("__routing_weights.sql");
        let all: String = sources.iter().filter(|(file, _)| statements_of(file)).map(|(_, text)| *text).collect();
        let said: Vec<String> = sources.iter().flat_map(|(_, text)| statements(text)).flat_map(again).collect();
        // Counted by lines that begin so, which is how they are written.
        let lines = |begin: &str| all.lines().filter(|line| line.starts_with(begin)).count();
        let count = |begin: &str| said.iter().filter(|sql| sql.starts_with(begin)).count();
        for begin in ["revoke ", "grant ", "create policy "] {
            assert!(count(begin) > 10, "{begin}");
            assert_eq!(count(begin), lines(begin), "{begin}");
        }
        assert_eq!(count("create or replace trigger "), lines("create trigger "));
        assert_eq!(count("create constraint trigger "), lines("create constraint trigger "));
        assert_eq!(count("drop trigger if exists "), lines("create constraint trigger "));
        let triggers = lines("create trigger ") + lines("create constraint trigger ");
        assert_eq!(count("drop policy if exists "), lines("create policy "));
        assert_eq!(count("alter table "), all.matches("enable row level security;").count() + triggers);
        assert_eq!(count("do "), 2);
        for sql in said.iter().filter(|sql| sql.starts_with("alter table") && sql.contains("enable trigger")) {
            let table = sql.split_whitespace().nth(2).unwrap();
            assert!(table.starts_with("public.") || table.starts_with("hub_internal."), "{sql}");
        }
        assert!(!said.iter().any(|sql| sql.starts_with("create table") || sql.starts_with("insert")));
    }

    #[test]
    fn every_function_of_the_migrations_is_looked_for() {
        let (made, sources) = (functions(), crate::sources());
        let lines = sources.iter().flat_map(|(_, text)| text.lines());
        let begun =
            lines.filter(|line| line.starts_with("create function ") || line.starts_with("create or replace f"));
        assert_eq!(made.len(), begun.count());
        // One that a later migration drops would be looked for in vain.
        assert!(!sources.iter().any(|(_, text)| text.contains("drop function")));
        let file = made.iter().find(|(name, _)| *name == "public.hub_explain_task").map(|(_, file)| *file);
        assert!(file.is_some_and(|file| file.ends_with("__api.sql")), "{file:?}");
    }
}
