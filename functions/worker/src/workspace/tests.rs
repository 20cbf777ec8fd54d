//! What holds whatever an agent leaves, whoever is killed and whoever works beside. With the real git, in repositories of all kinds.

use std::{
    collections::BTreeSet,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use hub::types::Begun;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::*;
use crate::host;

const BOUND: Duration = Duration::from_secs(60);

/// A machine: projects below a root, a worker's state.
struct Machine {
    place: TempDir,
    all: Workspaces,
}

fn git_in(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Ada", "-c", "user.email=ada@localhost", "-c", "init.defaultBranch=main"]);
    command.args(["-c", "commit.gpgSign=false", "-c", "protocol.file.allow=always"]);
    command.env("GIT_EDITOR", "true").env_remove("GIT_DIR").current_dir(directory);
    let output = command.args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).trim_end().to_owned())
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let (well, text) = git_in(directory, arguments);
    assert!(well, "git {arguments:?}: {text}");
    text
}

fn write(directory: &Path, file: &str, content: &str) {
    let path = directory.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn commit(directory: &Path, file: &str, content: &str) -> String {
    write(directory, file, content);
    git(directory, &["add", "--", file]);
    git(directory, &["commit", "--quiet", "--message", file]);
    git(directory, &["rev-parse", "HEAD"])
}

fn begun(name: &str) -> Begun {
    let json = serde_json::json!({"prompt": "", "root": Uuid::nil(), "name": name, "branch": format!("hub/{name}")});
    serde_json::from_value(json).unwrap()
}

impl Machine {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        for folder in ["projects", "state"] {
            fs::create_dir(place.path().join(folder)).unwrap();
        }
        let all = Workspaces::new(&place.path().join("state"), &place.path().join("projects")).unwrap();
        Self { place, all }
    }

    /// With a repository that has a file and ignores some.
    fn with_app() -> Self {
        let machine = Self::new();
        let app = machine.project("app");
        git(&app, &["init", "--quiet"]);
        write(&app, ".gitignore", "ignored\n");
        git(&app, &["add", ".gitignore"]);
        commit(&app, "file", "one\n");
        machine
    }

    /// The same, with a remote.
    fn with_remote() -> Self {
        let machine = Self::with_app();
        let app = machine.project("app");
        git(machine.place.path(), &["init", "--quiet", "--bare", "remote.git"]);
        git(&app, &["remote", "add", "origin", machine.remote().to_str().unwrap()]);
        git(&app, &["push", "--quiet", "origin", "main"]);
        machine
    }

    fn project(&self, name: &str) -> PathBuf {
        let path = self.all.root.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn remote(&self) -> PathBuf {
        self.place.path().join("remote.git")
    }

    async fn open(&self, name: &str) -> Place {
        self.try_open("app", name).await.unwrap()
    }

    async fn try_open(&self, project: &str, name: &str) -> Result<Place, Trouble> {
        timeout(BOUND, self.all.open(&begun(name), &self.project(project))).await.expect("it hangs")
    }

    async fn why_in_place(&self, project: &str) -> String {
        let place = self.try_open(project, "a1b2c3d4").await.unwrap();
        assert_eq!((place.kind(), place.directory()), (Kind::InPlace, self.project(project).as_path()));
        assert!(!Worktrees::new(&self.all.root).has(&self.project(project)));
        place.why_in_place().unwrap().to_owned()
    }

    /// The ids of all objects that the repository has.
    fn objects(&self) -> BTreeSet<String> {
        let app = self.project("app");
        let listed = git(&app, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
        listed.lines().map(str::to_owned).collect()
    }

    fn is_whole(&self) {
        let told = git(&self.project("app"), &["fsck", "--full", "--no-dangling", "--no-progress"]);
        assert!(!told.contains("missing") && !told.contains("broken") && !told.contains("error"), "{told}");
    }

    fn hosting(&self) -> Hosting {
        let folder = self.place.path().join(format!("attempt-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        Hosting {
            host: host::tests::program(),
            folder,
            marks: vec![("HUB_ATTEMPT".into(), format!("{}.1", Uuid::new_v4()).into())],
            grace: Duration::from_millis(300),
            cancel: CancellationToken::new(),
            redactor: Arc::new(Redactor::new([("A_KEY".into(), "very-secret-value".into())].into_iter(), &[]).unwrap()),
        }
    }

    async fn listed(&self) -> Vec<(String, State)> {
        let listed = list(&self.place.path().join("state")).await.unwrap();
        listed.into_iter().map(|one| (one.name, one.state)).collect()
    }
}

async fn keep(place: &Place) -> Kept {
    place.keep("Do it\nnow", Uuid::nil()).await.unwrap().unwrap()
}

fn at(place: &Place) -> &Path {
    place.directory()
}

#[tokio::test]
async fn another_worker_of_the_machine_goes_on_in_the_worktree_that_is_there() {
    let machine = Machine::with_app();
    let other = Workspaces::new(&machine.place.path().join("state-of-another"), &machine.all.root).unwrap();
    let first = machine.open("a1b2c3d4").await;
    write(at(&first), "half", "done\n");
    let place = first.directory().to_path_buf();
    let plan = begun("a1b2c3d4");
    let app = machine.project("app");
    // Not while somebody works there.
    assert!(timeout(Duration::from_millis(300), other.open(&plan, &app)).await.is_err());
    drop(first);
    let second = timeout(BOUND, other.open(&plan, &app)).await.expect("it hangs").unwrap();
    assert_eq!((second.directory(), second.is_new()), (&*place, false));
    assert!(keep(&second).await.committed);
    drop(second);
    let first = machine.open("a1b2c3d4").await;
    assert_eq!(fs::read_to_string(at(&first).join("half")).unwrap(), "done\n");
    assert_eq!(git(&app, &["worktree", "list", "--porcelain"]).matches("locked").count(), 1);
}

#[tokio::test]
async fn a_line_of_work_has_a_worktree_and_a_branch_and_goes_on_there() {
    let machine = Machine::with_app();
    let app = machine.project("app");
    write(&app, "file", "changed by its owner, not committed\n");
    let place = machine.open("a1b2c3d4").await;
    assert_eq!((place.kind(), place.is_new(), place.branch()), (Kind::Git, true, Some("hub/a1b2c3d4")));
    assert_eq!(place.base().unwrap(), git(&app, &["rev-parse", "main"]));
    assert!(!at(&place).starts_with(&app));
    assert_eq!(fs::read_to_string(at(&place).join("file")).unwrap(), "one\n");
    write(at(&place), "file", "two\n");
    write(at(&place), "new/file", "x\n");
    write(at(&place), "ignored", "x\n");
    let kept = keep(&place).await;
    assert!(kept.committed && kept.notes.is_empty(), "{kept:?}");
    assert_eq!(git(&app, &["rev-parse", "hub/a1b2c3d4"]), kept.head);
    let said = git(&app, &["log", "-1", "--format=%an <%ae>%n%B", "hub/a1b2c3d4"]);
    let ident = said.lines().next().unwrap().to_owned();
    assert!(ident == "Aura Hub <hub@localhost>" || git_in(&app, &["config", "--global", "user.name"]).0, "{ident}");
    assert!(said.contains(&format!("Do it\n\nTask {}", Uuid::nil())), "{said}");
    let receipt = place.receipt(None).await.unwrap();
    assert_eq!((receipt.files, receipt.insertions, receipt.deletions, receipt.dirty), (2, 2, 1, false));
    assert_eq!(receipt.changed, ["file", "new/file"]);
    assert_eq!(receipt.commit.as_deref(), Some(&*kept.head));
    assert!(place.size_bytes().await.unwrap() > 0);
    // Nothing to keep is nothing committed.
    assert_eq!(keep(&place).await, Kept { head: kept.head.clone(), ..Kept::default() });
    let folder = place.folder().unwrap().to_path_buf();
    drop(place);

    let again = machine.open("a1b2c3d4").await;
    assert!(!again.is_new());
    assert_eq!(fs::read_to_string(at(&again).join("file")).unwrap(), "two\n");
    assert!(at(&again).join("ignored").exists());
    drop(again);
    let by_folder = machine.all.again(&folder).await.unwrap().unwrap();
    assert_eq!(keep(&by_folder).await.head, kept.head);
    assert_eq!(fs::read_to_string(app.join("file")).unwrap(), "changed by its owner, not committed\n");
    assert_eq!(git(&app, &["worktree", "list", "--porcelain"]).matches("locked").count(), 1);
}

#[tokio::test]
async fn claude_code_34645_sixteen_tasks_at_once_in_one_repository_have_sixteen_branches() {
    let machine = Arc::new(Machine::with_app());
    let capacity = Arc::new(Semaphore::new(8));
    let (working, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let names: Vec<String> = (0..16).map(|n| format!("{n:08x}")).collect();
    let tasks: Vec<_> = names
        .iter()
        .cloned()
        .map(|name| {
            let (machine, capacity) = (Arc::clone(&machine), Arc::clone(&capacity));
            let (working, most) = (Arc::clone(&working), Arc::clone(&most));
            tokio::spawn(async move {
                let _slot = capacity.acquire().await.unwrap();
                let place = machine.open(&name).await;
                most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // The agent commits one itself, with what git keeps in the repository's configuration besides.
                let (directory, mine) = (at(&place).to_path_buf(), name.clone());
                tokio::task::spawn_blocking(move || {
                    commit(&directory, &format!("committed-{mine}"), &mine);
                    write(&directory, &format!("left-{mine}"), &mine);
                    write(&directory, "file", &mine);
                })
                .await
                .unwrap();
                let kept = keep(&place).await;
                working.fetch_sub(1, Ordering::SeqCst);
                assert!(kept.committed && kept.notes.is_empty(), "{kept:?}");
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) > 1, "they worked one after the other");
    let app = machine.project("app");
    for name in &names {
        let branch = format!("hub/{name}");
        let files = git(&app, &["ls-tree", "-r", "--name-only", &branch]);
        let expected = format!(".gitignore\ncommitted-{name}\nfile\nleft-{name}");
        assert_eq!(files, expected, "{branch}");
        assert_eq!(git(&app, &["show", &format!("{branch}:file")]), *name);
        assert_eq!(git(&app, &["rev-list", "--count", &format!("main..{branch}")]), "2");
    }
    assert_eq!(git(&app, &["for-each-ref", "--format=%(refname)", "refs/heads/hub"]).lines().count(), 16);
    assert_eq!(git(&app, &["status", "--porcelain"]), "");
    machine.is_whole();
}

#[tokio::test]
async fn claude_code_34645_a_worktree_is_made_beside_a_config_that_is_locked() {
    let machine = Machine::with_app();
    write(&machine.project("app"), ".git/config.lock", "");
    let place = machine.open("a1b2c3d4").await;
    write(at(&place), "x", "x");
    assert!(keep(&place).await.committed);
}

#[tokio::test]
async fn who_works_in_a_place_has_it_alone_and_two_devices_share_the_lock_of_a_repository() {
    let machine = Arc::new(Machine::with_app());
    let place = machine.open("a1b2c3d4").await;
    let other = Arc::clone(&machine);
    let waiting = tokio::spawn(async move { other.open("a1b2c3d4").await.is_new() });
    sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    assert_eq!(machine.listed().await, [("a1b2c3d4".into(), State::InUse)]);
    assert!(!machine.all.clean("a1b2c3d4").await.removed);
    drop(place);
    assert!(!timeout(BOUND, waiting).await.unwrap().unwrap());
    // In place as well.
    machine.project("plain");
    let first = machine.try_open("plain", "1").await.unwrap();
    let other = Arc::clone(&machine);
    let second = tokio::spawn(async move { other.try_open("plain", "2").await.is_ok() });
    sleep(Duration::from_millis(200)).await;
    assert!(!second.is_finished());
    drop(first);
    assert!(timeout(BOUND, second).await.unwrap().unwrap());
}

#[tokio::test]
async fn what_can_have_no_worktree_is_worked_on_in_place_and_says_why() {
    let machine = Machine::new();
    machine.project("plain");
    assert_eq!(machine.why_in_place("plain").await, "it is no git repository");
    git(&machine.project("empty"), &["init", "--quiet"]);
    assert_eq!(machine.why_in_place("empty").await, "its repository has no commit yet");
    git(&machine.project("bare"), &["init", "--quiet", "--bare"]);
    assert_eq!(machine.why_in_place("bare").await, "its repository is a bare one");
    let app = machine.project("app");
    git(&app, &["init", "--quiet"]);
    commit(&app, ".gitignore", "build\n");
    machine.project("app/build/inner");
    assert_eq!(machine.why_in_place("app/build/inner").await, "the repository around it does not have this folder");
    // A repository around all projects has those of strangers in it.
    git(&machine.all.root, &["init", "--quiet"]);
    git(&machine.all.root, &["commit", "--quiet", "--allow-empty", "--message", "x"]);
    assert_eq!(machine.why_in_place("plain").await, "it is no git repository");
}

#[tokio::test]
async fn a_project_below_its_repository_works_in_that_folder_of_the_worktree() {
    let machine = Machine::with_app();
    let app = machine.project("app");
    commit(&app, "part/inner", "x");
    let place = machine.try_open("app/part", "a1b2c3d4").await.unwrap();
    assert_eq!(place.kind(), Kind::Git);
    assert!(at(&place).ends_with("part") && at(&place).join("inner").exists());
    write(at(&place), "beside", "x");
    write(at(&place), "../outside", "x");
    assert!(keep(&place).await.committed);
    assert_eq!(place.receipt(None).await.unwrap().changed, ["outside", "part/beside"]);
    assert!(Worktrees::new(&machine.all.root).has(&machine.project("app/part")));
}

#[tokio::test]
async fn detached_shallow_and_sparse_repositories_and_worktrees_have_worktrees() {
    let machine = Machine::with_remote();
    let app = machine.project("app");
    let head = commit(&app, "deep/file", "x");
    git(&app, &["push", "--quiet", "origin", "main"]);
    git(&app, &["checkout", "--quiet", "--detach"]);
    let place = machine.open("00000001").await;
    assert_eq!(place.base(), Some(&*head));
    let url = format!("file://{}", machine.remote().display());
    git(&machine.all.root, &["clone", "--quiet", "--depth", "1", &url, "shallow"]);
    git(&machine.all.root, &["clone", "--quiet", "--sparse", &url, "sparse"]);
    git(&app, &["worktree", "add", "--quiet", "--detach", "../linked"]);
    for project in ["shallow", "sparse", "linked"] {
        let mut place =
            machine.try_open(project, "00000002").await.unwrap_or_else(|trouble| panic!("{project}: {trouble}"));
        assert_eq!(place.kind(), Kind::Git, "{project}: {:?}", place.why_in_place());
        write(at(&place), "new", project);
        assert!(keep(&place).await.committed, "{project}");
        assert_eq!(place.receipt(None).await.unwrap().files, 1, "{project}");
        if project == "shallow" {
            place.push().await.unwrap();
        }
        drop(place);
        let cleaned = machine.all.clean("00000002").await;
        assert!(cleaned.removed, "{project}: {cleaned:?}");
    }
}

#[tokio::test]
async fn hooks_of_the_repository_run_for_the_checkout_and_not_for_what_is_kept() {
    let machine = Machine::with_app();
    let app = machine.project("app");
    for (hook, body) in [
        ("post-checkout", "touch checked-out; echo checked-out >> .git-ignored-by-nobody"),
        ("pre-commit", "exit 1"),
        ("commit-msg", "exit 1"),
    ] {
        crate::process::tests::write_program(&app.join(".git/hooks").join(hook), &format!("#!/bin/sh\n{body}\n"));
    }
    let place = machine.open("a1b2c3d4").await;
    assert!(at(&place).join("checked-out").exists());
    assert!(keep(&place).await.committed);
}

#[tokio::test]
async fn the_base_is_the_projects_or_what_is_checked_out_and_never_a_guess() {
    let machine = Machine::with_app();
    let app = machine.project("app");
    git(&app, &["branch", "release"]);
    let head = commit(&app, "second", "x");
    let with_base = |base: &str, name: &str| Begun { base: Some(base.into()), ..begun(name) };
    let place = machine.all.open(&with_base("release", "00000001"), &app).await.unwrap();
    assert_eq!(place.base().unwrap(), git(&app, &["rev-parse", "release"]));
    assert_eq!(machine.open("00000002").await.base().unwrap(), head);
    for missing in ["no-such", "--help", "a b", "main:file"] {
        let trouble = machine.all.open(&with_base(missing, "00000003"), &app).await.unwrap_err();
        assert!(
            matches!(&trouble, Trouble::NoWorkspace { retryable: false, why } if why.contains("base branch")),
            "{missing}: {trouble}"
        );
    }
    for branch in ["main", "hub/other", "hub/../x", "hub/-x"] {
        let plan = Begun { branch: branch.into(), ..begun("00000004") };
        assert!(
            machine.all.open(&plan, &app).await.unwrap_err().to_string().contains("no branch for a task"),
            "{branch}"
        );
    }
    let machine = Machine::with_app();
    git(&machine.project("app"), &["branch", "hub"]);
    let trouble = machine.try_open("app", "a1b2c3d4").await.unwrap_err();
    assert!(trouble.to_string().contains("branch named hub"), "{trouble}");
}

#[tokio::test]
async fn without_room_no_worktree_is_made_and_an_old_one_is_found() {
    let mut machine = Machine::with_app();
    drop(machine.open("00000001").await);
    machine.all.free_bytes = u64::MAX;
    assert!(matches!(machine.try_open("app", "00000002").await, Err(Trouble::NoRoom(_))));
    assert!(!machine.open("00000001").await.is_new());
    assert_eq!(git(&machine.project("app"), &["for-each-ref", "refs/heads/hub"]).lines().count(), 1);
}

/// A branch and its workspace in which an agent has left something, then kept.
async fn left(leave: impl FnOnce(&Path)) -> (Machine, Place, Kept) {
    let machine = Machine::with_app();
    let place = machine.open("a1b2c3d4").await;
    commit(at(&place), "file", "two\n");
    commit(at(&place), "file", "three\n");
    leave(at(&place));
    let kept = keep(&place).await;
    let app = machine.project("app");
    assert_eq!(git(at(&place), &["symbolic-ref", "HEAD"]), "refs/heads/hub/a1b2c3d4");
    assert_eq!(git(&app, &["rev-parse", "hub/a1b2c3d4"]), kept.head);
    assert_eq!(git(at(&place), &["status", "--porcelain"]), "");
    machine.is_whole();
    (machine, place, kept)
}

fn show(place: &Place, what: &str) -> String {
    git(at(place), &["show", what])
}

#[tokio::test]
async fn a_merge_with_conflicts_is_committed_as_it_is() {
    let (_machine, place, kept) = left(|tree| {
        git(tree, &["checkout", "--quiet", "-b", "other", "HEAD~2"]);
        commit(tree, "file", "other\n");
        git(tree, &["checkout", "--quiet", "hub/a1b2c3d4"]);
        assert!(!git_in(tree, &["merge", "other"]).0);
    })
    .await;
    assert!(kept.committed);
    assert_eq!(git(at(&place), &["rev-list", "--parents", "-1", "HEAD"]).split(' ').count(), 3, "both are its parents");
    assert!(show(&place, "HEAD:file").contains("<<<<<<<"));
}

#[tokio::test]
async fn half_a_rebase_stands_aside_and_the_work_is_what_it_was() {
    let mut tip = String::new();
    let (_machine, place, kept) = left(|tree| {
        tip = git(tree, &["rev-parse", "HEAD"]);
        git(tree, &["checkout", "--quiet", "-b", "other", "HEAD~2"]);
        commit(tree, "file", "other\n");
        git(tree, &["checkout", "--quiet", "hub/a1b2c3d4"]);
        assert!(!git_in(tree, &["rebase", "other"]).0);
        write(tree, "half", "of it\n");
    })
    .await;
    assert_eq!(kept.head, tip);
    let aside = git(at(&place), &["for-each-ref", "--format=%(refname:short)", "refs/heads/hub/a1b2c3d4-rebase-*"]);
    assert_eq!(show(&place, &format!("{aside}:half")), "of it");
    assert!(kept.notes.iter().any(|note| note.contains(&aside)), "{kept:?}");
    assert!(!git(at(&place), &["status"]).contains("rebase"));
}

#[tokio::test]
async fn work_on_a_detached_head_or_another_branch_is_on_the_branch_of_the_task() {
    let (_machine, place, kept) = left(|tree| {
        git(tree, &["checkout", "--quiet", "--detach"]);
        commit(tree, "detached", "x");
        write(tree, "left", "x");
    })
    .await;
    assert_eq!(git(at(&place), &["rev-list", "--count", "main..HEAD"]), "4");
    assert!(kept.notes.is_empty(), "{kept:?}");

    let (machine, _place, kept) = left(|tree| {
        git(tree, &["checkout", "--quiet", "-b", "feature"]);
        commit(tree, "feature", "x");
        write(tree, "left", "x");
    })
    .await;
    let app = machine.project("app");
    // The agent's branch is where the agent left it.
    assert_eq!(git(&app, &["rev-parse", "feature"]), git(&app, &["rev-parse", "hub/a1b2c3d4~1"]));
    assert!(kept.notes[0].contains("feature"), "{kept:?}");

    // Diverged: what was on the branch before has a branch.
    let mut tip = String::new();
    let (machine, _place, kept) = left(|tree| {
        tip = git(tree, &["rev-parse", "HEAD"]);
        git(tree, &["checkout", "--quiet", "--detach", "HEAD~2"]);
        write(tree, "left", "x");
    })
    .await;
    let before =
        git(&machine.project("app"), &["for-each-ref", "--format=%(objectname)", "refs/heads/hub/a1b2c3d4-before-*"]);
    assert_eq!(before, tip);
    assert!(kept.committed && kept.notes[0].contains("-before-"), "{kept:?}");

    // It only looked at something older.
    let (_machine, place, kept) = left(|tree| drop(git(tree, &["checkout", "--quiet", "--detach", "HEAD~1"]))).await;
    assert!(!kept.committed && kept.notes.is_empty());
    assert_eq!(show(&place, "HEAD:file"), "three");

    // A branch without a commit.
    let (_machine, place, _) = left(|tree| {
        git(tree, &["checkout", "--quiet", "--orphan", "fresh"]);
        write(tree, "left", "x");
    })
    .await;
    assert_eq!(git(at(&place), &["rev-list", "--count", "main..HEAD"]), "3");
}

#[tokio::test]
async fn a_branch_that_was_renamed_or_deleted_is_there_again() {
    let (_machine, place, _) = left(|tree| {
        git(tree, &["branch", "-m", "renamed"]);
        write(tree, "left", "x");
    })
    .await;
    assert_eq!(git(at(&place), &["rev-list", "--count", "main..HEAD"]), "3");
    let (_machine, place, _) = left(|tree| {
        git(tree, &["checkout", "--quiet", "--detach"]);
        git(tree, &["branch", "-D", "hub/a1b2c3d4"]);
    })
    .await;
    assert_eq!(git(at(&place), &["rev-list", "--count", "main..HEAD"]), "2");
}

#[tokio::test]
async fn a_lock_of_a_git_that_was_killed_does_not_stand_in_the_way() {
    let (_machine, _place, kept) = left(|tree| {
        let own = git(tree, &["rev-parse", "--absolute-git-dir"]);
        write(Path::new(&own), "index.lock", "");
        write(tree, "left", "x");
    })
    .await;
    assert!(kept.committed);
}

#[tokio::test]
async fn a_worktree_without_its_link_never_becomes_part_of_a_repository_around_it() {
    let machine = Machine::with_app();
    // As with `hub dev` in a project: the state lies in a repository that is none of the hub's business.
    git(machine.place.path(), &["init", "--quiet"]);
    git(machine.place.path(), &["commit", "--quiet", "--allow-empty", "--message", "not the hub's"]);
    let place = machine.open("a1b2c3d4").await;
    write(at(&place), "left", "x");
    fs::remove_file(at(&place).join(".git")).unwrap();
    let trouble = place.keep("x", Uuid::nil()).await;
    assert!(trouble.is_err(), "{trouble:?}");
    drop(place);
    let place = machine.open("a1b2c3d4").await;
    assert!(keep(&place).await.committed);
    // One of the agent's own in its place.
    fs::remove_file(at(&place).join(".git")).unwrap();
    git(at(&place), &["init", "--quiet"]);
    commit(at(&place), "own", "x");
    write(at(&place), "later", "x");
    drop(place);
    let place = machine.open("a1b2c3d4").await;
    assert!(keep(&place).await.committed);
    assert_eq!(git(at(&place), &["ls-tree", "--name-only", "HEAD", "own", "later"]), "later\nown");
    drop(place);
    let cleaned = machine.all.clean("a1b2c3d4").await;
    assert!(!cleaned.removed && cleaned.why.unwrap().contains("repository of its own"));
    assert_eq!(git(machine.place.path(), &["rev-list", "--count", "HEAD"]), "1");
}

#[tokio::test]
async fn a_repository_in_the_worktree_is_said_and_keeps_the_workspace() {
    let machine = Machine::with_app();
    let place = machine.open("a1b2c3d4").await;
    for inner in ["vendor/inner", "void"] {
        fs::create_dir_all(at(&place).join(inner)).unwrap();
        git(&at(&place).join(inner), &["init", "--quiet"]);
    }
    commit(&at(&place).join("vendor/inner"), "precious", "x");
    write(at(&place), "left", "x");
    let kept = keep(&place).await;
    assert!(kept.committed && kept.notes[0].contains("vendor/inner"), "{kept:?}");
    assert_eq!(git(at(&place), &["ls-tree", "-r", "--name-only", "HEAD"]), ".gitignore\nfile\nleft");
    drop(place);
    let cleaned = machine.all.clean("a1b2c3d4").await;
    assert!(!cleaned.removed && cleaned.why.unwrap().contains("repository of its own"));
}

/// Ends with the test.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The repositories of a folder, for who speaks git's own protocol.
async fn served(folder: &Path) -> (Daemon, String) {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    // By its own path: `git daemon` is a parent that would be killed without it.
    let mut command = Command::new(Path::new(&git(folder, &["--exec-path"])).join("git-daemon"));
    command.args(["--export-all", "--enable=receive-pack", "--listen=127.0.0.1", "--reuseaddr"]);
    command.arg(format!("--port={port}")).arg(format!("--base-path={}", folder.display()));
    command.stderr(std::process::Stdio::null());
    let daemon = Daemon(command.spawn().unwrap());
    let there = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(BOUND, there).await.unwrap();
    (daemon, format!("git://127.0.0.1:{port}"))
}

#[tokio::test]
async fn submodules_are_checked_out_and_their_work_is_not_removed() {
    let machine = Machine::with_app();
    let app = machine.project("app");
    let library = machine.place.path().join("library");
    fs::create_dir(&library).unwrap();
    git(&library, &["init", "--quiet"]);
    commit(&library, "code", "x");
    git(&app, &["submodule", "--quiet", "add", library.to_str().unwrap(), "library"]);
    git(&app, &["commit", "--quiet", "--message", "library"]);
    // One that is a folder of this machine is refused by git: then so is the worktree, and all is as before.
    let trouble = machine.try_open("app", "00000001").await.unwrap_err();
    assert!(trouble.to_string().contains("submodules"), "{trouble}");
    assert_eq!(git(&app, &["worktree", "list"]).lines().count(), 1);
    let (_daemon, url) = served(machine.place.path()).await;
    git(&app, &["config", "--file", ".gitmodules", "submodule.library.url", &format!("{url}/library")]);
    commit(&app, ".gitmodules", &fs::read_to_string(app.join(".gitmodules")).unwrap());
    git(&app, &["submodule", "--quiet", "sync"]);
    let place = machine.open("a1b2c3d4").await;
    assert!(at(&place).join("library/code").exists());
    commit(&at(&place).join("library"), "more", "x");
    assert!(keep(&place).await.committed);
    drop(place);
    let cleaned = machine.all.clean("a1b2c3d4").await;
    assert!(!cleaned.removed && cleaned.why.as_deref().unwrap_or_default().contains("submodule"), "{cleaned:?}");
    let place = machine.open("a1b2c3d4").await;
    git(&at(&place).join("library"), &["push", "--quiet", "origin", "HEAD:refs/heads/more"]);
    git(&at(&place).join("library"), &["fetch", "--quiet"]);
    drop(place);
    let cleaned = machine.all.clean("a1b2c3d4").await;
    assert!(cleaned.removed, "{cleaned:?}");
}

#[tokio::test]
async fn a_filter_that_is_missing_makes_no_half_worktree() {
    let machine = Machine::with_app();
    let app = machine.project("app");
    git(&app, &["config", "filter.lfs.required", "true"]);
    git(&app, &["config", "filter.lfs.smudge", "no-such-filter-program %f"]);
    git(&app, &["config", "filter.lfs.clean", "cat"]);
    commit(&app, ".gitattributes", "*.bin filter=lfs\n");
    commit(&app, "big.bin", "x");
    let trouble = machine.try_open("app", "a1b2c3d4").await.unwrap_err();
    assert!(
        matches!(&trouble, Trouble::NoWorkspace { retryable: true, why } if why.contains("worktree add failed")),
        "{trouble}"
    );
    assert!(!trouble.to_string().contains(machine.place.path().to_str().unwrap()), "{trouble}");
    git(&app, &["config", "filter.lfs.smudge", "cat"]);
    assert!(machine.open("a1b2c3d4").await.is_new());
}

#[tokio::test]
async fn a_setup_runs_once_a_worktree_and_content_of_its_inputs() {
    let machine = Machine::with_app();
    commit(&machine.project("app"), "lock", "1");
    let inputs = ["lock".to_owned()];
    let place = machine.open("a1b2c3d4").await;
    let command = "echo run >> ignored; test -z \"$A_KEY\"";
    assert_eq!(place.setup(command, &inputs, &machine.hosting()).await, Ok(true));
    assert_eq!(place.setup(command, &inputs, &machine.hosting()).await, Ok(false));
    drop(place);
    let place = machine.open("a1b2c3d4").await;
    assert_eq!(place.setup(command, &inputs, &machine.hosting()).await, Ok(false));
    write(at(&place), "lock", "2");
    assert_eq!(place.setup(command, &inputs, &machine.hosting()).await, Ok(true));
    assert_eq!(fs::read_to_string(at(&place).join("ignored")).unwrap(), "run\nrun\n");
    // What failed has not run.
    for _ in 0..2 {
        let failed = place.setup("echo why very-secret-value; exit 3", &[], &machine.hosting()).await.unwrap_err();
        let Trouble::NoWorkspace { why, retryable: false } = failed else { panic!("{failed:?}") };
        assert_eq!(why, "the project's setup failed: exit code 3\nwhy [redacted]");
    }
    let hosting = machine.hosting();
    hosting.cancel.cancel();
    assert_eq!(place.setup("sleep 60", &[], &hosting).await, Err(Trouble::Stopped));
    // Another line of work has a worktree of its own.
    assert_eq!(machine.open("00000002").await.setup(command, &inputs, &machine.hosting()).await, Ok(true));
    let plain = machine.try_open("plain", "1").await.unwrap();
    assert_eq!(plain.setup("exit 1", &[], &machine.hosting()).await, Ok(false), "that folder is its owner's to set up");
}

async fn verify(place: &Place, command: &str, machine: &Machine) -> Verified {
    match place.verify(command, 2, 1, &machine.hosting()).await {
        Verification::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_verification_passes_fails_hangs_or_is_missing_and_says_so() {
    let machine = Machine::with_app();
    let place = machine.open("a1b2c3d4").await;
    let passed = verify(&place, "echo very-secret-value; echo more >&2; test -f file", &machine).await;
    assert!(passed.passed && passed.exit == Some(0) && passed.rounds == 1, "{passed:?}");
    assert!(passed.tail.contains("[redacted]") && passed.tail.contains("more"), "{passed:?}");
    assert_eq!((passed.log_sha256.len(), passed.command_sha256.len()), (64, 64));
    let sum = Command::new("sh").args(["-c", "printf %s 'true' | sha256sum | cut -c1-64"]).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap();
    assert_eq!(verify(&place, "true", &machine).await.command_sha256, sum.trim());
    let failed = verify(&place, "echo no; exit 7", &machine).await;
    assert_eq!((failed.passed, failed.exit, failed.tail.as_str()), (false, Some(7), "no\nexit code 7"));
    let begun = Instant::now();
    let hanging = verify(&place, "setsid sleep 60 & echo begun; sleep 60", &machine).await;
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!((hanging.passed, hanging.exit), (false, None));
    assert!(hanging.tail.ends_with("it was ended after 2 s"), "{hanging:?}");
    let missing = verify(&place, "no-such-program --all", &machine).await;
    assert_eq!((missing.passed, missing.exit), (false, Some(127)));
    assert!(missing.tail.contains("a program that it calls is not there"), "{missing:?}");
    let crashed = verify(&place, "kill -SEGV $$", &machine).await;
    assert!(!crashed.passed && crashed.tail.contains("signal 11"), "{crashed:?}");
    // Somebody's doing, or the system's: it says nothing of the work.
    let killed = place.verify("kill -9 $$", 2, 1, &machine.hosting()).await;
    assert!(matches!(&killed, Verification::NotTried(why) if why.contains("signal 9")), "{killed:?}");
    let huge = verify(&place, "head -c 30000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1", &machine).await;
    assert!(huge.tail.chars().count() <= 4000 && huge.tail.ends_with("the end\nexit code 1"), "{}", huge.tail);
    let hosting = machine.hosting();
    hosting.cancel.cancel();
    assert_eq!(place.verify("sleep 60", 60, 1, &hosting).await, Verification::Stopped);

    assert!(!place.receipt(None).await.unwrap().dirty);
    assert!(verify(&place, "echo changed >> file", &machine).await.passed);
    assert!(place.receipt(None).await.unwrap().dirty);
    let plain = machine.try_open("plain", "1").await.unwrap();
    let done = verify(&plain, "true", &machine).await;
    let receipt = plain.receipt(Some(done.clone())).await.unwrap();
    assert_eq!((receipt.kind, receipt.commit, receipt.verify), (Kind::InPlace, None, Some(done)));
}

#[tokio::test]
async fn a_branch_is_pushed_and_only_what_we_put_there_is_replaced() {
    let machine = Machine::with_remote();
    let app = machine.project("app");
    let there = || git_in(&machine.remote(), &["rev-parse", "refs/heads/hub/a1b2c3d4"]).1;
    let mut place = machine.open("a1b2c3d4").await;
    commit(at(&place), "one", "x");
    place.push().await.unwrap();
    let first = git(at(&place), &["rev-parse", "HEAD"]);
    assert_eq!(there(), first);
    assert!(place.receipt(None).await.unwrap().pushed);
    commit(at(&place), "two", "x");
    assert!(!place.receipt(None).await.unwrap().pushed);
    place.push().await.unwrap();
    // Rewritten by the agent, in a later attempt.
    drop(place);
    let mut place = machine.open("a1b2c3d4").await;
    git(at(&place), &["reset", "--quiet", "--hard", "HEAD~1"]);
    let ours = commit(at(&place), "three", "x");
    place.push().await.unwrap();
    assert_eq!(there(), ours);
    // Somebody else was there: theirs stays.
    git(
        &machine.all.root,
        &["clone", "--quiet", "--branch", "hub/a1b2c3d4", machine.remote().to_str().unwrap(), "other"],
    );
    let theirs = commit(&machine.project("other"), "theirs", "x");
    git(&machine.project("other"), &["push", "--quiet"]);
    git(at(&place), &["commit", "--quiet", "--amend", "--message", "again"]);
    let trouble = place.push().await.unwrap_err().to_string();
    assert!(trouble.contains("commits of others"), "{trouble}");
    assert_eq!(there(), theirs);
    drop(place);

    git(&app, &["remote", "remove", "origin"]);
    let mut place = machine.open("00000002").await;
    assert!(place.push().await.unwrap_err().to_string().contains("no remote"));
    git(&app, &["remote", "add", "origin", "https://127.0.0.1:1/x.git"]);
    let trouble = place.push().await.unwrap_err().to_string();
    assert!(trouble.contains("could not be pushed"), "{trouble}");
    let mut plain = machine.try_open("plain", "1").await.unwrap();
    plain.push().await.unwrap();
}

#[tokio::test]
async fn another_device_goes_on_from_what_was_pushed() {
    let machine = Machine::with_remote();
    git(&machine.all.root, &["clone", "--quiet", machine.remote().to_str().unwrap(), "second"]);
    let mut place = machine.open("a1b2c3d4").await;
    let first = commit(at(&place), "one", "x");
    place.push().await.unwrap();
    let on_second = |start: &str| Begun { start: Some(start.into()), ..begun("a1b2c3d4") };
    let second = machine.project("second");
    let mut other = machine.all.open(&on_second(&first), &second).await.unwrap();
    assert!(at(&other).join("one").exists());
    assert_eq!(other.base().unwrap(), git(&second, &["rev-parse", "main"]));
    let further = commit(at(&other), "two", "x");
    other.push().await.unwrap();
    drop((place, other));
    // And back: the worktree that is there follows.
    let place = machine.all.open(&on_second(&further), &machine.project("app")).await.unwrap();
    assert!(!place.is_new() && at(&place).join("two").exists());
    drop(place);
    let lost = "0123456789012345678901234567890123456789";
    let trouble =
        machine.all.open(&Begun { start: Some(lost.into()), ..begun("00000009") }, &second).await.unwrap_err();
    assert!(trouble.to_string().contains("can not be fetched"), "{trouble}");
    let trouble = machine.all.open(&Begun { start: Some("--help".into()), ..begun("00000009") }, &second).await;
    assert!(trouble.is_err());
}

/// What GitHub's REST does for pull requests, in a few lines: `/repos/o/r` and its `pulls`.
async fn github(refuse: Option<(u16, &'static str)>) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let requests = Arc::clone(&seen);
    tokio::spawn(async move {
        let mut open = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let (head, body) = loop {
                let mut buffer = [0; 65536];
                let count = stream.read(&mut buffer).await.unwrap();
                bytes.extend(&buffer[..count]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .to_lowercase()
                    .split("content-length: ")
                    .nth(1)
                    .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
                if body.len() >= length || count == 0 {
                    break (head.to_owned(), body.to_owned());
                }
            };
            let line = head.lines().next().unwrap().replace(" HTTP/1.1", "");
            assert!(head.to_lowercase().contains("authorization: bearer a-token"), "{head}");
            requests.lock().unwrap().push(format!("{line} {body}"));
            let pull = r#"{"number": 7, "html_url": "https://github.example/o/r/pull/7"}"#;
            let (status, answer) = match (refuse, line.split(' ').next().unwrap()) {
                (Some((status, message)), _) => {
                    (status, format!(r#"{{"message": "{message}", "errors": [{{"message": "a detail"}}]}}"#))
                }
                (None, "POST") => {
                    open += 1;
                    (201, pull.to_owned())
                }
                (None, "PATCH") => (200, pull.to_owned()),
                (None, _) if line.contains("/pulls?") => {
                    (200, if open > 0 { format!("[{pull}]") } else { "[]".into() })
                }
                (None, _) => (200, r#"{"default_branch": "trunk"}"#.into()),
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                answer.len()
            );
            stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_pull_request_is_opened_once_and_then_brought_up_to_date() {
    let machine = Machine::with_app();
    let (api, seen) = github(None).await;
    let mut place = machine.open("a1b2c3d4").await;
    let mut wanted = PullRequest {
        repository: "o/r".into(),
        secret_name: None,
        ready: false,
        title: "Mend\nit".into(),
        body: "For @ada, mail a@b".into(),
    };
    let token = || SecretString::from("a-token");
    let url = "https://github.example/o/r/pull/7";
    assert_eq!(place.pull_request_at(&api, token(), &wanted).await, Ok(Some(url.into())));
    assert_eq!(place.opened(), Some(url));
    wanted.title = "Mended".into();
    drop(place);
    let mut place = machine.open("a1b2c3d4").await;
    assert_eq!(place.pull_request_at(&api, token(), &wanted).await, Ok(Some(url.into())));
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen[0].starts_with("GET /repos/o/r/pulls?head=o%3Ahub%2Fa1b2c3d4&state=open"), "{seen:?}");
    let posted: serde_json::Value = serde_json::from_str(seen[1].split_once("pulls ").unwrap().1).unwrap();
    let expected = serde_json::json!({"title": "Mend it", "body": "For @<!-- -->ada, mail a@<!-- -->b", "head": "hub/a1b2c3d4", "base": "main", "draft": true});
    assert_eq!(posted, expected);
    assert!(seen[3].starts_with("PATCH /repos/o/r/pulls/7 ") && seen[3].contains("Mended"), "{seen:?}");
    assert_eq!(place.receipt(None).await.unwrap().pull_request.as_deref(), Some(url));
}

#[tokio::test]
async fn a_pull_request_that_can_not_be_opened_says_why_and_tells_no_secret() {
    let machine = Machine::with_app();
    let mut place = machine.open("a1b2c3d4").await;
    let mut wanted =
        PullRequest { repository: "o/r".into(), secret_name: None, ready: true, title: "x".into(), body: "x".into() };
    for (refusal, why) in [
        ((401, "Bad credentials"), "GitHub says 401: Bad credentials; a detail (the token is not accepted)"),
        ((422, "Validation Failed"), "GitHub says 422: Validation Failed; a detail"),
        ((503, "Busy"), "GitHub says 503: Busy; a detail"),
    ] {
        let (api, _) = github(Some(refusal)).await;
        let trouble =
            place.pull_request_at(&api, SecretString::from("a-token"), &wanted).await.unwrap_err().to_string();
        assert_eq!(trouble, format!("no pull request could be opened: {why}"));
    }
    let trouble =
        place.pull_request_at("http://127.0.0.1:1", SecretString::from("a-token"), &wanted).await.unwrap_err();
    assert!(trouble.to_string().contains("can not be reached"), "{trouble}");
    wanted.secret_name = Some("DATABASE_URL".into());
    assert!(place.pull_request(&wanted).await.unwrap_err().to_string().contains("may not be used"));
    wanted.secret_name = Some("HUB_BRIDGE_THAT_IS_NOT_SET".into());
    assert!(place.pull_request(&wanted).await.unwrap_err().to_string().contains("has no HUB_BRIDGE_THAT_IS_NOT_SET"));
    wanted.repository = "../x".into();
    let trouble =
        place.pull_request_at("http://127.0.0.1:1", SecretString::from("a-token"), &wanted).await.unwrap_err();
    assert!(trouble.to_string().contains("no repository of GitHub"), "{trouble}");
}

#[tokio::test]
async fn vibe_kanban_1764_a_worktree_is_removed_after_the_merge() {
    let machine = Machine::with_app();
    let app = machine.project("app");
    let place = machine.open("a1b2c3d4").await;
    write(at(&place), "new", "x");
    let (kept, tree) = (keep(&place).await, at(&place).to_path_buf());
    // As an agent might: settings of the branch.
    git(at(&place), &["config", "branch.hub/a1b2c3d4.description", "x"]);
    drop(place);
    assert_eq!(machine.listed().await, [("a1b2c3d4".into(), State::Unpushed { commits: 1 })]);
    let state = machine.place.path().join("state");
    let stays = remove(&state, "a1b2c3d4", false).await.unwrap();
    assert!(!stays.removed && stays.why.unwrap().contains("neither merged nor with the remote"));
    git(&app, &["merge", "--quiet", "hub/a1b2c3d4"]);
    assert_eq!(machine.listed().await, [("a1b2c3d4".into(), State::Merged)]);
    let cleaned = remove(&state, "a1b2c3d4", false).await.unwrap();
    assert_eq!(cleaned, Cleaned { removed: true, ..Cleaned::default() });
    assert!(!tree.exists() && machine.listed().await.is_empty());
    assert_eq!(git(&app, &["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    assert_eq!(git(&app, &["worktree", "list"]).lines().count(), 1);
    assert!(!git_in(&app, &["config", "--get-regexp", "^branch\\."]).0);
    assert_eq!(git(&app, &["rev-parse", "main"]), kept.head);
    assert_eq!(
        fs::read_dir(state.join("workspaces"))
            .unwrap()
            .flatten()
            .map(|e| fs::read_dir(e.path()).unwrap().count())
            .sum::<usize>(),
        0
    );
    // And the line of work can go on.
    assert!(machine.open("a1b2c3d4").await.is_new());
}

#[tokio::test]
async fn vibe_kanban_880_uncommitted_work_outlives_its_workspace() {
    let machine = Machine::with_app();
    let app = machine.project("app");
    let place = machine.open("a1b2c3d4").await;
    let committed = commit(at(&place), "file", "two\n");
    write(at(&place), "precious", "uncommitted\n");
    drop(place);
    assert_eq!(machine.listed().await, [("a1b2c3d4".into(), State::Uncommitted)]);
    let stays = remove(&machine.place.path().join("state"), "a1b2c3d4", false).await.unwrap();
    assert_eq!(stays.why.as_deref(), Some("there are files in it that are not committed"));
    let cleaned = machine.all.clean("a1b2c3d4").await;
    assert!(cleaned.removed, "{cleaned:?}");
    let bundle = cleaned.bundle.unwrap();
    assert!(!git_in(&app, &["rev-parse", "--verify", "hub/a1b2c3d4"]).0);
    // Into a clone that never saw them.
    git(&machine.all.root, &["clone", "--quiet", "--no-local", "app", "fresh"]);
    let fresh = machine.project("fresh");
    git(&fresh, &["fetch", "--quiet", bundle.to_str().unwrap(), "refs/heads/hub/a1b2c3d4:refs/heads/back"]);
    assert_eq!(git(&fresh, &["show", "back:precious"]), "uncommitted");
    assert_eq!(git(&fresh, &["rev-parse", "back~1"]), committed);
    // A second one does not take the place of the first.
    let place = machine.open("a1b2c3d4").await;
    write(at(&place), "other", "x");
    drop(place);
    let second = machine.all.clean("a1b2c3d4").await.bundle.unwrap();
    assert!(second != bundle && bundle.exists() && second.exists());
}

#[tokio::test]
async fn what_the_remote_has_needs_no_bundle_and_what_it_lost_does() {
    let machine = Machine::with_remote();
    for (name, lost) in [("00000001", false), ("00000002", true)] {
        let mut place = machine.open(name).await;
        write(at(&place), name, "x");
        keep(&place).await;
        place.push().await.unwrap();
        drop(place);
        assert_eq!(machine.listed().await, [(name.into(), State::Pushed)]);
        if lost {
            git(&machine.remote(), &["update-ref", "-d", &format!("refs/heads/hub/{name}")]);
        }
        let cleaned = machine.all.clean(name).await;
        assert_eq!((cleaned.removed, cleaned.bundle.is_some()), (true, lost), "{cleaned:?}");
    }
    assert!(machine.all.clean("not-there").await.removed);
}

#[tokio::test]
async fn a_line_of_work_goes_on_with_what_was_pushed_before_its_workspace_was_removed() {
    let machine = Machine::with_remote();
    let mut place = machine.open("a1b2c3d4").await;
    write(at(&place), "new", "x");
    keep(&place).await;
    place.push().await.unwrap();
    drop(place);
    assert!(machine.all.clean("a1b2c3d4").await.removed);
    // Somebody went on meanwhile.
    let remote = machine.remote();
    git(&machine.all.root, &["clone", "--quiet", "--branch", "hub/a1b2c3d4", remote.to_str().unwrap(), "other"]);
    let theirs = commit(&machine.project("other"), "theirs", "x");
    git(&machine.project("other"), &["push", "--quiet"]);
    let mut place = machine.open("a1b2c3d4").await;
    assert!(place.is_new() && at(&place).join("new").exists() && at(&place).join("theirs").exists());
    assert_eq!(place.base().unwrap(), git(&machine.project("app"), &["rev-parse", "main"]));
    assert_eq!(git(at(&place), &["rev-parse", "HEAD"]), theirs);
    commit(at(&place), "two", "x");
    place.push().await.unwrap();
    // What came from there may be rewritten.
    git(at(&place), &["commit", "--quiet", "--amend", "--message", "again"]);
    place.push().await.unwrap();
    drop(place);
    assert!(machine.all.clean("a1b2c3d4").await.removed);
    // The remote is away: what was last seen there.
    fs::rename(machine.remote(), machine.place.path().join("away")).unwrap();
    let place = machine.open("a1b2c3d4").await;
    assert!(at(&place).join("two").exists());
    drop(place);
    fs::rename(machine.place.path().join("away"), machine.remote()).unwrap();
    assert!(machine.all.clean("a1b2c3d4").await.removed);
    // Once the base has all of it, it begins there.
    let app = machine.project("app");
    git(&app, &["merge", "--quiet", "origin/hub/a1b2c3d4"]);
    let further = commit(&app, "further", "x");
    assert_eq!(git(at(&machine.open("a1b2c3d4").await), &["rev-parse", "HEAD"]), further);
}

#[tokio::test]
async fn a_line_of_work_goes_on_with_what_was_bundled_when_its_workspace_was_removed() {
    for remote in [false, true] {
        let machine = if remote { Machine::with_remote() } else { Machine::with_app() };
        let mut place = machine.open("a1b2c3d4").await;
        commit(at(&place), "one", "x");
        if remote {
            place.push().await.unwrap();
        }
        let before = commit(at(&place), "two", "x");
        write(at(&place), "uncommitted", "x");
        drop(place);
        assert!(machine.all.clean("a1b2c3d4").await.bundle.is_some());
        // Also where its objects are gone from the repository.
        let app = machine.project("app");
        git(&app, &["reflog", "expire", "--expire=now", "--all"]);
        git(&app, &["gc", "--quiet", "--prune=now"]);
        assert!(!git_in(&app, &["cat-file", "-e", &before]).0);
        // The hub may name what was pushed last, which is less.
        let plan = begun("a1b2c3d4");
        let start = remote.then(|| git(&app, &["rev-parse", "origin/hub/a1b2c3d4"]));
        let mut place = machine.all.open(&Begun { start, ..plan }, &app).await.unwrap();
        assert!(at(&place).join("two").exists() && at(&place).join("uncommitted").exists());
        assert_eq!(place.base().unwrap(), git(&app, &["rev-parse", "main"]));
        if remote {
            place.push().await.unwrap();
        }
        // The newest of its bundles is meant.
        git(at(&place), &["reset", "--quiet", "--hard", "HEAD~1"]);
        commit(at(&place), "three", "x");
        drop(place);
        assert!(machine.all.clean("a1b2c3d4").await.bundle.is_some());
        let place = machine.open("a1b2c3d4").await;
        assert!(at(&place).join("three").exists() && !at(&place).join("uncommitted").exists());
    }
}

#[tokio::test]
async fn vibe_kanban_3406_removing_a_workspace_leaves_every_object() {
    let machine = Machine::with_app();
    let app = machine.project("app");
    let others = app.parent().unwrap().join("their-worktree");
    git(&app, &["worktree", "add", "--quiet", "-b", "theirs", others.to_str().unwrap()]);
    fs::remove_dir_all(&others).unwrap();
    let place = machine.open("a1b2c3d4").await;
    write(at(&place), "new", "x");
    keep(&place).await;
    // Objects that nothing points to.
    commit(at(&place), "dangling", "x");
    git(at(&place), &["reset", "--quiet", "--hard", "HEAD~1"]);
    drop(place);
    let before = machine.objects();
    let cleaned = machine.all.clean("a1b2c3d4").await;
    assert!(cleaned.removed && cleaned.bundle.is_some(), "{cleaned:?}");
    assert_eq!(machine.objects(), before);
    machine.is_whole();
    // A worktree of somebody else whose folder is away is theirs to forget.
    assert!(git(&app, &["worktree", "list"]).contains("theirs"));
}

#[tokio::test]
async fn vibe_kanban_1571_a_worktree_that_is_gone_is_made_again_from_its_branch() {
    let machine = Machine::with_app();
    let place = machine.open("a1b2c3d4").await;
    write(at(&place), "new", "x");
    keep(&place).await;
    let (tree, folder) = (at(&place).to_path_buf(), place.folder().unwrap().to_path_buf());
    fs::remove_dir_all(&tree).unwrap();
    assert!(place.keep("x", Uuid::nil()).await.is_err());
    drop(place);
    assert!(machine.all.again(&folder).await.unwrap().is_none());
    let place = machine.open("a1b2c3d4").await;
    assert!(place.is_new() && at(&place) == tree && at(&place).join("new").exists());
    drop(place);
    // Also where git was told to forget it, or its folder with all that was written down of it is away.
    fs::remove_dir_all(&tree).unwrap();
    git(&machine.project("app"), &["worktree", "unlock", tree.to_str().unwrap()]);
    git(&machine.project("app"), &["worktree", "prune"]);
    assert!(machine.open("a1b2c3d4").await.directory().join("new").exists());
    fs::remove_dir_all(&folder).unwrap();
    let place = machine.open("a1b2c3d4").await;
    assert!(at(&place).join("new").exists());
    assert_eq!(place.base().unwrap(), git(&machine.project("app"), &["rev-parse", "main"]));
    // What it is was lost, not the work in it.
    write(at(&place), "uncommitted", "x");
    fs::write(folder.join("workspace.json"), "{").unwrap();
    drop(place);
    let place = machine.open("a1b2c3d4").await;
    assert!(!place.is_new() && at(&place).join("uncommitted").exists());
}

#[tokio::test]
async fn claude_code_55724_a_lock_that_fails_destroys_no_work() {
    let machine = Machine::with_app();
    let app = machine.project("app");
    let place = machine.open("a1b2c3d4").await;
    write(at(&place), "precious", "x");
    keep(&place).await;
    let (head, tree) = (git(at(&place), &["rev-parse", "HEAD"]), at(&place).to_path_buf());
    drop(place);
    git(&app, &["merge", "--quiet", "hub/a1b2c3d4"]);
    // The branch can not be deleted: somebody has its lock. The rest goes, and the branch stays.
    write(&app, ".git/refs/heads/hub/a1b2c3d4.lock", "");
    let cleaned = machine.all.clean("a1b2c3d4").await;
    assert_eq!(git(&app, &["rev-parse", "main"]), head);
    assert!(cleaned.removed && !tree.exists(), "{cleaned:?}");
    // A making that fails at a lock of another's takes nothing with it.
    let place = machine.open("00000002").await;
    write(at(&place), "precious", "x");
    keep(&place).await;
    write(at(&place), "uncommitted", "x");
    let tree = at(&place).to_path_buf();
    drop(place);
    write(&app, ".git/refs/heads/hub/00000003.lock", "");
    let trouble = machine.try_open("app", "00000003").await.unwrap_err().to_string();
    assert!(trouble.contains("another git has the repository's 00000003.lock"), "{trouble}");
    assert!(tree.join("uncommitted").exists() && tree.join("precious").exists());
    fs::remove_file(app.join(".git/refs/heads/hub/00000003.lock")).unwrap();
    assert!(machine.open("00000003").await.is_new());
}

/// The example `workspace` of this crate, which cargo builds beside its tests.
fn step(machine: &Machine, name: &str, step: &str) -> std::process::Child {
    let program = host::tests::program().with_file_name("workspace");
    assert!(program.exists(), "{} is missing: cargo test builds it, unless only --lib is asked for", program.display());
    let mut command = Command::new(program);
    command.arg(machine.place.path().join("state")).arg(&machine.all.root).args(["app", name, step]);
    command.stderr(std::process::Stdio::piped()).spawn().unwrap()
}

/// Times from nothing to more than a step takes, so that each of its moments is met.
fn moments(count: u32, longest: Duration) -> impl Iterator<Item = Duration> {
    (0..count).map(move |n| longest * n / count)
}

async fn killed(machine: &Machine, name: &str, what: &str, after: Duration) -> bool {
    let mut child = step(machine, name, what);
    sleep(after).await;
    child.kill().unwrap();
    let status = child.wait().unwrap();
    status.success()
}

async fn length(machine: &Machine, name: &str, what: &str) -> Duration {
    let begun = Instant::now();
    let output = step(machine, name, what).wait_with_output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    begun.elapsed()
}

const KILLS: u32 = 40;

#[tokio::test]
async fn a_worker_that_is_killed_while_it_makes_a_worktree_leaves_what_the_next_one_goes_on_from() {
    let machine = Machine::with_app();
    let app = machine.project("app");
    for n in 0..300 {
        write(&app, &format!("many/{n}"), &n.to_string());
    }
    git(&app, &["add", "many"]);
    git(&app, &["commit", "--quiet", "--message", "many"]);
    let longest = length(&machine, "ffffffff", "make").await;
    let before = machine.objects();
    let mut finished = 0;
    for (n, after) in moments(KILLS, longest * 5 / 4).enumerate() {
        let name = format!("{n:08x}");
        finished += u32::from(killed(&machine, &name, "make", after).await);
        let place = machine.open(&name).await;
        assert_eq!(git(at(&place), &["status", "--porcelain", "--ignored"]), "", "{name}");
        assert_eq!(git(at(&place), &["symbolic-ref", "--short", "HEAD"]), format!("hub/{name}"));
        write(at(&place), "new", &name);
        assert!(keep(&place).await.committed);
    }
    println!("{finished} of {KILLS} were faster than their end");
    assert!(before.is_subset(&machine.objects()));
    machine.is_whole();
    let known = git(&app, &["worktree", "list", "--porcelain"]);
    assert_eq!(known.matches("worktree ").count(), KILLS as usize + 2);
    assert_eq!(fs::read_dir(app.join(".git/worktrees")).unwrap().count(), KILLS as usize + 1, "nothing half is left");
}

#[tokio::test]
async fn a_worker_that_is_killed_while_it_commits_loses_nothing() {
    let machine = Machine::with_app();
    drop(machine.open("ffffffff").await);
    let leave = |tree: &Path| {
        for n in 0..100 {
            write(tree, &format!("left/{n}"), &format!("{n} {}", tree.display()));
        }
        fs::remove_file(tree.join("file")).unwrap();
        fs::rename(tree.join(".gitignore"), tree.join("renamed")).unwrap();
    };
    let tree = machine.open("ffffffff").await.directory().to_path_buf();
    leave(&tree);
    let longest = length(&machine, "ffffffff", "keep").await;
    for (n, after) in moments(KILLS, longest * 5 / 4).enumerate() {
        let name = format!("{n:08x}");
        let place = machine.open(&name).await;
        let earlier = commit(at(&place), "earlier", &name);
        leave(at(&place));
        drop(place);
        let before = machine.objects();
        killed(&machine, &name, "keep", after).await;
        let place = machine.open(&name).await;
        keep(&place).await;
        assert_eq!(git(at(&place), &["status", "--porcelain"]), "");
        assert_eq!(git(at(&place), &["ls-tree", "-r", "--name-only", "HEAD", "left"]).lines().count(), 100);
        assert_eq!(git(at(&place), &["show", "HEAD:left/7"]), format!("7 {}", at(&place).display()));
        assert_eq!(
            git(at(&place), &["ls-tree", "--name-only", "HEAD", "file", "renamed", "earlier"]),
            "earlier\nrenamed"
        );
        assert!(git_in(at(&place), &["merge-base", "--is-ancestor", &earlier, "HEAD"]).0);
        assert!(before.is_subset(&machine.objects()));
    }
    machine.is_whole();
}

#[tokio::test]
async fn a_worker_that_is_killed_while_it_cleans_has_bundled_what_is_gone() {
    let machine = Machine::with_app();
    let make = async |name: &str| {
        let place = machine.open(name).await;
        let head = commit(at(&place), "committed", name);
        for n in 0..100 {
            write(at(&place), &format!("left/{n}"), name);
        }
        write(at(&place), "left/own", name);
        head
    };
    make("ffffffff").await;
    let longest = length(&machine, "ffffffff", "clean").await;
    let bundles = machine.place.path().join("state/bundles");
    for (n, after) in moments(KILLS, longest * 5 / 4).enumerate() {
        let name = format!("{n:08x}");
        let head = make(&name).await;
        let before = machine.objects();
        killed(&machine, &name, "clean", after).await;
        // Either one goes on to work there …
        if n % 2 == 0 {
            let place = machine.open(&name).await;
            keep(&place).await;
            // … with all of it, also where it was gone already, and in a bundle.
            git(at(&place), &["merge-base", "--is-ancestor", &head, "HEAD"]);
            assert_eq!(git(at(&place), &["show", "HEAD:left/own"]), name, "{n}");
            assert_eq!(git(at(&place), &["ls-tree", "-r", "--name-only", "HEAD", "left"]).lines().count(), 101, "{n}");
            drop(place);
            let cleaned = machine.all.clean(&name).await;
            assert!(cleaned.removed, "{cleaned:?}");
        } else {
            let cleaned = machine.all.clean(&name).await;
            assert!(cleaned.removed, "{n}: {cleaned:?}");
            assert!(!git_in(&machine.project("app"), &["rev-parse", "--verify", &format!("hub/{name}")]).0);
        }
        assert!(before.is_subset(&machine.objects()));
        // The newest of its bundles has it.
        let of_it = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("app-{name}"));
        let mut found: Vec<PathBuf> =
            fs::read_dir(&bundles).unwrap().flatten().map(|entry| entry.path()).filter(of_it).collect();
        found.sort_by_key(|path| path.metadata().unwrap().modified().unwrap());
        let bundle = found.last().unwrap_or_else(|| panic!("{name} has no bundle"));
        let back = format!("refs/heads/back-{name}");
        git(
            &machine.project("app"),
            &["fetch", "--quiet", bundle.to_str().unwrap(), &format!("refs/heads/hub/{name}:{back}")],
        );
        assert_eq!(git(&machine.project("app"), &["show", &format!("{back}:left/own")]), name);
        git(&machine.project("app"), &["update-ref", "-d", &back]);
    }
    machine.is_whole();
}
