use super::{
    super::schema::{Argument, Key, Name, Relationship, Returns, Settings},
    *,
};
use std::collections::BTreeMap;

fn column(name: &str, kind: &str, nullable: bool, default: Option<&str>) -> Column {
    Column {
        name: name.into(),
        base_type: kind.into(),
        full_type: kind.into(),
        cast_type: kind.into(),
        nullable,
        default: default.map(str::to_owned),
        ..Column::default()
    }
}

fn schema() -> Schema {
    let film = Name::new("public", "films");
    let table = Table {
        name: film.clone(),
        description: Some("Films\n\nAll of them".into()),
        insertable: true,
        updatable: true,
        deletable: true,
        primary_key: vec!["id".into()],
        columns: vec![
            column("id", "bigint", false, Some("nextval('x')")),
            Column { description: Some("Of whom".into()), ..column("of", "integer", true, Some("7")) },
            Column {
                max_length: Some(9),
                ..column("title", "character varying", false, Some("'none'::character varying"))
            },
            Column { enum_values: vec!["a".into(), "b".into()], ..column("mood", "public.mood", true, None) },
            column("tags", "text[]", true, None),
            column("data", "jsonb", true, Some("'{}'::jsonb")),
        ],
        computed: BTreeMap::new(),
    };
    let view = Table {
        name: Name::new("public", "seen"),
        insertable: false,
        updatable: false,
        deletable: false,
        description: None,
        columns: Vec::new(),
        primary_key: Vec::new(),
        computed: BTreeMap::new(),
    };
    let way = Relationship {
        from: film.clone(),
        to: Name::new("public", "people"),
        is_self: false,
        link: Link::ManyToOne(Key { constraint: "k".into(), columns: vec![("of".into(), "id".into())] }),
        from_is_view: false,
        to_is_view: false,
    };
    let argument = |name: &str, kind: &str, required, variadic| Argument {
        name: name.into(),
        full_type: kind.into(),
        cast_type: kind.into(),
        required,
        variadic,
    };
    let function = |id, name: &str, volatility, arguments| Function {
        id,
        name: Name::new("public", name),
        description: None,
        arguments,
        columns: Vec::new(),
        returns: Returns { set: false, composite: false, name: Name::new("pg_catalog", "int4") },
        volatility,
        isolation: None,
        settings: Vec::new(),
    };
    let functions = [
        function(
            1,
            "count",
            Volatility::Stable,
            vec![
                argument("a", "integer", true, false),
                argument("list", "text[]", false, false),
                argument("more", "text[]", false, true),
            ],
        ),
        function(2, "go", Volatility::Volatile, Vec::new()),
    ];
    Schema {
        tables: BTreeMap::from([(film.clone(), table), (view.name.clone(), view)]),
        relationships: [(film, vec![way])].into(),
        functions: functions.into_iter().map(|function| (function.name.clone(), vec![function])).collect(),
        descriptions: [("public".to_owned(), "The title\nThe rest".to_owned())].into(),
        ..Schema::default()
    }
}

fn here() -> Address {
    Address::new(None, "localhost:54321")
}

#[test]
fn tables_are_described_with_their_columns_and_keys() {
    let document = document(&schema(), "public", None, &here());
    assert_eq!(document["info"], json!({"version": "14", "title": "The title", "description": "The rest"}));
    assert_eq!(
        document["definitions"]["films"],
        json!({
            "description": "Films\n\nAll of them", "type": "object", "required": ["id", "title"],
            "properties": {
                "id": {"type": "integer", "format": "int64", "description": "Note:\nThis is a Primary Key.<pk/>"},
                "of": {"type": "integer", "format": "int32", "default": 7,
                       "description": "Of whom\n\nNote:\nThis is a Foreign Key to `people.id`.<fk table='people' column='id'/>"},
                "title": {"type": "string", "format": "character varying", "default": "none", "maxLength": 9},
                "mood": {"type": "string", "format": "public.mood", "enum": ["a", "b"]},
                "tags": {"type": "array", "format": "text[]", "items": {"type": "string"}},
                "data": {"format": "jsonb"},
            },
        })
    );
    let get = &document["paths"]["/films"]["get"];
    assert_eq!((&get["summary"], &get["description"]), (&json!("Films"), &json!("All of them")));
    assert_eq!(get["parameters"][0], json!({"$ref": "#/parameters/rowFilter.films.id"}));
    assert_eq!(document["parameters"]["rowFilter.films.id"]["in"], "query");
    let methods = |path: &str| document["paths"][path].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!((methods("/films").len(), methods("/seen")), (4, vec!["get".to_owned()]));
    assert_eq!(document["definitions"]["seen"], json!({"type": "object"}));
    for path in document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values()) {
        for parameter in
            path["parameters"].as_array().into_iter().flatten().filter_map(|parameter| parameter["$ref"].as_str())
        {
            let name = parameter.strip_prefix("#/parameters/").unwrap();
            assert!(document["parameters"].get(name).is_some(), "{parameter} leads somewhere");
        }
    }
}

#[test]
fn functions_are_described_with_their_arguments() {
    let document = document(&schema(), "public", None, &here());
    let count = &document["paths"]["/rpc/count"];
    assert_eq!(
        count["get"]["parameters"],
        json!([
            {"name": "a", "required": true, "in": "query", "type": "integer", "format": "int32"},
            {"name": "list", "required": false, "in": "query", "type": "string", "format": "text[]"},
            {"name": "more", "required": false, "in": "query", "type": "array", "collectionFormat": "multi",
             "items": {"type": "string", "format": "text"}},
        ])
    );
    assert_eq!(
        count["post"]["parameters"][0]["schema"],
        json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "integer", "format": "int32"},
            "list": {"type": "array", "format": "text[]", "items": {"type": "string"}},
            "more": {"type": "array", "format": "text[]", "items": {"type": "string"}},
        }})
    );
    assert!(document["paths"]["/rpc/go"].get("get").is_none(), "what changes something is not read");
}

#[test]
fn what_a_role_may_not_use_is_not_there() {
    let usable = Usable { tables: ["seen".to_owned()].into(), functions: [2].into() };
    let document = document(&schema(), "public", Some(&usable), &here());
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths.len(), 3, "{paths:?}");
    assert!(document["paths"].get("/films").is_none() && document["definitions"].get("films").is_none());
    assert!(document["parameters"].get("body.films").is_none() && document["paths"].get("/rpc/count").is_none());
    assert_eq!(super::document(&schema(), "other", None, &here())["paths"].as_object().unwrap().len(), 1);
}

#[test]
fn the_address_is_where_the_caller_finds_it() {
    let address =
        |scheme: &str, host: &str, path: &str| Address { scheme: scheme.into(), host: host.into(), path: path.into() };
    assert_eq!(here(), address("http", "localhost:54321", "/rest/v1"));
    assert_eq!(Address::new(Some("https://api.example.com/v1"), "x"), address("https", "api.example.com:443", "/v1"));
    assert_eq!(Address::new(Some("not an address"), "x"), address("http", "x", "/rest/v1"));
    let secured = Schema { settings: Settings { openapi_security: true, ..Settings::default() }, ..schema() };
    assert_eq!(document(&secured, "public", None, &here())["security"], json!([{"JWT": []}]));
}
