//! What an attempt has used so far: its agents tell it while they work, and its heartbeats pass it on.

use std::{
    ops::Add,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hub::{
    text::clean,
    types::{ModelTokens, Used},
};

/// As many models as a record takes.
const MODELS: usize = 50;

/// What an attempt has used, over all runs of programs in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spent(Arc<Mutex<Runs>>);

#[derive(Debug, Default)]
struct Runs {
    /// In those that are over.
    before: Used,
    /// In the one that runs.
    now: Used,
}

impl Spent {
    /// Another program begins, and counts from nothing.
    pub(crate) fn next_run(&self) {
        let mut runs = self.runs();
        runs.before = all(std::mem::take(&mut runs.before), std::mem::take(&mut runs.now));
    }

    /// What the program that runs has used so far.
    pub(crate) fn tell(&self, now: Used) {
        self.runs().now = kept(now);
    }

    /// All of it.
    pub(crate) fn so_far(&self) -> Used {
        let runs = self.runs();
        kept(all(runs.before.clone(), runs.now.clone()))
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What no record can have is left out: the hub would refuse the whole heartbeat for it.
fn kept(used: Used) -> Used {
    let (cost_usd, unpriced) = (dollars(used.cost_usd), unpriced(used.unpriced));
    Used {
        cost_usd,
        notional: used.notional.filter(|_| cost_usd.is_some() || !unpriced.is_empty()),
        tokens_in: tokens(used.tokens_in),
        tokens_out: tokens(used.tokens_out),
        tokens_cached: tokens(used.tokens_cached),
        unpriced,
    }
}

fn all(one: Used, other: Used) -> Used {
    Used {
        cost_usd: sum(one.cost_usd, other.cost_usd),
        notional: either(one.notional, other.notional),
        tokens_in: sum(one.tokens_in, other.tokens_in),
        tokens_out: sum(one.tokens_out, other.tokens_out),
        tokens_cached: sum(one.tokens_cached, other.tokens_cached),
        unpriced: by_model(one.unpriced, other.unpriced),
    }
}

/// All tokens of each model.
pub(crate) fn by_model(mut all: Vec<ModelTokens>, more: Vec<ModelTokens>) -> Vec<ModelTokens> {
    for more in more {
        match all.iter_mut().find(|known| known.model == more.model) {
            Some(known) => {
                known.tokens_in = known.tokens_in.saturating_add(more.tokens_in);
                known.tokens_cached = known.tokens_cached.saturating_add(more.tokens_cached);
                known.tokens_out = known.tokens_out.saturating_add(more.tokens_out);
            }
            None => all.push(more),
        }
    }
    all
}

/// Of two figures, those that are known together.
pub(crate) fn sum<T: Add<Output = T>>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}

/// A sum of which a part is not billed is not a bill.
pub(crate) fn either(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one || other),
        (one, other) => one.or(other),
    }
}

/// Tokens, as far as a record can have them.
pub(crate) fn tokens(count: Option<i64>) -> Option<i64> {
    count.filter(|count| (0..1_000_000_000_000).contains(count))
}

/// Tokens by model, as far as a record can have them.
pub(crate) fn unpriced(models: Vec<ModelTokens>) -> Vec<ModelTokens> {
    let mut models: Vec<_> = models
        .into_iter()
        .map(|one| ModelTokens { model: clean(&one.model).trim().to_owned(), ..one })
        .filter(|one| {
            let counts = [one.tokens_in, one.tokens_cached, one.tokens_out];
            !one.model.is_empty()
                && one.model.chars().count() <= 200
                && counts.into_iter().all(|count| tokens(Some(count)).is_some())
        })
        .collect();
    models.truncate(MODELS);
    models
}

/// A cost, as far as a record can have it.
pub(crate) fn dollars(cost: Option<f64>) -> Option<f64> {
    cost.filter(|cost| (0.0..=1_000_000.0).contains(cost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempts_use_is_that_of_all_its_runs_and_a_run_told_again_counts_once() {
        let spent = Spent::default();
        assert_eq!(spent.so_far(), Used::default());
        spent.next_run();
        let run = |cost_usd, notional, input| Used {
            cost_usd: Some(cost_usd),
            notional: Some(notional),
            tokens_in: Some(input),
            ..Used::default()
        };
        spent.tell(run(0.25, false, 10));
        spent.tell(run(0.5, false, 20));
        assert_eq!(spent.so_far(), run(0.5, false, 20));
        spent.next_run();
        assert_eq!(spent.so_far(), run(0.5, false, 20));
        spent.tell(run(0.25, true, 5));
        assert_eq!(spent.so_far(), run(0.75, true, 25));
        spent.tell(Used { tokens_out: Some(3), ..Used::default() });
        assert_eq!(spent.so_far(), Used { tokens_out: Some(3), ..run(0.5, false, 20) });
        let of = |model: &str, tokens_in| ModelTokens { model: model.into(), tokens_in, ..ModelTokens::default() };
        spent.tell(Used { notional: Some(true), unpriced: vec![of("a", 1), of("b", 2)], ..Used::default() });
        spent.next_run();
        spent.tell(Used { unpriced: vec![of("b", 3)], ..Used::default() });
        let both = vec![of("a", 1), of("b", 5)];
        assert_eq!(spent.so_far(), Used { unpriced: both, ..run(0.5, true, 20) });
    }

    #[test]
    fn what_no_record_can_have_is_not_told() {
        let spent = Spent::default();
        spent.tell(Used {
            cost_usd: Some(f64::NAN),
            notional: Some(true),
            tokens_in: Some(i64::MAX),
            tokens_out: Some(1),
            tokens_cached: Some(-1),
            unpriced: [("", 1), ("m", -1), ("a\u{0}\n", 1)]
                .map(|(model, tokens_in)| ModelTokens { model: model.into(), tokens_in, ..ModelTokens::default() })
                .into_iter()
                .chain((0..60).map(|n| ModelTokens { model: format!("m{n}"), ..ModelTokens::default() }))
                .collect(),
        });
        let used = spent.so_far();
        assert_eq!((used.cost_usd, used.notional, used.tokens_in, used.tokens_out), (None, Some(true), None, Some(1)));
        assert_eq!((used.unpriced.len(), used.unpriced[0].model.as_str()), (MODELS, "a"));
    }
}
