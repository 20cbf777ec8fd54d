//! Looking through workspaces, and removing those whose work is safe: merged, with the remote, or in a bundle. Only then, only after the
//! worktree was found clean, and never while somebody works in it.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    Lock, Trouble, Workspaces,
    git::{Call, WRITE},
    place::{About, LOCK, Place, forget, known, size},
    repository::Repository,
};

/// The subject of what is committed so that it is not lost.
const LEFT: &str = "Left uncommitted in a workspace that is removed";

/// What a workspace holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// Somebody works in it.
    InUse,
    /// Files that are not committed, or commits that are not on its branch.
    Uncommitted,
    /// So many commits that are neither merged nor with the remote.
    Unpushed {
        /// How many.
        commits: u64,
    },
    /// The remote has all of it, as far as is known here.
    Pushed,
    /// Another branch has all of it.
    Merged,
    /// Something is wrong with it.
    Broken {
        /// What.
        why: String,
    },
}

/// A workspace, as `hub workspaces` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its project's folder, below the projects root.
    pub project: String,
    /// Its branch.
    pub branch: String,
    /// Its worktree.
    pub path: PathBuf,
    /// What it takes of the disk.
    pub size_bytes: u64,
    /// When it was made, in seconds since 1970.
    pub made_at: u64,
    /// What it holds.
    #[serde(flatten)]
    pub state: State,
}

/// What became of a workspace that was to be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    /// It is not here any more.
    pub removed: bool,
    /// The bundle that has its work.
    pub bundle: Option<PathBuf>,
    /// Why it stays.
    pub why: Option<String>,
}

impl Cleaned {
    fn stays(why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..Self::default() }
    }
}

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zeal {
    /// Removes only what is merged or pushed as it is.
    Safe,
    /// Commits what is not committed, and bundles what is nowhere else.
    All,
}

/// The folders of all workspaces, in order.
fn folders(all: &Workspaces) -> Vec<PathBuf> {
    let below = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let repositories = below(&all.state.join("workspaces"));
    let mut found: Vec<PathBuf> =
        repositories.flat_map(|folder| below(&folder)).filter(|folder| folder.is_dir()).collect();
    found.sort();
    found
}

/// What there is below a worker's state. Needs no hub.
///
/// # Errors
/// The folder can not be read.
pub async fn list(state: &Path) -> io::Result<Vec<Listed>> {
    let all = Workspaces::here(state)?;
    let mut listed = Vec::new();
    for folder in folders(&all) {
        let Some(about) = About::read(&folder) else { continue };
        let state =
            look(&all, &folder, &about).await.unwrap_or_else(|trouble| State::Broken { why: trouble.to_string() });
        let tree = about.tree.clone();
        let size_bytes = tokio::task::spawn_blocking(move || size(&tree)).await.unwrap_or_default();
        listed.push(Listed {
            name: about.name,
            project: about.project,
            branch: about.branch,
            path: about.tree,
            size_bytes,
            made_at: about.made_at,
            state,
        });
    }
    Ok(listed)
}

/// Removes the workspace of this name if its work is safe as it is, or, with `all`, is made safe.
///
/// # Errors
/// The folder can not be read.
pub async fn remove(state: &Path, name: &str, all: bool) -> io::Result<Cleaned> {
    let here = Workspaces::here(state)?;
    Ok(each(&here, name, if all { Zeal::All } else { Zeal::Safe }).await)
}

pub(super) async fn by_name(all: &Workspaces, name: &str) -> Cleaned {
    each(all, name, Zeal::All).await
}

/// One line of work has one workspace in each repository it worked in, so most often one.
async fn each(all: &Workspaces, name: &str, zeal: Zeal) -> Cleaned {
    let mut told = Cleaned { removed: true, ..Cleaned::default() };
    for folder in folders(all).into_iter().filter(|folder| folder.file_name().is_some_and(|found| found == name)) {
        let one = one(all, &folder, zeal).await.unwrap_or_else(|trouble| Cleaned::stays(trouble.to_string()));
        told.removed &= one.removed;
        told.bundle = one.bundle.or(told.bundle);
        told.why = one.why.or(told.why);
    }
    told
}

