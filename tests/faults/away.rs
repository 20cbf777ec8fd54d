//! The hub goes away, or what lies between it and a worker, while attempts end.

use hub_tests::{Cluster, Line, Proxy, World, agent};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;

use crate::work::{QUICK, attempts, gated, nothing_left, open, reasons, repository, runs, told_once, until_ended};

#[tokio::test]
async fn a_backend_that_dies_under_load_loses_nothing() {
    let world = World::new().await;
    let worker = world.worker("w1", &[agent("sh", "echo working; sleep 0.2; echo done")]).await;
    let mut tasks = Vec::new();
    for n in 0..12 {
        tasks.push(world.send(&format!("task {n}")).await);
        // All connections of the worker at once, whatever they are doing: as a failover looks to it.
        world
            .sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'hub worker%'")
            .await;
    }
    for task in tasks {
        told_once(&world, task, "complete").await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn postgres_killed_and_restarted_under_load_loses_nothing() {
    let cluster = Cluster::start();
    let world = World::within(&cluster).await;
    let worker = world.worker("w1", &[agent("sh", "echo working; sleep 0.3; echo done")]).await;
    let mut tasks = Vec::new();
    for n in 0..8 {
        tasks.push(world.send(&format!("task {n}")).await);
    }
    world.until_note(tasks[0], "working").await;
    cluster.kill();
    cluster.up();
    for task in tasks {
        told_once(&world, task, "complete").await;
    }
    worker.stop().await;
}

/// A worker of one slot behind a line, with an agent that waits, and its task.
struct Behind {
    world: World,
    marker: String,
    line: Proxy,
    script: String,
}

impl Behind {
    async fn new() -> Behind {
        let world = World::new().await;
        let marker = world.marker();
        let line = Proxy::before(world.port()).await;
        let script = gated(&world, &marker);
        Behind { world, marker, line, script }
    }

    async fn worker(&self) -> hub_tests::Worker {
        let url = self.line.url(self.world.url.expose_secret());
        let environment = [("DATABASE_URL", url.as_str()), ("HUB_WORKER_CAPACITY", "1")];
        self.world.worker_with("w1", &[agent("sh", &self.script)], &environment).await
    }

    /// One run, one end told, and a slot for the next.
    async fn once(&self, task: uuid::Uuid, status: &str) {
        told_once(&self.world, task, status).await;
        assert_eq!(runs(&self.world, task), (1, 1));
        assert_eq!(attempts(&self.world, task).await, 1);
        nothing_left(&self.world, &self.marker).await;
        let next = self.world.send_with("and the next", "max_attempts = 1").await;
        told_once(&self.world, next, status).await;
        nothing_left(&self.world, &self.marker).await;
    }
}

#[tokio::test]
async fn a_result_that_its_killed_worker_could_not_deliver_is_delivered_by_the_next() {
    let behind = Behind::new().await;
    let worker = behind.worker().await;
    let task = behind.world.send("work").await;
    behind.world.until_note(task, "up").await;
    behind.line.set(Line::Frozen);
    open(&behind.world);
    until_ended(&behind.world, task).await;
    behind.world.until_no_process(&behind.marker).await;
    worker.kill().await;
    behind.line.set(Line::Open);
    let worker = behind.worker().await;
    behind.once(task, "complete").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_result_whose_acknowledgement_was_lost_is_told_once() {
    let behind = Behind::new().await;
    let worker = behind.worker().await;
    let task = behind.world.send("work").await;
    behind.world.until_note(task, "up").await;
    // Its statement waits until the line is as it is to be.
    let hold = "create function public.hold() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(1); return new; end';
                create trigger hold before update on public.mac_tasks for each row when (new.status = 'complete') execute function public.hold()";
    behind.world.sql(hold).await;
    let mut holding = behind.world.pool.acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock(1)").execute(&mut *holding).await.unwrap();
    open(&behind.world);
    let waits = "select (count(*) > 0)::text from pg_locks where locktype = 'advisory' and not granted and objid = 1 and classid = 0 and database = (select oid from pg_database where datname = current_database())";
    behind.world.until_text(waits, "true").await;
    behind.line.set(Line::Unanswered);
    sqlx::query("select pg_advisory_unlock(1)").execute(&mut *holding).await.unwrap();
    behind.world.until(task, "complete").await;
    behind.world.sql("drop trigger hold on public.mac_tasks; drop function public.hold()").await;
    // What it told is in its journal until it hears that the hub has it.
    assert_eq!(behind.world.journal().len(), 1);
    worker.kill().await;
    behind.line.set(Line::Open);
    let worker = behind.worker().await;
    behind.once(task, "complete").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_result_that_a_stopping_worker_could_not_deliver_is_delivered_by_the_next() {
    let behind = Behind::new().await;
    let worker = behind.worker().await;
    let task = behind.world.send("work").await;
    behind.world.until_note(task, "up").await;
    behind.line.set(Line::Frozen);
    open(&behind.world);
    until_ended(&behind.world, task).await;
    behind.world.until_no_process(&behind.marker).await;
    worker.signal(Signal::SIGTERM);
    worker.ended().await;
    behind.line.set(Line::Open);
    let worker = behind.worker().await;
    behind.once(task, "complete").await;
    worker.stop().await;
}

#[tokio::test]
async fn multica_4336_a_failure_that_was_not_reported_before_a_restart_is_reported_and_frees_its_slot() {
    let mut behind = Behind::new().await;
    behind.script.push_str("; echo broken >&2; exit 3");
    let worker = behind.worker().await;
    let task = behind.world.send_with("work", "max_attempts = 1").await;
    behind.world.until_note(task, "up").await;
    behind.line.set(Line::Frozen);
    open(&behind.world);
    until_ended(&behind.world, task).await;
    behind.world.until_no_process(&behind.marker).await;
    worker.kill().await;
    behind.line.set(Line::Open);
    let worker = behind.worker().await;
    behind.world.until(task, "failed").await;
    assert_eq!(reasons(&behind.world, task).await, "exit");
    behind.once(task, "failed").await;
    worker.stop().await;
}

#[tokio::test]
async fn multica_8529_a_completion_while_the_network_is_cut_arrives_when_it_is_back() {
    let behind = Behind::new().await;
    let worker = behind.worker().await;
    let task = behind.world.send("work").await;
    behind.world.until_note(task, "up").await;
    behind.line.set(Line::Cut);
    open(&behind.world);
    until_ended(&behind.world, task).await;
    behind.world.until_no_process(&behind.marker).await;
    behind.line.set(Line::Open);
    behind.once(task, "complete").await;
    worker.stop().await;
}

#[tokio::test]
async fn postgres_killed_while_attempts_end_loses_and_doubles_nothing() {
    let cluster = Cluster::start();
    let world = World::within(&cluster).await;
    repository(&world);
    let marker = world.marker();
    let worker = world.worker("w1", &[agent("sh", &gated(&world, &marker))]).await;
    let mut tasks = Vec::new();
    for n in 0..4 {
        tasks.push(world.send(&format!("task {n}")).await);
    }
    for task in &tasks {
        world.until_note(*task, "up").await;
    }
    open(&world);
    until_ended(&world, tasks[0]).await;
    cluster.kill();
    for task in &tasks {
        until_ended(&world, *task).await;
    }
    cluster.up();
    for task in tasks {
        told_once(&world, task, "complete").await;
        assert_eq!((runs(&world, task), attempts(&world, task).await), ((1, 1), 1));
    }
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_disk_that_is_full_in_the_journal_loses_no_end() {
    if !nix::unistd::geteuid().is_root() || !cfg!(target_os = "linux") {
        return eprintln!("a disk that can be filled takes root on Linux: not tried");
    }
    let world = World::new().await;
    let marker = world.marker();
    let Some(disk) = SmallDisk::mount(&world.state("w1")) else {
        return eprintln!("no tmpfs can be mounted here: not tried");
    };
    let worker = world.worker("w1", &[agent("sh", &gated(&world, &marker))]).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    disk.fill();
    open(&world);
    told_once(&world, task, "complete").await;
    assert_eq!((runs(&world, task), attempts(&world, task).await), ((1, 1), 1));

    // None begins without a journal; its task waits for a machine that has one. (The folder of the first is gone.)
    disk.fill();
    let next = world.send("more").await;
    let refused = "select coalesce(max(reason), 'none') from public.hub_task_attempts a where a.attempt = 1 and a.outcome = 'failed'";
    world.until_text(refused, "not_started").await;
    disk.free();
    told_once(&world, next, "complete").await;
    assert_eq!(runs(&world, next), (1, 1));
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

/// How often a worker said that its hub is away.
fn said_away(worker: &hub_tests::Worker) -> usize {
    worker.log().matches("the hub is away").count()
}

#[tokio::test]
async fn a_worker_that_is_started_while_the_hub_is_away_waits_for_it() {
    let behind = Behind::new().await;
    let url = behind.line.url(behind.world.url.expose_secret());
    for fault in [Line::Cut, Line::Frozen, Line::Unanswered] {
        behind.line.set(fault);
        let agents = [agent("sh", QUICK)];
        let worker = behind.world.starting("w1", &agents, &[("DATABASE_URL", &url)]);
        worker.until_said("the hub is away").await;
        assert!(worker.log().contains("host and port"), "what to look at is not said: {}", worker.log());
        behind.line.set(Line::Open);
        worker.until_said("worker ready").await;
        assert_eq!(said_away(&worker), 1, "{}", worker.log());
        let task = behind.world.send(&format!("{fault:?}")).await;
        told_once(&behind.world, task, "complete").await;
        worker.stop().await;
    }
    // Nobody listens: it waits until it is told to go.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).unwrap();
    let url = format!("postgres://postgres@{nobody}/hub");
    let worker = behind.world.starting("w1", &[], &[("DATABASE_URL", &url)]);
    worker.until_said("is it running?").await;
    worker.signal(Signal::SIGTERM);
    assert!(worker.ended().await.success());
    assert_eq!(said_away(&worker), 1, "{}", worker.log());
}

#[tokio::test]
async fn a_worker_with_a_wrong_address_says_so_and_ends() {
    let world = World::new().await;
    let url = world.url.expose_secret();
    let (server, _) = url.rsplit_once('/').unwrap();
    for (wrong, remedy) in [
        (format!("{server}/nowhere"), "check the name at the end of the database URL"),
        (format!("{server}/postgres?sslmode=require"), "check sslmode in the database URL"),
    ] {
        let worker = world.starting("w1", &[], &[("DATABASE_URL", &wrong)]);
        assert!(!worker.ended().await.success());
        worker.until_said(remedy).await;
        assert_eq!(said_away(&worker), 0, "{}", worker.log());
    }
}

#[tokio::test]
async fn a_result_is_delivered_by_a_worker_that_has_the_hub_by_another_address_and_by_none_of_another_hub() {
    let behind = Behind::new().await;
    let worker = behind.worker().await;
    let task = behind.world.send("work").await;
    behind.world.until_note(task, "up").await;
    behind.line.set(Line::Frozen);
    open(&behind.world);
    until_ended(&behind.world, task).await;
    behind.world.until_no_process(&behind.marker).await;
    worker.kill().await;

    let elsewhere = World::new().await;
    let state = behind.world.state("w1").display().to_string();
    let stranger = elsewhere.starting("w1", &[], &[("HUB_WORKER_STATE_DIR", &state)]);
    stranger.until_said("it is of another hub").await;
    assert!(stranger.log().contains(&behind.world.journal()[0]), "the folder is not named: {}", stranger.log());
    stranger.stop().await;
    assert_eq!(behind.world.journal().len(), 1);

    let url = behind.world.url.expose_secret().replace("127.0.0.1", "localhost");
    let environment = [("DATABASE_URL", url.as_str()), ("HUB_WORKER_CAPACITY", "1")];
    let worker = behind.world.worker_with("w1", &[agent("sh", &behind.script)], &environment).await;
    behind.once(task, "complete").await;
    worker.stop().await;
}

/// A disk that is soon out of room for files, not of bytes: the device is to stay one that has enough of those.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &std::path::Path) -> Option<SmallDisk> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2g,nr_inodes=64,mode=0700", "hub-test"]).arg(at);
        mount.status().is_ok_and(|status| status.success()).then(|| SmallDisk(at.to_owned()))
    }

    fn fill(&self) {
        for n in 0.. {
            match std::fs::create_dir(self.0.join(format!("full-{n}"))) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return,
                _ => {}
            }
        }
    }

    fn free(&self) {
        for n in 0.. {
            if std::fs::remove_dir(self.0.join(format!("full-{n}"))).is_err() {
                return;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}
