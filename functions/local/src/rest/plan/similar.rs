//! The name that may have been meant: PostgREST's measure, which is that of a fuzzy set. Names that share three letters are compared, if there
//! are none those that share two; the nearest is the one with the fewest changes for its length.

use std::collections::HashSet;

/// For what everybody may read anyway.
pub const POSSIBLE: f64 = 0.33;
/// A hint that names what was not asked for must be nearly right already.
pub const LIKELY: f64 = 0.75;

/// The name most like `wanted`, if it is enough like it.
pub fn of<'n>(names: impl Iterator<Item = &'n str>, wanted: &str, enough: f64) -> Option<&'n str> {
    let wanted = wanted.to_lowercase();
    let names: Vec<(&str, String)> = names.map(|name| (name, name.to_lowercase())).collect();
    if let Some((name, _)) = names.iter().find(|(_, lower)| *lower == wanted) {
        return Some(name);
    }
    [3, 2].into_iter().find_map(|size| {
        let groups = groups(&wanted, size);
        let sharing = names.iter().filter(|(_, lower)| !groups.is_disjoint(&self::groups(lower, size)));
        let scored =
            sharing.map(|(name, lower)| (likeness(&wanted, lower), *name)).filter(|(score, _)| *score >= enough);
        // Of equals the first by name.
        scored.max_by(|one, other| one.0.total_cmp(&other.0).then(other.1.cmp(one.1))).map(|(_, name)| name)
    })
}

/// The groups of so many letters in a word with a dash at both ends.
fn groups(word: &str, size: usize) -> HashSet<Vec<char>> {
    let of_word = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | ',' | '_');
    let letters: Vec<char> = format!("-{word}-").chars().filter(|letter| of_word(letter) || *letter == '-').collect();
    letters.windows(size).map(<[char]>::to_vec).collect()
}

fn likeness(one: &str, other: &str) -> f64 {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    1.0 - changes(&one, &other) as f64 / one.len().max(other.len()).max(1) as f64
}

/// How many letters must be added, removed or changed to get from one to the other.
fn changes(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, also) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != also);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_alike_is_found_if_it_is_enough() {
        let names = || ["films", "film_roles", "actors"].into_iter();
        assert_eq!(of(names(), "film", LIKELY), Some("films"));
        assert_eq!(of(names(), "Film_role", LIKELY), Some("film_roles"));
        assert_eq!(of(names(), "directors", LIKELY), None);
        assert_eq!(of(names(), "xyz", POSSIBLE), None);
        assert_eq!(changes(&['a', 'b'], &['b', 'c']), 2);
    }
}