impl Workspaces {
    /// Those below a worker's state, for who has no hub and makes none.
    fn here(state: &Path) -> io::Result<Self> {
        Self::new(state, Path::new("/"))
    }
}

/// What is asked of a workspace's repository.
struct Asked<'a> {
    all: &'a Workspaces,
    about: &'a About,
}

impl Asked<'_> {
    fn call(&self) -> Call<'_> {
        let ceiling = self.about.top.parent().unwrap_or(&self.about.top);
        self.all.git.call(&self.about.top, ceiling)
    }

    /// The workspace's own branches and where they are: `hub/<name>`, and what [`Place::keep`] has set aside.
    async fn branches(&self) -> Result<Vec<(String, String)>, Trouble> {
        let own = self.about.reference();
        let aside = ["before", "rebase"].map(|what| format!("{own}-{what}-*"));
        let format = "--format=%(objectname) %(refname)".to_owned();
        let listed = self.call().args(["for-each-ref".to_owned(), format, own].into_iter().chain(aside)).line().await?;
        let pair = |line: &str| line.split_once(' ').map(|(commit, name)| (name.to_owned(), commit.to_owned()));
        Ok(listed.lines().filter_map(pair).collect())
    }

    /// Whether a branch that stays has the commit. Those of other workspaces do not: they go, too.
    async fn is_merged(&self, commit: &str) -> Result<bool, Trouble> {
        let listed = self
            .call()
            .args([
                "for-each-ref",
                "--contains",
                commit,
                "--format=%(refname)",
                "refs/heads",
                "refs/remotes",
                "refs/tags",
            ])
            .line()
            .await?;
        let stays = |name: &str| {
            let of_remote = name.strip_prefix("refs/remotes/").and_then(|rest| rest.split_once('/'));
            !name.starts_with("refs/heads/hub/") && !of_remote.is_some_and(|(_, branch)| branch.starts_with("hub/"))
        };
        Ok(listed.lines().any(stays))
    }

    /// Whether the remote was last seen with the commit on the workspace's branch.
    async fn was_pushed(&self, commit: &str) -> Result<bool, Trouble> {
        let Some(remote) = super::out::remote(self.call()).await? else { return Ok(false) };
        let there = format!("refs/remotes/{remote}/{}", self.about.branch);
        let known = self.call().args(["rev-parse", "--quiet", "--verify", &there]).maybe().await?;
        match known.or_else(|| self.about.pushed.clone()) {
            Some(there) => self.call().args(["merge-base", "--is-ancestor", commit, &there]).holds().await,
            None => Ok(false),
        }
    }

    /// Whether the remote has exactly this commit on the workspace's branch now. One that does not answer has it not.
    async fn is_pushed(&self, commit: &str) -> Result<bool, Trouble> {
        let Some(remote) = super::out::remote(self.call()).await? else { return Ok(false) };
        let said = self.call().asking().await?.args(["ls-remote", &remote, &self.about.reference()]).run().await?;
        let there = String::from_utf8_lossy(&said.out);
        Ok(said.status.success() && there.split_whitespace().next() == Some(commit))
    }

    async fn ahead(&self, commit: &str) -> Result<u64, Trouble> {
        let range = format!("{}..{commit}", self.about.base);
        Ok(self
            .call()
            .args(["rev-list", "--count", &range])
            .maybe()
            .await?
            .and_then(|count| count.parse().ok())
            .unwrap_or(0))
    }
}

