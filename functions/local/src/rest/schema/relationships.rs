//! The ways between tables and views, from the keys of the database and what its views are made of.

use super::{Junction, Key, Link, Name, Relationship, tree};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A primary, unique or foreign key.
#[derive(Debug, Clone)]
pub struct Constraint {
    /// The `oid` of its table.
    pub of: u32,
    /// Its table.
    pub table: Name,
    /// Its name.
    pub name: String,
    /// Which of the three.
    pub kind: Kind,
    /// Its columns, by number and name.
    pub columns: Vec<(i16, String)>,
    /// Where a foreign key leads.
    pub to: Option<Referred>,
}

/// The kind of a [`Constraint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Primary key.
    Primary,
    /// Unique.
    Unique,
    /// Foreign key.
    Foreign,
}

/// The other end of a foreign key.
#[derive(Debug, Clone)]
pub struct Referred {
    /// The `oid` of the table.
    pub of: u32,
    /// The table.
    pub table: Name,
    /// Its columns, in the order of the key's.
    pub columns: Vec<(i16, String)>,
    /// Made by somebody: no partition's copy of its parent's key.
    pub own: bool,
}

/// A view or materialized view.
#[derive(Debug, Clone)]
pub struct View {
    /// Its `oid`.
    pub of: u32,
    /// Schema and name.
    pub name: Name,
    /// It is in an exposed schema; others only lead on.
    pub exposed: bool,
    /// Its columns that are columns of something else.
    pub origins: Vec<tree::Origin>,
    /// The names of all its columns.
    pub columns: Vec<String>,
}

/// A function that leads from a row to rows.
#[derive(Debug, Clone)]
pub struct Computed {
    /// The function.
    pub function: Name,
    /// Whose row it takes.
    pub from: Name,
    /// Whose rows it returns.
    pub to: Name,
    /// At most one.
    pub to_one: bool,
}

/// The columns of each primary key, by name: of tables, and of views that have all columns of one.
pub type PrimaryKeys = HashMap<Name, Vec<String>>;

/// One end of a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum End {
    Own,
    Referred,
}

/// What of a table's key is found in a view: for each column of the key the columns of the view that are it.
struct Seen {
    view: Name,
    columns: Vec<Vec<String>>,
}

/// All ways between the exposed schemas, and the primary keys of tables and views.
pub fn between(
    constraints: &[Constraint],
    views: &[View],
    computed: &[Computed],
    schemas: &[String],
) -> (HashMap<Name, Vec<Relationship>>, PrimaryKeys) {
    let (seen, mut keys) = in_views(constraints, views);
    for constraint in constraints.iter().filter(|constraint| constraint.kind == Kind::Primary) {
        let mut columns: Vec<String> = constraint.columns.iter().map(|(_, name)| name.clone()).collect();
        columns.sort_unstable();
        keys.insert(constraint.table.clone(), columns);
    }

    let mut ways = foreign_keys(constraints);
    let of_views: Vec<Relationship> = ways.iter().flat_map(|way| through_views(way, &seen)).collect();
    ways.extend(of_views);
    ways.extend(many_to_many(&ways, &keys));
    ways.extend(ways.iter().filter_map(inverse).collect::<Vec<_>>());

    let shown = |name: &Name| schemas.contains(&name.schema);
    let replaced: HashSet<(&Name, &Name)> = computed.iter().map(|way| (&way.from, &way.function)).collect();
    let mut by_table: BTreeMap<Name, BTreeSet<Relationship>> = BTreeMap::new();
    let found = ways.iter().filter(|way| !replaced.contains(&(&way.from, &way.to))).cloned();
    let made = computed.iter().map(|way| Relationship {
        from: way.from.clone(),
        to: way.to.clone(),
        is_self: way.from == way.to,
        link: Link::Computed { function: way.function.clone(), to_one: way.to_one },
        from_is_view: false,
        to_is_view: false,
    });
    for way in found.chain(made) {
        let junction = match &way.link {
            Link::ManyToMany(junction) => shown(&junction.table),
            _ => true,
        };
        if shown(&way.from) && shown(&way.to) {
            // Whose ways all lead over hidden tables has none, and is a table that has ways, which matters for hints.
            let ways = by_table.entry(way.from.clone()).or_default();
            if junction {
                ways.insert(way);
            }
        }
    }
    (by_table.into_iter().map(|(name, ways)| (name, ways.into_iter().collect())).collect(), keys)
}

