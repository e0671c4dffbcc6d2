//! The socket: handed over by systemd, or made here.

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr, getsockopt, sockopt};
use nix::sys::stat::{Mode, fchmod};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A listening socket; one that was made here goes with its name.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    name: Option<Name>,
}

/// Which inode it is, so that another's socket that has come to the name is left alone.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// The first socket that systemd hands over (`sd_listen_fds(3)`), else one at this path, mode 0600.
    ///
    /// # Errors
    ///
    /// What is handed over does not listen, another process listens at the path, or it cannot be made.
    pub(crate) fn open(path: &Path) -> io::Result<Socket> {
        match inherited()? {
            Some(listener) => Ok(Socket { listener, name: None }),
            None => Socket::bind(path),
        }
    }

    /// Under a name of its own first: a socket that a killed process left is replaced at once.
    pub(crate) fn bind(path: &Path) -> io::Result<Socket> {
        refuse_if_taken(path)?;
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let _ = std::fs::remove_file(&beside);
        let listener = listening_at(&beside)?;
        let named = std::fs::rename(&beside, path).and_then(|()| std::fs::symlink_metadata(path));
        match named {
            Ok(metadata) => Ok(Socket { listener, name: Some(Name { path: path.into(), inode: metadata.ino() }) }),
            Err(e) => {
                let _ = std::fs::remove_file(&beside);
                Err(e)
            }
        }
    }
}

/// Only what is meant for this process: `LISTEN_FDS` alone may be a parent's, and descriptor 3 anything.
fn inherited() -> io::Result<Option<UnixListener>> {
    let meant = std::env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(std::process::id()));
    if !meant {
        return Ok(None);
    }
    let Some(listener) = listenfd::ListenFd::from_env().take_unix_listener(0)? else { return Ok(None) };
    if !getsockopt(&listener, sockopt::AcceptConn)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket that was handed over does not listen"));
    }
    Ok(Some(listener))
}

/// Its user's alone from the first moment, whatever the umask: `bind(2)` gives the name the mode of the socket.
fn listening_at(path: &Path) -> io::Result<UnixListener> {
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    socket::listen(&socket, Backlog::MAXCONN).inspect_err(|_: &Errno| drop(std::fs::remove_file(path)))?;
    Ok(socket.into())
}

fn refuse_if_taken(path: &Path) -> io::Result<()> {
    let taken = |what: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, what.to_owned()));
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => taken("something that is no socket is there"),
        Ok(_) if UnixStream::connect(path).is_ok() => taken("another process listens there"),
        _ => Ok(()),
    }
}

impl Socket {
    /// Takes the name away, so that nobody else comes; the name that systemd's has is systemd's.
    pub(crate) fn unname(&mut self) {
        let Some(Name { path, inode }) = self.name.take() else { return };
        if std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.ino() == inode) {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.unname();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_its_users_alone_and_goes_with_its_listener() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("run/diff.sock");
        let socket = Socket::bind(&path).expect("socket");
        let mode = std::fs::symlink_metadata(&path).expect("socket").mode();
        assert_eq!(mode & 0o7777, 0o600);
        UnixStream::connect(&path).expect("connected");
        drop(socket);
        assert_eq!(std::fs::read_dir(dir.path().join("run")).expect("directory").count(), 0);
    }

    #[test]
    fn a_socket_is_its_users_alone_as_soon_as_it_has_a_name() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("beside");
        let _listener = listening_at(&path).expect("socket");
        assert_eq!(std::fs::symlink_metadata(&path).expect("socket").mode() & 0o7777, 0o600);
        UnixStream::connect(&path).expect("connected");
    }

    #[test]
    fn a_socket_that_a_killed_process_left_is_replaced() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("diff.sock");
        drop(UnixListener::bind(&path).expect("socket"));
        assert!(path.exists());
        let _socket = Socket::bind(&path).expect("socket");
        UnixStream::connect(&path).expect("connected");
    }

    #[test]
    fn what_another_has_is_left_alone() {
        let dir = tempfile::tempdir().expect("directory");
        let (path, file) = (dir.path().join("diff.sock"), dir.path().join("file"));
        let _other = UnixListener::bind(&path).expect("socket");
        assert_eq!(Socket::bind(&path).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        std::fs::write(&file, "text").expect("file");
        assert_eq!(Socket::bind(&file).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read_to_string(&file).expect("file"), "text");
        let ours = Socket::bind(&dir.path().join("other")).expect("socket");
        std::fs::remove_file(dir.path().join("other")).expect("removed");
        let _later = UnixListener::bind(dir.path().join("other")).expect("socket");
        drop(ours);
        assert!(dir.path().join("other").exists());
    }
}