/// What a workspace holds. Changes nothing.
async fn look(all: &Workspaces, folder: &Path, about: &About) -> Result<State, Trouble> {
    let broken = |why: &str| Ok(State::Broken { why: why.into() });
    let lock = match Lock::now(&folder.join(LOCK)).await {
        Ok(Some(lock)) => lock,
        Ok(None) => return Ok(State::InUse),
        Err(error) => return broken(&format!("it can not be opened: {}", error.kind())),
    };
    if !about.common.is_dir() || !about.top.is_dir() {
        return broken("its repository is not there any more");
    }
    let asked = Asked { all, about };
    let branches = asked.branches().await?;
    let tip = branches.iter().find(|(name, _)| *name == about.reference()).map(|(_, commit)| commit.clone());
    if about.ready && !about.removing && about.tree.exists() {
        let place = Place::held(all, folder, about.clone(), lock);
        let head = place.call().args(["rev-parse", "--quiet", "--verify", "HEAD^{commit}"]).maybe().await?;
        if head != tip || !place.uncommitted().await?.is_empty() {
            return Ok(State::Uncommitted);
        }
    }
    let mut state = State::Merged;
    for (name, commit) in &branches {
        if asked.is_merged(commit).await? {
            continue;
        }
        if *name == about.reference() && asked.was_pushed(commit).await? {
            state = State::Pushed;
            continue;
        }
        return Ok(State::Unpushed { commits: asked.ahead(commit).await?.max(1) });
    }
    Ok(state)
}

async fn one(all: &Workspaces, folder: &Path, zeal: Zeal) -> Result<Cleaned, Trouble> {
    let broken = |error: io::Error| Trouble::passing(format!("it can not be opened: {}", error.kind()));
    let Some(lock) = Lock::now(&folder.join(LOCK)).await.map_err(broken)? else {
        return Ok(Cleaned::stays("somebody works in it"));
    };
    let Some(about) = About::read(folder) else { return Ok(Cleaned::stays("what it is can not be read")) };
    if !about.common.is_dir() || !about.top.is_dir() {
        return Ok(Cleaned::stays("its repository is not there any more, and its files are all there is of the work"));
    }
    if about.removing {
        let lock = match finish(all, folder, &about, lock).await? {
            Finished::Removed => return Ok(Cleaned { removed: true, ..Cleaned::default() }),
            Finished::NotClean(lock) => lock,
        };
        let about = About { removing: false, ..about };
        return fresh(all, folder, about, lock, zeal).await;
    }
    fresh(all, folder, about, lock, zeal).await
}

async fn fresh(all: &Workspaces, folder: &Path, about: About, lock: Lock, zeal: Zeal) -> Result<Cleaned, Trouble> {
    let set_aside = fs::read_dir(folder).into_iter().flatten().flatten();
    if set_aside.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("replaced-git-")) {
        return Ok(Cleaned::stays(
            "an agent made a repository of its own in its place: look at it, and remove it by hand",
        ));
    }
    let mut place = Place::held(all, folder, about.clone(), lock);
    // One that was never whole has nothing in it.
    if about.ready && about.tree.exists() {
        place.relink(all).await?;
        if zeal == Zeal::All {
            place.keep_as(LEFT).await?;
        }
        if let Some(why) = place.unsafe_because().await? {
            return Ok(Cleaned::stays(why));
        }
    }
    let asked = Asked { all, about: &about };
    let branches = asked.branches().await?;
    let mut nowhere_else = Vec::new();
    for (name, commit) in &branches {
        let there = *name == about.reference() && asked.is_pushed(commit).await?;
        if !there && !asked.is_merged(commit).await? {
            nowhere_else.push(name.clone());
        }
    }
    let mut bundle = None;
    if !nowhere_else.is_empty() {
        if zeal == Zeal::Safe {
            return Ok(Cleaned::stays(format!(
                "{} has commits that are neither merged nor with the remote",
                nowhere_else.join(", ").replace("refs/heads/", "")
            )));
        }
        bundle = Some(bundled(all, &asked, &nowhere_else).await?);
    }
    place.change(|about| {
        about.removing = true;
        about.safe = branches;
    })?;
    let about = place.held.as_ref().map_or(about, |(_, about)| about.clone());
    match take_down(all, folder, &about, place).await? {
        None => Ok(Cleaned { removed: true, bundle, why: None }),
        Some(why) => Ok(Cleaned { removed: false, bundle, why: Some(why) }),
    }
}

