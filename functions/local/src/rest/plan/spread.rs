//! How embeds are shown, and what becomes of aggregates and orders in those whose columns become the outer row's.

use super::{
    super::{refusal::Refusal, refuse, request::tree::Aggregate},
    Column, Node, OrderTerm, Selection, Shown, Spread, SpreadColumn, read,
};

impl Aggregate {
    /// Its name in a query string and in SQL.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Max => "max",
            Self::Min => "min",
            Self::Count => "count",
        }
    }
}

/// How each embed is shown.
pub fn show(node: &mut Node<'_>) {
    node.embeds.iter_mut().for_each(show);
    node.shown = node
        .embeds
        .iter()
        .map(|embed| match embed.spread {
            Some(_) => Shown::Spread(columns(embed)),
            None => read::as_member(embed),
        })
        .collect();
}

/// All that a spread embed gives to the outer row.
fn columns(embed: &Node<'_>) -> Vec<SpreadColumn> {
    let plain = |name: &str| SpreadColumn { name: name.to_owned(), aggregate: None, cast: None, alias: None };
    let own = embed.select.iter().map(|selection| plain(selection.name()));
    let inner = embed.embeds.iter().zip(&embed.shown).flat_map(|(inner, shown)| match shown {
        Shown::Spread(columns) => columns.clone(),
        Shown::Json { .. } => vec![plain(inner.shown_name())],
    });
    own.chain(inner).collect()
}

/// An aggregate that an outer statement must do: of which embed, of which of its columns.
struct Hoisted {
    lateral: String,
    name: String,
    aggregate: Aggregate,
    cast: Option<String>,
    alias: Option<String>,
}

/// Of one row an aggregate is nothing: that of a spread of one row is done with the outer rows, grouped by what else is selected.
pub fn hoist(node: &mut Node<'_>) {
    hoist_from(node);
}

fn hoist_from(node: &mut Node<'_>) -> Vec<Hoisted> {
    let inner: Vec<Hoisted> = node.embeds.iter_mut().flat_map(hoist_from).collect();
    if matches!(node.spread, Some(Spread::One)) {
        let mut hoisted: Vec<Hoisted> =
            node.select.iter_mut().filter_map(|selection| take(&node.lateral, selection)).collect();
        hoisted.extend(inner.into_iter().map(|inner| Hoisted { lateral: node.lateral.clone(), ..inner }));
        return hoisted;
    }
    for (embed, shown) in node.embeds.iter().zip(&mut node.shown) {
        let Shown::Spread(columns) = shown else { continue };
        for column in columns {
            let found = inner.iter().find(|hoisted| hoisted.lateral == embed.lateral && hoisted.name == column.name);
            if let Some(hoisted) = found {
                column.aggregate = Some(hoisted.aggregate);
                column.cast.clone_from(&hoisted.cast);
                column.alias.clone_from(&hoisted.alias);
            }
        }
    }
    Vec::new()
}

fn take(lateral: &str, selection: &mut Selection) -> Option<Hoisted> {
    let aggregate = selection.aggregate.take()?;
    Some(Hoisted {
        lateral: lateral.to_owned(),
        name: selection.name().to_owned(),
        aggregate,
        cast: selection.aggregate_cast.take(),
        alias: selection.alias.clone(),
    })
}

/// In a spread of many rows each column is a list: the order goes into the lists, and what they are ordered by is selected for that.
pub fn order_lists(node: &mut Node<'_>) -> Result<(), Refusal> {
    if matches!(node.spread, Some(Spread::Many { .. })) {
        if node.aggregates() {
            return Err(refuse::aggregates_in_spread());
        }
        let (mut select, mut order) = (Vec::new(), Vec::new());
        for (at, term) in std::mem::take(&mut node.order).into_iter().enumerate() {
            let name = format!("{}_order_{}", node.lateral, at + 1);
            order.push(OrderTerm { embed: None, column: Column::unknown(&name, Vec::new()), ..term.clone() });
            select.push((term.embed, Selection::plain(term.column, Some(name))));
        }
        node.spread = Some(Spread::Many { select, order });
    }
    node.embeds.iter_mut().try_for_each(order_lists)
}
