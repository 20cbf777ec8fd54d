//! What an attempt is doing, told to the hub. The newest text is always there to be looked up, written at most a few times a
//! second; as a message it is told when its turn has come, and the turns lie the further apart the longer the attempt runs.

use std::time::Duration;

use hub::{Error, Hub, text::clean};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use uuid::Uuid;

use crate::{output::short_line, redact::Redactor};

/// Between two notes that may stand for each other.
const GAP: Duration = Duration::from_millis(300);
/// How long a step waits to be told.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(1);
/// A note becomes no message before the attempt went on for this long after it: the last line of a program is its result, too.
const SETTLED: Duration = Duration::from_secs(1);
/// When an attempt has something to say as a message, in seconds since it began. In one turn the newest is told, once.
const TURNS: [u64; 15] = [1, 3, 7, 15, 30, 60, 120, 240, 480, 900, 1800, 3600, 7200, 14_400, 28_800];

#[derive(Debug, Clone, Default)]
struct Note {
    number: u64,
    /// The number of the newest note that must not be skipped.
    step: u64,
    /// As it was said.
    text: String,
}

/// Where an agent says what it is doing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress {
    notes: watch::Sender<Note>,
    told: watch::Receiver<u64>,
}

impl Progress {
    /// Says what is being done. Does not wait; a later text may take its place before it is told.
    pub fn say(&self, text: &str) {
        self.put(text, false);
    }

    /// Says that a step begins, and waits (a little) until that is told: steps are few, and each is to be seen.
    pub async fn step(&self, text: &str) {
        let number = self.put(text, true);
        let mut told = self.told.clone();
        // The hub is away, or the attempt is over: the work goes on without being told.
        drop(timeout(TOLD_WITHIN, told.wait_for(|told| *told >= number)).await);
    }

    fn put(&self, text: &str, step: bool) -> u64 {
        let mut number = 0;
        self.notes.send_modify(|note| {
            note.number += 1;
            number = note.number;
            if step {
                note.step = number;
            }
            note.text.clear();
            note.text.push_str(text);
        });
        number
    }
}

/// Whose turn it is.
#[derive(Debug)]
struct Turns {
    begun: Instant,
    /// Messages so far, steps among them.
    told: usize,
    next: usize,
}

impl Turns {
    fn begin(now: Instant) -> Self {
        Self { begun: now, told: 0, next: 0 }
    }

    /// Whether a message is left.
    fn left(&self) -> bool {
        self.told < TURNS.len()
    }

    /// When a text that waits since then has its turn.
    fn due(&self, waits_since: Instant) -> Option<Instant> {
        let turn = TURNS.get(self.next).filter(|_| self.left())?;
        Some((self.begun + Duration::from_secs(*turn)).max(waits_since + SETTLED))
    }

    /// Turns that passed with nothing to say do not come back.
    fn told(&mut self, now: Instant) {
        self.told += 1;
        let passed = TURNS.partition_point(|turn| self.begun + Duration::from_secs(*turn) <= now);
        self.next = passed.max(self.told);
    }
}

/// Reports until every [`Progress`] is dropped and the last note is written. Gives the error that ends the attempt, if one does.
pub(crate) struct Reporter {
    notes: watch::Receiver<Note>,
    told: watch::Sender<u64>,
}

pub(crate) fn channel() -> (Progress, Reporter) {
    let (notes, notes_out) = watch::channel(Note::default());
    let (told_in, told) = watch::channel(0);
    (Progress { notes, told }, Reporter { notes: notes_out, told: told_in })
}

impl Reporter {
    pub(crate) async fn run(self, hub: &Hub, redactor: &Redactor, task: Uuid, attempt: i32) -> Result<(), Error> {
        self.tell(redactor, |text, quiet| async move { hub.report_progress(task, attempt, &text, quiet).await }).await
    }

