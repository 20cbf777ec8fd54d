use super::{super::tree::*, *};
use proptest::prelude::*;

fn parse(raw: &str) -> Query {
    Query::parse(raw, false).unwrap()
}

fn error(raw: &str) -> (String, String) {
    let unreadable = Query::parse(raw, false).unwrap_err();
    (unreadable.message, unreadable.details.unwrap_or_default())
}

fn only(raw: &str) -> Selected {
    match parse(&format!("select={raw}")).select.into_iter().next().unwrap() {
        Item::Field(selected) => selected,
        Item::Embed(embed) => panic!("{embed:?}"),
    }
}

fn embed(raw: &str) -> Embed {
    match parse(&format!("select={raw}")).select.into_iter().next().unwrap() {
        Item::Embed(embed) => embed,
        Item::Field(field) => panic!("{field:?}"),
    }
}

fn filter(raw: &str) -> Filter {
    parse(raw).filters.into_iter().next().unwrap().1
}

#[test]
fn columns_have_aliases_casts_paths_and_aggregates() {
    let all = only("alias:data->a->>-1::text");
    assert_eq!(
        (all.alias.as_deref(), all.cast.as_deref(), all.field.name.as_str()),
        (Some("alias"), Some("text"), "data")
    );
    let steps = [Step { text: false, to: Key::Name("a".into()) }, Step { text: true, to: Key::Index("-1".into()) }];
    assert_eq!(all.field.path, steps);
    let sum = only("total:amount::numeric.sum()::text");
    assert_eq!(
        (sum.aggregate, sum.cast.as_deref(), sum.aggregate_cast.as_deref()),
        (Some(Aggregate::Sum), Some("numeric"), Some("text"))
    );
    let count = only("n:count()::int8");
    assert_eq!(
        (count.field.name.as_str(), count.aggregate, count.alias.as_deref()),
        ("*", Some(Aggregate::Count), Some("n"))
    );
    assert_eq!(only("\"a.b, (c)\"").field.name, "a.b, (c)");
    assert_eq!(only("Mixed+Case").field.name, "Mixed Case");
    assert_eq!(only("with-dash->key-with-dash").field.name, "with-dash");
    assert_eq!(only("data->key-with-dash").field.path[0].to, Key::Name("key-with-dash".into()));
    assert_eq!(parse("").select.len(), 1);
    assert_eq!(parse("select=").select, []);
}

#[test]
fn embeds_have_aliases_hints_joins_and_embeds() {
    let client = embed("boss:client!hint!inner(id,...owner(name))");
    assert_eq!(
        (client.alias.as_deref(), client.hint.as_deref(), client.inner, client.spread),
        (Some("boss"), Some("hint"), true, false)
    );
    assert!(matches!(&client.items[1], Item::Embed(Embed { spread: true, target, .. }) if target == "owner"));
    assert!(embed("client!inner!hint(*)").inner);
    assert!(!embed("client!left(*)").inner);
    assert_eq!(embed("client()").items, []);
}

#[test]
fn filters_have_operators_lists_and_modifiers() {
    assert!(matches!(filter("id=eq.1").test, Test::Compare(Operator { sql: "=", .. }, None, value) if value == "1"));
    assert!(filter("id=not.eq.1").not);
    assert!(matches!(filter("a=like(any).{a,b}").test, Test::Compare(_, Some(Quantifier::Any), _)));
    assert_eq!(filter("a=in.(1,\"b,\\\"c\\\"\", d)").test, Test::In(vec!["1".into(), "b,\"c\"".into(), " d".into()]));
    assert_eq!(filter("a=in.()").test, Test::In(vec![String::new()]));
    assert_eq!(filter("a=is.NULL").test, Test::Is(Truth::Null));
    assert_eq!(filter("a=is.not_null").test, Test::Is(Truth::NotNull));
    assert_eq!(filter("a=isdistinct.x").test, Test::Distinct("x".into()));
    let search = Test::Search { function: "websearch_to_tsquery", config: Some("english".into()), query: "x y".into() };
    assert_eq!(filter("a=wfts(english).x+y").test, search);
    let deep = parse("a.b.c->>d=gt.1");
    assert_eq!(
        (deep.filters[0].0.as_slice(), deep.filters[0].1.field.name.as_str()),
        (&["a".to_owned(), "b".to_owned()][..], "c")
    );
    assert_eq!(filter("a=eq.1,2)(").test, Test::Compare(operator("eq"), None, "1,2)(".into()));
}

fn operator(word: &'static str) -> Operator {
    Operator { word, sql: "=", right: Right::Same }
}

