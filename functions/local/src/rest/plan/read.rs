//! The tree of what is read: every condition, order and limit at its place, every embed with its way.

use super::{
    super::{
        refusal::Refusal,
        refuse,
        request::{
            Request,
            query::Path,
            tree::{Aggregate, Item, Key, Range, Test, Truth},
        },
        schema::{Function, Link, Name, Relationship, Schema, Table},
    },
    Condition, From, Known, Node, OrderTerm, Selection, Shown, Spread, spread, way,
};

/// Longer names would be cut by Postgres, and then two might be one.
const ALIAS_BYTES: usize = 48;

struct Planner<'s, 'r> {
    schema: &'s Schema,
    request: &'r Request,
    /// What the outermost rows are called.
    root: &'r str,
    laterals: usize,
}

/// The tree of a request for rows of `of`: a table, or what `function` returns.
pub fn plan<'s, 'r>(
    schema: &'s Schema,
    request: &'r Request,
    of: &'r Name,
    function: Option<&'s Function>,
) -> Result<Node<'s>, Refusal> {
    let known = Known { table: schema.table(of), head: function.map_or(&[], |function| function.columns.as_slice()) };
    let mut planner = Planner { schema, request, root: &of.name, laterals: 0 };
    let source = request.action.is_write() || function.is_some();
    let mut root = Node {
        from: if source { From::Source } else { From::Table(of.clone()) },
        alias: of.name.clone(),
        known,
        select: Vec::new(),
        conditions: Vec::new(),
        order: Vec::new(),
        range: Range::ALL,
        way: None,
        outer: String::new(),
        target: of.name.clone(),
        renamed: None,
        lateral: String::new(),
        inner: false,
        spread: None,
        embeds: Vec::new(),
        shown: Vec::new(),
        depth: 0,
    };
    planner.fill(&mut root, of, &request.query.select)?;
    planner.place(&mut root)?;
    expand_stars(schema, &mut root, false);
    name_selections(&mut root);
    relate_orders(&mut root)?;
    embed_conditions(&mut root);
    spread::show(&mut root);
    if !schema.settings.aggregates && any_aggregate(&root) {
        return Err(refuse::no_aggregates());
    }
    spread::hoist(&mut root);
    spread::order_lists(&mut root)?;
    if !request.action.is_write() {
        bound(&mut root, schema.settings.max_rows);
    }
    Ok(root)
}

impl<'s> Planner<'s, '_> {
    /// What is selected, and embedded.
    fn fill(&mut self, node: &mut Node<'s>, at: &Name, items: &[Item]) -> Result<(), Refusal> {
        for item in items {
            match item {
                Item::Field(selected) => node.select.push(Selection::of(self.schema, node.known, selected)),
                Item::Embed(embed) => {
                    let way = way::find(self.schema, &self.request.schema, at, embed)?;
                    let mut inner = self.embedded(node, way);
                    inner.target.clone_from(&embed.target);
                    inner.renamed.clone_from(&embed.alias);
                    inner.inner = embed.inner;
                    inner.spread = embed.spread.then_some(if way.is_to_one() {
                        Spread::One
                    } else {
                        Spread::Many { select: Vec::new(), order: Vec::new() }
                    });
                    self.fill(&mut inner, &way.to, &embed.items)?;
                    node.embeds.push(inner);
                }
            }
        }
        Ok(())
    }

    fn embedded(&mut self, outer: &Node<'s>, way: &'s Relationship) -> Node<'s> {
        self.laterals += 1;
        let depth = outer.depth + 1;
        let from = match &way.link {
            Link::Computed { function, .. } => From::Computed { function, of: &way.from },
            _ => From::Table(way.to.clone()),
        };
        let end = (0..=ALIAS_BYTES.min(way.to.name.len())).rev().find(|at| way.to.name.is_char_boundary(*at));
        let mut alias = format!("{}_{depth}", &way.to.name[..end.unwrap_or(0)]);
        // Otherwise these names differ by how deep they are.
        if alias == self.root {
            alias.push('_');
        }
        Node {
            from,
            alias,
            known: Known { table: self.schema.table(&way.to), head: &[] },
            select: Vec::new(),
            conditions: Vec::new(),
            order: Vec::new(),
            range: Range::ALL,
            way: Some(way),
            outer: outer.alias.clone(),
            target: String::new(),
            renamed: None,
            lateral: format!("pgrst_embed_{}", self.laterals),
            inner: false,
            spread: None,
            embeds: Vec::new(),
            shown: Vec::new(),
            depth,
        }
    }

    /// Conditions, orders and limits.
    fn place(&self, root: &mut Node<'s>) -> Result<(), Refusal> {
        let (query, writes) = (&self.request.query, self.request.action.is_write());
        // Those of a write's own rows are in the write.
        let counts = |path: &Path| !(writes && path.is_empty());
        for (path, filter) in query.filters.iter().filter(|(path, _)| counts(path)) {
            let node = find(root, path)?;
            let condition = Condition::of_filter(self.schema, node.known, filter);
            node.conditions.push(condition);
        }
        for (path, logic) in query.logic.iter().filter(|(path, _)| counts(path)) {
            let node = find(root, path)?;
            let condition = Condition::of_logic(self.schema, node.known, logic);
            node.conditions.push(condition);
        }
        for (path, terms) in &query.order {
            let node = find(root, path)?;
            node.order = terms.iter().map(|term| OrderTerm::of(node.known, term)).collect();
        }
        if !writes {
            for (path, range) in &query.ranges {
                find(root, path)?.range = *range;
            }
            root.range = self.request.range;
        }
        Ok(())
    }
}

