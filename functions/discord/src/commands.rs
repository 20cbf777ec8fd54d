//! Slash commands out of the registry. Discord passes arguments in the order of the options and the hub's endpoint writes them
//! behind the command's name, so `/hot market:brooklyn` is `!hot brooklyn`: what is made here is what that understands, and what
//! can not be said so is refused by name, before anything is sent.

use std::collections::HashSet;

use hub::types::Command;
use serde::Serialize;

use crate::error::{Error, Result};

// https://discord.com/developers/docs/interactions/application-commands
const COMMANDS: usize = 100;
/// Our own beside the registry's: whose account it is (`hub_link_chat`).
const LINK: &str = "link";
const NAME: usize = 32;
const DESCRIPTION: usize = 100;
const OPTIONS: usize = 25;
/// Of name, description and those of the options together.
const CHARACTERS: usize = 8000;

/// A command as Discord takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlashCommand {
    /// What is typed behind the slash.
    pub name: String,
    /// 1: a slash command.
    #[serde(rename = "type")]
    pub kind: u8,
    /// 1 to 100 characters.
    pub description: String,
    /// Its arguments, those that must be given first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<SlashOption>,
}

/// An argument as Discord takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlashOption {
    /// 3: text.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Lower case.
    pub name: String,
    /// 1 to 100 characters.
    pub description: String,
    /// Whether it must be given.
    pub required: bool,
}

/// The registry as slash commands, in its order, and `/link`.
///
/// # Errors
/// [`Error::Config`] naming every command that Discord would not take, and why.
pub fn slash_commands(registry: &[Command]) -> Result<Vec<SlashCommand>> {
    let mut problems: Vec<String> = Vec::new();
    if registry.len() >= COMMANDS {
        problems.push(format!(
            "the registry has {} commands, and Discord takes {} beside /{LINK}: take some out of koji_commands",
            registry.len(),
            COMMANDS - 1
        ));
    }
    if registry.iter().any(|command| command.name == LINK) {
        problems.push(format!("!{LINK}: this name is the hub's own: give the command another in koji_commands"));
    }
    let mut commands: Vec<SlashCommand> = registry.iter().filter_map(|command| one(command, &mut problems)).collect();
    commands.push(SlashCommand {
        name: LINK.into(),
        kind: 1,
        description: "Say who you are here: the code that `hub link` shows, once".into(),
        options: vec![SlashOption {
            kind: 3,
            name: "code".into(),
            description: "what `hub link` shows".into(),
            required: true,
        }],
    });
    if problems.is_empty() { Ok(commands) } else { Err(Error::Config(problems.join("\n"))) }
}

fn one(command: &Command, problems: &mut Vec<String>) -> Option<SlashCommand> {
    let before = problems.len();
    let mut problem = |text: String| problems.push(format!("!{}: {text}", command.name));
    if !is_name(&command.name) {
        problem(format!("its name is to be 1 to {NAME} lower-case letters, digits, - and _"));
    }
    let description = command.description.trim();
    if !(1..=DESCRIPTION).contains(&description.chars().count()) {
        problem(format!(
            "its description has {} characters: give it 1 to {DESCRIPTION} in koji_commands",
            description.chars().count()
        ));
    }
    let options = match arguments(command) {
        Ok(options) => options,
        Err(text) => {
            problem(text);
            Vec::new()
        }
    };
    let characters: usize = [command.name.as_str(), description]
        .into_iter()
        .chain(options.iter().flat_map(|option| [option.name.as_str(), option.description.as_str()]))
        .map(|text| text.chars().count())
        .sum();
    if characters > CHARACTERS {
        problem(format!(
            "names and descriptions have {characters} characters together, and Discord takes {CHARACTERS}"
        ));
    }
    (problems.len() == before).then(|| SlashCommand {
        name: command.name.clone(),
        kind: 1,
        description: description.to_owned(),
        options,
    })
}