#[test]
fn conditions_nest() {
    let query = parse("or=(a.eq.1,and(b.not.is.null,c.in.(1,2)))&x.not.and=(d.eq.\"q,)\",e.cs.{1,2})");
    let Logic::Group { not: false, all: false, of } = &query.logic[0].1 else { panic!("{query:?}") };
    assert!(matches!(&of[1], Logic::Group { all: true, of, .. } if of.len() == 2));
    let (path, Logic::Group { not: true, all: true, of }) = &query.logic[1] else { panic!("{query:?}") };
    assert_eq!(path, &["x"]);
    assert!(matches!(&of[0], Logic::Filter(Filter { test: Test::Compare(_, _, value), .. }) if value == "q,)"));
    assert!(matches!(&of[1], Logic::Filter(Filter { test: Test::Compare(_, _, value), .. }) if value == "{1,2}"));
    assert!(Query::parse(&format!("or={}", "(or".repeat(10_000)), false).is_err());
}

#[test]
fn orders_and_ranges() {
    let query = parse("order=a.desc.nullslast,b(c->d).asc,e&x.limit=3&x.offset=2&limit=10&offset=5&y.offset=1");
    let terms = &query.order[0].1;
    assert_eq!((terms[0].descending, terms[0].nulls_first), (Some(true), Some(false)));
    assert_eq!(
        (terms[1].relation.as_deref(), terms[1].field.name.as_str(), terms[1].descending),
        (Some("b"), "c", Some(false))
    );
    assert_eq!(query.range(), Range { low: 5, high: Some(14) });
    assert_eq!(query.ranges[&vec!["x".to_owned()]], Range { low: 2, high: Some(4) });
    assert_eq!(query.ranges[&vec!["y".to_owned()]], Range { low: 1, high: None });
    assert!(parse("limit=0").range().is_zero());
    assert_eq!(parse("limit=x").range(), Range::ALL);
}

#[test]
fn what_is_wrong_is_said_as_postgrest_does() {
    let cases = [
        ("id=0", "filter (0)", 1, "unexpected \"0\" expecting \"not\" or operator (eq, gt, ...)"),
        ("columns=", "columns parameter ()", 1, "unexpected end of input expecting field name (* or [a..z0..9_$])"),
        (
            "order=id.asc.nullslasttt",
            "order (id.asc.nullslasttt)",
            17,
            "unexpected 't' expecting \",\" or end of input",
        ),
        ("select=data->>--34", "select parameter (data->>--34)", 9, "unexpected \"-\" expecting digit"),
        (
            "or=()",
            "logic tree (())",
            4,
            "unexpected \")\" expecting field name (* or [a..z0..9_$]), negation operator (not) or logic operator (and, or)",
        ),
        (
            "select=data->(!@",
            "select parameter (data->(!@)",
            7,
            "unexpected \"(\" expecting \"-\", digit or any non reserved character different from: .,>()",
        ),
    ];
    for (raw, what, column, details) in cases {
        let message = format!("\"failed to parse {what}\" (line 1, column {column})");
        assert_eq!(error(raw), (message, details.to_owned()), "{raw}");
    }
}

#[test]
fn arguments_are_what_has_no_operator() {
    let query = Query::parse("a=1&b=eq.2&c=notable&d=isbn", true).unwrap();
    let names: Vec<_> = query.arguments.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(names, [("a", "1"), ("c", "notable"), ("d", "isbn")]);
    assert_eq!(query.filters.len(), 1);
    assert!(Query::parse("a=is.strange", true).is_err());
}

#[test]
fn costly_questions_are_refused() {
    for raw in [
        "a=match.(x%2B)\\1",
        "a=imatch(any).{\"(x)\\\\1\"}",
        "or=(a.match.\"(x)\\\\1\",b.eq.1)",
        "select=a(b(c(d(e(f(g(h(i(j))))))))))",
    ] {
        assert!(Query::parse(raw, false).is_err(), "{raw}");
    }
}

#[test]
fn encodings() {
    assert_eq!(decoded("a+b%20c%2Bd%zz%4"), "a b c+d%zz%4");
    assert_eq!(parse("b=eq.2&a=eq.x+y").canonical, "a=eq.x%20y&b=eq.2");
}

proptest! {
    #[test]
    fn no_query_string_panics(raw in "(select|order|or|and|limit|offset|columns|on_conflict|a|a\\.b|a->>b)=.{0,40}|.*|[a-z(),.:!*\"\\\\>\\-{}&=0-9 ]{0,60}") {
        let _ = Query::parse(&raw, false);
        let _ = Query::parse(&raw, true);
    }
}
