//! What a project's folder is: a repository that can have worktrees, or not, and why.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::DirBuilder,
    io,
    os::unix::{
        ffi::OsStringExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::{
    Lock, Trouble, Workspaces,
    git::{Git, Said},
};

/// A repository, seen from a project's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    /// The working tree that the project's folder is in.
    pub(super) top: PathBuf,
    /// What all its worktrees share.
    pub(super) common: PathBuf,
    /// The project's folder below `top`; empty if it is that.
    pub(super) below: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Git(Repository),
    /// It has none, or none that can have worktrees: why, for people.
    InPlace(String),
}

const WHERE: [&str; 6] = [
    "rev-parse",
    "--path-format=absolute",
    "--is-bare-repository",
    "--is-inside-work-tree",
    "--git-common-dir",
    "--show-toplevel",
];
const COMMIT: [&str; 4] = ["rev-parse", "--quiet", "--verify", "HEAD^{commit}"];

/// A repository gets its first commit, a folder becomes one.
const REMEMBERED: Duration = Duration::from_secs(300);

/// What is asked of git, one question after the other; each answer may be the last word.
enum Next {
    Over(Found),
    Commit(Repository),
}

pub(super) async fn find(all: &Workspaces, directory: &Path) -> Result<Found, Trouble> {
    let call = || all.git.call(directory, &all.root);
    let said = match call().args(WHERE).run().await {
        Err(super::git::Silent::NotStarted(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Found::InPlace(NO_GIT.into()));
        }
        said => said?,
    };
    let repository = match look(&all.root, directory, &said)? {
        Next::Over(found) => return Ok(found),
        Next::Commit(repository) => repository,
    };
    if !call().args(COMMIT).holds().await? {
        return Ok(Found::InPlace(EMPTY.into()));
    }
    let committed = call().args(tree_of(&repository)).holds().await?;
    Ok(if committed { Found::Git(repository) } else { Found::InPlace(NOT_IN_IT.into()) })
}

/// Whether projects have worktrees, remembered for a while: this is asked again with each heartbeat.
#[derive(Debug)]
pub(crate) struct Worktrees {
    root: PathBuf,
    git: Git,
    seen: Mutex<HashMap<PathBuf, (Instant, bool)>>,
}

impl Worktrees {
    /// `root` is that of the projects, canonical.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), git: Git::new(), seen: Mutex::default() }
    }

    /// Whether a task in this folder (canonical) gets a worktree, as [`Workspaces::open`] will decide it. Blocks while git looks.
    pub(crate) fn has(&self, directory: &Path) -> bool {
        let mut around = directory.ancestors().take_while(|folder| folder.starts_with(&self.root));
        if !around.any(|folder| folder.join(".git").exists()) {
            return false;
        }
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, has)) = seen().get(directory)
            && at.elapsed() < REMEMBERED
        {
            return *has;
        }
        let has = self.look(directory);
        let mut seen = seen();
        seen.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        seen.insert(directory.to_path_buf(), (Instant::now(), has));
        has
    }

    fn look(&self, directory: &Path) -> bool {
        let call = || self.git.call(directory, &self.root);
        let Ok(said) = call().args(WHERE).run_now() else { return false };
        match look(&self.root, directory, &said) {
            Ok(Next::Commit(repository)) => [call().args(COMMIT), call().args(tree_of(&repository))]
                .iter()
                .all(|call| call.run_now().is_ok_and(|said| said.status.success())),
            Ok(Next::Over(_)) => false,
            // What is wrong is told to whoever wants to work there.
            Err(_) => true,
        }
    }
}

const NO_GIT: &str = "this machine has no git";
const EMPTY: &str = "its repository has no commit yet";
const NOT_IN_IT: &str = "the repository around it does not have this folder";

/// Whether the folder is in what is checked out: one that is ignored there would be missing in a worktree.
fn tree_of(repository: &Repository) -> [OsString; 3] {
    let mut name = OsString::from("HEAD:");
    name.push(&repository.below);
    ["cat-file".into(), "-e".into(), name]
}

fn look(root: &Path, directory: &Path, said: &Said) -> Result<Next, Trouble> {
    let in_place = |why: &str| Ok(Next::Over(Found::InPlace(why.into())));
    let mut lines = said.out.split(|byte| *byte == b'\n');
    let bare = lines.next().unwrap_or_default();
    let inside = lines.next().unwrap_or_default();
    if bare == b"true" {
        return in_place("its repository is a bare one");
    }
    if !said.status.success() {
        if said.err.contains("not a git repository") {
            return in_place("it is no git repository");
        }
        return Err(said.trouble("rev-parse"));
    }
    if inside != b"true" {
        return in_place("it is inside a git folder");
    }
    let mut path = || lines.next().map(|bytes| PathBuf::from(OsString::from_vec(bytes.to_vec())));
    let (Some(common), Some(top)) = (path(), path()) else {
        return in_place("git does not say where its repository is");
    };
    // One with a line break in its name comes as two.
    let (Ok(common), Ok(top)) = (common.canonicalize(), top.canonicalize()) else {
        return in_place("git does not say where its repository is");
    };
    let Ok(below) = directory.strip_prefix(&top) else { return in_place("its repository is elsewhere") };
    if top == root || !top.starts_with(root) {
        return in_place("the repository around it has the projects of others in it");
    }
    let (own, owner) = (nix::unistd::geteuid(), top.metadata().map(|meta| meta.uid()).unwrap_or_default());
    if own.is_root() && owner != 0 {
        return in_place("the worker runs as root, so a worktree would not belong to whom the project's folder does");
    }
    Ok(Next::Commit(Repository { below: below.to_path_buf(), top, common }))
}

impl Repository {
    /// A name for it below the worker's state.
    pub(super) fn id(&self) -> String {
        hash(&self.common)
    }

    /// The name of its folder, with nothing in it that a tool could trip over.
    pub(super) fn label(&self) -> String {
        let name = self.top.file_name().unwrap_or_default().to_string_lossy();
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
        let name: String = name.chars().map(plain).take(40).collect();
        if name.starts_with('-') || name.is_empty() { format!("project{name}") } else { name }
    }

    /// The folder of its workspaces. Who may read the repository may read them.
    pub(super) fn folder(&self, all: &Workspaces) -> io::Result<PathBuf> {
        let folder = all.state.join("workspaces").join(self.id());
        let mode = self.top.metadata()?.permissions().mode() & 0o755 | 0o700;
        DirBuilder::new().recursive(true).mode(mode).create(&folder)?;
        Ok(folder)
    }

    /// One lock a repository, among all workers of the machine: git's own collide (`config.lock`), and then fail.
    pub(super) async fn lock(&self) -> Result<Lock, Trouble> {
        let folder = self.common.join("aura-hub");
        let unable = |error: io::Error| {
            Trouble::passing(format!("the project's repository can not be written to: {}", error.kind()))
        };
        DirBuilder::new().recursive(true).mode(0o755).create(&folder).map_err(unable)?;
        Lock::of(folder.join("lock")).await.map_err(unable)
    }
}

/// A path as a short name.
pub(super) fn hash(path: &Path) -> String {
    hex(&Sha256::digest(path.as_os_str().as_encoded_bytes())[..8])
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}