    async fn tell<F: Future<Output = Result<(), Error>>>(
        mut self,
        redactor: &Redactor,
        send: impl Fn(String, bool) -> F,
    ) -> Result<(), Error> {
        let mut turns = Turns::begin(Instant::now());
        // The newest text that is written, the newest that is a message, and since when the first waits to become the second.
        let (mut written, mut message) = (String::new(), String::new());
        let mut waits_since: Option<Instant> = None;
        let mut tries = 0;
        loop {
            let due = waits_since.and_then(|since| turns.due(since));
            tokio::select! {
                biased;
                // An error means: no agent is left, and its last note was seen.
                changed = self.notes.changed() => if changed.is_err() { return Ok(()) },
                () = sleep_until(due.unwrap_or(turns.begun)), if due.is_some() => {}
            }
            let note = self.notes.borrow_and_update().clone();
            // What an agent said last is in its result: it ended, and no message of it is due any more.
            let over = self.notes.has_changed().is_err();
            // One that says nothing stands for what was said before it.
            let said = short_line(&redactor.text(&clean(&note.text)));
            let text = if said.is_empty() { written.clone() } else { said };
            let step = note.step > *self.told.borrow() && turns.left();
            let has_turn = due.is_some_and(|due| Instant::now() >= due);
            let aloud = !over && text != message && (step || has_turn);
            if text.is_empty() || (text == written && !aloud) {
                self.told.send_replace(note.number);
                continue;
            }
            match send(text.clone(), !aloud).await {
                Ok(()) => {
                    let now = Instant::now();
                    if aloud {
                        turns.told(now);
                        message.clone_from(&text);
                    }
                    waits_since = if text == message { None } else { waits_since.or(Some(now)) };
                    written = text;
                    tries = 0;
                }
                Err(error @ (Error::LeaseLost(_) | Error::DeviceRevoked(_))) => return Err(error),
                Err(error) if error.is_transient() => {
                    tries += 1;
                    if over && tries >= 3 {
                        tracing::debug!(error = %error, "the last progress note was not written");
                        return Ok(());
                    }
                    sleep(AGAIN).await;
                    self.notes.mark_changed();
                    continue;
                }
                Err(error) => {
                    tracing::warn!(error = %error, "a progress note was refused");
                    waits_since = None;
                }
            }
            self.told.send_replace(note.number);
            // Others wait for the gap; a step does not.
            drop(timeout(GAP, self.notes.wait_for(|newer| newer.step > note.number)).await);
            // That may have taken a note as seen without telling it.
            if self.notes.borrow().number > note.number {
                self.notes.mark_changed();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A text that was sent: when, and whether quietly.
    #[derive(Debug, Clone, PartialEq)]
    struct Sent {
        at: Duration,
        text: String,
        quiet: bool,
    }

    async fn gather(say: impl AsyncFnOnce(Progress)) -> Vec<Sent> {
        let (progress, reporter) = channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let begun = Instant::now();
        let told = tokio::spawn(async move {
            let redactor = Redactor::default();
            reporter
                .tell(&redactor, move |text: String, quiet| {
                    sink.lock().unwrap().push(Sent { at: begun.elapsed(), text, quiet });
                    std::future::ready(Ok(()))
                })
                .await
        });
        say(progress).await;
        told.await.unwrap().unwrap();
        Arc::into_inner(seen).unwrap().into_inner().unwrap()
    }

    fn aloud(sent: &[Sent]) -> Vec<Sent> {
        sent.iter().filter(|sent| !sent.quiet).cloned().collect()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_written_a_few_times_a_second_with_the_last() {
        let sent = gather(async |progress| {
            for n in 0..1000 {
                progress.say(&format!("line {n}"));
                sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        assert!((6..=9).contains(&sent.len()), "{sent:?}");
        assert_eq!(sent.last().unwrap().text, "line 999");
        assert!(sent.last().unwrap().quiet);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_are_spaced_out_as_the_run_grows() {
        let sent = gather(async |progress| {
            for n in 0..10 * 3600 {
                progress.say(&format!("second {n}"));
                sleep(SECOND).await;
            }
        })
        .await;
        let told = aloud(&sent);
        assert_eq!(told.len(), TURNS.len());
        for (sent, turn) in told.iter().zip(TURNS) {
            let turn = Duration::from_secs(turn);
            assert!(sent.at >= turn && sent.at <= turn + SECOND + GAP, "{sent:?} {turn:?}");
            // The newest there was.
            let said: u64 = sent.text.strip_prefix("second ").unwrap().parse().unwrap();
            assert!(sent.at.as_secs() - said <= 1, "{sent:?}");
        }
        assert!(sent.len() > 30_000 && sent.last().unwrap().text == "second 35999");
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_task_tells_no_note() {
        let sent = gather(async |progress| {
            progress.say("compiling");
            sleep(Duration::from_millis(900)).await;
            progress.say("done");
        })
        .await;
        assert_eq!(aloud(&sent), []);
        assert_eq!(sent.last().unwrap().text, "done");
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_line_of_the_result_is_not_told_when_the_agent_has_ended() {
        let sent = gather(async |progress| {
            progress.say("thinking");
            sleep(20 * SECOND).await;
            progress.say("the answer");
            sleep(Duration::from_millis(500)).await;
        })
        .await;
        assert_eq!(aloud(&sent).iter().map(|sent| sent.text.as_str()).collect::<Vec<_>>(), ["thinking"]);
        assert_eq!(sent.last().unwrap().text, "the answer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_note_is_told_once_though_no_other_follows() {
        let sent = gather(async |progress| {
            progress.say("waiting for the tests");
            sleep(600 * SECOND).await;
            progress.say("waiting for the tests");
            sleep(600 * SECOND).await;
        })
        .await;
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert!(sent[0].quiet && !sent[1].quiet && sent[1].at >= SECOND && sent[1].at < 2 * SECOND, "{sent:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn turns_that_passed_in_silence_are_not_made_up_for() {
        let sent = gather(async |progress| {
            sleep(3500 * SECOND).await;
            for n in 0..90 {
                progress.say(&format!("line {n}"));
                sleep(SECOND).await;
            }
        })
        .await;
        assert_eq!(aloud(&sent).len(), 1, "{sent:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn every_step_is_told_at_once_and_counts_among_the_messages() {
        let sent = gather(async |progress| {
            for n in 0..20 {
                progress.step(&format!("step {n}")).await;
            }
            for n in 0..40_000 {
                progress.say(&format!("line {n}"));
                sleep(SECOND).await;
            }
        })
        .await;
        let steps: Vec<_> = sent.iter().take(20).collect();
        assert!(steps.iter().all(|sent| sent.at.is_zero()), "{steps:?}");
        assert_eq!(aloud(&sent).len(), TURNS.len());
        assert!(steps[..15].iter().all(|sent| !sent.quiet) && steps[15..].iter().all(|sent| sent.quiet));
        let few = gather(async |progress| {
            for n in 0..5 {
                progress.step(&format!("step {n}")).await;
            }
            for n in 0..100 {
                progress.say(&format!("line {n}"));
                sleep(SECOND).await;
            }
        })
        .await;
        let told = aloud(&few);
        assert!(told.len() == 6 && told[5].at >= 60 * SECOND, "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_note_is_clean_and_without_secrets() {
        let secret = format!("ghp_{}", "a1B2".repeat(9));
        let long = format!("{} {secret}", "word ".repeat(98).trim_end());
        let sent = gather(async |progress| {
            progress.step(&format!("\u{1b}[31mpush\u{1b}[0m with\n {secret}")).await;
            progress.step("\u{202e}x").await;
            progress.step(&long).await;
            progress.step(" \u{1b}[0m ").await;
        })
        .await;
        let told: Vec<_> = sent.iter().map(|sent| sent.text.as_str()).collect();
        assert_eq!(told[..2], ["push with [redacted]", "‹U+202E›x"]);
        assert!(told.len() == 3 && !told[2].contains("ghp"), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_is_away_gets_the_newest_when_it_is_back() {
        let (progress, reporter) = channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let back = Instant::now() + 10 * SECOND;
        let told = tokio::spawn(async move {
            let redactor = Redactor::default();
            reporter
                .tell(&redactor, move |text: String, quiet| {
                    let there = Instant::now() >= back;
                    if there {
                        sink.lock().unwrap().push((text, quiet));
                    }
                    std::future::ready(if there { Ok(()) } else { Err(Error::Unreachable("away".into())) })
                })
                .await
        });
        for n in 0..13 {
            progress.say(&format!("line {n}"));
            sleep(SECOND).await;
        }
        drop(progress);
        told.await.unwrap().unwrap();
        let seen = Arc::into_inner(seen).unwrap().into_inner().unwrap();
        assert!(seen[0].0 == "line 9" || seen[0].0 == "line 10", "{seen:?}");
        assert_eq!(seen.iter().filter(|(_, quiet)| !quiet).count(), 1, "{seen:?}");
    }

    #[tokio::test]
    async fn a_lost_lease_ends_progress_reports() {
        let (progress, reporter) = channel();
        let lost = || Error::refused(hub::error::Refusal { code: "UH002".into(), ..Default::default() });
        let told = tokio::spawn(async move {
            reporter.tell(&Redactor::default(), move |_, _| std::future::ready(Err(lost()))).await
        });
        progress.step("x").await;
        assert!(matches!(told.await.unwrap(), Err(Error::LeaseLost(_))));
        progress.step("nobody listens, nobody waits for ever").await;
    }
}
