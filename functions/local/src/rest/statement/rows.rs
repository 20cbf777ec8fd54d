//! The rows of a tree in SQL, and how many they are.

use super::{
    super::{
        plan::{From, Node, Selection, Shown, Spread, SpreadColumn},
        request::tree::{Aggregate, Range},
        schema::Link,
    },
    condition::{column, condition, order_by},
    sql::{Sql, ident},
};

/// The rows with what is embedded in them.
pub fn select(sql: &mut Sql, node: &Node<'_>) {
    let of = ident(&node.alias);
    sql.push("select ");
    columns(sql, node, &of);
    from(sql, node);
    for (embed, shown) in node.embeds.iter().zip(&node.shown) {
        join(sql, embed, shown);
    }
    let mut begun = false;
    for asked in &node.conditions {
        and(sql, &mut begun);
        condition(sql, &of, asked, &mut |sql, some, lateral| {
            sql.ident(lateral).push(if some { " is distinct from null" } else { " is not distinct from null" });
        });
    }
    on(sql, node, &mut begun);
    group_by(sql, node, &of);
    order_by(sql, &of, &node.order);
    limit(sql, node.range);
}

/// One row of nothing for each of the rows, without a limit.
pub fn count(sql: &mut Sql, node: &Node<'_>) {
    let of = ident(&node.alias);
    sql.push("select 1");
    from(sql, node);
    let mut begun = false;
    for asked in &node.conditions {
        and(sql, &mut begun);
        condition(sql, &of, asked, &mut |sql, some, lateral| {
            if let Some(embed) = node.embeds.iter().find(|embed| embed.lateral == lateral) {
                sql.push(if some { "exists (" } else { "not exists (" });
                count(sql, embed);
                sql.push(")");
            }
        });
    }
    on(sql, node, &mut begun);
    for embed in node.embeds.iter().filter(|embed| embed.inner) {
        and(sql, &mut begun);
        sql.push("exists (");
        count(sql, embed);
        sql.push(")");
    }
}

fn and(sql: &mut Sql, begun: &mut bool) {
    sql.push(if *begun { " and " } else { " where " });
    *begun = true;
}

fn columns(sql: &mut Sql, node: &Node<'_>, of: &str) {
    let mut begun = false;
    let mut next = |sql: &mut Sql| {
        if begun {
            sql.push(", ");
        }
        begun = true;
    };
    if node.select.is_empty() && node.embeds.is_empty() {
        next(sql);
        sql.push(of).push(".*");
    }
    for selection in &node.select {
        next(sql);
        selected(sql, of, selection);
    }
    if let Some(Spread::Many { select, .. }) = &node.spread {
        for (whose, selection) in select {
            next(sql);
            let whose = whose.as_ref().map(|lateral| ident(lateral));
            selected(sql, whose.as_deref().unwrap_or(of), selection);
        }
    }
    for (embed, shown) in node.embeds.iter().zip(&node.shown) {
        let lateral = ident(&embed.lateral);
        match shown {
            Shown::Json { empty: true } => {}
            Shown::Json { empty: false } => {
                next(sql);
                if embed.is_to_one() {
                    sql.push("row_to_json(").push(&lateral).push(".*)::jsonb");
                } else {
                    sql.push("coalesce(").push(&lateral).push(".").push(&lateral).push(", '[]')");
                }
                sql.push(" as ").ident(embed.shown_name());
            }
            Shown::Spread(columns) => {
                for column in columns {
                    next(sql);
                    spread_column(sql, &lateral, column);
                }
            }
        }
    }
}

fn selected(sql: &mut Sql, of: &str, selection: &Selection) {
    aggregated(sql, selection.aggregate, selection.aggregate_cast.as_deref(), |sql| {
        cast(sql, selection.cast.as_deref(), |sql| match &selection.column.transform {
            Some(transform) => {
                sql.push(transform).push("(");
                column(sql, of, &selection.column);
                sql.push(")");
            }
            // All rows, whatever is in them.
            None if selection.is_star() && selection.aggregate.is_some() && !selection.column.whole_row => {
                sql.push("*");
            }
            None => column(sql, of, &selection.column),
        });
    });
    if let Some(alias) = &selection.alias {
        sql.push(" as ").ident(alias);
    }
}

fn spread_column(sql: &mut Sql, lateral: &str, column: &SpreadColumn) {
    aggregated(sql, column.aggregate, column.cast.as_deref(), |sql| of_lateral(sql, lateral, &column.name));
    if let Some(alias) = &column.alias {
        sql.push(" as ").ident(alias);
    }
}

fn of_lateral(sql: &mut Sql, lateral: &str, name: &str) {
    sql.push(lateral).push(".");
    if name == "*" {
        sql.push("*");
    } else {
        sql.ident(name);
    }
}

fn aggregated(sql: &mut Sql, aggregate: Option<Aggregate>, to: Option<&str>, write: impl FnOnce(&mut Sql)) {
    match aggregate {
        None => write(sql),
        Some(aggregate) => cast(sql, to, |sql| {
            sql.push(aggregate.word()).push("(");
            write(sql);
            sql.push(")");
        }),
    }
}