/// The embed at the end of these names.
fn find<'n, 's>(node: &'n mut Node<'s>, path: &[String]) -> Result<&'n mut Node<'s>, Refusal> {
    let [name, rest @ ..] = path else { return Ok(node) };
    let embed = node
        .embeds
        .iter_mut()
        .find(|embed| embed.target == *name || embed.renamed.as_ref() == Some(name))
        .ok_or_else(|| refuse::not_embedded(name))?;
    find(embed, rest)
}

/// Writes out `*` where its columns must be known: some have a form of their own, or all are grouped by, or become lists.
fn expand_stars(schema: &Schema, node: &mut Node<'_>, grouped: bool) {
    let grouped = grouped
        || node.select.iter().any(|selection| selection.aggregate.is_some())
        || matches!(node.spread, Some(Spread::Many { .. }));
    let is_spread = node.spread.is_some();
    if let Some(table) = node.known.table
        && (grouped || has_forms(schema, table))
    {
        let (known, old) = (node.known, std::mem::take(&mut node.select));
        for mut selection in old {
            match selection.aggregate {
                None if selection.is_star() => {
                    let columns = table.columns.iter();
                    node.select
                        .extend(columns.map(|column| Selection::instead_of_star(schema, known, column, &selection)));
                }
                Some(Aggregate::Count) if is_spread && selection.is_star() => {
                    selection.column.whole_row = true;
                    node.select.push(selection);
                }
                _ => node.select.push(selection),
            }
        }
    }
    for embed in &mut node.embeds {
        expand_stars(schema, embed, grouped);
    }
}

fn has_forms(schema: &Schema, table: &Table) -> bool {
    !schema.representations.is_empty()
        && table.columns.iter().any(|column| schema.representation(&column.full_type, "json").is_some())
}

/// Names what would have none in the row: parts of JSON, what a function has made, aggregates in a spread.
fn name_selections(node: &mut Node<'_>) {
    let is_spread = node.spread.is_some();
    for selection in node.select.iter_mut().filter(|selection| selection.alias.is_none()) {
        selection.alias = match selection.aggregate {
            Some(aggregate) => is_spread.then(|| aggregate.word().to_owned()),
            None if !selection.column.path.is_empty() => {
                let last_name = selection.column.path.iter().rev().find_map(|step| match &step.to {
                    Key::Name(name) => Some(name),
                    Key::Index(_) => None,
                });
                Some(last_name.unwrap_or(&selection.column.name).clone())
            }
            None => selection.column.transform.is_some().then(|| selection.column.name.clone()),
        };
    }
    node.embeds.iter_mut().for_each(name_selections);
}

/// Orders by a column of an embed: there must be one row.
fn relate_orders(node: &mut Node<'_>) -> Result<(), Refusal> {
    for term in &mut node.order {
        let Some(name) = &term.embed else { continue };
        let embed =
            node.embeds.iter().find(|embed| embed.shown_name() == name).ok_or_else(|| refuse::not_embedded(name))?;
        if !embed.is_to_one() {
            let origin = match &node.from {
                From::Table(table) => &table.name,
                From::Source => super::SOURCE,
                From::Computed { .. } => &node.target,
            };
            return Err(refuse::order_by_many(origin, name));
        }
        term.embed = Some(embed.lateral.clone());
    }
    node.embeds.iter_mut().try_for_each(relate_orders)
}

/// `embed=is.null` and `embed=not.is.null` ask whether it has rows.
fn embed_conditions(node: &mut Node<'_>) {
    let embeds: Vec<(String, String)> =
        node.embeds.iter().map(|embed| (embed.shown_name().to_owned(), embed.lateral.clone())).collect();
    if !embeds.is_empty() {
        node.conditions.iter_mut().for_each(|condition| embed_condition(condition, &embeds));
    }
    node.embeds.iter_mut().for_each(embed_conditions);
}

fn embed_condition(condition: &mut Condition, embeds: &[(String, String)]) {
    match condition {
        Condition::Column { column, not, test: Test::Is(Truth::Null) } if column.path.is_empty() => {
            if let Some((_, lateral)) = embeds.iter().find(|(name, _)| *name == column.name) {
                *condition = Condition::Embed { some: *not, lateral: lateral.clone() };
            }
        }
        Condition::Group { of, .. } => of.iter_mut().for_each(|condition| embed_condition(condition, embeds)),
        Condition::Column { .. } | Condition::Embed { .. } => {}
    }
}

fn any_aggregate(node: &Node<'_>) -> bool {
    node.select.iter().any(|selection| selection.aggregate.is_some()) || node.embeds.iter().any(any_aggregate)
}

fn bound(node: &mut Node<'_>, most: Option<i64>) {
    node.range = node.range.at_most(most);
    node.embeds.iter_mut().for_each(|embed| bound(embed, most));
}

/// Whether an embed shows anything of itself or of what is in it.
pub fn is_empty(node: &Node<'_>) -> bool {
    node.select.is_empty() && node.embeds.iter().all(is_empty)
}

/// How an embed that is no spread is shown.
pub fn as_member(node: &Node<'_>) -> Shown {
    Shown::Json { empty: is_empty(node) }
}
