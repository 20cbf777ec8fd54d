//! What can be typed. Every command has an example in its help.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Talk to a fleet of coding agents, and run it.
#[derive(Parser, Debug)]
#[command(
    name = "hub",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  hub dev                                                            # the whole product on this machine\n  hub send buf-barista/quick \"What is in this folder?\" --wait        # in a second terminal, in the same folder\n  hub task explain a1b2\n  hub send --help                                                    # every command has examples in its help"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args, Debug, Clone)]
pub struct Global {
    /// A `postgres://…` database or a project's `https://…`. Without it: the `hub dev` of --data-dir, DATABASE_URL, SUPABASE_URL, or the
    /// `hub dev` that runs here
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// Print JSON instead of text, for scripts
    #[arg(long, global = true)]
    pub json: bool,
    /// Where `hub dev` keeps everything, `dev.env` included [default: HUB_DEV_DATA_DIR, else .hub]
    // Not clap's `env`: its usage lines would show the option as one that must be given wherever the variable is set.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl Global {
    /// Where `hub dev` keeps everything.
    pub fn data_dir(&self) -> PathBuf {
        let from_environment = || hub::config::environment("HUB_DEV_DATA_DIR").map(PathBuf::from);
        self.data_dir.clone().or_else(from_environment).unwrap_or_else(|| hub_local::DevOptions::default().data_dir)
    }
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the whole product on this machine: Postgres, REST, sign-in, gateway, a worker
    #[command(after_help = "Example:\n  hub dev --port 54321 --projects-root ~/code")]
    Dev(Dev),
    /// Bring a database to this build's schema
    #[command(
        after_help = "Examples:\n  hub migrate --platform --url postgres://supabase_admin@localhost/postgres   # once, on a bare Postgres\n  DATABASE_URL=postgres://postgres:…@db.example.co:5432/postgres hub migrate"
    )]
    Migrate {
        /// Only prepare a bare Postgres (roles, auth, realtime, grants), as a superuser
        #[arg(long)]
        platform: bool,
        /// Put rights, policies, triggers and the publication right, as after a restore; changes no data
        #[arg(long, conflicts_with = "platform")]
        repair: bool,
    },
    /// Put the demo data into a database (again and again, if you like)
    #[command(after_help = "Example:\n  hub seed")]
    Seed,
    /// Take tasks on this machine and run agents on them
    #[command(
        after_help = "Examples:\n  hub worker --device mac1 --url https://abc.supabase.co --agents agents.json --projects-root ~/code   # with HUB_DEVICE_SECRET\n  hub worker --device lab --url postgres://…                                                        # also keeps time"
    )]
    Worker(Worker),
    /// Send a message to a channel, as a person would type it
    #[command(
        after_help = "Examples:\n  hub send buf-barista/quick \"What is in this folder?\" --wait\n  hub send cloud-hub/dispatch \"and now the tests\" --thread 7f0c…"
    )]
    Send {
        /// SERVER/CHANNEL
        channel: String,
        /// The message; `-` reads it from standard input
        text: String,
        /// Stay until the task has ended, and print its conversation; exit 1 unless it completed
        #[arg(long)]
        wait: bool,
        /// Reply in this thread; its first digits are enough
        #[arg(long, value_name = "ID")]
        thread: Option<String>,
        /// Sending again with the same key is not sending twice
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Print a conversation as it grows, until Ctrl-C
    #[command(
        after_help = "Examples:\n  hub tail buf-barista/quick\n  hub tail cloud-hub/dispatch --thread 7f0c… --last 100\n  hub tail buf-barista/quick --after 41 --json      # an object a line; goes on behind message 41"
    )]
    Tail {
        /// SERVER/CHANNEL
        channel: String,
        /// This thread instead of the channel's own messages; its first digits are enough
        #[arg(long, value_name = "ID")]
        thread: Option<String>,
        /// How many of the messages that are there
        #[arg(long, default_value_t = 10, value_name = "COUNT")]
        last: u32,
        /// Begin behind the message of this number instead
        #[arg(long, value_name = "NUMBER", conflicts_with = "last", value_parser = clap::value_parser!(i64).range(0..))]
        after: Option<i64>,
    },
    /// Ask Koji: one command, one answer, nothing kept
    #[command(
        after_help = "Examples:\n  hub koji '!stats'\n  hub koji '!hot brooklyn'\n  hub koji '!export brooklyn' > leads.csv\n  hub koji '!stats' --json"
    )]
    Koji {
        /// The command; the shell wants it in single quotes
        #[arg(required = true, allow_negative_numbers = true)]
        command: Vec<String>,
        /// SERVER/CHANNEL in which it is asked
        #[arg(long, default_value = "koji-pipeline/leads")]
        channel: String,
    },
    /// Serve the HTTP functions alone, without the rest of `hub dev`
    #[command(
        after_help = "Example:\n  DATABASE_URL=postgres://postgres:…@db.example.co:5432/postgres SUPABASE_URL=https://example.supabase.co hub serve --listen 0.0.0.0:8787"
    )]
    Serve(Serve),
    /// Look at a task, cancel it or queue it again
    #[command(
        after_help = "Examples:\n  hub task show a1b2\n  hub task explain a1b2     # why it is, or is not, running\n  hub task cancel a1b2"
    )]
    Task {
        #[command(subcommand)]
        command: Task,
    },
    /// Which agents this machine can run, add one, try them; asks no hub
    #[command(
        after_help = "Examples:\n  hub agents                          # what is installed, logged in, new enough\n  hub agents add claude               # a configuration that works\n  hub agents add claude --policy full --model opus\n  hub agents check claude             # one small task"
    )]
    Agents {
        #[command(subcommand)]
        command: Option<Agents>,
        /// The list of agents [default: aura-hub/agents.json in XDG_CONFIG_HOME or ~/.config]
        #[arg(long, global = true, value_name = "FILE")]
        agents: Option<PathBuf>,
    },
    /// The machines of the mesh
    #[command(after_help = "Example:\n  hub devices --json")]
    Devices,
    /// The threads of a channel
    #[command(after_help = "Example:\n  hub threads cloud-hub/dispatch --status active")]
    Threads {
        /// SERVER/CHANNEL
        channel: String,
        /// Only these
        #[arg(long)]
        status: Option<ThreadStatus>,
    },
    /// Enrol, drain or revoke a machine
    #[command(after_help = "Examples:\n  hub device add mac1\n  hub device drain mac1")]
    Device {
        #[command(subcommand)]
        command: Device,
    },
    /// Let people in
    #[command(
        after_help = "Examples:\n  hub member add cloud-hub mo@example.com owner\n  hub member accept cloud-hub        # with your own token in HUB_TOKEN"
    )]
    Member {
        #[command(subcommand)]
        command: Member,
    },
    /// What servers may name outside themselves: folders of machines, repositories, chats, URLs. Over DATABASE_URL
    #[command(after_help = "Examples:\n  hub places list\n  hub places add project cloud-hub team/app")]
    Places {
        #[command(subcommand)]
        command: Places,
    },
    /// Make the hub known to Discord
    #[command(after_help = "Example:\n  hub discord register --dry-run")]
    Discord {
        #[command(subcommand)]
        command: Discord,
    },
    /// Carry what people write elsewhere into the hub, until Ctrl-C
    #[command(after_help = "Example:\n  DISCORD_BOT_TOKEN=… DATABASE_URL=postgres://… hub bridge discord")]
    Bridge {
        #[command(subcommand)]
        command: Bridge,
    },
    /// Print a token of a `hub dev`, for curl and such
    #[command(
        after_help = "Example:\n  curl -H \"apikey: $(hub token anon)\" -H \"Authorization: Bearer $(hub token operator)\" http://127.0.0.1:54321/rest/v1/hub_servers"
    )]
    Token {
        /// Whose
        #[arg(default_value = "operator")]
        who: TokenOf,
    },
    /// Look whether everything is in order, and say what to do where it is not
    ///
    /// Looks at as much of a deployment as it is given: Postgres (`--url postgres://…` or DATABASE_URL), the project's API
    /// (`--url https://…` or SUPABASE_URL, with SUPABASE_SERVICE_ROLE_KEY, SUPABASE_ANON_KEY or HUB_TOKEN). Ends with 1 if anything is wrong.
    #[command(
        after_help = "Examples:\n  hub doctor                                       # a running `hub dev`\n  hub doctor --url https://abc.supabase.co         # with DATABASE_URL and SUPABASE_SERVICE_ROLE_KEY it looks at everything"
    )]
    Doctor,
    /// Print a completion script
    #[command(after_help = "Example:\n  hub completions zsh > ~/.zfunc/_hub")]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args, Debug)]