fn foreign_keys(constraints: &[Constraint]) -> Vec<Relationship> {
    let numbers = |columns: &[(i16, String)]| {
        let mut numbers: Vec<i16> = columns.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    };
    let unique: HashSet<(u32, Vec<i16>)> = constraints
        .iter()
        .filter(|constraint| constraint.kind != Kind::Foreign)
        .map(|constraint| (constraint.of, numbers(&constraint.columns)))
        .collect();
    constraints
        .iter()
        .filter_map(|constraint| {
            let to = constraint.to.as_ref().filter(|to| to.own)?;
            let pairs = constraint.columns.iter().zip(&to.columns);
            let key = Key {
                constraint: constraint.name.clone(),
                columns: pairs.map(|((_, own), (_, other))| (own.clone(), other.clone())).collect(),
            };
            let link = if unique.contains(&(constraint.of, numbers(&constraint.columns))) {
                Link::OneToOne { key, is_parent: false }
            } else {
                Link::ManyToOne(key)
            };
            Some(Relationship {
                from: constraint.table.clone(),
                to: to.table.clone(),
                is_self: constraint.of == to.of,
                link,
                from_is_view: false,
                to_is_view: false,
            })
        })
        .collect()
}

/// The ends of keys at each table, with their columns.
type Ends<'c> = HashMap<u32, Vec<(&'c Constraint, End, &'c [(i16, String)])>>;
/// The views that have an end of a key whole, by its table and name.
type Sightings = HashMap<(Name, String, End), Vec<Seen>>;

/// Which keys the exposed views have whole, and their primary keys.
fn in_views(constraints: &[Constraint], views: &[View]) -> (Sightings, PrimaryKeys) {
    let mut ends: Ends<'_> = HashMap::new();
    for constraint in constraints.iter().filter(|constraint| constraint.kind != Kind::Unique) {
        ends.entry(constraint.of).or_default().push((constraint, End::Own, &constraint.columns));
        if let Some(to) = &constraint.to {
            ends.entry(to.of).or_default().push((constraint, End::Referred, &to.columns));
        }
    }
    let by_id: HashMap<u32, &View> = views.iter().map(|view| (view.of, view)).collect();
    let mut seen: Sightings = HashMap::new();
    let mut keys = PrimaryKeys::new();
    for view in views.iter().filter(|view| view.exposed) {
        let sources = sources(view, &by_id);
        let mut tables: Vec<u32> = sources.keys().map(|(table, _)| *table).collect();
        tables.dedup();
        for (constraint, end, columns) in tables.iter().filter_map(|table| ends.get(table)).flatten() {
            let table = match (end, &constraint.to) {
                (End::Referred, Some(to)) => (to.of, &to.table),
                _ => (constraint.of, &constraint.table),
            };
            let found: Option<Vec<Vec<String>>> =
                columns.iter().map(|(number, _)| sources.get(&(table.0, *number)).cloned()).collect();
            let Some(columns) = found else { continue };
            if constraint.kind == Kind::Primary {
                // Each column once, whichever of them.
                keys.entry(view.name.clone())
                    .or_default()
                    .extend(columns.iter().filter_map(|names| names.first().cloned()));
            } else {
                let key = (table.1.clone(), constraint.name.clone(), *end);
                seen.entry(key).or_default().push(Seen { view: view.name.clone(), columns });
            }
        }
    }
    (seen, keys)
}

/// What each column of a view is, on the whole way down: `(table, column)` to the view's names for it.
fn sources(view: &View, views: &HashMap<u32, &View>) -> BTreeMap<(u32, i16), Vec<String>> {
    let mut found: BTreeMap<(u32, i16), Vec<String>> = BTreeMap::new();
    for origin in &view.origins {
        let Some(name) = usize::try_from(origin.column - 1).ok().and_then(|at| view.columns.get(at)) else { continue };
        let mut at = (origin.table, origin.source);
        let mut passed = BTreeSet::new();
        while passed.insert(at) {
            let names = found.entry(at).or_default();
            if !names.contains(name) {
                names.push(name.clone());
            }
            let below = views.get(&at.0).and_then(|view| view.origins.iter().find(|origin| origin.column == at.1));
            match below {
                Some(below) => at = (below.table, below.source),
                None => break,
            }
        }
    }
    found
}

