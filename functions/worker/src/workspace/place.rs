//! A place to work: found, continued or made.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use hub::types::{Begun, WorkspaceKind as Kind};
use serde::{Deserialize, Serialize};

use super::{
    Lock, Trouble, Workspaces,
    clean::{Finished, finish},
    git::{Call, Git, WRITE, without_paths},
    reached::Reached,
    repository::{self, Found, Repository, hash},
};
use crate::{journal::write_whole, machine};

const ABOUT: &str = "workspace.json";
pub(super) const LOCK: &str = "lock";
/// What `git worktree list` shows beside a worktree of ours.
const REASON: &str = "made by Aura Hub; hub workspaces lists and removes it";

/// What is written down of a workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) name: String,
    pub(super) branch: String,
    /// The project's folder, below the root.
    pub(super) project: String,
    pub(super) top: PathBuf,
    pub(super) common: PathBuf,
    pub(super) below: PathBuf,
    pub(super) tree: PathBuf,
    /// What the line of work began with.
    pub(super) base: String,
    /// The name of the branch that was, if it was one.
    pub(super) base_branch: Option<String>,
    pub(super) made_at: u64,
    /// The worktree is whole. Before, nobody has worked in it.
    pub(super) ready: bool,
    /// Everything in it is safe, and it is being removed.
    #[serde(default)]
    pub(super) removing: bool,
    /// Its branches as they were when they were found safe.
    #[serde(default)]
    pub(super) safe: Vec<(String, String)>,
    /// What the remote was last given.
    #[serde(default)]
    pub(super) pushed: Option<String>,
    #[serde(default)]
    pub(super) pull_request: Option<String>,
}

impl About {
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let about: Self = serde_json::from_slice(&fs::read(folder.join(ABOUT)).ok()?).ok()?;
        // Whoever wrote it: nothing outside the workspace's own folder is ever changed for it, and no branch but ours.
        (about.tree.parent() == Some(folder) && is_ours(&about.name, &about.branch)).then_some(about)
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        write_whole(&folder.join(ABOUT), &serde_json::to_vec(self)?)
    }

    pub(super) fn remove(folder: &Path) -> io::Result<()> {
        fs::remove_file(folder.join(ABOUT))
    }

    pub(super) fn repository(&self) -> Repository {
        Repository { top: self.top.clone(), common: self.common.clone(), below: self.below.clone() }
    }

    /// Where the project is in the worktree.
    fn directory(&self) -> PathBuf {
        // Joined with nothing a path ends with a slash, and for programs that know their sessions by it is another.
        if self.below.as_os_str().is_empty() { self.tree.clone() } else { self.tree.join(&self.below) }
    }

    pub(super) fn reference(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }
}

/// Whether a branch is one that a workspace of this name has.
fn is_ours(name: &str, branch: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=64).contains(&name.len())
        && !name.starts_with('-')
        && name.chars().all(plain)
        && branch.strip_prefix("hub/") == Some(name)
}

/// Where an attempt works, held until it is dropped.
#[derive(Debug)]
pub struct Place {
    directory: PathBuf,
    new: bool,
    why: Option<String>,
    pub(super) git: Git,
    pub(super) root: PathBuf,
    pub(super) lock: Lock,
    /// Of a worktree: the workspace's folder, and what it is.
    pub(super) held: Option<(PathBuf, About)>,
}

