//! What bounds work: budgets, shares, and where a model's tasks go.

use clap::{Args, Subcommand, ValueEnum};

/// A choice as it is typed, which is as the hub calls it.
pub fn name(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[derive(Subcommand, Debug)]
pub enum Budgets {
    /// How each stands
    #[command(after_help = "Example:\n  hub budgets list --json")]
    List,
    /// Make a budget, or change that of the same subject, measure and period
    #[command(
        after_help = "Examples:\n  hub budgets set cloud-hub cost 50 --per month\n  hub budgets set cloud-hub tokens 2000000 --project team/app --per day --on-silence cancel --silence 2h\n  hub budgets set cloud-hub seconds 8h --person mo@example.com --per day\n  hub budgets set cloud-hub/dispatch running 3\n  hub budgets set deployment cost 500 --per month"
    )]
    Set(Box<SetBudget>),
    /// Take a budget away: what it held back goes on
    #[command(after_help = "Example:\n  hub budgets remove 3")]
    Remove {
        /// Its number, as `hub budgets` shows it
        id: i64,
    },
}

#[derive(Args, Debug)]
pub struct SetBudget {
    /// SERVER, SERVER/CHANNEL, or `deployment` for all of them
    pub subject: String,
    /// What is counted
    pub measure: Measure,
    /// How much: US dollars, tokens, time (seconds, or 90m, 2h, 7d), tasks at once
    #[arg(allow_negative_numbers = true)]
    pub amount: String,
    /// Only of this project of the server, by its path or name
    #[arg(long, value_name = "PROJECT", group = "narrowed")]
    pub project: Option<String>,
    /// Only of this agent in the server
    #[arg(long, value_name = "AGENT", group = "narrowed")]
    pub agent: Option<String>,
    /// Only of this person in the server: their id, or the email they sign in with
    #[arg(long, value_name = "USER", group = "narrowed")]
    pub person: Option<String>,
    /// Only of this task and what comes of it; the first digits of its id are enough
    #[arg(long, value_name = "ID", group = "narrowed")]
    pub task: Option<String>,
    /// Anew with each of these, in UTC; without it, in all
    #[arg(long)]
    pub per: Option<Period>,
    /// What becomes of a task that met it and nobody answered
    #[arg(long, value_name = "WHAT")]
    pub on_silence: Option<OnSilence>,
    /// After how long: 30m, 2h, 7d
    #[arg(long, value_name = "TIME", requires = "on_silence")]
    pub silence: Option<String>,
    /// Who may answer, and so give more [default: owner]
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    pub answered_by: Vec<Answers>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub about: Option<String>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// US dollars that are billed
    Cost,
    /// US dollars that nobody is billed: a subscription pays, or they are reckoned by prices
    Notional,
    Tokens,
    /// Time that agents work
    Seconds,
    /// Tasks that run at once
    Running,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
pub enum Period {
    Day,
    Week,
    Month,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
pub enum OnSilence {
    /// It waits on
    Wait,
    /// It is cancelled
    Cancel,
    /// It goes on with as much again
    Continue,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
pub enum Answers {
    Owner,
    Operator,
}

#[derive(Subcommand, Debug)]
pub enum Shares {
    /// What each weighs, used lately, and how far it stands back for others
    #[command(after_help = "Example:\n  hub shares list --json")]
    List,
    /// Give a project of a server a weight, or the server itself among servers
    #[command(
        after_help = "Examples:\n  hub shares set cloud-hub 2 --project team/app\n  hub shares set cloud-hub 0.5"
    )]
    Set {
        server: String,
        /// 0.1 to 100; whatever has none weighs 1
        #[arg(allow_negative_numbers = true)]
        weight: f64,
        /// By its path or name
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
    },
    /// Take a weight away: it is 1 again
    #[command(after_help = "Example:\n  hub shares remove cloud-hub --project team/app")]
    Remove {
        server: String,
        /// By its path or name
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
    },
}

#[derive(Subcommand, Debug)]
pub enum Fallbacks {
    /// Where each model goes
    #[command(after_help = "Example:\n  hub fallbacks list --json")]
    List,
    /// Say which models run the tasks of another, the first to be tried first
    #[command(
        after_help = "Examples:\n  hub fallbacks set cloud-hub claude codex gemini\n  hub fallbacks set cloud-hub claude wait            # they wait for their own\n  hub fallbacks set deployment gemini claude         # where a server has none of its own"
    )]
    Set {
        /// SERVER, or `deployment`: where a server has none of its own
        server: String,
        model: Model,
        #[arg(required = true, value_name = "FALLBACK")]
        fallbacks: Vec<Fallback>,
    },
    /// Have a server go where the deployment says, again
    #[command(after_help = "Example:\n  hub fallbacks remove cloud-hub claude")]
    Remove {
        /// SERVER, or `deployment`: nowhere where a server has none of its own
        server: String,
        model: Model,
    },
}

#[derive(ValueEnum, Debug, Clone, Copy)]
pub enum Model {
    Claude,
    Codex,
    Gemini,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
pub enum Fallback {
    Claude,
    Codex,
    Gemini,
    /// Nothing else is tried: it waits for its own
    Wait,
}
