//! The home folder in what people read: whose machine it is, and how its folders are named, is of no use to them.

use std::{borrow::Cow, ffi::OsString};

/// The home folder of an agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Home(Option<String>);

impl Home {
    /// As the agent's environment says.
    pub(crate) fn of(environment: &[(OsString, OsString)]) -> Self {
        let home = environment.iter().find(|(name, _)| name == "HOME").and_then(|(_, home)| home.to_str());
        let home = home.map(|home| home.trim_end_matches('/')).filter(|home| home.starts_with('/'));
        Self(home.map(str::to_owned))
    }

    /// `/home/ann/notes.txt` is `~/notes.txt`, wherever a path begins in a text.
    pub(crate) fn short<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(home) = self.0.as_deref().filter(|home| text.contains(*home)) else { return text.into() };
        let mut short = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(home) {
            let (before, after) = (&rest[..at], &rest[at + home.len()..]);
            let begins = !before.ends_with(|c: char| c.is_alphanumeric() || "/._-~".contains(c));
            let ends = !after.starts_with(|c: char| c.is_alphanumeric() || "._-".contains(c));
            short.push_str(before);
            short.push_str(if begins && ends { "~" } else { home });
            rest = after;
        }
        short.push_str(rest);
        short.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_home_folder_is_shown_from_there() {
        let home = |home: &str| Home::of(&[("HOME".into(), home.into())]);
        for (text, shown) in [
            ("/home/ann/x", "~/x"),
            ("Editing /home/ann/x and /home/ann/y", "Editing ~/x and ~/y"),
            ("Running cat '/home/ann/x' >/home/ann", "Running cat '~/x' >~"),
            ("/mnt/home/ann/x /home/anna /home/ann.old", "/mnt/home/ann/x /home/anna /home/ann.old"),
            ("src/x", "src/x"),
        ] {
            assert_eq!(home("/home/ann/").short(text), shown);
        }
        assert_eq!(home("/").short("/x"), "/x");
        assert_eq!(Home::of(&[]).short("/home/ann/x"), "/home/ann/x");
    }
}