impl Place {
    /// The folder to work in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.held.is_some() { Kind::Git } else { Kind::InPlace }
    }

    /// Why it is the project's own folder, for people: `it is no git repository`.
    #[must_use]
    pub fn why_in_place(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Whether it was made just now.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// The branch, of a worktree.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.held.as_ref().map(|(_, about)| about.branch.as_str())
    }

    /// The commit that it began with, of a worktree.
    #[must_use]
    pub fn base(&self) -> Option<&str> {
        self.held.as_ref().map(|(_, about)| about.base.as_str())
    }

    /// The workspace's own folder, to find it by again ([`Workspaces::again`]).
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.held.as_ref().map(|(folder, _)| folder.as_path())
    }

    /// The pull request that was opened from here.
    #[must_use]
    pub fn opened(&self) -> Option<&str> {
        self.held.as_ref().and_then(|(_, about)| about.pull_request.as_deref())
    }

    /// How much of the disk it takes, in bytes. None in place.
    pub async fn size_bytes(&self) -> Option<u64> {
        let folder = self.folder()?.to_path_buf();
        tokio::task::spawn_blocking(move || size(&folder)).await.ok()
    }

    /// A call in the worktree, that holds its lock.
    pub(super) fn call(&self) -> Call<'_> {
        let (directory, ceiling) = match &self.held {
            Some((folder, about)) => (about.tree.as_path(), folder.as_path()),
            None => (self.directory.as_path(), self.root.as_path()),
        };
        self.git.call(directory, ceiling).holding(&self.lock)
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut About)) -> Result<(), Trouble> {
        let Some((folder, about)) = &mut self.held else { return Ok(()) };
        change(about);
        about.write(folder).map_err(unwritten)
    }
}

fn unwritten(error: io::Error) -> Trouble {
    if error.kind() == io::ErrorKind::StorageFull {
        return Trouble::NoRoom("the device's disk is full".into());
    }
    Trouble::passing(format!("the device can not write down its workspaces: {}", error.kind()))
}

pub(super) async fn open(all: &Workspaces, plan: &Begun, directory: &Path) -> Result<Place, Trouble> {
    let repository = match repository::find(all, directory).await? {
        Found::Git(repository) => repository,
        Found::InPlace(why) => return in_place(all, directory, why).await,
    };
    if !is_ours(&plan.name, &plan.branch) {
        return Err(Trouble::lasting(format!("{:?} is no branch for a task", plan.branch)));
    }
    let own = repository.folder(all).map_err(unwritten)?.join(&plan.name);
    let folder = match About::read(&own) {
        Some(about) if about.ready => own,
        _ => elsewhere(&repository, &plan.branch).unwrap_or(own),
    };
    let (lock, about) = loop {
        DirBuilder::new().recursive(true).mode(0o755).create(&folder).map_err(unwritten)?;
        let lock = match Lock::of(folder.join(LOCK)).await {
            // Who had it has removed the workspace meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            lock => lock.map_err(unwritten)?,
        };
        match About::read(&folder) {
            Some(half) if half.removing => match finish(all, &folder, &half, lock).await? {
                Finished::Removed => {}
                Finished::NotClean(lock) => break (lock, Some(About { removing: false, ..half })),
            },
            about => break (lock, about),
        }
    };
    let tree = folder.join(format!("{}-{}", repository.label(), plan.name));
    let making = Making { all, repository: &repository, plan, folder: &folder, tree: &tree, lock: &lock };
    let (about, new) = match about {
        Some(about) if about.ready && about.tree == tree && tree.exists() => {
            making.relink(&about).await?;
            making.forward(&about).await?;
            (about, false)
        }
        // What it is was lost. One in the making always has it, so this one is whole, and may have work in it.
        None if tree.exists() => {
            let reached = Reached { at: plan.start.clone(), pushed: None };
            let about = About { ready: true, ..making.describe(None, &reached, directory).await? };
            about.write(&folder).map_err(unwritten)?;
            making.relink(&about).await?;
            (about, false)
        }
        before => (making.make(before, directory).await?, true),
    };
    fs::create_dir_all(about.directory()).map_err(unwritten)?;
    Ok(Place { new, ..Place::held(all, &folder, about, lock) })
}

