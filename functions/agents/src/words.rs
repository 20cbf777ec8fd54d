//! What a tool does, in plain words. People read them in a conversation, one line each.

/// As long as what is said of a tool may be, in characters.
const LONGEST: usize = 120;

/// A file name as people of this project read it: without the folder that the agent works in.
pub(crate) fn file<'a>(folder: &str, path: &'a str) -> &'a str {
    path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).filter(|rest| !rest.is_empty()).unwrap_or(path)
}

/// `Running cargo test`: a command line without the shell that some programs wrap around it.
pub(crate) fn running(command: &str) -> String {
    line("Running", unwrapped(command))
}

/// A verb and what it is done to, on one line.
pub(crate) fn line(verb: &str, what: &str) -> String {
    let mut text = String::from(verb);
    for word in what.split_whitespace() {
        text.push(' ');
        text.push_str(word);
        if text.len() > LONGEST * 4 {
            break;
        }
    }
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// `bash -lc 'cargo test'` is `cargo test`.
fn unwrapped(command: &str) -> &str {
    let command = command.trim();
    let Some((shell, rest)) = command.split_once(char::is_whitespace) else { return command };
    if !matches!(shell.rsplit('/').next(), Some("bash" | "sh" | "zsh" | "dash")) {
        return command;
    }
    let rest = rest.trim_start();
    let Some(script) = ["-lc", "-c"].iter().find_map(|flag| rest.strip_prefix(flag)) else { return command };
    let script = script.trim();
    ['\'', '"']
        .iter()
        .find_map(|quote| script.strip_prefix(*quote)?.strip_suffix(*quote))
        .filter(|inner| !inner.contains(['\'', '"']))
        .unwrap_or(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_without_its_shell() {
        for (command, words) in [
            ("/bin/bash -lc 'cargo test'", "Running cargo test"),
            ("bash -c \"ls -l\"", "Running ls -l"),
            ("bash -lc ls", "Running ls"),
            ("bash script.sh -c x", "Running bash script.sh -c x"),
            ("  cargo\n  test ", "Running cargo test"),
            ("bash", "Running bash"),
        ] {
            assert_eq!(running(command), words);
        }
        assert_eq!(running(&"é".repeat(500)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn a_file_is_named_from_its_folder() {
        assert_eq!(file("/p/a", "/p/a/src/x.rs"), "src/x.rs");
        assert_eq!(file("/p/a", "/p/ab/x.rs"), "/p/ab/x.rs");
        assert_eq!(file("/p/a", "/p/a"), "/p/a");
    }
}