/// What stands behind the name in the usage line: `<must be given>`, `[may be left out]`.
fn arguments(command: &Command) -> Result<Vec<SlashOption>, String> {
    let usage = command.usage.trim();
    let form =
        || format!("its usage {usage:?} is not `!{} <needed> [optional]`: mend it in koji_commands", command.name);
    let mut rest = usage.strip_prefix('!').and_then(|text| text.strip_prefix(&command.name)).ok_or_else(form)?;
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return Err(form());
    }
    let mut options: Vec<SlashOption> = Vec::new();
    let mut names = HashSet::new();
    loop {
        rest = rest.trim_start();
        let (close, required) = match rest.chars().next() {
            None => break,
            Some('<') => ('>', true),
            Some('[') => (']', false),
            Some(_) => return Err(form()),
        };
        let (word, behind) = rest[1..].split_once(close).ok_or_else(form)?;
        rest = behind;
        let name = word.trim().to_lowercase().split_whitespace().collect::<Vec<_>>().join("-");
        if !is_name(&name) {
            return Err(format!(
                "its argument {word:?} can not be an option's name: 1 to {NAME} letters, digits, - and _"
            ));
        }
        if !names.insert(name.clone()) {
            return Err(format!("it has two arguments {name}: name them differently"));
        }
        // Options carry names, and arguments only their place: with one left out in the middle the rest would be taken for others.
        if options.last().is_some_and(|last| !last.required) {
            let why = if required { "an argument that is needed" } else { "another one" };
            return Err(format!(
                "{why}, {name}, stands behind one that may be left out: let one at most be optional, the last"
            ));
        }
        let description = if required { name.clone() } else { format!("{name} (may be left out)") };
        options.push(SlashOption { kind: 3, name, description, required });
    }
    if options.len() > OPTIONS {
        return Err(format!("it has {} arguments and Discord takes {OPTIONS}", options.len()));
    }
    Ok(options)
}

/// `^[-_\p{L}\p{N}]{1,32}$` in lower case.
fn is_name(name: &str) -> bool {
    (1..=NAME).contains(&name.chars().count())
        && name.chars().all(|char| char.is_alphanumeric() || char == '-' || char == '_')
        && name.to_lowercase() == name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(name: &str, usage: &str) -> Command {
        Command { name: name.into(), usage: usage.into(), description: "About it".into(), writes: false }
    }

    fn refusal(command: Command) -> String {
        slash_commands(&[command]).unwrap_err().to_string()
    }

    #[test]
    fn arguments_become_options_in_their_order() {
        let made =
            slash_commands(&[command("stats", "!stats"), command("send-samples", "!send-samples <n> [Market Name]")])
                .unwrap();
        assert!(made[0].options.is_empty());
        assert_eq!((made[2].name.as_str(), made[2].options[0].name.as_str()), ("link", "code"));
        let options: Vec<(&str, bool)> = made[1].options.iter().map(|o| (o.name.as_str(), o.required)).collect();
        assert_eq!(options, [("n", true), ("market-name", false)]);
        assert_eq!(
            serde_json::to_string(&made[0]).unwrap(),
            r#"{"name":"stats","type":1,"description":"About it"}"#,
            "no empty list of options"
        );
    }

    #[test]
    fn commands_that_discord_would_refuse_are_named() {
        let long = "x".repeat(33);
        for (command, why) in [
            (command(&long, &format!("!{long}")), "its name"),
            (command("Hot", "!Hot"), "its name"),
            (Command { description: "x".repeat(101), ..command("a", "!a") }, "101 characters"),
            (Command { description: " ".into(), ..command("a", "!a") }, "0 characters"),
            (command("a", "!b"), "usage"),
            (command("a", "!ab"), "usage"),
            (command("a", "!a market"), "usage"),
            (command("a", "!a <market"), "usage"),
            (command("a", "!a <x|y>"), "x|y"),
            (command("a", "!a <x> <X>"), "two arguments x"),
            (command("a", "!a [x] <y>"), "needed"),
            (command("link", "!link"), "the hub's own"),
            (command("a", "!a [x] [y]"), "another one"),
            (command("a", &format!("!a{}", (0..26).map(|n| format!(" <x{n}>")).collect::<String>())), "26 arguments"),
        ] {
            let name = format!("!{}: ", command.name);
            let said = refusal(command);
            assert!(said.contains(why) && said.starts_with(&name), "{said}");
        }
        let many: Vec<Command> = (0..100).map(|n| command(&format!("c{n}"), &format!("!c{n}"))).collect();
        assert!(slash_commands(&many).unwrap_err().to_string().contains("100 commands"));
        assert_eq!(slash_commands(&many[1..]).unwrap().len(), 100);
        let several = slash_commands(&[command("a", "!b"), command("c", "!d")]).unwrap_err().to_string();
        assert_eq!(several.lines().count(), 2);
    }
}
