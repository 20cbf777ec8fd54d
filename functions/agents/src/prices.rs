//! What tokens cost, where a program does not say what it spent: a table with a version and a date, which an agent's configuration may
//! replace. What comes of it is an estimate: discounts, and the higher price of a long request, are not in it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Tokens;

/// A table of prices.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Which edition of the table it is.
    #[serde(default)]
    pub version: String,
    /// The day on which the prices held, as `2026-11-29`.
    #[serde(default)]
    pub date: String,
    /// By the model's name, as the program says it.
    pub models: BTreeMap<String, Price>,
}

/// What a model costs, in US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Read.
    pub input: f64,
    /// Read from a cache. None: as `input`.
    #[serde(default)]
    pub cached: Option<f64>,
    /// Written.
    pub output: f64,
}

/// The edition of the table that is built in.
pub const VERSION: &str = "1";
/// The day on which it was put together, from the pages that are named beside each price.
pub const DATE: &str = "2026-11-29";

/// Standard prices of the vendors' own APIs: model, input, cached, output.
const BUILT_IN: [(&str, f64, f64, f64); 5] = [
    // https://developers.openai.com/api/docs/models/gpt-6.2-sol (requests of more than 272,000 tokens: input twice, output 1.5 times)
    ("gpt-6.2-sol", 2.0, 0.1, 10.0),
    // https://developers.openai.com/api/docs/models/gpt-6.1-sol
    ("gpt-6.1-sol", 2.0, 0.1, 10.0),
    // https://developers.openai.com/docs/models/gpt-6-sol
    ("gpt-6-sol", 2.0, 0.2, 10.0),
    // https://developers.openai.com/api/docs/models/gpt-5-codex
    ("gpt-5-codex", 1.25, 0.125, 10.0),
    // https://ai.google.dev/gemini-api/docs/pricing, through 2026-12-31 (then twice as much); cached: https://docs.apiyi.com/en/models/gemini-3-8-flash.md
    ("gemini-3.8-flash", 0.75, 0.075, 3.75),
];

/// What tokens of a model cost in US dollars: by `prices`, else by the table that is built in. None: the model is in neither.
///
/// A model is known by its own name, and by it with a date behind it (`gpt-6.2-sol-2026-11-01`).
#[must_use]
pub fn cost(prices: Option<&Prices>, model: Option<&str>, tokens: Tokens) -> Option<f64> {
    let model = model?;
    let own = |name: &str| prices.and_then(|prices| prices.models.get(name).copied());
    let built_in = |name: &str| {
        let (_, input, cached, output) = *BUILT_IN.iter().find(|(known, ..)| *known == name)?;
        Some(Price { input, cached: Some(cached), output })
    };
    let undated = undated(model);
    let price = own(model).or_else(|| own(undated)).or_else(|| built_in(undated))?;
    let cached = tokens.cached.min(tokens.input);
    // Exact to far more tokens than any account can pay.
    #[allow(clippy::cast_precision_loss)]
    let million = |tokens: u64, price: f64| tokens as f64 * price / 1e6;
    let cost = million(tokens.input - cached, price.input)
        + million(cached, price.cached.unwrap_or(price.input))
        + million(tokens.output, price.output);
    cost.is_finite().then_some(cost)
}

/// A model's name without a date behind it.
fn undated(model: &str) -> &str {
    let Some((name, date)) = model.len().checked_sub(11).and_then(|at| model.split_at_checked(at)) else {
        return model;
    };
    let is_date = date.bytes().enumerate().all(|(at, byte)| match at {
        0 | 5 | 8 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if is_date { name } else { model }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_of_each_costs_what_the_table_says() {
        let tokens = Tokens { input: 2_000_000, cached: 1_000_000, output: 1_000_000 };
        assert_eq!(cost(None, Some("gpt-5-codex"), tokens), Some(1.25 + 0.125 + 10.0));
        assert_eq!(cost(None, Some("gpt-5-codex-2026-01-31"), tokens), Some(11.375));
        assert_eq!(cost(None, Some("gpt-5-codex-2026-01-3x"), tokens), None);
        assert_eq!(cost(None, Some("é"), tokens), None);
        assert_eq!(cost(None, None, tokens), None);
        // More from the cache than there was at all is no negative price.
        assert_eq!(cost(None, Some("gpt-6-sol"), Tokens { input: 0, cached: 9, output: 0 }), Some(0.0));
    }

    #[test]
    fn a_table_of_ones_own_comes_first() {
        let own: Prices = serde_json::from_str(r#"{"date":"2027-01-01","models":{"gpt-6-sol":{"input":1,"output":2},"mine":{"input":1,"cached":0,"output":1}}}"#).unwrap();
        let tokens = Tokens { input: 1_000_000, cached: 500_000, output: 0 };
        assert_eq!(cost(Some(&own), Some("gpt-6-sol"), tokens), Some(1.0));
        assert_eq!(cost(Some(&own), Some("mine"), tokens), Some(0.5));
        assert_eq!(cost(Some(&own), Some("gpt-5-codex"), tokens), Some(0.5 * 1.25 + 0.5 * 0.125));
        assert!(serde_json::from_str::<Prices>(r#"{"models":{"a":{"input":1}}}"#).is_err());
    }
}