pub struct Dev {
    /// Port of the gateway
    #[arg(long, default_value_t = 54321)]
    pub port: u16,
    /// Port of Postgres
    #[arg(long, default_value_t = 54322)]
    pub db_port: u16,
    /// Start over: delete the data of an earlier `hub dev` first
    #[arg(long)]
    pub reset: bool,
    /// JSON list of the agents it runs; without it HUB_WORKER_AGENTS (the list itself), else the list of `hub agents`, else those of
    /// claude, codex and gemini that are in PATH, and survey
    #[arg(long, value_name = "FILE")]
    pub agents: Option<PathBuf>,
    /// Do not start the worker (its device is there all the same)
    #[arg(long)]
    pub no_worker: bool,
    /// Where projects are, instead of a folder with a small one inside the data directory
    #[arg(long, value_name = "DIR")]
    pub projects_root: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Serve {
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:8787", env = "HUB_SERVE_LISTEN_ADDR", value_name = "ADDRESS")]
    pub listen: std::net::SocketAddr,
    /// Connections to Postgres at most
    #[arg(long, default_value_t = 10, env = "HUB_SERVE_DB_CONNECTIONS_COUNT", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub connections: u32,
    /// Proxies in front, each of which appends to X-Forwarded-For whom it speaks for
    #[arg(long, default_value_t = 0, env = "HUB_SERVE_TRUSTED_PROXIES_COUNT", value_name = "COUNT")]
    pub trusted_proxies: usize,
}

#[derive(Args, Debug)]
pub struct Worker {
    /// This machine's name
    #[arg(long, env = "HUB_WORKER_DEVICE")]
    pub device: String,
    /// JSON list of the agents it runs; without it HUB_WORKER_AGENTS (the list itself), else the list of `hub agents`, else `survey` for every model.
    /// An agent gets of this environment only what its kind needs and what its key `env` names (functions/worker/README.md)
    #[arg(long, value_name = "FILE")]
    pub agents: Option<PathBuf>,
    /// Tasks at once
    #[arg(long, default_value_t = 2, env = "HUB_WORKER_CAPACITY", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub capacity: u16,
    /// How long a worker that is told to stop lets its tasks finish
    #[arg(long, default_value_t = 30, env = "HUB_WORKER_DRAIN_SECONDS", value_name = "SECONDS")]
    pub drain_seconds: u64,
    /// Projects are found below this folder, and nothing runs outside it
    #[arg(long, env = "HUB_WORKER_PROJECTS_ROOT", default_value = ".", value_name = "DIR")]
    pub projects_root: PathBuf,
    /// Where it keeps its journal: what its agents did, until the hub knows. Without it $XDG_STATE_HOME/aura-hub/DEVICE, or ~/.local/state
    #[arg(long, env = "HUB_WORKER_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum Agents {
    /// Add one to the list, configured so that it works
    #[command(
        after_help = "Examples:\n  hub agents add claude\n  hub agents add claude-review --program claude --policy read-only"
    )]
    Add {
        /// Its name; that of its program, if it is a known one
        name: String,
        /// A full path, or a name in PATH
        #[arg(long)]
        program: Option<String>,
        /// The model to ask for, as the program takes it
        #[arg(long)]
        model: Option<String>,
        /// What it may do without asking [default: edit]
        #[arg(long)]
        policy: Option<Policy>,
        /// A name for its login: machines that say the same share its limits
        #[arg(long)]
        account: Option<String>,
    },
    /// Give one, or each that is configured, a small task; exit 1 unless all did it
    #[command(after_help = "Example:\n  hub agents check claude")]
    Check { name: Option<String> },
}