/// The same way from and to views that have the key: a column that a view has twice makes two.
fn through_views(way: &Relationship, seen: &HashMap<(Name, String, End), Vec<Seen>>) -> Vec<Relationship> {
    let (Link::ManyToOne(key) | Link::OneToOne { key, .. }) = &way.link else { return Vec::new() };
    let found = |table: &Name, end| {
        seen.get(&(table.clone(), key.constraint.clone(), end)).into_iter().flatten().flat_map(|seen| {
            choices(&seen.columns).into_iter().map(|columns| (seen.view.clone(), columns)).collect::<Vec<_>>()
        })
    };
    let link = |columns: Vec<(String, String)>| {
        let key = Key { constraint: key.constraint.clone(), columns };
        if matches!(way.link, Link::ManyToOne(_)) {
            Link::ManyToOne(key)
        } else {
            Link::OneToOne { key, is_parent: false }
        }
    };
    let own = || key.columns.iter().map(|(own, _)| own.clone());
    let other = || key.columns.iter().map(|(_, other)| other.clone());
    let mut ways = Vec::new();
    for (view, columns) in found(&way.from, End::Own) {
        ways.push(Relationship {
            from: view.clone(),
            to: way.to.clone(),
            is_self: false,
            link: link(columns.iter().cloned().zip(other()).collect()),
            from_is_view: true,
            to_is_view: false,
        });
        for (target, targets) in found(&way.to, End::Referred) {
            ways.push(Relationship {
                is_self: view == target,
                from: view.clone(),
                to: target,
                link: link(columns.iter().cloned().zip(targets).collect()),
                from_is_view: true,
                to_is_view: true,
            });
        }
    }
    for (target, targets) in found(&way.to, End::Referred) {
        ways.push(Relationship {
            from: way.from.clone(),
            to: target,
            is_self: false,
            link: link(own().zip(targets).collect()),
            from_is_view: false,
            to_is_view: true,
        });
    }
    ways
}

/// All ways to take one of each.
fn choices(columns: &[Vec<String>]) -> Vec<Vec<String>> {
    columns.iter().fold(vec![Vec::new()], |chosen, names| {
        chosen
            .iter()
            .flat_map(|chosen| names.iter().map(|name| [chosen.as_slice(), std::slice::from_ref(name)].concat()))
            .collect()
    })
}

/// Two foreign keys of one table whose columns are in its primary key.
fn many_to_many(ways: &[Relationship], keys: &PrimaryKeys) -> Vec<Relationship> {
    let mut by_table: HashMap<&Name, Vec<(&Relationship, &Key)>> = HashMap::new();
    for way in ways {
        if let Link::ManyToOne(key) = &way.link
            && keys.get(&way.from).is_some_and(|primary| key.columns.iter().all(|(own, _)| primary.contains(own)))
        {
            by_table.entry(&way.from).or_default().push((way, key));
        }
    }
    let swapped = |key: &Key| key.columns.iter().map(|(own, other)| (other.clone(), own.clone())).collect();
    let mut found = Vec::new();
    for (table, ways) in by_table {
        for (from, from_key) in &ways {
            for (to, to_key) in ways.iter().filter(|(_, key)| key.constraint != from_key.constraint) {
                found.push(Relationship {
                    from: from.to.clone(),
                    to: to.to.clone(),
                    is_self: from.to == to.to,
                    link: Link::ManyToMany(Junction {
                        table: table.clone(),
                        from_constraint: from_key.constraint.clone(),
                        to_constraint: to_key.constraint.clone(),
                        from_columns: swapped(from_key),
                        to_columns: swapped(to_key),
                    }),
                    from_is_view: from.to_is_view,
                    to_is_view: to.to_is_view,
                });
            }
        }
    }
    found
}

/// The same foreign key the other way round.
fn inverse(way: &Relationship) -> Option<Relationship> {
    let swapped = |key: &Key| Key {
        constraint: key.constraint.clone(),
        columns: key.columns.iter().map(|(own, other)| (other.clone(), own.clone())).collect(),
    };
    let link = match &way.link {
        Link::ManyToOne(key) => Link::OneToMany(swapped(key)),
        Link::OneToOne { key, is_parent } => Link::OneToOne { key: swapped(key), is_parent: !is_parent },
        _ => return None,
    };
    Some(Relationship {
        from: way.to.clone(),
        to: way.from.clone(),
        is_self: way.is_self,
        link,
        from_is_view: way.to_is_view,
        to_is_view: way.from_is_view,
    })
}

#[cfg(test)]
mod tests;