/// The folder of the workspace that another worker of this machine has made for the branch: git checks one out in one worktree alone, and
/// what is not committed there goes on there. Its lock says whether somebody works in it.
fn elsewhere(repository: &Repository, branch: &str) -> Option<PathBuf> {
    let head = format!("ref: refs/heads/{branch}");
    let known = fs::read_dir(repository.common.join("worktrees")).ok()?;
    known.flatten().find_map(|entry| {
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).ok();
        let tree =
            Path::new(read("gitdir").filter(|_| read("HEAD").is_some_and(|at| at.trim_end() == head))?.trim_end())
                .parent()?
                .to_path_buf();
        let folder = tree.parent()?;
        let about = About::read(folder)?;
        (about.ready
            && about.tree == tree
            && about.branch == branch
            && about.common == repository.common
            && tree.exists())
        .then(|| folder.to_path_buf())
    })
}

pub(super) async fn again(all: &Workspaces, folder: &Path) -> Result<Option<Place>, Trouble> {
    let within = folder.starts_with(all.state.join("workspaces"));
    let Some(about) = About::read(folder).filter(|_| within) else { return Ok(None) };
    let lock = Lock::of(folder.join(LOCK)).await.map_err(unwritten)?;
    // Who had the lock may have removed it.
    let Some(about) = About::read(folder).filter(|now| now.ready && !now.removing && now.tree == about.tree) else {
        return Ok(None);
    };
    if !about.tree.exists() {
        return Ok(None);
    }
    let place = Place::held(all, folder, about, lock);
    place.relink(all).await?;
    Ok(Some(place))
}

impl Place {
    /// A worktree that is there.
    pub(super) fn held(all: &Workspaces, folder: &Path, about: About, lock: Lock) -> Self {
        let directory = about.directory();
        let held = Some((folder.to_path_buf(), about));
        Self { directory, new: false, why: None, git: all.git.clone(), root: all.root.clone(), lock, held }
    }

    pub(super) async fn relink(&self, all: &Workspaces) -> Result<(), Trouble> {
        let Some((folder, about)) = &self.held else { return Ok(()) };
        let repository = about.repository();
        relink(all, &repository, folder, about, &self.lock).await
    }
}

async fn in_place(all: &Workspaces, directory: &Path, why: String) -> Result<Place, Trouble> {
    let locks = all.state.join("workspaces/in-place");
    DirBuilder::new().recursive(true).mode(0o700).create(&locks).map_err(unwritten)?;
    let lock = Lock::of(locks.join(format!("{}.lock", hash(directory)))).await.map_err(unwritten)?;
    let directory = directory.to_path_buf();
    Ok(Place { directory, new: false, why: Some(why), git: all.git.clone(), root: all.root.clone(), lock, held: None })
}

/// Makes sure that the worktree belongs to the repository: an agent may have removed the file `.git`, or begun a repository of its own.
async fn relink(
    all: &Workspaces,
    repository: &Repository,
    folder: &Path,
    about: &About,
    lock: &Lock,
) -> Result<(), Trouble> {
    let ours = || async {
        let call = all.git.call(&about.tree, folder).holding(lock);
        let said =
            call.args(["rev-parse", "--path-format=absolute", "--git-common-dir", "--show-toplevel"]).maybe().await?;
        let expected = format!("{}\n{}", repository.common.display(), about.tree.display());
        Ok::<_, Trouble>(said.is_some_and(|said| said == expected))
    };
    if ours().await? {
        return Ok(());
    }
    let link = about.tree.join(".git");
    if link.symlink_metadata().is_ok() {
        // Nothing of it is lost, and nothing of it is in the way.
        let aside = (0..u32::MAX).map(|n| folder.join(format!("replaced-git-{n}"))).find(|path| !path.exists());
        if let Some(aside) = aside {
            fs::rename(&link, aside).map_err(unwritten)?;
        }
    }
    let repair = || async {
        let shared = repository.lock().await?;
        all.git
            .call(&repository.top, &all.root)
            .args(["worktree", "repair"].map(Into::into).into_iter().chain([about.tree.clone().into_os_string()]))
            .holding(&shared)
            .run()
            .await?;
        Ok::<_, Trouble>(())
    };
    // What git repairs is a link to a worktree that it knows; where it has forgotten it, that is made anew from what is there.
    if let Some(known) = known(repository, &about.tree) {
        fs::write(&link, format!("gitdir: {}\n", known.display())).map_err(unwritten)?;
    }
    repair().await?;
    if ours().await? {
        return Ok(());
    }
    Err(Trouble::passing(
        "the worktree of this task does not belong to the project's repository any more: hub workspaces says where it is".to_owned(),
    ))
}

