//! Where the columns of a view come from, read from the tree that Postgres keeps of it (`pg_rewrite.ev_action`).

/// A column of a view that is a column of a table or of another view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Its number in the view, from 1.
    pub column: i16,
    /// The `oid` of the table or view that it is taken from.
    pub table: u32,
    /// Its number there.
    pub source: i16,
}

/// The columns of a tree that have an origin. A tree that can not be read has none.
pub fn origins(tree: &str) -> Vec<Origin> {
    let mut tokens = Tokens(tree);
    let mut depth = 0_usize;
    while let Some(token) = tokens.next() {
        match token {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            // Deeper ones belong to queries inside this one.
            ":targetList" if depth == 1 => return targets(&mut tokens).unwrap_or_default(),
            _ => {}
        }
    }
    Vec::new()
}

/// The list `({TARGETENTRY …} …)`; `<>` is an empty one.
fn targets(tokens: &mut Tokens<'_>) -> Option<Vec<Origin>> {
    let mut found = Vec::new();
    let mut depth = 0_usize;
    if tokens.next()? != "(" {
        return Some(found);
    }
    let mut target = Origin { column: 0, table: 0, source: 0 };
    loop {
        match tokens.next()? {
            "{" => {
                depth += 1;
                if depth == 1 {
                    target = Origin { column: 0, table: 0, source: 0 };
                }
            }
            "}" => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && target.table != 0 && target.source > 0 {
                    found.push(target);
                }
            }
            ")" if depth == 0 => return Some(found),
            ":resno" if depth == 1 => target.column = tokens.next()?.parse().ok()?,
            // A name may look like any of the others.
            ":resname" if depth == 1 => drop(tokens.next()?),
            ":resorigtbl" if depth == 1 => target.table = tokens.next()?.parse().ok()?,
            ":resorigcol" if depth == 1 => target.source = tokens.next()?.parse().ok()?,
            _ => {}
        }
    }
}

/// Words of a tree: separated by blanks, brackets and braces; a backslash takes the meaning from what follows it.
struct Tokens<'t>(&'t str);

impl<'t> Iterator for Tokens<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let text = self.0.trim_start_matches([' ', '\n', '\t']);
        let mut escaped = false;
        let mut end = text.len();
        for (at, byte) in text.bytes().enumerate() {
            if escaped {
                escaped = false;
                continue;
            }
            match byte {
                b'\\' => escaped = true,
                b'(' | b')' | b'{' | b'}' if at == 0 => {
                    end = 1;
                    break;
                }
                b'(' | b')' | b'{' | b'}' | b' ' | b'\n' | b'\t' => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        let (token, rest) = text.split_at_checked(end)?;
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_the_outer_query_are_found_and_no_others() {
        let tree = r"({QUERY :commandType 1 :rtable ({RANGETBLENTRY :subquery {QUERY :targetList ({TARGETENTRY :resno 1
            :resname x :resorigtbl 9 :resorigcol 9 :resjunk false})}}) :targetList ({TARGETENTRY :expr {VAR :varno 1} :resno 1
            :resname id :ressortgroupref 0 :resorigtbl 16385 :resorigcol 2 :resjunk false} {TARGETENTRY :expr {SUBLINK :subselect
            {QUERY :targetList ({TARGETENTRY :resno 1 :resorigtbl 8 :resorigcol 8})}} :resno 2 :resname :resno :resorigtbl 0
            :resorigcol 0} {TARGETENTRY :expr {CONST :constvalue 4 [ 0 0 0 -1 ]} :resno 3 :resname a\ b\{\) :resorigtbl 16390
            :resorigcol 1}) :returningList <>})";
        assert_eq!(
            origins(tree),
            [Origin { column: 1, table: 16385, source: 2 }, Origin { column: 3, table: 16390, source: 1 }]
        );
    }

    #[test]
    fn a_tree_that_can_not_be_read_has_no_columns() {
        for tree in [
            "",
            "({QUERY :targetList <>})",
            "({QUERY :targetList (",
            "({QUERY :targetList ({TARGETENTRY :resno x})})",
            "}}}\\",
        ] {
            assert_eq!(origins(tree), [], "{tree}");
        }
    }
}