impl Place {
    /// Why something in the worktree would be lost with it.
    async fn unsafe_because(&self) -> Result<Option<String>, Trouble> {
        let Some((_, about)) = &self.held else { return Ok(None) };
        let nested = self.nested().await?;
        if let Some(path) = nested.first() {
            return Ok(Some(format!("there is a repository of its own in it: {}", path.display())));
        }
        if !self.uncommitted().await?.is_empty() {
            return Ok(Some("there are files in it that are not committed".into()));
        }
        let head = self.call().args(["symbolic-ref", "--quiet", "HEAD"]).maybe().await?;
        if head.as_deref() != Some(about.reference().as_str()) {
            return Ok(Some("another branch is checked out in it".into()));
        }
        if self.has_submodules().await? {
            // What `git worktree remove` would take with it: their own repositories.
            let each =
                "git status --porcelain; git stash list; git rev-list --max-count=1 HEAD --branches --not --remotes";
            let left = ["submodule", "--quiet", "foreach", "--recursive", each];
            if !self.call().args(left).read().await?.is_empty() {
                return Ok(Some("a submodule in it has work that is not with its remote".into()));
            }
        }
        Ok(None)
    }

    async fn has_submodules(&self) -> Result<bool, Trouble> {
        let own = self.call().args(["rev-parse", "--path-format=absolute", "--git-dir"]).line().await?;
        Ok(Path::new(&own).join("modules").exists())
    }
}

/// How the bundles of a line of work are named, before `.bundle` or a number.
fn bundle_name(repository: &Repository, name: &str) -> String {
    format!("{}-{name}.", repository.label())
}

fn bundle_folder(all: &Workspaces) -> PathBuf {
    all.state.join("bundles")
}

/// The bundles of a line of work, the newest first.
pub(super) fn bundles(all: &Workspaces, repository: &Repository, name: &str) -> Vec<PathBuf> {
    let named = bundle_name(repository, name);
    let is_of_it = |file: &str| file.starts_with(&named) && file.ends_with(".bundle");
    let entries = fs::read_dir(bundle_folder(all)).into_iter().flatten().flatten();
    let of_it = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_of_it));
    let mut found: Vec<_> =
        of_it.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// Writes the commits of some branches to a file that git can fetch from, and looks whether it can.
async fn bundled(all: &Workspaces, asked: &Asked<'_>, branches: &[String]) -> Result<PathBuf, Trouble> {
    let failed = |error: io::Error| {
        let why = format!("its work can not be bundled: {}", error.kind());
        if error.kind() == io::ErrorKind::StorageFull { Trouble::NoRoom(why) } else { Trouble::passing(why) }
    };
    let folder = bundle_folder(all);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
    let name = bundle_name(&asked.about.repository(), &asked.about.name);
    let named = |number: u32| match number {
        1 => folder.join(format!("{name}bundle")),
        _ => folder.join(format!("{name}{number}.bundle")),
    };
    let file = (1..).map(named).find(|file| !file.exists()).unwrap_or_else(|| named(0));
    let making = folder.join(format!(".new-{}-{}", std::process::id(), asked.about.name));
    let path = making.as_os_str();
    let create = ["bundle", "create", "--quiet"].map(Into::into).into_iter().chain([path.to_owned()]);
    let create = create.chain(branches.iter().map(Into::into)).chain([format!("^{}", asked.about.base).into()]);
    let made = async {
        asked.call().args(create).within(WRITE).read().await?;
        asked
            .call()
            .args([std::ffi::OsString::from("bundle"), "verify".into(), "--quiet".into(), path.to_owned()])
            .within(WRITE)
            .read()
            .await?;
        // On the disk before anything of it goes.
        File::open(&making).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&making, &file).map_err(failed)?;
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed)
    };
    let made: Result<(), Trouble> = made.await;
    if made.is_err() {
        fs::remove_file(&making).ok();
    }
    made.map(|()| file)
}

/// What came of going on with a removal.
pub(super) enum Finished {
    Removed,
    /// There is something in the worktree that was not there when it was found clean.
    NotClean(Lock),
}

