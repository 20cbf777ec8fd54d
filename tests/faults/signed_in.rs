//! The same faults for devices that sign in to a project by its URL.

use hub_tests::{Dev, Expiring, Line, Proxy, Worker, World, agent};

use crate::work::{attempts, gated, nothing_left, open, reasons, runs, shut, told_once, until_ended};

struct SignedIn {
    world: World,
    marker: String,
    secret: String,
    dev: Dev,
}

impl SignedIn {
    async fn new() -> SignedIn {
        let dev = Dev::start().await;
        let world = dev.world();
        SignedIn { marker: world.marker(), secret: dev.enrol("far").await, world, dev }
    }

    async fn worker(&self, url: &str) -> Worker {
        let environment = [
            ("HUB_URL", url),
            ("SUPABASE_ANON_KEY", self.dev.get("SUPABASE_ANON_KEY")),
            ("HUB_DEVICE_SECRET", &self.secret),
            ("HUB_WORKER_CAPACITY", "1"),
        ];
        self.world.worker_with("far", &[agent("sh", &gated(&self.world, &self.marker))], &environment).await
    }
}

#[tokio::test]
async fn by_url_a_network_that_is_cut_or_frozen_at_the_end_of_an_attempt() {
    let far = SignedIn::new().await;
    let line = Proxy::before(far.dev.port()).await;
    let url = line.url(far.dev.get("SUPABASE_URL"));
    let mut worker = far.worker(&url).await;
    for fault in [Line::Cut, Line::Frozen, Line::Unanswered] {
        shut(&far.world);
        let task = far.world.send(&format!("{fault:?}")).await;
        far.world.until_note(task, "up").await;
        line.set(fault);
        open(&far.world);
        until_ended(&far.world, task).await;
        far.world.until_no_process(&far.marker).await;
        if fault == Line::Unanswered {
            far.world.until(task, "complete").await;
        }
        if fault != Line::Cut {
            worker.kill().await;
            line.set(Line::Open);
            worker = far.worker(&url).await;
        }
        line.set(Line::Open);
        told_once(&far.world, task, "complete").await;
        assert_eq!((runs(&far.world, task), attempts(&far.world, task).await), ((1, 1), 1), "{fault:?}");
        nothing_left(&far.world, &far.marker).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn by_url_a_killed_worker_hands_back_when_it_is_started_again() {
    let far = SignedIn::new().await;
    let url = far.dev.get("SUPABASE_URL").to_owned();
    let worker = far.worker(&url).await;
    let task = far.world.send("work").await;
    far.world.until_note(task, "up").await;
    worker.kill().await;
    far.world.until_no_process(&far.marker).await;
    let restarted = std::time::Instant::now();
    let worker = far.worker(&url).await;
    far.world.until_text("select attempt::text || status from public.mac_tasks", "2running").await;
    println!("by URL the next attempt began {:?} after the worker was started again", restarted.elapsed());
    assert!(restarted.elapsed().as_secs() < 20, "{:?}", restarted.elapsed());
    open(&far.world);
    told_once(&far.world, task, "complete").await;
    assert_eq!(reasons(&far.world, task).await, "worker_gone complete");
    nothing_left(&far.world, &far.marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn by_url_a_token_that_the_project_calls_expired_is_renewed_without_a_person() {
    // A machine whose clock went back by an hour thinks that its token is good, and the project does not.
    let far = SignedIn::new().await;
    let project = Expiring::before(far.dev.port()).await;
    let worker = far.worker(&project.url(far.dev.get("SUPABASE_URL"))).await;
    for ended in ["the token", "the token and its session"] {
        shut(&far.world);
        let task = far.world.send(ended).await;
        far.world.until_note(task, "up").await;
        assert!(project.expire() > 0, "no token was seen");
        if ended.ends_with("session") {
            // Then it has only the device's secret to come back with.
            far.world.sql("delete from auth.refresh_tokens; delete from auth.sessions").await;
        }
        open(&far.world);
        told_once(&far.world, task, "complete").await;
        assert_eq!((runs(&far.world, task), attempts(&far.world, task).await), ((1, 1), 1));
        nothing_left(&far.world, &far.marker).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn by_url_what_a_folder_of_the_journal_does_not_say_any_more_its_name_says() {
    let far = SignedIn::new().await;
    let url = far.dev.get("SUPABASE_URL").to_owned();
    let doomed = far.worker(&url).await;
    let task = far.world.send("work").await;
    far.world.until_note(task, "up").await;
    doomed.signal(nix::sys::signal::Signal::SIGSTOP);
    open(&far.world);
    until_ended(&far.world, task).await;
    far.world.until_no_process(&far.marker).await;
    doomed.kill().await;
    let about = far.world.state("far").join(format!("attempts/{task}.1/attempt.json"));
    std::fs::write(about, "{garbage").unwrap();
    let worker = far.worker(&url).await;
    told_once(&far.world, task, "complete").await;
    assert_eq!((runs(&far.world, task), attempts(&far.world, task).await), ((1, 1), 1));
    nothing_left(&far.world, &far.marker).await;
    worker.stop().await;
}