/// Where the repository keeps what it knows of a worktree.
pub(super) fn known(repository: &Repository, tree: &Path) -> Option<PathBuf> {
    let link = tree.join(".git");
    let entries = fs::read_dir(repository.common.join("worktrees")).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|entry| fs::read_to_string(entry.join("gitdir")).is_ok_and(|path| Path::new(path.trim_end()) == link))
}

pub(super) struct Making<'a> {
    pub(super) all: &'a Workspaces,
    pub(super) repository: &'a Repository,
    pub(super) plan: &'a Begun,
    folder: &'a Path,
    tree: &'a Path,
    lock: &'a Lock,
}

impl Making<'_> {
    pub(super) fn call(&self) -> Call<'_> {
        self.all.git.call(&self.repository.top, &self.all.root)
    }

    pub(super) async fn commit(&self, name: &str) -> Result<Option<String>, Trouble> {
        self.call().args(["rev-parse", "--quiet", "--verify", &format!("{name}^{{commit}}")]).maybe().await
    }

    pub(super) async fn is_ancestor(&self, old: &str, new: &str) -> Result<bool, Trouble> {
        self.call().args(["merge-base", "--is-ancestor", old, new]).holds().await
    }

    async fn relink(&self, about: &About) -> Result<(), Trouble> {
        relink(self.all, self.repository, self.folder, about, self.lock).await
    }

    /// The base branch by name, and the commit.
    pub(super) async fn base(&self) -> Result<(Option<String>, String), Trouble> {
        let Some(name) = self.plan.base.as_deref().filter(|name| !name.trim().is_empty()) else {
            let branch = self.call().args(["symbolic-ref", "--quiet", "--short", "HEAD"]).maybe().await?;
            let commit =
                self.commit("HEAD").await?.ok_or_else(|| Trouble::passing("the project's HEAD is no commit"))?;
            return Ok((branch, commit));
        };
        let here = self.commit(&format!("refs/heads/{name}")).await?;
        let remote = match super::out::remote(self.call()).await? {
            Some(remote) => self.commit(&format!("refs/remotes/{remote}/{name}")).await?,
            None => None,
        };
        let commit = match (here, remote) {
            // What was fetched goes further.
            (Some(here), Some(there)) if self.is_ancestor(&here, &there).await? => there,
            (Some(here), _) => here,
            (None, Some(there)) => there,
            (None, None) => {
                return Err(Trouble::lasting(format!(
                    "the project's base branch {name:?} is not in its repository on this device: fetch it, or name another in hub_projects"
                )));
            }
        };
        Ok((Some(name.to_owned()), commit))
    }

    /// The commit that another device has reached, brought here.
    pub(super) async fn start(&self) -> Result<Option<String>, Trouble> {
        let Some(start) = self.plan.start.as_deref() else { return Ok(None) };
        if !(40..=64).contains(&start.len()) || !start.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Trouble::lasting(format!("{start:?} is no commit")));
        }
        if let Some(here) = self.commit(start).await? {
            return Ok(Some(here));
        }
        let missing = |why: String| {
            Trouble::passing(format!(
                "the work so far, commit {}, is not on this device and can not be fetched: {why}",
                start.get(..8).unwrap_or(start)
            ))
        };
        let Some(remote) = super::out::remote(self.call()).await? else {
            return Err(missing("the repository has no remote".into()));
        };
        let shared = self.repository.lock().await?;
        let reference = format!("refs/heads/{}", self.plan.branch);
        let fetch = ["fetch", "--no-tags", "--no-write-fetch-head", &remote, &reference];
        let said = self.call().asking().await?.args(fetch).holding(&shared).run().await?;
        if !said.status.success() {
            return Err(missing(said.complaint()));
        }
        self.commit(start).await?.map(Some).ok_or_else(|| missing("the remote does not have it".into()))
    }

    /// Another device has gone further than the worktree here: it follows, if nothing stands in the way.
    async fn forward(&self, about: &About) -> Result<(), Trouble> {
        let Some(start) = self.start().await? else { return Ok(()) };
        let tip = self.commit(&about.reference()).await?;
        let behind = match &tip {
            Some(tip) => *tip != start && self.is_ancestor(tip, &start).await?,
            None => false,
        };
        if behind {
            let call = self.all.git.call(self.tree, self.folder).holding(self.lock).within(WRITE);
            let said = call.args(["merge", "--quiet", "--ff-only", &start]).run().await?;
            if !said.status.success() {
                return Err(Trouble::passing(format!(
                    "another device has gone on with this work, and the worktree here can not follow: {}",
                    said.complaint()
                )));
            }
        }
        Ok(())
    }

    async fn make(&self, before: Option<About>, directory: &Path) -> Result<About, Trouble> {
        if let Some(free) = machine::disk_free(self.folder)
            && free < self.all.free_bytes
        {
            return Err(Trouble::NoRoom(format!(
                "a worktree needs room on the device's disk: {} MB are free, and {} MB have to be",
                free / 1_000_000,
                self.all.free_bytes / 1_000_000
            )));
        }
        let reference = format!("refs/heads/{}", self.plan.branch);
        let tip = self.commit(&reference).await?;
        let reached = self.reached(tip.as_deref()).await?;
        let about = self.describe(before, &reached, directory).await?;
        about.write(self.folder).map_err(unwritten)?;
        let shared = self.repository.lock().await?;
        self.forget_half(&shared).await?;
        if let (Some(at), Some(tip)) = (&reached.at, &tip)
            && self.is_ancestor(tip, at).await?
        {
            self.call().args(["update-ref", &reference, at, tip]).holding(&shared).read().await?;
        }
        let mut add: Vec<std::ffi::OsString> =
            ["worktree", "add", "--quiet", "--lock", "--reason", REASON].map(Into::into).into();
        if tip.is_some() {
            add.extend([self.tree.into(), self.plan.branch.clone().into()]);
        } else {
            add.extend([
                "--no-track".into(),
                "-b".into(),
                self.plan.branch.clone().into(),
                self.tree.into(),
                reached.at.unwrap_or_else(|| about.base.clone()).into(),
            ]);
        }
        let said = self.call().args(add).holding(&shared).within(WRITE).run().await?;
        if !said.status.success() {
            self.forget_half(&shared).await?;
            return Err(self.refused(&said));
        }
        drop(shared);
        self.submodules().await?;
        let about = About { ready: true, ..about };
        about.write(self.folder).map_err(unwritten)?;
        Ok(about)
    }

    /// What is to be written down of it.
    async fn describe(&self, before: Option<About>, reached: &Reached, directory: &Path) -> Result<About, Trouble> {
        let tip = self.commit(&format!("refs/heads/{}", self.plan.branch)).await?;
        let (pushed, pull_request) =
            before.as_ref().map(|about| (about.pushed.clone(), about.pull_request.clone())).unwrap_or_default();
        let pushed = reached.pushed.clone().or(pushed);
        let (base_branch, base) = match before.filter(|_| tip.is_some()) {
            Some(before) => (before.base_branch, before.base),
            None => {
                let (branch, commit) = self.base().await?;
                // The branch may be older than what is written down here.
                let from = match reached.at.as_ref().or(tip.as_ref()) {
                    Some(reached) => self.call().args(["merge-base", &commit, reached]).maybe().await?,
                    None => None,
                };
                (branch, from.unwrap_or(commit))
            }
        };
        Ok(About {
            name: self.plan.name.clone(),
            branch: self.plan.branch.clone(),
            project: directory.strip_prefix(&self.all.root).unwrap_or(directory).to_string_lossy().into_owned(),
            top: self.repository.top.clone(),
            common: self.repository.common.clone(),
            below: self.repository.below.clone(),
            tree: self.tree.to_path_buf(),
            base,
            base_branch,
            made_at: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            ready: false,
            removing: false,
            safe: Vec::new(),
            pushed,
            pull_request,
        })
    }

    /// Why there is no worktree, and what to do.
    fn refused(&self, said: &super::git::Said) -> Trouble {
        let branch = &self.plan.branch;
        if said.err.contains("No space left") {
            return Trouble::NoRoom("the device's disk is full".into());
        }
        if said.err.contains("already used by worktree") || said.err.contains("already checked out") {
            return Trouble::passing(format!(
                "the branch {branch} is checked out elsewhere on this device: check out another there, so that the task can go on"
            ));
        }
        if said.err.contains("'refs/heads/hub' exists") {
            return Trouble::lasting(
                "the project has a branch named hub, which leaves no room for branches like hub/a1b2c3d4: rename it"
                    .to_owned(),
            );
        }
        said.trouble("worktree add")
    }

    /// Removes what a making that was killed has left: nobody has worked in it.
    async fn forget_half(&self, shared: &Lock) -> Result<(), Trouble> {
        if self.tree.symlink_metadata().is_ok() {
            let tree = self.tree.to_path_buf();
            let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(tree)).await;
            removed.map_err(io::Error::other).flatten().map_err(unwritten)?;
        }
        forget(self.all, self.repository, self.tree, shared).await
    }

    /// What the project's folder has of its submodules, the worktree has, too.
    async fn submodules(&self) -> Result<(), Trouble> {
        if !self.tree.join(".gitmodules").exists() || !self.repository.common.join("modules").exists() {
            return Ok(());
        }
        let call = self.all.git.call(self.tree, self.folder).holding(self.lock);
        let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
        let said = call.asking().await?.args(update).run().await?;
        if said.status.success() {
            return Ok(());
        }
        let shared = self.repository.lock().await?;
        self.forget_half(&shared).await?;
        Err(Trouble::passing(format!(
            "the project's submodules can not be checked out in a worktree: {}",
            said.complaint()
        )))
    }
}