/// Goes on with a removal whose worker was killed.
pub(super) async fn finish(all: &Workspaces, folder: &Path, about: &About, lock: Lock) -> Result<Finished, Trouble> {
    // A git that the killed worker had begun goes on removing, and has the repository's lock until it is done.
    drop(about.repository().lock().await?);
    let place = Place::held(all, folder, about.clone(), lock);
    if about.tree.exists() && known(&about.repository(), &about.tree).is_some() {
        place.relink(all).await?;
        // What is missing of it was removed; anything else came since.
        let status = place.uncommitted().await?;
        if !status.split(|byte| *byte == 0).filter(|line| !line.is_empty()).all(|line| line.starts_with(b" D ")) {
            let mut place = place;
            place.change(|about| about.removing = false)?;
            return Ok(Finished::NotClean(place.lock));
        }
        let shared = about.repository().lock().await?;
        let tree = about.tree.clone();
        let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(tree)).await;
        removed.map_err(io::Error::other).flatten().map_err(gone)?;
        forget(all, &about.repository(), &about.tree, &shared).await?;
    }
    match take_down(all, folder, about, place).await? {
        None => Ok(Finished::Removed),
        Some(why) => Err(Trouble::passing(why)),
    }
}

fn gone(error: io::Error) -> Trouble {
    Trouble::passing(format!("it could not be removed: {}", error.kind()))
}

/// Removes a workspace whose work is safe: worktree, branches, folder. Why not, if git sees something that speaks against it.
async fn take_down(
    all: &Workspaces,
    folder: &Path,
    about: &About,
    mut place: Place,
) -> Result<Option<String>, Trouble> {
    let repository = about.repository();
    let shared = repository.lock().await?;
    let asked = Asked { all, about };
    if about.tree.exists() {
        let tree = || [about.tree.clone().into_os_string()];
        let with = |words: &[&str]| words.iter().map(Into::into).chain(tree()).collect::<Vec<std::ffi::OsString>>();
        asked.call().args(with(&["worktree", "unlock"])).holding(&shared).run().await?;
        // Without force git looks once more itself. It never goes without where there are submodules.
        let forced = about.ready && !place.has_submodules().await? && known(&repository, &about.tree).is_some();
        let remove = if forced { with(&["worktree", "remove"]) } else { with(&["worktree", "remove", "--force"]) };
        let said = asked.call().args(remove).holding(&shared).within(WRITE).run().await?;
        if !said.status.success() && about.tree.exists() {
            asked.call().args(with(&["worktree", "lock"])).holding(&shared).run().await?;
            place.change(|about| about.removing = false)?;
            return Ok(Some(format!("git does not remove it: {}", said.complaint())));
        }
    }
    forget(all, &repository, &about.tree, &shared).await?;
    for (name, commit) in &about.safe {
        // Only as it was when it was found safe. It was deleted already, or it has gone on: then it stays.
        let said = asked.call().args(["update-ref", "-d", name, commit]).holding(&shared).run().await?;
        if !said.status.success() {
            tracing::warn!(git.branch = %name, reason = %said.complaint(), "a branch of a workspace that is removed stays");
        }
    }
    let section = format!("branch.{}", about.branch);
    if asked
        .call()
        .args(["config", "--local", "--get-regexp", &format!("^{}\\.", section.replace('.', "\\."))])
        .maybe()
        .await?
        .is_some()
    {
        // What the agent may have set of its branch. Of no matter where it stays.
        asked.call().args(["config", "--local", "--remove-section", &section]).holding(&shared).run().await?;
    }
    // What it is goes last: until then it is found again.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !matches!(entry.file_name().to_str(), Some("workspace.json" | LOCK)) {
            fs::remove_file(entry.path()).map_err(gone)?;
        }
    }
    About::remove(folder).map_err(gone)?;
    fs::remove_file(folder.join(LOCK)).map_err(gone)?;
    fs::remove_dir(folder).map_err(gone)?;
    Ok(None)
}
