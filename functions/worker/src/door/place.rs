//! Sockets at paths of any length. A socket's address has room for 107 bytes of it (103 on macOS); the folders of attempts are
//! often deeper.

use std::{
    io,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

const ROOM: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Listens at a path, for this user alone.
pub(super) fn listen(socket: &Path) -> io::Result<UnixListener> {
    let listener = reach(socket, |path| UnixListener::bind(path))?;
    // Until then the folder around it keeps others out.
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Connects to who listens there.
pub(super) fn connect(socket: &Path) -> io::Result<UnixStream> {
    let stream = reach(socket, |path| UnixStream::connect(path))?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Gives a path that fits and leads to the same place.
fn reach<T>(socket: &Path, act: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    if socket.as_os_str().len() <= ROOM {
        return act(socket);
    }
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    shorten(folder, |short| act(&short.join(name)))
}

#[cfg(target_os = "linux")]
fn shorten<T>(folder: &Path, act: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    use std::os::fd::AsRawFd;
    let folder = std::fs::File::open(folder)?;
    act(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()))
}

/// By a link, which is needed for this moment only.
#[cfg(not(target_os = "linux"))]
fn shorten<T>(folder: &Path, act: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let place = tempfile::Builder::new().prefix("hub-").tempdir_in("/tmp")?;
    let link = place.path().join("d");
    std::os::unix::fs::symlink(folder, &link)?;
    act(&link)
}