/// Has the repository forget a worktree whose folder is gone.
pub(super) async fn forget(
    all: &Workspaces,
    repository: &Repository,
    tree: &Path,
    shared: &Lock,
) -> Result<(), Trouble> {
    if known(repository, tree).is_some() {
        for command in [["worktree", "unlock"].as_slice(), &["worktree", "remove", "--force", "--force"]] {
            let arguments = command.iter().map(Into::into).chain([tree.as_os_str().to_owned()]);
            // It was not locked, or is not whole: the next look says whether it is gone.
            all.git.call(&repository.top, &all.root).args(arguments).holding(shared).run().await?;
        }
    }
    // Killed before it wrote down where its worktree is, git leaves a folder that is nobody's, and is locked for ever.
    let name = tree.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in fs::read_dir(repository.common.join("worktrees")).into_iter().flatten().flatten() {
        let entry_name = entry.file_name().to_string_lossy().into_owned();
        let of_ours = entry_name.strip_prefix(&name).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        if of_ours && !entry.path().join("gitdir").exists() {
            fs::remove_dir_all(entry.path()).map_err(unwritten)?;
        }
    }
    match known(repository, tree) {
        None => Ok(()),
        Some(_) => {
            Err(Trouble::passing(without_paths("git does not forget a worktree that is gone: see git worktree list")))
        }
    }
}

/// What a folder takes of the disk. Links are not followed.
pub(super) fn size(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            bytes += meta.blocks() * 512;
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}
