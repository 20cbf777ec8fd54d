use super::*;

fn public(name: &str) -> Name {
    Name::new("public", name)
}

/// `(of, table, name, columns, to)`: the names of columns are their numbers' letters, `1` is `a`.
fn key(of: u32, table: &str, kind: Kind, name: &str, columns: &[i16], to: Option<(u32, &str, &[i16])>) -> Constraint {
    let named = |columns: &[i16]| columns.iter().map(|number| (*number, letter(*number))).collect();
    Constraint {
        of,
        table: public(table),
        name: name.into(),
        kind,
        columns: named(columns),
        to: to.map(|(of, table, columns)| Referred { of, table: public(table), columns: named(columns), own: true }),
    }
}

fn letter(number: i16) -> String {
    char::from(b'a' + u8::try_from(number - 1).unwrap()).to_string()
}

fn view(of: u32, name: Name, origins: &[(u32, i16)], columns: &[&str]) -> View {
    View {
        of,
        exposed: name.schema == "public",
        name,
        origins: (1..)
            .zip(origins)
            .map(|(column, (table, source))| tree::Origin { column, table: *table, source: *source })
            .collect(),
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn ways(
    constraints: &[Constraint],
    views: &[View],
    computed: &[Computed],
) -> (HashMap<Name, Vec<Relationship>>, PrimaryKeys) {
    between(constraints, views, computed, &["public".into()])
}

/// What leads from a table, in few words.
fn told(ways: &HashMap<Name, Vec<Relationship>>, from: &str) -> Vec<String> {
    let pairs =
        |columns: &[(String, String)]| columns.iter().map(|(a, b)| format!("{a}{b}")).collect::<Vec<_>>().join("+");
    ways.get(&public(from))
        .into_iter()
        .flatten()
        .map(|way| {
            let link = match &way.link {
                Link::OneToMany(key) => format!("1n {} {}", key.constraint, pairs(&key.columns)),
                Link::ManyToOne(key) => format!("n1 {} {}", key.constraint, pairs(&key.columns)),
                Link::OneToOne { key, is_parent } => {
                    format!("11 {} {}{}", key.constraint, pairs(&key.columns), if *is_parent { " parent" } else { "" })
                }
                Link::ManyToMany(junction) => format!(
                    "nn {} {} {}",
                    junction.table.name,
                    pairs(&junction.from_columns),
                    pairs(&junction.to_columns)
                ),
                Link::Computed { function, to_one } => format!("fn {} {to_one}", function.name),
            };
            format!("{}: {link}", way.to.name)
        })
        .collect()
}

/// films(a), actors(a), roles(a → films, b → actors, primary key both), posters(a → films, primary key)
fn cinema() -> Vec<Constraint> {
    vec![
        key(1, "films", Kind::Primary, "films_pkey", &[1], None),
        key(2, "actors", Kind::Primary, "actors_pkey", &[1], None),
        key(3, "roles", Kind::Primary, "roles_pkey", &[2, 1], None),
        key(3, "roles", Kind::Foreign, "film", &[1], Some((1, "films", &[1]))),
        key(3, "roles", Kind::Foreign, "actor", &[2], Some((2, "actors", &[1]))),
        key(4, "posters", Kind::Primary, "posters_pkey", &[1], None),
        key(4, "posters", Kind::Foreign, "poster_of", &[1], Some((1, "films", &[1]))),
    ]
}

#[test]
fn keys_are_ways_in_both_directions_and_across_a_junction() {
    let (ways, keys) = ways(&cinema(), &[], &[]);
    assert_eq!(
        told(&ways, "films"),
        ["actors: nn roles aa ab", "posters: 11 poster_of aa parent", "roles: 1n film aa"]
    );
    assert_eq!(told(&ways, "actors"), ["films: nn roles ab aa", "roles: 1n actor ab"]);
    assert_eq!(told(&ways, "roles"), ["actors: n1 actor ba", "films: n1 film aa"]);
    assert_eq!(told(&ways, "posters"), ["films: 11 poster_of aa"]);
    assert_eq!(keys[&public("roles")], ["a", "b"], "by name");
}

#[test]
fn a_table_between_two_is_no_junction_unless_its_primary_key_has_both() {
    let mut constraints = cinema();
    constraints.retain(|constraint| constraint.name != "roles_pkey");
    constraints.push(key(3, "roles", Kind::Primary, "roles_pkey", &[3], None));
    assert_eq!(told(&ways(&constraints, &[], &[]).0, "actors"), ["roles: 1n actor ab"]);
    // Nor is one in a schema that nobody sees.
    let mut hidden = cinema();
    for constraint in &mut hidden {
        if constraint.table.name == "roles" {
            constraint.table.schema = "private".into();
        }
    }
    let (ways, _) = ways(&hidden, &[], &[]);
    assert!(told(&ways, "actors").is_empty() && ways.contains_key(&public("actors")));
}

#[test]
fn views_have_the_ways_of_the_columns_they_show() {
    let mut constraints = cinema();
    for constraint in &mut constraints {
        if constraint.table.name == "roles" {
            constraint.table.schema = "private".into();
        }
    }
    let views = [
        // By a view that is not exposed, and with one column twice.
        view(10, Name::new("private", "inner"), &[(3, 1), (3, 2)], &["f", "g"]),
        view(11, public("casts"), &[(10, 1), (10, 2), (10, 2)], &["film", "who", "whom"]),
        view(12, public("movies"), &[(1, 1)], &["id"]),
        view(13, public("none"), &[(3, 1)], &["f"]),
    ];
    let (ways, keys) = ways(&constraints, &views, &[]);
    assert_eq!(
        told(&ways, "casts"),
        ["actors: n1 actor whoa", "actors: n1 actor whoma", "films: n1 film filma", "movies: n1 film filmid"]
    );
    assert_eq!(
        told(&ways, "movies"),
        [
            "actors: nn casts idfilm awho",
            "casts: 1n film idfilm",
            "none: 1n film idf",
            "posters: 11 poster_of ida parent"
        ]
    );
    assert_eq!(keys[&public("casts")], ["who", "film"], "in the key's order, each once");
    assert_eq!(keys[&public("movies")], ["id"]);
    assert!(!keys.contains_key(&public("none")), "half of a key is none");
    assert_eq!(told(&ways, "none"), ["films: n1 film fa", "movies: n1 film fid"]);
}

#[test]
fn a_function_takes_the_place_of_the_keys_to_a_table_of_its_name() {
    let computed = |name: &str, from: &str, to: &str, to_one| Computed {
        function: public(name),
        from: public(from),
        to: public(to),
        to_one,
    };
    let functions = [computed("roles", "films", "roles", false), computed("lead", "films", "actors", true)];
    let (ways, _) = ways(&cinema(), &[], &functions);
    assert_eq!(
        told(&ways, "films"),
        ["actors: nn roles aa ab", "actors: fn lead true", "posters: 11 poster_of aa parent", "roles: fn roles false"]
    );
    assert!(ways[&public("films")][1].is_to_one());
}

#[test]
fn a_partition_has_no_way_of_its_own_and_a_table_may_lead_to_itself() {
    let mut copy = key(5, "part", Kind::Foreign, "copy", &[1], Some((1, "films", &[1])));
    copy.to.as_mut().unwrap().own = false;
    let own = key(1, "films", Kind::Foreign, "sequel_of", &[2], Some((1, "films", &[1])));
    let (ways, _) = ways(&[copy, own], &[], &[]);
    assert_eq!(told(&ways, "films"), ["films: 1n sequel_of ab", "films: n1 sequel_of ba"]);
    assert!(ways[&public("films")].iter().all(|way| way.is_self));
    assert!(!ways.contains_key(&public("part")));
}
