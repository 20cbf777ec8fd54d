//! What an attempt is doing, told to the hub: the newest text wins, at most a few a second, and the last is never lost.

use std::time::Duration;

use hub::{Error, Hub};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use uuid::Uuid;

/// Between two notes that may stand for each other.
const GAP: Duration = Duration::from_millis(300);
/// How long a step waits to be told.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Default)]
struct Note {
    number: u64,
    /// The number of the newest note that must not be skipped.
    step: u64,
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
        let text = crate::output::note(text);
        let mut number = 0;
        self.notes.send_modify(|note| {
            note.number += 1;
            number = note.number;
            if step {
                note.step = number;
            }
            note.text = text;
        });
        number
    }
}

/// Reports until every [`Progress`] is dropped and the last note is told. Gives the error that ends the attempt, if one does.
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
    pub(crate) async fn run(self, hub: &Hub, task: Uuid, attempt: i32) -> Result<(), Error> {
        self.tell(|text| async move { hub.report_progress(task, attempt, &text, false).await }).await
    }

    async fn tell<F: Future<Output = Result<(), Error>>>(mut self, send: impl Fn(String) -> F) -> Result<(), Error> {
        let mut last = String::new();
        // An error of `changed` means: no agent is left, and its last note was seen.
        while self.notes.changed().await.is_ok() {
            let mut tries = 0;
            loop {
                let note = self.notes.borrow_and_update().clone();
                if note.text.is_empty() || note.text == last {
                    self.told.send_replace(note.number);
                    break;
                }
                // The database shows what a note adds to the one before it, since some executors write the whole text so
                // far. Ours are lines: "step 1" and then "step 12" must not read as "2".
                let text = if !last.is_empty() && note.text.starts_with(&last) {
                    format!(" {}", note.text)
                } else {
                    note.text.clone()
                };
                match send(text).await {
                    Ok(()) => {
                        last = note.text;
                        self.told.send_replace(note.number);
                        break;
                    }
                    Err(error @ (Error::LeaseLost(_) | Error::DeviceRevoked(_))) => return Err(error),
                    Err(error) if error.is_transient() => {
                        tries += 1;
                        let over = self.notes.has_changed().is_err();
                        if over && tries >= 3 {
                            tracing::debug!(error = %error, "the last progress note was not told");
                            break;
                        }
                        sleep(AGAIN).await;
                    }
                    Err(error) => {
                        tracing::warn!(error = %error, "a progress note was refused");
                        self.told.send_replace(note.number);
                        break;
                    }
                }
            }
            // Others wait for the gap; a step does not.
            let told = *self.told.borrow();
            drop(timeout(GAP, self.notes.wait_for(|note| note.step > told)).await);
            // That may have taken a note as seen without telling it.
            if self.notes.borrow().number > told {
                self.notes.mark_changed();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    async fn gather(say: impl AsyncFnOnce(Progress)) -> Vec<String> {
        let (progress, reporter) = channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let told = tokio::spawn(reporter.tell(move |text: String| {
            sink.lock().unwrap().push(text);
            std::future::ready(Ok(()))
        }));
        say(progress).await;
        told.await.unwrap().unwrap();
        Arc::into_inner(seen).unwrap().into_inner().unwrap()
    }

    #[tokio::test]
    async fn many_notes_are_reduced_to_a_few_with_the_last() {
        let seen = gather(async |progress| {
            for n in 0..10_000 {
                progress.say(&format!("line {n}"));
                if n % 1000 == 0 {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        })
        .await;
        assert!(seen.len() <= 6, "{seen:?}");
        assert_eq!(seen.last().unwrap().trim(), "line 9999");
    }

    #[tokio::test]
    async fn every_step_is_reported_at_once() {
        let begun = std::time::Instant::now();
        let seen = gather(async |progress| {
            for n in 0..10 {
                progress.step(&format!("step {n}")).await;
            }
        })
        .await;
        assert_eq!(seen.len(), 10, "{seen:?}");
        assert!(begun.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_note_that_extends_the_previous_one_gets_a_leading_blank() {
        let seen = gather(async |progress| {
            for text in ["step 1", "step 12", "step 12", "step 123"] {
                progress.step(text).await;
            }
        })
        .await;
        assert_eq!(seen, ["step 1", " step 12", " step 123"]);
    }

    #[tokio::test]
    async fn a_lost_lease_ends_progress_reports() {
        let (progress, reporter) = channel();
        let lost = || Error::refused(hub::error::Refusal { code: "UH002".into(), ..Default::default() });
        let told = tokio::spawn(reporter.tell(move |_| std::future::ready(Err(lost()))));
        progress.step("x").await;
        assert!(matches!(told.await.unwrap(), Err(Error::LeaseLost(_))));
        progress.step("nobody listens, nobody waits for ever").await;
    }
}
