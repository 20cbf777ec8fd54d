//! What tokens cost, by the table that an agent's configuration may have: for a model that the hub has no price of, or none of one's own.
//! What comes of it is an estimate: discounts, and the higher price of a long request, are not in it.

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

/// What tokens of a model cost in US dollars. None: the model is not in the table.
///
/// A model is known by its own name, and by it with a date behind it (`gpt-6.2-sol-2026-11-01`, `claude-haiku-4-5-20251001`).
#[must_use]
pub fn cost(prices: &Prices, model: &str, tokens: Tokens) -> Option<f64> {
    let price = prices.models.get(model).or_else(|| prices.models.get(undated(model)))?;
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
    ["-####-##-##", "-########"]
        .iter()
        .find_map(|form| {
            let (name, date) = model.split_at_checked(model.len().checked_sub(form.len())?)?;
            let fits = |(byte, form): (u8, u8)| if form == b'#' { byte.is_ascii_digit() } else { byte == form };
            date.bytes().zip(form.bytes()).all(fits).then_some(name)
        })
        .unwrap_or(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_of_each_costs_what_the_table_says() {
        let own: Prices = serde_json::from_str(
            r#"{"date":"2027-01-01","models":{"a":{"input":1.25,"cached":0.125,"output":10},"b-1":{"input":1,"output":2}}}"#,
        )
        .unwrap();
        let tokens = Tokens { input: 2_000_000, cached: 1_000_000, output: 1_000_000 };
        let cost = |model| cost(&own, model, tokens);
        assert_eq!(cost("a"), Some(1.25 + 0.125 + 10.0));
        assert_eq!((cost("a-2026-01-31"), cost("a-20260131")), (Some(11.375), Some(11.375)));
        assert_eq!(cost("b-1"), Some(4.0));
        assert_eq!([cost("a-2026-01-3x"), cost("a-2026013"), cost("é"), cost("")], [None; 4]);
        // More from the cache than there was at all is no negative price.
        assert_eq!(super::cost(&own, "a", Tokens { input: 0, cached: 9, output: 0 }), Some(0.0));
        assert!(serde_json::from_str::<Prices>(r#"{"models":{"a":{"input":1}}}"#).is_err());
    }
}