/// What an agent may do without asking.
#[derive(ValueEnum, Debug, Clone, Copy)]
pub enum Policy {
    /// Read and search in its folder
    ReadOnly,
    /// Change files in its folder and run programs there
    Edit,
    /// Everything that the worker's user can
    Full,
}

impl Policy {
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Edit => "edit",
            Self::Full => "full",
        }
    }
}

#[derive(Subcommand, Debug)]
pub enum Task {
    /// Everything about it
    #[command(after_help = "Example:\n  hub task show a1b2")]
    Show { id: String },
    /// Why it is, or is not, running
    #[command(after_help = "Example:\n  hub task explain a1b2     # no device online with platform macos")]
    Explain { id: String },
    /// Stop it, or do not let it start
    #[command(after_help = "Example:\n  hub task cancel a1b2")]
    Cancel { id: String },
    /// Queue a failed or cancelled task again
    #[command(after_help = "Example:\n  hub task retry a1b2")]
    Retry { id: String },
}

#[derive(Subcommand, Debug)]
pub enum Device {
    /// Enrol a machine, or give one that is enrolled a new secret; it is shown once
    #[command(
        after_help = "Example:\n  hub device add mac1 --server cloud-hub --server buf-barista     # needs SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY"
    )]
    Add {
        name: String,
        /// A server it serves; without any, all there are now
        #[arg(long = "server", value_name = "SERVER")]
        servers: Vec<String>,
    },
    /// Let it finish what it runs and give it nothing new
    #[command(after_help = "Examples:\n  hub device drain mac1\n  hub device drain mac1 --undo")]
    Drain {
        name: String,
        /// Let it work again
        #[arg(long)]
        undo: bool,
    },
    /// Make its token good for nothing, and take back what it runs
    #[command(after_help = "Examples:\n  hub device revoke mac1\n  hub device revoke mac1 --undo")]
    Revoke {
        name: String,
        /// Take the revocation back
        #[arg(long)]
        undo: bool,
    },
}

