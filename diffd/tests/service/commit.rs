//! A container to make a layer of, and what its service takes for containerd.

use crate::containerd::Containerd;
use crate::interface::diff::DiffRequest;
use crate::interface::types::{Descriptor, Mount};
use crate::server::{OCI, Server, bind, overlay, within};
use crate::support::privilege::need_root;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::{Code, Request, Status};

pub const SECOND: Duration = Duration::from_secs(1);

/// A time of a layer: it has no fractions.
const WHOLE: rustix::fs::Timespec = rustix::fs::Timespec { tv_sec: 1_700_000_000, tv_nsec: 0 };

pub fn at_rest(path: &Path) {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    fs::File::open(path).and_then(|file| file.set_modified(time)).expect("time");
}

/// A service, what it takes for containerd, and a container on an image of two layers.
pub struct Commit {
    pub server: Server,
    pub containerd: Containerd,
    pub upper: PathBuf,
    pub lowers: [PathBuf; 2],
}

impl Commit {
    pub fn of(containerd: Containerd, words: &[&str]) -> Option<Commit> {
        if !need_root() {
            return None;
        }
        let address = containerd.socket.to_str().expect("path");
        let server = Server::start(&[&["--containerd-address", address], words].concat());
        let [bottom, middle, upper] = ["1", "2", "3"].map(|name| server.snapshot(name));
        fs::create_dir_all(bottom.join("etc/old")).expect("directory");
        fs::write(bottom.join("etc/gone"), "1").expect("file");
        fs::write(middle.join("kept"), "2").expect("file");
        Some(Commit { server, containerd, upper, lowers: [middle, bottom] })
    }

    /// As a container changes it: files, a link, a whiteout, an opaque directory, an attribute.
    pub fn change(&self) {
        let upper = &self.upper;
        fs::create_dir_all(upper.join("etc/old")).expect("directory");
        fs::create_dir(upper.join("new")).expect("directory");
        fs::write(upper.join("new/tool"), vec![7; 3 << 20]).expect("file");
        fs::set_permissions(upper.join("new/tool"), fs::Permissions::from_mode(0o4755)).expect("mode");
        fs::hard_link(upper.join("new/tool"), upper.join("new/same")).expect("link");
        symlink("tool", upper.join("new/link")).expect("symlink");
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(upper.join("etc/old"), "trusted.overlay.opaque", b"y", flags).expect("mark");
        rustix::fs::setxattr(upper.join("new"), "user.said", b"by the container", flags).expect("attribute");
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::empty());
        rustix::fs::mknodat(rustix::fs::CWD, upper.join("etc/gone"), kind, mode, 0).expect("whiteout");
        for dir in ["etc/old", "etc", "new/tool", "new"] {
            at_rest(&upper.join(dir));
        }
        let (link, times) =
            (upper.join("new/link"), rustix::fs::Timestamps { last_access: WHOLE, last_modification: WHOLE });
        rustix::fs::utimensat(rustix::fs::CWD, link, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).expect("time");
    }

    /// What containerd sends for it.
    pub fn request(&self, media_type: &str) -> DiffRequest {
        let lowers: Vec<&Path> = self.lowers.iter().map(PathBuf::as_path).collect();
        let right = overlay(&self.upper, &lowers, &["index=off", "workdir=/nowhere"]);
        DiffRequest { left: view(&lowers), right, media_type: media_type.into(), ..DiffRequest::default() }
    }

    pub fn make(&mut self, request: DiffRequest) -> Result<Descriptor, Status> {
        self.make_under(request, None)
    }

    pub fn make_under(&mut self, request: DiffRequest, lease: Option<&str>) -> Result<Descriptor, Status> {
        let made = self.server.runtime.block_on(self.server.client.diff(called(request, lease)))?;
        Ok(made.into_inner().diff.expect("a descriptor"))
    }

    pub fn blob(&self, made: &Descriptor) -> Vec<u8> {
        self.containerd.kept().blobs[&made.digest].bytes.clone()
    }

    /// A call that goes on.
    pub fn start(&self) -> tokio::task::JoinHandle<Result<(), Status>> {
        let (mut client, request) = (self.server.client.clone(), called(self.request(OCI), None));
        self.server.runtime.spawn(async move { client.diff(request).await.map(drop) })
    }

    /// It has failed with this code, and nothing is left of it.
    #[track_caller]
    pub fn failed(&self, what: &str, outcome: Result<Descriptor, Status>, code: Code, said: &str) {
        let status = outcome.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {status:?}");
        assert!(status.message().contains(said), "{what}: {said:?} is not in {status:?}");
        let host = self.server.dir.path().to_str().expect("path");
        assert!(!status.message().contains(host) && !status.message().contains("/var/lib"), "{what}: {status:?}");
        within(SECOND * 10, "nothing is left", || self.containerd.has_nothing() && self.server.helpers() == 0);
        assert!(self.containerd.kept().blobs.is_empty(), "{what}");
        let log = self.server.log();
        // What another differ makes is no failure.
        let (word, level) =
            if code == Code::Unimplemented { ("left to the next differ", "INFO") } else { ("not made", "ERROR") };
        let line = log.lines().rev().find(|line| line.contains(word)).expect("a line");
        assert!(line.contains(level), "{what}: {line}");
        assert!(line.contains(&format!("code={code:?}")) && line.contains("namespace=\"n\""), "{what}: {line}");
    }
}

pub fn called(request: DiffRequest, lease: Option<&str>) -> Request<DiffRequest> {
    let mut request = Request::new(request);
    request.metadata_mut().insert("containerd-namespace", "n".parse().expect("a value"));
    if let Some(lease) = lease {
        request.metadata_mut().insert("containerd-lease", lease.parse().expect("a value"));
    }
    request
}

/// What is shown of committed snapshots.
pub fn view(lowers: &[&Path]) -> Vec<Mount> {
    if let [only] = lowers {
        return bind(only);
    }
    let lowers: Vec<_> = lowers.iter().map(|lower| lower.display().to_string()).collect();
    let options = vec!["index=off".into(), format!("lowerdir={}", lowers.join(":"))];
    vec![Mount { r#type: "overlay".into(), source: "overlay".into(), target: String::new(), options }]
}