/// A type's name stands as it is: in quotes `int` would be no type. The grammar lets no other signs into it than letters, digits, `_`, `$` and spaces.
fn cast(sql: &mut Sql, to: Option<&str>, write: impl FnOnce(&mut Sql)) {
    if to.is_some() {
        sql.push("cast(");
    }
    write(sql);
    if let Some(to) = to {
        sql.push(" as ").push(to).push(")");
    }
}

/// The table, and the junction beside it.
fn from(sql: &mut Sql, node: &Node<'_>) {
    sql.push(" from ");
    match &node.from {
        From::Table(name) => sql.name(name),
        From::Source => sql.push(super::SOURCE),
        From::Computed { function, of } => {
            sql.name(function).push("(").ident(&node.outer).push("::").name(of).push(")")
        }
    };
    sql.push(" as ").ident(&node.alias);
    if let Some(Link::ManyToMany(junction)) = node.way.map(|way| &way.link) {
        sql.push(", ").name(&junction.table).push(" as ").push(&through(node));
    }
}

fn through(node: &Node<'_>) -> String {
    ident(&format!("{}_through", node.lateral))
}

/// What makes rows belong to the outer row.
fn on(sql: &mut Sql, node: &Node<'_>, begun: &mut bool) {
    let (inner, outer) = (ident(&node.alias), ident(&node.outer));
    let mut equal = |sql: &mut Sql, one: &str, name: &str, other: &str, also: &str| {
        and(sql, begun);
        sql.push(one).push(".").ident(name).push(" = ").push(other).push(".").ident(also);
    };
    match node.way.map(|way| &way.link) {
        None | Some(Link::Computed { .. }) => {}
        Some(Link::ManyToOne(key) | Link::OneToMany(key) | Link::OneToOne { key, .. }) => {
            for (from, to) in &key.columns {
                equal(sql, &inner, to, &outer, from);
            }
        }
        Some(Link::ManyToMany(junction)) => {
            let through = through(node);
            for (to, of_junction) in &junction.to_columns {
                equal(sql, &through, of_junction, &inner, to);
            }
            for (from, of_junction) in &junction.from_columns {
                equal(sql, &through, of_junction, &outer, from);
            }
        }
    }
}

fn join(sql: &mut Sql, embed: &Node<'_>, shown: &Shown) {
    let lateral = ident(&embed.lateral);
    sql.push(if embed.inner { " inner" } else { " left" }).push(" join lateral (");
    let lists = match (shown, &embed.spread) {
        (Shown::Spread(columns), Some(Spread::Many { order, .. })) => Some((columns.as_slice(), order.as_slice())),
        (Shown::Spread(_), _) => None,
        (Shown::Json { .. }, _) if embed.is_to_one() => None,
        (Shown::Json { .. }, _) => Some((&[][..], &[][..])),
    };
    let mut on = "true".to_owned();
    match lists {
        None => select(sql, embed),
        Some((columns, order)) => {
            sql.push("select json_agg(").push(&lateral).push(")::jsonb as ").push(&lateral);
            for column in columns {
                sql.push(", coalesce(json_agg(");
                of_lateral(sql, &lateral, &column.name);
                order_by(sql, &lateral, order);
                sql.push("), '[]')::jsonb as ").ident(column.alias.as_ref().unwrap_or(&column.name));
            }
            sql.push(" from (");
            select(sql, embed);
            sql.push(") as ").push(&lateral);
            if embed.inner {
                on = format!("{lateral} is not null");
            }
        }
    }
    sql.push(") as ").push(&lateral).push(" on ").push(&on);
}

/// With an aggregate all else is grouped by.
fn group_by(sql: &mut Sql, node: &Node<'_>, of: &str) {
    if !node.aggregates() {
        return;
    }
    let mut begun = false;
    let mut next = |sql: &mut Sql| {
        sql.push(if begun { ", " } else { " group by " });
        begun = true;
    };
    for selection in node.select.iter().filter(|selection| selection.aggregate.is_none()) {
        next(sql);
        match &selection.alias {
            Some(alias) => {
                sql.ident(alias);
            }
            None => column(sql, of, &selection.column),
        }
    }
    for (embed, shown) in node.embeds.iter().zip(&node.shown) {
        match shown {
            Shown::Json { .. } => {
                next(sql);
                sql.ident(embed.shown_name());
            }
            Shown::Spread(columns) => {
                for column in columns.iter().filter(|column| column.aggregate.is_none()) {
                    next(sql);
                    sql.ident(&embed.lateral).push(".").ident(column.alias.as_ref().unwrap_or(&column.name));
                }
            }
        }
    }
}

fn limit(sql: &mut Sql, range: Range) {
    if let Some(limit) = range.limit() {
        sql.push(&format!(" limit {}", limit.max(0)));
    }
    if range.low > 0 {
        sql.push(" offset ").value(&range.low.to_string(), Some("bigint"));
    }
}