#[derive(Subcommand, Debug)]
pub enum Member {
    /// Let a person into a server, or change their role; the first owner is made this way
    #[command(
        after_help = "Examples:\n  hub member add cloud-hub mo@example.com owner\n  hub member add cloud-hub 6b1f…-uuid viewer"
    )]
    Add {
        server: String,
        /// Their id, or the email they sign in with
        user: String,
        role: Role,
    },
    /// Take a person out of a server
    #[command(after_help = "Example:\n  hub member remove cloud-hub mo@example.com")]
    Remove { server: String, user: String },
    /// Invite a person into a server of yours: they are a member when they accept
    #[command(after_help = "Example:\n  hub member invite my-server 6b1f…-uuid operator")]
    Invite { server: String, user: String, role: Role },
    /// The invitations that wait for you, or that your servers sent
    #[command(after_help = "Example:\n  hub member invitations")]
    Invitations,
    /// Accept an invitation (`hub member invitations` shows those there are)
    #[command(after_help = "Example:\n  hub member accept cloud-hub")]
    Accept {
        /// Its name, as it is shown or as it is written in SERVER/CHANNEL, or its id
        server: String,
    },
    /// Leave a server, or decline an invitation to it
    #[command(after_help = "Example:\n  hub member leave cloud-hub")]
    Leave {
        /// Its name, as it is shown or as it is written in SERVER/CHANNEL, or its id
        server: String,
    },
}

#[derive(Subcommand, Debug)]
pub enum Places {
    /// What each server may name outside itself
    #[command(after_help = "Example:\n  hub places list")]
    List,
    /// Let a server name a folder, a repository, a chat or a URL
    #[command(
        after_help = "Examples:\n  hub places add project acme team/app              # a folder below every machine's projects root, and all in it\n  hub places add project acme team/app --device mac1\n  hub places add github acme 'acme/*' --secret HUB_GITHUB_WEBHOOK_SECRET_ACME\n  hub places add telegram acme channel:-1001234567890"
    )]
    Add {
        kind: PlaceKind,
        server: String,
        /// A folder, owner/name or owner/*, channel:<id>, a URL; * for any
        target: String,
        /// Of a project: the only device where it is
        #[arg(long)]
        device: Option<String>,
        /// The environment variable of the only secret it may be reached with, or report with
        #[arg(long, value_name = "NAME")]
        secret: Option<String>,
    },
    /// Take a place away: what uses it stops
    #[command(after_help = "Example:\n  hub places remove project cloud-hub team/app")]
    Remove { kind: PlaceKind, server: String, target: String },
}

