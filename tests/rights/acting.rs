//! What is on disk, and what plain users of the host can do with it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cases::{Case, Says, Want, file_name};
use super::settings::{NOBODY, SOMEBODY, Setting};

/// A user of the host whom no archive names, in the group of the file at hand.
const IN_THE_GROUP: u32 = 4321;

/// What is there of a case.
pub struct Looked {
    pub value: Option<Vec<u8>>,
    /// Under the name that overlayfs takes for data.
    pub escaped: Option<Vec<u8>>,
    owner: u32,
    /// Who else of the host can read and write the file, or what root makes in the directory.
    reached: BTreeSet<u32>,
    /// Run by somebody of the host, it has capabilities.
    raised: bool,
}

/// Looks at each file as root, then as the users.
pub fn look(dest: &Path, setting: &Setting, cases: &[&Case]) -> Vec<Looked> {
    let paths: Vec<PathBuf> = (0..cases.len()).map(|at| dest.join(file_name(at))).collect();
    let mut looked: Vec<Looked> = cases.iter().zip(&paths).map(|(case, path)| on_disk(case, path)).collect();
    let secrets: Vec<PathBuf> = cases.iter().zip(&paths).map(|(case, path)| secret(case, path)).collect();
    let named = [SOMEBODY, NOBODY].map(|id| setting.by_policy(id).and_then(|id| setting.on_host(id)));
    let (owner, group) = owner(&secrets);
    let users = named.into_iter().flatten().chain([SOMEBODY, 1]).filter(|id| *id != 0 && *id != owner);
    let users: BTreeSet<u32> = users.collect();
    looked.iter_mut().for_each(|looked| looked.owner = owner);
    for (user, group) in users.into_iter().map(|user| (user, user)).chain([(IN_THE_GROUP, group)]) {
        for path in said(&secrets, user, group, r#"true <"$f" && echo >>"$f" && echo "$f""#) {
            looked[at(&secrets, &path)].reached.insert(user);
        }
    }
    let programs: Vec<PathBuf> =
        cases.iter().zip(&paths).filter(|(case, _)| runs(case)).map(|(_, p)| p.clone()).collect();
    let capable = r#""$f" /proc/self/status | grep -q '^CapPrm:.*[1-9a-f]' && echo "$f""#;
    for path in said(&programs, SOMEBODY, SOMEBODY, capable) {
        looked[at(&paths, &path)].raised = true;
    }
    looked
}

fn runs(case: &Case) -> bool {
    case.name == "security.capability"
}

fn on_disk(case: &Case, path: &Path) -> Looked {
    let get = |name: &str| {
        let mut value = vec![0; 1024];
        let size = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
        value.truncate(size);
        Some(value)
    };
    let (namespace, rest) = case.name.split_once('.').unwrap_or((case.name, ""));
    let escaped = rest.starts_with("overlay.").then(|| get(&format!("{namespace}.overlay.{rest}"))).flatten();
    Looked { value: get(case.name), escaped, owner: 0, reached: BTreeSet::new(), raised: false }
}

/// The file, or one that root makes now in the directory, with all that its default ACL gives it.
fn secret(case: &Case, path: &Path) -> PathBuf {
    if !case.is_default_acl() || !path.is_dir() {
        return path.into();
    }
    let later = path.join("later");
    fs::write(&later, "later\n").expect("a file of root's");
    if rustix::fs::lgetxattr(&later, "system.posix_acl_access", &mut [0_u8; 0][..]).is_err() {
        fs::set_permissions(&later, fs::Permissions::from_mode(0o600)).expect("mode");
    }
    later
}

/// They all have the same.
fn owner(paths: &[PathBuf]) -> (u32, u32) {
    let found = paths.iter().find_map(|path| fs::metadata(path).ok());
    found.map_or((0, 0), |metadata| (metadata.uid(), metadata.gid()))
}

fn at(paths: &[PathBuf], path: &str) -> usize {
    paths.iter().position(|known| known == Path::new(path)).expect("one of them")
}

/// Lets a user say for which of these paths `test` holds, which names it.
fn said(paths: &[PathBuf], user: u32, group: u32, test: &str) -> Vec<String> {
    let script = format!("for f; do {test}; done");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).args(paths).uid(user).gid(group);
    let output = command.output().expect("sh");
    String::from_utf8_lossy(&output.stdout).lines().map(Into::into).collect()
}

impl Looked {
    /// What somebody of the host can do that the archive's owners do not give him, or cannot do that they do.
    pub fn unearned(&self, case: &Case, want: &Want) -> Option<String> {
        let first_root = matches!(want, Want::OnDisk(value) if value.get(3) == Some(&2));
        if runs(case) && self.raised != (matches!(case.says, Says::Capability(..)) && first_root) {
            return Some(format!("run by user {SOMEBODY}, capabilities: {}", self.raised));
        }
        let may: BTreeSet<u32> = match (want, &case.says) {
            // The user that the ACL on disk should name.
            (Want::OnDisk(value), Says::Acl(Some(_))) => {
                let named = value[16..20].try_into().map(u32::from_le_bytes).into_iter();
                named.filter(|id| *id != self.owner).collect()
            }
            _ => BTreeSet::new(),
        };
        // Programs are for all to read.
        (!runs(case) && self.reached != may).then(|| format!("reached by {:?}, not by {may:?}", self.reached))
    }
}
