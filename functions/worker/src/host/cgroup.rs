//! A control group of version 2 for an attempt, where this process may make one below its own: one write then ends all that is in it at
//! once, and it knows the memory of all together. Where there is none, or anything about it fails, the tree is found all the same.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use super::tree::Id;

#[derive(Debug)]
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// Puts a process into a new group. What it forked in the moment before stays outside.
    pub(super) fn around(pid: Id, name: &OsStr) -> Option<Self> {
        let group = Self(own()?.join(name));
        fs::create_dir(&group.0).ok()?;
        if fs::write(group.0.join("cgroup.procs"), pid.to_string()).is_err() {
            group.remove();
            return None;
        }
        Some(group)
    }

    /// The group that a host which is gone had made.
    pub(super) fn left(name: &OsStr) -> Option<Self> {
        Some(Self(own()?.join(name))).filter(|group| group.0.is_dir())
    }

    pub(super) fn kill(&self) {
        // Before Linux 5.14 there is no such file; the processes are found one by one then.
        fs::write(self.0.join("cgroup.kill"), "1").ok();
    }

    /// The most memory its processes had together, where the controller is on.
    pub(super) fn peak(&self) -> Option<u64> {
        fs::read_to_string(self.0.join("memory.peak")).ok()?.trim().parse().ok()
    }

    /// Only an empty group goes.
    pub(super) fn remove(&self) {
        fs::remove_dir(&self.0).ok();
    }
}

fn own() -> Option<PathBuf> {
    find(&fs::read_to_string("/proc/self/mountinfo").ok()?, &fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// Where this process' own group is in the file system.
fn find(mounts: &str, groups: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        // Fields before the dash: numbers, the root of what is mounted, where. After it: the kind.
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        // A path that leads out of what is mounted can not be reached; one with an escape in it is nobody's.
        let inside = Path::new(path).strip_prefix(root).ok()?;
        (kind.starts_with("cgroup2 ") && !path.contains("..") && !line.contains('\\'))
            .then(|| Path::new(point).join(inside))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_where_version_2_is_mounted() {
        let mixed = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                     35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
                     41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(find(mixed, "4:memory:/x\n0::/\n"), Some("/sys/fs/cgroup/unified/".into()));
        let plain = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(find(plain, "0::/user.slice/a\n"), Some("/sys/fs/cgroup/user.slice/a".into()));
        let container = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(find(container, "0::/docker/abc/in\n"), Some("/sys/fs/cgroup/in".into()));
        assert_eq!(find(container, "0::/../other\n"), None);
        assert_eq!(find(plain, "4:memory:/x\n"), None);
    }
}
