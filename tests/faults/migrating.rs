//! Two programs that migrate at once, and databases that are not what a migration expects.

use hub_tests::World;

#[tokio::test]
async fn two_migrators_at_once_apply_each_migration_once() {
    let world = World::bare().await;
    let (one, two) = tokio::join!(hub_migrate::migrate(&world.url, &|_| {}), hub_migrate::migrate(&world.url, &|_| {}));
    let applied = [one.unwrap().applied.len(), two.unwrap().applied.len()];
    assert!(applied.contains(&0) && applied.iter().sum::<usize>() >= 9, "{applied:?}");
    assert!(hub_migrate::pending(&world.url).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_the_supabase_cli_pushed_is_recognised() {
    let world = World::bare().await;
    world.sql("create schema supabase_migrations").await;
    world.sql("create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text)").await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../supabase/migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let (version, name) = name.split_once('_').unwrap();
        world.sql(&std::fs::read_to_string(file).unwrap()).await;
        world
            .sql(&format!(
                "insert into supabase_migrations.schema_migrations (version, name) values ('{version}', '{name}')"
            ))
            .await;
    }
    let report = hub_migrate::migrate(&world.url, &|_| {}).await.unwrap();
    assert_eq!((report.applied.len(), report.recognised), (0, files.len()));
}

#[tokio::test]
async fn a_schema_of_another_version_is_refused_with_what_to_do() {
    let world = World::new().await;
    world.sql("update hub_internal.refinery_schema_history set checksum = '1' where version = (select min(version) from hub_internal.refinery_schema_history)").await;
    let error = hub_migrate::migrate(&world.url, &|_| {}).await.unwrap_err().to_string();
    assert!(error.contains("--reset"), "{error}");
}

#[tokio::test]
async fn a_mac_tasks_that_can_not_be_adopted_is_refused_before_anything_changes() {
    let world = World::bare().await;
    world.sql("create table public.mac_tasks (id bigint primary key, content text, status text)").await;
    let error = hub_migrate::migrate(&world.url, &|_| {}).await.unwrap_err().to_string();
    assert!(error.contains("column id is bigint, but must be uuid"), "{error}");
    let left = world
        .count_all("select count(*) from pg_namespace where nspname in ('hub_internal', 'supabase_migrations')")
        .await;
    let tables = world.count_all("select count(*) from pg_tables where schemaname = 'public'").await;
    assert_eq!((left, tables), (0, 1));
}

#[tokio::test]
async fn an_unprepared_postgres_is_refused_with_what_it_lacks() {
    let world = World::empty().await;
    let error = hub_migrate::migrate(&world.url, &|_| {}).await.unwrap_err().to_string();
    assert!(error.contains("hub migrate --platform"), "{error}");
}
