use super::{
    super::{plan, request::Request, schema::*},
    *,
};
use axum::{body::Bytes, http};
use std::collections::{BTreeMap, HashSet};

fn table(name: &str, columns: &[(&str, &str)]) -> Table {
    let column = |(name, kind): &(&str, &str)| Column {
        name: (*name).into(),
        base_type: (*kind).into(),
        full_type: (*kind).into(),
        cast_type: (*kind).into(),
        nullable: true,
        ..Column::default()
    };
    Table {
        name: Name::new("public", name),
        description: None,
        insertable: true,
        updatable: true,
        deletable: true,
        primary_key: vec!["id".into()],
        columns: columns.iter().map(column).collect(),
        computed: BTreeMap::new(),
    }
}

fn schema() -> Schema {
    let tables = [
        table("tasks", &[("id", "integer"), ("name", "text"), ("data", "jsonb"), ("owner_id", "integer")]),
        table("owners", &[("id", "integer"), ("name", "text")]),
    ];
    let way = |from: &str, to: &str, link: Link| Relationship {
        from: Name::new("public", from),
        to: Name::new("public", to),
        is_self: false,
        from_is_view: false,
        to_is_view: false,
        link,
    };
    let key = |one: &str, other: &str| Key {
        constraint: "tasks_owner_fkey".into(),
        columns: vec![(one.into(), other.into())],
    };
    Schema {
        tables: tables.into_iter().map(|table| (table.name.clone(), table)).collect(),
        relationships: [
            (Name::new("public", "tasks"), vec![way("tasks", "owners", Link::ManyToOne(key("owner_id", "id")))]),
            (Name::new("public", "owners"), vec![way("owners", "tasks", Link::OneToMany(key("id", "owner_id")))]),
        ]
        .into(),
        settings: Settings { max_rows: None, ..Settings::default() },
        ..Schema::default()
    }
}

/// The first part, whose rows the answer is made of, and the values.
fn source(method: &str, target: &str, prefer: &str, body: &'static str) -> (String, Vec<String>, bool) {
    let schema = schema();
    let request = http::Request::builder().method(method).uri(target).header("prefer", prefer).body(()).unwrap();
    let request =
        Request::read(&request.into_parts().0, Bytes::from_static(body.as_bytes()), &schema.settings, &HashSet::new())
            .unwrap();
    let plan = plan::plan(&schema, &request).unwrap();
    let sql = write(&schema, &request, &plan).main;
    let text = sql.text().strip_prefix("with pgrst_source as (").unwrap();
    let text = text[..text.find(") select null::bigint, ").unwrap()].to_owned();
    let values = sql.values().iter().map(|value| match value {
        sql::Value::Text(text) => text.clone(),
        sql::Value::Bytes(bytes) => format!("{bytes:?}"),
    });
    (text, values.collect(), sql.recurs())
}

#[test]
fn values_are_parameters_of_the_columns_type() {
    let (text, values, recurs) = source(
        "GET",
        "/tasks?select=id,data-%3E%3Ea&id=in.(1,2)&name=like.a*&data-%3Eb=eq.3&order=id.desc&limit=5&offset=2",
        "",
        "",
    );
    assert_eq!(
        text,
        "select \"tasks\".\"id\", \"tasks\".\"data\"->>'a' as \"a\" from \"public\".\"tasks\" as \"tasks\" \
         where \"tasks\".\"id\" = any (($1::text)::integer[]) and \"tasks\".\"name\" like $2::text \
         and \"tasks\".\"data\"->'b' = ($3::text)::jsonb order by \"tasks\".\"id\" desc limit 5 offset ($4::text)::bigint"
    );
    assert_eq!((values.as_slice(), recurs), (&["{\"1\",\"2\"}", "a%", "3", "2"].map(str::to_owned)[..], true));
}

#[test]
fn what_is_not_known_is_a_literal() {
    let (text, _, recurs) = source("GET", "/tasks?unknown=eq.it's", "", "");
    assert!(text.ends_with("where \"tasks\".\"unknown\" = 'it''s'"), "{text}");
    assert!(!recurs);
}

#[test]
fn embeds_are_lateral() {
    let (text, ..) = source("GET", "/tasks?select=id,owner:owners!inner(name)&owner.name=eq.x", "", "");
    assert_eq!(
        text,
        "select \"tasks\".\"id\", row_to_json(\"pgrst_embed_1\".*)::jsonb as \"owner\" from \"public\".\"tasks\" as \"tasks\" \
         inner join lateral (select \"owners_1\".\"name\" from \"public\".\"owners\" as \"owners_1\" \
         where \"owners_1\".\"name\" = $1::text and \"owners_1\".\"id\" = \"tasks\".\"owner_id\") as \"pgrst_embed_1\" on true"
    );
    let (text, ..) = source("GET", "/owners?select=tasks(id)", "", "");
    assert!(
        text.contains("left join lateral (select json_agg(\"pgrst_embed_1\")::jsonb as \"pgrst_embed_1\" from (select"),
        "{text}"
    );
}

#[test]
fn writes_return_what_the_answer_needs() {
    let body = r#"[{"id": 1, "name": "a"}]"#;
    let (text, values, _) =
        source("POST", "/tasks?select=name,owners(name)", "return=representation,resolution=merge-duplicates", body);
    assert!(
        text.starts_with(
            "insert into \"public\".\"tasks\"(\"id\", \"name\") select pgrst_body.\"id\", pgrst_body.\"name\" from"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "on conflict (\"id\") do update set \"id\" = excluded.\"id\", \"name\" = excluded.\"name\" where"
        ),
        "{text}"
    );
    assert!(
        text.ends_with(
            " returning \"public\".\"tasks\".\"id\", \"public\".\"tasks\".\"name\", \"public\".\"tasks\".\"owner_id\""
        ),
        "{text}"
    );
    assert_eq!(values, [body]);
    // Row 10 of the issue: what is selected is not needed, and was not returned.
    let (text, ..) = source("POST", "/tasks?select=name,owners(name)", "", body);
    assert!(text.ends_with(" returning 1"), "{text}");
    let (text, ..) = source("DELETE", "/tasks?id=eq.1", "", "");
    assert_eq!(
        text,
        "delete from \"public\".\"tasks\" where \"public\".\"tasks\".\"id\" = ($1::text)::integer returning 1"
    );
}