#[derive(clap::ValueEnum, Debug, Clone, Copy)]
pub enum PlaceKind {
    Project,
    Github,
    Telegram,
    Discord,
    Webhook,
}

impl PlaceKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Github => "github",
            Self::Telegram => "telegram",
            Self::Discord => "discord",
            Self::Webhook => "webhook",
        }
    }
}

#[derive(Subcommand, Debug)]
pub enum Discord {
    /// Make Discord's slash commands those of the registry, in the place of all the application has. Needs DISCORD_BOT_TOKEN
    #[command(
        after_help = "Examples:\n  hub discord register --guild 197038439483310086     # one server, at once\n  hub discord register                                # every server the bot is in\n  hub discord register --dry-run                      # what would be sent; needs no token"
    )]
    Register {
        /// Only in this server of Discord
        #[arg(long, value_name = "ID")]
        guild: Option<String>,
        /// Print what would be sent, and send nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Subcommand, Debug)]
pub enum Bridge {
    /// Free text, replies and threads of Discord's bridged channels. Needs DISCORD_BOT_TOKEN, and Postgres or the service key
    #[command(
        after_help = "Examples:\n  DISCORD_BOT_TOKEN=… DATABASE_URL=postgres://… hub bridge discord\n  DISCORD_BOT_TOKEN=… SUPABASE_SERVICE_ROLE_KEY=… hub bridge discord --url https://abc.supabase.co"
    )]
    Discord,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
pub enum Role {
    Owner,
    Operator,
    Viewer,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Operator => "operator",
            Role::Viewer => "viewer",
        }
    }
}

#[derive(ValueEnum, Debug, Clone, Copy)]
pub enum ThreadStatus {
    Active,
    Idle,
    Decaying,
    Archived,
}

impl ThreadStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            ThreadStatus::Active => "active",
            ThreadStatus::Idle => "idle",
            ThreadStatus::Decaying => "decaying",
            ThreadStatus::Archived => "archived",
        }
    }
}

#[derive(ValueEnum, Debug, Clone, Copy)]
pub enum TokenOf {
    Operator,
    Viewer,
    Outsider,
    Device,
    Anon,
    Service,
}

impl TokenOf {
    pub fn variable(self) -> &'static str {
        match self {
            TokenOf::Operator => "HUB_OPERATOR_JWT",
            TokenOf::Viewer => "HUB_VIEWER_JWT",
            TokenOf::Outsider => "HUB_OUTSIDER_JWT",
            TokenOf::Device => "HUB_DEVICE_JWT",
            TokenOf::Anon => "SUPABASE_ANON_KEY",
            TokenOf::Service => "SUPABASE_SERVICE_ROLE_KEY",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(words: &[&str]) -> Cli {
        Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    #[test]
    fn options_behind_a_koji_command_are_options() {
        let cli = parse(&["hub", "koji", "!hot", "brooklyn", "--channel", "koji-pipeline/samples", "--json"]);
        assert!(cli.global.json);
        let Command::Koji { command, channel } = cli.command else { panic!("not koji") };
        assert_eq!((command.join(" ").as_str(), channel.as_str()), ("!hot brooklyn", "koji-pipeline/samples"));
        let Command::Koji { command, .. } = parse(&["hub", "koji", "!order", "cafe", "-5"]).command else {
            panic!("not koji")
        };
        assert_eq!(command, ["!order", "cafe", "-5"]);
    }

    #[test]
    fn the_help_of_every_command_has_an_example() {
        fn look(command: &clap::Command, path: &str) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Example"), "{path} has no example");
            for below in command.get_subcommands() {
                look(below, &format!("{path} {}", below.get_name()));
            }
        }
        look(&Cli::command(), "hub");
    }

    #[test]
    fn no_help_names_a_command_that_is_not_there() {
        let help = Cli::command().render_long_help().to_string();
        assert!(!help.contains("steer"), "{help}");
    }
}
