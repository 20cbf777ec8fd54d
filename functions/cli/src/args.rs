//! What can be typed. Every command has an example in its help.

mod bounds;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

pub use bounds::{Budgets, Fallbacks, Measure, SetBudget, Shares, name};

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
        after_help = "Examples:\n  hub send buf-barista/quick \"What is in this folder?\" --wait\n  hub send cloud-hub/dispatch \"and now the tests\" --thread 7f0c…\n  hub send buf-barista/quick \"and in the one above?\" --reply-to 41d2…     # a message of a task, as `hub tail --json` shows its id"
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
        /// Answer this message of a task, and so go on with its work; its first digits are enough
        #[arg(long, value_name = "MESSAGE", conflicts_with = "thread")]
        reply_to: Option<String>,
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
    /// Look at a task, tell its agent something, cancel it, route it or queue it again
    #[command(
        after_help = "Examples:\n  hub task show a1b2\n  hub task explain a1b2     # why it is, or is not, running\n  hub task steer a1b2 \"leave the migrations alone\"\n  hub task cancel a1b2"
    )]
    Task {
        #[command(subcommand)]
        command: Task,
    },
    /// What waits for your answer
    #[command(after_help = "Examples:\n  hub inbox\n  hub task answer a1b2")]
    Inbox {
        /// How many at most
        #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..=1000))]
        limit: i32,
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
    /// The worktrees that tasks on this machine have: how large, how old, whether their work is safe; asks no hub
    #[command(
        after_help = "Examples:\n  hub workspaces                      # of all workers of this machine\n  hub workspaces clean --dry-run      # what is merged or pushed, and why the rest stays\n  hub workspaces clean a1b2c3d4       # this one: what is nowhere else is committed and bundled first"
    )]
    Workspaces {
        #[command(subcommand)]
        command: Option<Workspaces>,
        /// Where a worker keeps them [default: those of all devices in XDG_STATE_HOME or ~/.local/state, and of the `hub dev` here]
        #[arg(long, global = true, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
    /// The machines of the mesh
    #[command(after_help = "Example:\n  hub devices --json")]
    Devices,
    /// What accounts may still use of their agents: how much is used, until when a limit holds, and how that is known
    #[command(after_help = "Examples:\n  hub limits\n  hub limits --json")]
    Limits,
    /// What work cost that ended in the last days, in the servers that you operate
    #[command(
        after_help = "Examples:\n  hub costs                           # day by day\n  hub costs --by project --days 30\n  hub costs --by agent --json"
    )]
    Costs {
        /// A row for each of these
        #[arg(long, value_enum, default_value = "day")]
        by: CostsBy,
        /// How many days, in UTC; today is the last
        #[arg(long, default_value_t = 7, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=3660))]
        days: u32,
    },
    /// How much may be used, how much of it is, and what is left; or set such a budget, or take one away
    #[command(
        after_help = "Examples:\n  hub budgets\n  hub budgets set cloud-hub cost 50 --per month\n  hub budgets set cloud-hub/dispatch running 3          # so many tasks at once\n  hub budgets remove 3"
    )]
    Budgets {
        #[command(subcommand)]
        command: Option<Budgets>,
    },
    /// What servers and projects weigh against each other while both have work waiting
    #[command(
        after_help = "Examples:\n  hub shares\n  hub shares set cloud-hub 2 --project team/app    # may use twice as much before it stands back"
    )]
    Shares {
        #[command(subcommand)]
        command: Option<Shares>,
    },
    /// Which model runs the tasks of another while that is at its limit on every machine
    #[command(after_help = "Examples:\n  hub fallbacks\n  hub fallbacks set cloud-hub claude codex gemini")]
    Fallbacks {
        #[command(subcommand)]
        command: Option<Fallbacks>,
    },
    /// The threads of a channel
    #[command(after_help = "Example:\n  hub threads cloud-hub/dispatch --status active")]
    Threads {
        /// SERVER/CHANNEL; without it those of all channels
        channel: Option<String>,
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
    /// A code that says in a chat that an account there is yours: what it presses under a question then counts as your answer
    #[command(
        after_help = "Examples, with your own token in HUB_TOKEN:\n  hub link        # then, in a private chat with the bot: /link CODE\n  hub link list\n  hub link remove telegram 4711"
    )]
    Link {
        #[command(subcommand)]
        command: Option<Link>,
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
    #[command(flatten)]
    WayBack(WayBack),
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

/// What a running agent calls: the hub is reached by the socket of its attempt, and needs no other address.
#[derive(Subcommand, Debug)]
pub enum WayBack {
    /// For a running agent: say something in its task's conversation, now
    #[command(after_help = "Example:\n  hub say \"The tests pass; now the documentation.\"")]
    Say {
        /// The words; `-` reads them from standard input
        text: String,
    },
    /// For a running agent: ask a person
    #[command(
        after_help = "Examples:\n  hub ask \"Which database?\" --option Postgres --option SQLite --wait\n  hub ask \"How shall it be called?\" --body \"It renames files by a pattern.\"    # the answer is then in `hub thread`\n\nExit codes with --wait: 0 it is answered, 75 there is no answer yet (which is no refusal), 1 it can not be asked."
    )]
    Ask {
        /// What is to be decided, in a line
        title: String,
        /// What one must know to decide it
        #[arg(long)]
        body: Option<String>,
        /// An answer to choose from; without any it is answered in words
        #[arg(long = "option", value_name = "OPTION")]
        options: Vec<String>,
        /// Stay until there is an answer, and print it
        #[arg(long)]
        wait: bool,
    },
    /// For a running agent: give a piece of work to another agent
    #[command(
        after_help = "Examples:\n  hub subtask \"Find out which endpoints of the API have no test, and list them\" --agent codex --wait\n\nIn a git project a subtask begins at the project's base branch, without what you have done: say all that it needs to know.\n\nExit codes with --wait: 0 it is complete, 75 it has not ended yet, 1 it failed or can not be made."
    )]
    Subtask {
        /// What is to be done; `-` reads it from standard input
        text: String,
        /// The model that is to do it
        #[arg(long)]
        model: Option<String>,
        /// The agent that is to do it
        #[arg(long)]
        agent: Option<String>,
        /// Stay until it has ended, and print what it says
        #[arg(long)]
        wait: bool,
    },
    /// For a running agent: print its task's conversation
    #[command(after_help = "Example:\n  hub thread --limit 10")]
    Thread {
        /// So many messages, the newest
        #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
    /// For a running agent's program: the same as tools of the Model Context Protocol, over standard input and output
    #[command(after_help = "Example:\n  hub mcp     # the worker tells Claude, Codex and ACP agents of it by itself")]
    Mcp,
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

#[derive(Subcommand, Debug)]
pub enum Workspaces {
    /// Remove those whose work is merged or pushed, and say why the others stay
    #[command(after_help = "Examples:\n  hub workspaces clean\n  hub workspaces clean a1b2c3d4 --dry-run")]
    Clean {
        /// Only this one, by its name or how only that begins, and whatever it holds: what is left is committed, and what is nowhere else goes into a bundle
        name: Option<String>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
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
    /// Answer what it asks; on a terminal all of it is shown first
    #[command(
        after_help = "Examples:\n  hub task answer a1b2                  # look at it, and answer\n  hub task answer a1b2 allow\n  hub task answer a1b2 --deny --text \"never in production\"\n  hub task answer a1b2 \"the second one\""
    )]
    Answer {
        /// The task's, or the ask's where it asks several things
        id: String,
        /// allow, allow_task (the very same again, too) or deny; continue or cancel; an option's key, or any text where a question takes one
        #[arg(conflicts_with = "deny")]
        answer: Option<String>,
        /// What you have to say about it; to a question, the answer
        #[arg(long, value_name = "TEXT")]
        text: Option<String>,
        /// Say no
        #[arg(long)]
        deny: bool,
    },
    /// Tell the agent of a running task something; its conversation says what became of it
    #[command(after_help = "Example:\n  hub task steer a1b2 \"leave the migrations alone\"")]
    Steer {
        id: String,
        /// What to tell it; `-` reads it from standard input
        text: String,
    },
    /// Say which agent, model or device a task is for that does not run, or what kind of work it is
    #[command(
        after_help = "Examples:\n  hub task route a1b2 --agent codex\n  hub task route a1b2 --device mac1\n  hub task route a1b2 --model any --device any     # whoever can\n  hub task route a1b2 --type fix     # so are requests like it from now on"
    )]
    #[command(group = clap::ArgGroup::new("to").required(true).multiple(true).args(["agent", "model", "device", "kind"]))]
    Route {
        id: String,
        /// The agent, by its name; without --model any model of it
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
        /// claude, codex, gemini or any; without --agent whoever offers it
        #[arg(long, value_name = "MODEL")]
        model: Option<String>,
        /// The device, by its name; `any` takes that back
        #[arg(long, value_name = "DEVICE")]
        device: Option<String>,
        /// What kind of work it is: code, fix, test, review, research, docs, ops, plan, data, design or other
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
    },
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
pub enum Link {
    /// The accounts that are linked to you
    #[command(after_help = "Example:\n  hub link list")]
    List,
    /// Take an account from you: what it presses counts as nobody's from then on
    #[command(after_help = "Example:\n  hub link remove telegram 4711")]
    Remove {
        /// `discord` or `telegram`
        provider: String,
        /// Its number, as `hub link list` shows it
        account: String,
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

#[derive(ValueEnum, Debug, Clone, Copy)]
pub enum ThreadStatus {
    Active,
    Idle,
    Decaying,
    Archived,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
pub enum CostsBy {
    Day,
    Project,
    Agent,
    Person,
    Server,
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
    fn costs_are_by_day_and_of_a_week_unless_said_otherwise() {
        let Command::Costs { by, days } = parse(&["hub", "costs"]).command else { panic!("not costs") };
        assert_eq!((name(by).as_str(), days), ("day", 7));
        let cli = parse(&["hub", "costs", "--by", "person", "--days", "30", "--json"]);
        let Command::Costs { by, days } = cli.command else { panic!("not costs") };
        assert_eq!((name(by).as_str(), days, cli.global.json), ("person", 30, true));
        for wrong in [["--by", "model"], ["--days", "0"]] {
            assert!(Cli::try_parse_from(["hub", "costs"].into_iter().chain(wrong)).is_err(), "{wrong:?}");
        }
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
}
